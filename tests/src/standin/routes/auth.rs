//! The bearer token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header::AUTHORIZATION};
use axum::middleware::Next;
use axum::response::Response;

use super::super::api_error::ApiError;
use super::super::shared::Shared;

/// Lets a request through if it carries the token.
pub(super) async fn require_token(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match header.map(|value| value.strip_prefix("Bearer ")) {
        Some(Some(token)) if token == shared.token => Ok(next.run(request).await),
        Some(_) => Err(unauthorized("Invalid token: it is not the one of the ingestion bot")),
        None => Err(unauthorized("Not Authorized! Token not present")),
    }
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, message)
}
