//! The JSON body of a request.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use serde_json::Value;
use tokio::time::timeout;

use crate::refusal::Refusal;

/// Longest body, in bytes.
const MAX_BYTES: usize = 16 << 20;
/// Time for the whole body.
const TIME: Duration = Duration::from_secs(30);

/// A body that is JSON, whatever its `Content-Type` says. An absent body is `null`.
#[derive(Debug)]
pub(crate) struct Document(pub(crate) Value);

impl<S: Sync> FromRequest<S> for Document {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let read = timeout(TIME, to_bytes(request.into_body(), MAX_BYTES)).await;
        let slow = || Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to come");
        let body = read.map_err(|_| slow())?.map_err(|error| unreadable(&error))?;
        if body.is_empty() {
            return Ok(Self(Value::Null));
        }
        let no_json = |error| Refusal::bad_request(format!("the body is no JSON: {error}"));
        serde_json::from_slice(&body).map(Self).map_err(no_json)
    }
}

fn unreadable(error: &axum::Error) -> Refusal {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(found) = cause {
        if found.to_string().contains("length limit exceeded") {
            let words = format!("the body is longer than {MAX_BYTES} bytes");
            return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, words);
        }
        cause = found.source();
    }
    Refusal::bad_request("the body broke off")
}
