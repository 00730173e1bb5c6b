//! The HTTP interface: `/api/v1` as OpenMetadata serves it, `/standin` for whoever runs the stand-in.

mod admin;
mod auth;
mod body;
mod entities;
mod lineage;
mod logs;
mod search;
mod statuses;
mod system;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::Response;

use super::api_error::ApiError;
use super::collection::{COLLECTIONS, INGESTION_PIPELINES};
use super::observe::observe;
use super::shared::Shared;

/// What a handler answers.
type Reply = Result<Response, ApiError>;

/// The whole interface.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let api = v1().layer(from_fn_with_state(Arc::clone(shared), auth::require_token));
    Router::new()
        .nest("/api/v1", system::router().merge(api))
        .fallback(unknown)
        .layer(from_fn_with_state(Arc::clone(shared), observe))
        .nest("/standin", admin::router())
        .with_state(Arc::clone(shared))
}

fn v1() -> Router<Arc<Shared>> {
    let pipelines = statuses::router().merge(logs::router());
    let mut router = Router::new()
        .nest(&format!("/{INGESTION_PIPELINES}"), pipelines)
        .nest("/search", search::router())
        .nest("/lineage", lineage::router());
    for collection in COLLECTIONS {
        router = router.nest(&format!("/{}", collection.path), entities::router(collection));
    }
    router
}

async fn unknown(uri: Uri) -> ApiError {
    ApiError::not_found(format!("the stand-in has no {uri}"))
}
