//! Errors as the API words them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::store::Refused;

/// An answer that is not a success. The Python client reads `code` from the body, not the status.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
}

/// The message of an error answer, left on the response for the journal.
#[derive(Clone, Debug)]
pub(crate) struct ErrorText(pub(crate) String);

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::Invalid(_) => StatusCode::BAD_REQUEST,
            Refused::NotFound { .. } => StatusCode::NOT_FOUND,
            Refused::Exists { .. } => StatusCode::CONFLICT,
        };
        Self::new(status, refused.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.status.as_u16(), "message": self.message });
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(ErrorText(self.message));
        response
    }
}
