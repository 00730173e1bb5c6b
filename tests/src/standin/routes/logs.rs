//! Streamable logs. The pipeline need not exist: the client posts its first lines before it looks.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, http::StatusCode};
use uuid::Uuid;

use super::super::api_error::ApiError;
use super::super::logs::{Chunk, Window};
use super::super::shared::Shared;
use super::Reply;
use super::body::JsonBody;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/logs/{fqn}/{run_id}", get(read).post(append))
        .route("/logs/{fqn}/{run_id}/close", post(close))
}

async fn append(
    State(shared): State<Arc<Shared>>,
    Path((fqn, run_id)): Path<(String, Uuid)>,
    JsonBody(chunk): JsonBody<Chunk>,
) -> Reply {
    let text = chunk.text().map_err(ApiError::invalid)?;
    shared.write(|world| world.logs.append(&fqn, run_id, &text));
    Ok(StatusCode::OK.into_response())
}

async fn close(
    State(shared): State<Arc<Shared>>,
    Path((fqn, run_id)): Path<(String, Uuid)>,
) -> Reply {
    shared.write(|world| world.logs.close(&fqn, run_id));
    Ok(StatusCode::OK.into_response())
}

async fn read(
    State(shared): State<Arc<Shared>>,
    Path((fqn, run_id)): Path<(String, Uuid)>,
    Query(window): Query<Window>,
) -> Reply {
    let page = shared.read(|world| world.logs.get(&fqn, run_id).map(|log| log.page(&window)));
    let missing = || ApiError::not_found(format!("no log of run {run_id} of {fqn}"));
    Ok(Json(page.ok_or_else(missing)?).into_response())
}
