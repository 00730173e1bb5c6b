//! What a connection does at the moment.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http::{Response, Version};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

/// What a connection does; shared by what reads it, what answers on it, and what counts it.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    /// Requests that are being answered, down to the last byte of the answer.
    under_way: AtomicUsize,
    /// Requests whose head has come. One may be answered before anybody reads again.
    heads: AtomicU64,
    /// When the last request began or was answered, in milliseconds since `began`.
    moved: AtomicU64,
    is_http2: AtomicBool,
    has_logged_in: AtomicBool,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            began: Instant::now(),
            under_way: AtomicUsize::new(0),
            heads: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
            has_logged_in: AtomicBool::new(false),
        }))
    }

    /// The head of a request is there. It is under way until the answer ends, or is dropped.
    pub(crate) fn begin(&self, version: Version) -> UnderWay {
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        self.0.heads.fetch_add(1, Ordering::Relaxed);
        self.0.is_http2.store(version == Version::HTTP_2, Ordering::Relaxed);
        self.touch();
        UnderWay(self.clone())
    }

    fn touch(&self) {
        let since = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.moved.store(since, Ordering::Relaxed);
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.0.under_way.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn heads(&self) -> u64 {
        self.0.heads.load(Ordering::Relaxed)
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.0.is_http2.load(Ordering::Relaxed)
    }

    /// How much a connection that waits is worth: those that never asked anything give way first,
    /// then those without a login, and of equal ones the one that has waited for longest.
    pub(crate) fn worth(&self) -> Worth {
        let moved = std::time::Duration::from_millis(self.0.moved.load(Ordering::Relaxed));
        Worth {
            has_logged_in: self.0.has_logged_in.load(Ordering::Relaxed),
            has_asked: self.heads() > 0,
            since: self.0.began + moved,
        }
    }

    /// What handlers get to say that the caller is known.
    pub(crate) fn caller(&self) -> Caller {
        Caller(self.clone())
    }
}

/// See [`Activity::worth`]; the order of the fields is that of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Worth {
    has_logged_in: bool,
    has_asked: bool,
    since: Instant,
}

/// The connection that a request came on: an extension of every request.
#[derive(Clone, Debug)]
pub struct Caller(Activity);

impl Caller {
    /// Notes that a request on this connection carried right credentials. Connections of callers
    /// that are known are the last to give way to new ones.
    pub fn has_logged_in(&self) {
        self.0.0.has_logged_in.store(true, Ordering::Relaxed);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct UnderWay(Activity);

impl UnderWay {
    /// The answer, which ends the request where its body ends.
    pub(crate) fn until_the_end_of(self, answer: Response<Body>) -> Response<Body> {
        answer.map(|body| Body::new(Answer { body, _under_way: self }))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.touch();
        self.0.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer.
struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
