//! `/standin`: what happened, and faults on demand, for scripts and for the demo. Needs no token.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::clock::now_ms;
use super::super::collection::COLLECTIONS;
use super::super::fault::Fault;
use super::super::journal::{SeenRequest, StatusWrite};
use super::super::shared::Shared;
use super::body::JsonBody;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/statuses", get(statuses))
        .route("/tables", get(tables))
        .route("/entities", get(entities))
        .route("/lineage", get(lineage))
        .route("/requests", get(requests))
        .route("/faults", get(faults).post(inject).delete(clear))
}

/// Which status writes to show.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusQuery {
    fqn: Option<String>,
    run_id: Option<Uuid>,
}

impl StatusQuery {
    fn covers(&self, write: &StatusWrite) -> bool {
        self.fqn.as_ref().is_none_or(|fqn| *fqn == write.fqn)
            && self.run_id.is_none_or(|run_id| run_id == write.run_id)
    }
}

async fn statuses(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<StatusQuery>,
) -> Json<Vec<StatusWrite>> {
    Json(shared.read(|world| {
        world.statuses().iter().filter(|write| query.covers(write)).cloned().collect()
    }))
}

async fn tables(State(shared): State<Arc<Shared>>) -> Json<Vec<Value>> {
    Json(shared.read(super::super::world::World::table_digests))
}

/// FQNs of all live entities by collection.
async fn entities(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.read(|world| {
        COLLECTIONS.iter().map(|of| (of.path.to_owned(), json!(world.fqns(of.path)))).collect()
    }))
}

async fn lineage(State(shared): State<Arc<Shared>>) -> Json<Vec<Value>> {
    Json(shared.read(|world| world.lineage().to_vec()))
}

async fn requests(State(shared): State<Arc<Shared>>) -> Json<Vec<SeenRequest>> {
    Json(shared.read(|world| world.requests().cloned().collect()))
}

async fn faults(State(shared): State<Arc<Shared>>) -> Json<Vec<Fault>> {
    Json(shared.read(|world| world.faults.list(now_ms()).into_iter().cloned().collect()))
}

async fn inject(
    State(shared): State<Arc<Shared>>,
    JsonBody(fault): JsonBody<Fault>,
) -> (StatusCode, Json<Fault>) {
    shared.write(|world| world.faults.inject(fault.clone(), now_ms()));
    (StatusCode::CREATED, Json(fault))
}

async fn clear(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.write(|world| world.faults.clear());
    StatusCode::NO_CONTENT
}
