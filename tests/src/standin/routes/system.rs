//! What answers without a token.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::super::clock::now_ms;
use super::super::shared::Shared;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/system/version", get(version))
}

async fn version(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "version": shared.version(), "revision": "stand-in", "timestamp": now_ms() }))
}
