//! Connections on which a request is late: the first one counts from the beginning of the connection,
//! each later one from its first byte. hyper's own limit counts the time between two requests too,
//! during which callers keep their connection for the next one, and none of its limits runs before it
//! knows the version of HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::activity::Activity;

/// How long a connection may wait between two requests, see [`crate::serve`].
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_mins(30);

/// A stream that ends when the head of a request takes too long.
pub(crate) struct HeadTimeout<S> {
    stream: S,
    activity: Activity,
    timeout: Duration,
    /// How many heads were there when the deadline was last looked at.
    heads: u64,
    /// Runs while a head is awaited: the first one, or one that has begun.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> HeadTimeout<S> {
    /// From now on, the first head is awaited.
    pub(crate) fn new(stream: S, activity: Activity, timeout: Duration) -> Self {
        let deadline = Some(Box::pin(sleep_until(Instant::now() + timeout)));
        Self { stream, activity, timeout, heads: 0, deadline }
    }

    /// A head that is complete has no deadline any more.
    fn settle(&mut self) {
        let heads = self.activity.heads();
        if heads != self.heads {
            self.heads = heads;
            self.deadline = None;
        }
    }

    /// Bytes have come: those of a head, unless a request is being answered. In HTTP/2, bytes come
    /// beside requests too; there, the next request is due within the time that a connection may wait.
    fn came(&mut self, bytes: &[u8]) {
        self.settle();
        if self.heads == 0 || bytes.is_empty() {
            return;
        }
        if self.activity.is_answering() {
            self.deadline = None;
        } else if self.deadline.is_none() && !self.activity.is_http2() {
            self.await_head_for(self.timeout);
        }
    }

    /// Nothing has come: too long ago?
    fn waits(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.settle();
        let is_idle = self.heads > 0 && !self.activity.is_answering();
        if self.deadline.is_none() && is_idle && self.activity.is_http2() {
            self.await_head_for(IDLE_TIMEOUT);
        }
        if self.is_late(context) { Poll::Ready(Err(too_slow())) } else { Poll::Pending }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready())
    }

    fn await_head_for(&mut self, time: Duration) {
        self.deadline = Some(Box::pin(sleep_until(Instant::now() + time)));
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the head of a request took too long")
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                self.came(&buffer.filled()[before..]);
                // Bytes that trickle in time for ever are late all the same.
                let is_late = self.is_late(context);
                Poll::Ready(if is_late { Err(too_slow()) } else { Ok(()) })
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.waits(context),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use http::Version;
    use rstest::rstest;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn pair() -> (DuplexStream, HeadTimeout<DuplexStream>, Activity) {
        let (caller, stream) = duplex(64);
        let activity = Activity::new();
        (caller, HeadTimeout::new(stream, activity.clone(), TIMEOUT), activity)
    }

    /// Whether a read ends within a time, and how.
    async fn read(stream: &mut HeadTimeout<DuplexStream>, time: Duration) -> Option<bool> {
        let read = timeout(time, stream.read(&mut [0; 32])).await;
        read.ok().map(|read| read.is_ok())
    }

    #[rstest]
    #[case::silent(b"")]
    #[case::http_1(b"GET / HT")]
    #[case::begin_of_http_2(b"PRI")]
    #[case::preface_of_http_2(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]
    #[tokio::test(start_paused = true)]
    async fn the_first_request_is_due_from_the_beginning(#[case] said: &[u8]) {
        let (mut caller, mut stream, _) = pair();
        caller.write_all(said).await.unwrap();
        if !said.is_empty() {
            assert_eq!(read(&mut stream, TIMEOUT).await, Some(true));
        }
        let begin = Instant::now();
        assert_eq!(read(&mut stream, 2 * TIMEOUT).await, Some(false));
        assert!(begin.elapsed() <= TIMEOUT + Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_do_not_put_the_end_off() {
        let (mut caller, mut stream, _) = pair();
        let mut ends = Vec::new();
        for _ in 0..6 {
            caller.write_all(b"x").await.unwrap();
            ends.push(read(&mut stream, TIMEOUT).await);
            tokio::time::advance(TIMEOUT / 4).await;
        }
        assert!(ends.contains(&Some(false)), "{ends:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_kept_between_requests_and_a_later_head_is_due_from_its_first_byte() {
        let (mut caller, mut stream, activity) = pair();
        caller.write_all(b"GET / HT").await.unwrap();
        assert_eq!(read(&mut stream, TIMEOUT).await, Some(true));
        // The rest of the head is there, and the answer takes its time, as does the next request.
        let answering = activity.begin(Version::HTTP_11);
        assert_eq!(read(&mut stream, 100 * TIMEOUT).await, None, "answering");
        drop(answering);
        assert_eq!(read(&mut stream, 50 * TIMEOUT).await, None, "idle between requests");
        // Answered before anybody reads again.
        caller.write_all(b"GET / HT").await.unwrap();
        assert_eq!(read(&mut stream, TIMEOUT).await, Some(true));
        drop(activity.begin(Version::HTTP_11));
        assert_eq!(read(&mut stream, 50 * TIMEOUT).await, None, "idle again");
        caller.write_all(b"GET / HT").await.unwrap();
        assert_eq!(read(&mut stream, TIMEOUT).await, Some(true));
        assert_eq!(read(&mut stream, 2 * TIMEOUT).await, Some(false), "too slow");
    }

    #[tokio::test(start_paused = true)]
    async fn pings_of_http_2_are_no_head_and_a_connection_without_requests_ends() {
        let (mut caller, mut stream, activity) = pair();
        caller.write_all(b"PRI * HTTP/2.0").await.unwrap();
        assert_eq!(read(&mut stream, TIMEOUT).await, Some(true));
        let first = activity.begin(Version::HTTP_2);
        assert_eq!(read(&mut stream, 2 * IDLE_TIMEOUT).await, None, "answering");
        drop(first);
        caller.write_all(b"ping").await.unwrap();
        assert_eq!(read(&mut stream, TIMEOUT).await, Some(true));
        assert_eq!(read(&mut stream, IDLE_TIMEOUT / 2).await, None, "idle");
        caller.write_all(b"ping").await.unwrap();
        assert_eq!(read(&mut stream, TIMEOUT).await, Some(true));
        assert_eq!(read(&mut stream, IDLE_TIMEOUT).await, Some(false), "no request");
    }
}
