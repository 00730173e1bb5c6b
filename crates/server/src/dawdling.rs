//! Callers that begin a request and do not go on with it. hyper's own limit for that counts the time
//! between two requests too, during which callers keep their connection for the next one (wire §5).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Time from the first byte of a request until its head is there.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How HTTP/2 begins. There, bytes come beside requests too, and pings tell whether the caller lives.
const HTTP_2: &[u8] = b"PRI";

/// What is being answered on a connection; its handler tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answering(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether a request is being answered.
    now: AtomicBool,
    /// How many requests have come so far. One may be answered before anybody reads again.
    heads: AtomicU64,
}

impl Answering {
    /// The head of a request is there.
    pub(crate) fn begin(&self) {
        self.0.heads.fetch_add(1, Ordering::Relaxed);
        self.0.now.store(true, Ordering::Relaxed);
    }

    /// It is answered.
    pub(crate) fn end(&self) {
        self.0.now.store(false, Ordering::Relaxed);
    }

    fn now(&self) -> bool {
        self.0.now.load(Ordering::Relaxed)
    }

    fn heads(&self) -> u64 {
        self.0.heads.load(Ordering::Relaxed)
    }
}

/// A connection that ends when the head of a request takes too long.
pub(crate) struct Dawdling<S> {
    stream: S,
    answering: Answering,
    is_http2: bool,
    /// How many heads were there when the deadline was last looked at.
    heads: u64,
    /// Runs while a head is incomplete.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Dawdling<S> {
    pub(crate) const fn new(stream: S, answering: Answering) -> Self {
        Self { stream, answering, is_http2: false, heads: 0, deadline: None }
    }

    /// A head that is complete has no deadline any more.
    fn settle(&mut self) {
        let heads = self.answering.heads();
        if heads != self.heads {
            self.heads = heads;
            self.deadline = None;
        }
    }

    /// Bytes have come: those of a head, unless a request is being answered.
    fn came(&mut self, bytes: &[u8]) {
        self.settle();
        self.is_http2 |= self.heads == 0 && self.deadline.is_none() && bytes.starts_with(HTTP_2);
        if self.is_http2 || self.answering.now() {
            self.deadline = None;
        } else if self.deadline.is_none() && !bytes.is_empty() {
            self.deadline = Some(Box::pin(sleep_until(Instant::now() + HEAD_TIMEOUT)));
        }
    }

    /// Nothing has come: too long ago?
    fn waits(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.settle();
        match &mut self.deadline {
            Some(deadline) => deadline.as_mut().poll(context).map(|()| Err(too_slow())),
            None => Poll::Pending,
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the head of a request took too long")
}

impl<S: AsyncRead + Unpin> AsyncRead for Dawdling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                self.came(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.waits(context),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Dawdling<S> {
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    fn pair() -> (DuplexStream, Dawdling<DuplexStream>, Answering) {
        let (caller, stream) = duplex(64);
        let answering = Answering::default();
        (caller, Dawdling::new(stream, answering.clone()), answering)
    }

    /// Whether a read ends within a time, and how.
    async fn read(stream: &mut Dawdling<DuplexStream>, time: Duration) -> Option<bool> {
        let read = timeout(time, stream.read(&mut [0; 16])).await;
        read.ok().map(|read| read.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_come_ends_the_connection_and_an_idle_one_is_kept() {
        let (mut caller, mut stream, answering) = pair();
        assert_eq!(read(&mut stream, 100 * HEAD_TIMEOUT).await, None, "idle before a request");
        caller.write_all(b"GET / HT").await.unwrap();
        assert_eq!(read(&mut stream, HEAD_TIMEOUT).await, Some(true));
        // The rest of the head is there, and the answer takes its time, as does the next request.
        answering.begin();
        assert_eq!(read(&mut stream, 100 * HEAD_TIMEOUT).await, None, "answering");
        answering.end();
        assert_eq!(read(&mut stream, 100 * HEAD_TIMEOUT).await, None, "idle between requests");
        // Answered before anybody reads again.
        caller.write_all(b"GET / HT").await.unwrap();
        assert_eq!(read(&mut stream, HEAD_TIMEOUT).await, Some(true));
        answering.begin();
        answering.end();
        assert_eq!(read(&mut stream, 100 * HEAD_TIMEOUT).await, None, "idle again");
        for byte in b"GET" {
            caller.write_all(&[*byte]).await.unwrap();
            assert_eq!(read(&mut stream, HEAD_TIMEOUT).await, Some(true));
            tokio::time::advance(HEAD_TIMEOUT / 4).await;
        }
        assert_eq!(read(&mut stream, HEAD_TIMEOUT).await, Some(false), "too slow");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_between_the_requests_of_http_2_are_no_head() {
        let (mut caller, mut stream, _) = pair();
        caller.write_all(b"PRI * HTTP/2.0").await.unwrap();
        assert_eq!(read(&mut stream, HEAD_TIMEOUT).await, Some(true));
        assert_eq!(read(&mut stream, 100 * HEAD_TIMEOUT).await, None);
    }
}
