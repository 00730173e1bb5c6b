//! The JSON body of a request.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::refusal::Refusal;

/// Longest body, in bytes: a config of 1 MiB, which is the most that a Secret takes, with what is
/// around it and escaped. A value of a document takes up to sixteen times its text in memory.
const MAX_BYTES: usize = 2 << 20;
/// Bytes of the bodies that there may be at the same time, until their requests are answered.
static BUDGET: Semaphore = Semaphore::const_new(2 * MAX_BYTES);
/// Time for the whole body.
const TIME: Duration = Duration::from_secs(30);

/// A body that is JSON, whatever its `Content-Type` says, and its part of the budget. An absent body is
/// `null`.
#[derive(Debug)]
pub(crate) struct Document(pub(crate) Value, pub(crate) Option<SemaphorePermit<'static>>);

impl<S: Sync> FromRequest<S> for Document {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let share = length(&request)?;
        let slow = || Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to come");
        let read = async {
            // The budget is never closed.
            let share = BUDGET.acquire_many(share).await.ok();
            let body = to_bytes(request.into_body(), MAX_BYTES).await;
            let document = parse(&body.map_err(|error| unreadable(&error))?)?;
            Ok(Self(document, share))
        };
        timeout(TIME, read).await.map_err(|_| slow())?
    }
}

/// The part of the budget that a body takes: what it says that it has, else the most.
fn length(request: &Request) -> Result<u32, Refusal> {
    let told = request.headers().get(CONTENT_LENGTH);
    let told = told.and_then(|told| told.to_str().ok()?.parse::<u64>().ok());
    let most = u32::try_from(MAX_BYTES).unwrap_or(u32::MAX);
    match told {
        None => Ok(most),
        Some(told) => u32::try_from(told).ok().filter(|told| *told <= most).ok_or_else(too_long),
    }
}

fn parse(body: &[u8]) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let no_json = |error| Refusal::bad_request(format!("the body is no JSON: {error}"));
    serde_json::from_slice(body).map_err(no_json)
}

fn too_long() -> Refusal {
    let words = format!("the body is longer than {MAX_BYTES} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, words)
}

fn unreadable(error: &axum::Error) -> Refusal {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(found) = cause {
        if found.to_string().contains("length limit exceeded") {
            return too_long();
        }
        cause = found.source();
    }
    Refusal::bad_request("the body broke off")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse;
    use futures::stream;
    use rstest::rstest;

    use super::*;

    async fn read(body: Body, length: Option<usize>) -> Result<Value, u16> {
        let mut request = Request::new(body);
        if let Some(length) = length {
            request.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        let read = Document::from_request(request, &()).await;
        read.map(|document| document.0).map_err(|refusal| refusal.into_response().status().as_u16())
    }

    #[rstest]
    #[case::told(Some(16_000_003))]
    #[case::untold(None)]
    #[tokio::test]
    async fn a_body_that_would_take_the_memory_is_refused(#[case] length: Option<usize>) {
        let zeros = format!("[{}0]", "0,".repeat(8_000_000));
        assert_eq!(read(Body::from(zeros), length).await, Err(413));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_share_a_budget_and_one_that_does_not_come_gives_it_back() {
        let never = || Body::from_stream(stream::pending::<Result<String, std::io::Error>>());
        let mut stuck = tokio::task::JoinSet::new();
        for _ in 0..2 {
            stuck.spawn(read(never(), None));
        }
        tokio::task::yield_now().await;
        let mut waiting = tokio::task::JoinSet::new();
        waiting.spawn(read(Body::from("1"), Some(1)));
        assert_eq!(stuck.join_all().await, [Err(408), Err(408)]);
        assert!(matches!(waiting.join_next().await.unwrap().unwrap(), Ok(_) | Err(408)));
        assert_eq!(read(Body::from("1"), Some(1)).await, Ok(Value::from(1)));
    }
}
