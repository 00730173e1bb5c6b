//! Repeats of calls that may succeed a moment later, below every call of this crate: 429 and 5xx,
//! and connections that fail or break. `kube` has a policy of its own, which knows neither 500, 502
//! nor broken connections, and has no limit in time.

use std::time::Duration;

use kube::client::Body;
use tokio::time::{Instant, Sleep, sleep_until};
use tower::BoxError;
use tower::retry::Policy;
use tower::retry::backoff::{
    Backoff, ExponentialBackoff, ExponentialBackoffMaker, InvalidBackoff, MakeBackoff,
};
use tower::util::rng::HasherRng;

/// Time within which a call is repeated.
const LIMIT: Duration = Duration::from_secs(10);
/// Pause before the first repeat.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The repeats of one call.
#[derive(Clone, Debug)]
pub(crate) struct Repeats {
    pauses: ExponentialBackoff,
    /// When the last repeat may begin; set when the first answer is in.
    until: Option<Instant>,
}

impl Repeats {
    pub(crate) fn new() -> Result<Self, InvalidBackoff> {
        /// How far apart the pauses of several callers are, as a share of their length.
        const JITTER: f64 = 0.5;
        let random = HasherRng::new();
        let mut maker = ExponentialBackoffMaker::new(FIRST_PAUSE, LONGEST_PAUSE, JITTER, random)?;
        Ok(Self { pauses: maker.make_backoff(), until: None })
    }

    /// The pause before the next repeat: ours, or what the server asks for if that is longer.
    fn pause(&mut self, asked: Option<Duration>) -> Option<Sleep> {
        let until = *self.until.get_or_insert_with(|| Instant::now() + LIMIT);
        let ours = self.pauses.next_backoff().deadline();
        let end = asked.map_or(ours, |asked| ours.max(Instant::now() + asked));
        (end <= until).then(|| sleep_until(end))
    }
}

impl<B> Policy<http::Request<Body>, http::Response<B>, BoxError> for Repeats {
    type Future = Sleep;

    fn retry(
        &mut self,
        _: &mut http::Request<Body>,
        result: &mut Result<http::Response<B>, BoxError>,
    ) -> Option<Sleep> {
        match result {
            Ok(answer) if is_passing(answer.status()) => self.pause(retry_after(answer)),
            Err(error) if is_broken_connection(error.as_ref()) => self.pause(None),
            Ok(_) | Err(_) => None,
        }
    }

    /// Streaming bodies cannot be sent twice; this crate sends none.
    fn clone_request(&mut self, request: &http::Request<Body>) -> Option<http::Request<Body>> {
        let mut copy = http::Request::new(request.body().try_clone()?);
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        copy.headers_mut().clone_from(request.headers());
        copy.extensions_mut().clone_from(request.extensions());
        Some(copy)
    }
}

const fn is_passing(status: http::StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

fn retry_after<B>(answer: &http::Response<B>) -> Option<Duration> {
    let seconds = answer.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// True for a connection that could not be made, broke, or gave no answer in time; not for a
/// certificate that is wrong, which stays wrong.
fn is_broken_connection(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.kind() != std::io::ErrorKind::InvalidData;
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    type Answer = Result<http::Response<()>, BoxError>;

    fn answer(status: u16) -> http::Response<()> {
        http::Response::builder().status(status).body(()).unwrap()
    }

    fn io(kind: std::io::ErrorKind) -> BoxError {
        Box::new(std::io::Error::from(kind))
    }

    fn is_repeated(mut answer: Answer) -> bool {
        Repeats::new().unwrap().retry(&mut http::Request::new(Body::empty()), &mut answer).is_some()
    }

    #[rstest]
    #[case(Ok(answer(429)), true)]
    #[case(Ok(answer(500)), true)]
    #[case(Ok(answer(503)), true)]
    #[case(Ok(answer(200)), false)]
    #[case(Ok(answer(403)), false)]
    #[case(Ok(answer(409)), false)]
    #[case(Err(io(std::io::ErrorKind::ConnectionRefused)), true)]
    #[case(Err(io(std::io::ErrorKind::ConnectionReset)), true)]
    #[case(Err(io(std::io::ErrorKind::InvalidData)), false)]
    #[case(Err("no certificate".into()), false)]
    #[tokio::test]
    async fn what_is_repeated(#[case] answer: Answer, #[case] repeated: bool) {
        assert_eq!(is_repeated(answer), repeated);
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_end_in_time_and_wait_as_long_as_the_server_asks() {
        let mut repeats = Repeats::new().unwrap();
        let (start, wish) = (Instant::now(), Duration::from_secs(3));
        assert!(repeats.pause(Some(wish)).unwrap().deadline() >= start + wish);
        assert!(repeats.pause(Some(LIMIT + wish)).is_none());
        let mut count = 0;
        while let Some(pause) = repeats.pause(None) {
            pause.await;
            count += 1;
        }
        assert!(count > 3 && start.elapsed() <= LIMIT, "{count} in {:?}", start.elapsed());
    }
}
