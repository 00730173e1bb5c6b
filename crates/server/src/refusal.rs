//! Why a request was not done, as OpenMetadata's client takes it: `{"error": "a sentence"}` under a
//! status that JAX-RS knows: the client cannot show users another one, such as 422
//! (docs/contracts/openmetadata-http.md#status-codes).

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use ompipe_client::Error;
use serde_json::json;

use crate::api;

/// Longest sentence, in characters: users see it.
const MAX_CHARS: usize = 1_000;

/// A request that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: presentable(&error.into()) }
    }

    /// The request itself is at fault.
    pub(crate) fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// The answer as those who ask for such a path read it.
    pub(crate) fn at(self, path: &str) -> Response {
        if api::has_path(path) {
            return api::Problem::from(self).into_response();
        }
        self.into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error }))).into_response()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(status_of(&error), error.to_string())
    }
}

impl From<ompipe_core::Problems> for Refusal {
    fn from(problems: ompipe_core::Problems) -> Self {
        Self::bad_request(problems.to_string())
    }
}

/// 503 is what may go well a moment later, 502 what the OpenMetadata server did not answer.
fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::NotDeployed { .. } | Error::NoRuns(_) | Error::NoSuchRun { .. } => {
            StatusCode::NOT_FOUND
        }
        Error::Ambiguous { .. } | Error::AlreadyRunning { .. } | Error::JobNameTaken { .. } => {
            StatusCode::CONFLICT
        }
        Error::NoLog { .. } | Error::RunDeleted(_) => StatusCode::CONFLICT,
        Error::OpenMetadata { .. } => StatusCode::BAD_GATEWAY,
        Error::Kubernetes(error) if !error.may_pass() => StatusCode::INTERNAL_SERVER_ERROR,
        error if error.is_input() => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// One short line. The Java client repeats a request whose refusal holds the name of the token that
/// it sends (docs/contracts/openmetadata-http.md#csrf-token), and a pipeline may be called like
/// that.
pub(crate) fn presentable(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.replace("CSRF token", "CSRF-token");
    match line.char_indices().nth(MAX_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_short_line_that_no_client_takes_for_its_own() {
        let text = format!("a CSRF  token\n - {}", "é".repeat(2 * MAX_CHARS));
        let refusal = Refusal::bad_request(text);
        assert!(refusal.error.starts_with("a CSRF-token - éé"), "{}", refusal.error);
        assert_eq!(refusal.error.chars().count(), MAX_CHARS + 1);
    }
}
