//! Request bodies.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::super::api_error::ApiError;

/// A JSON body of any content type: the Python client labels its own wrongly now and then.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| ApiError::invalid(error.to_string()))?;
        let value = serde_json::from_slice(&bytes);
        value.map(Self).map_err(|error| ApiError::invalid(format!("the body is invalid: {error}")))
    }
}
