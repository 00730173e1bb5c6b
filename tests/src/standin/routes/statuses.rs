//! Status rows of pipeline runs.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::api_error::ApiError;
use super::super::clock::now_ms;
use super::super::collection::{self, INGESTION_PIPELINES};
use super::super::entity::Object;
use super::super::journal::StatusWrite;
use super::super::shared::Shared;
use super::super::status::{Line, RowQuery, StatusRow};
use super::super::store::{Include, Refused, Store};
use super::super::world::World;
use super::Reply;
use super::body::JsonBody;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/{fqn}/pipelineStatus", get(list).put(put_row))
        .route("/{fqn}/pipelineStatus/{run_id}", get(row))
}

/// Answers 201 for a new row and for a changed one alike, as the real server does.
async fn put_row(
    State(shared): State<Arc<Shared>>,
    Path(fqn): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> Reply {
    let now_ms = now_ms();
    let line = Line::of(&shared.version());
    let event = shared.write(|world| write_row(world, &fqn, body, line, now_ms))?;
    Ok((StatusCode::CREATED, Json(event)).into_response())
}

fn write_row(
    world: &mut World,
    fqn: &str,
    body: Value,
    line: Line,
    now_ms: i64,
) -> Result<Value, ApiError> {
    let event = change_event(pipeline(&world.store, fqn)?, now_ms);
    let row = StatusRow::parse(&body, line)
        .map_err(|error| ApiError::invalid(format!("not a pipeline status: {error}")))?;
    let (run_id, state) = (row.run_id, row.state);
    let created = world.runs.upsert(fqn, row);
    let fqn = fqn.to_owned();
    world.journal.status(StatusWrite { at_ms: now_ms, fqn, run_id, state, created, body });
    Ok(event)
}

fn change_event(pipeline: &Object, now_ms: i64) -> Value {
    json!({
        "eventType": "entityUpdated",
        "entityType": "ingestionPipeline",
        "entityId": pipeline.get("id"),
        "entityFullyQualifiedName": pipeline.get("fullyQualifiedName"),
        "timestamp": now_ms,
    })
}

/// 204 when the run is unknown.
async fn row(
    State(shared): State<Arc<Shared>>,
    Path((fqn, run_id)): Path<(String, Uuid)>,
) -> Reply {
    let row = shared.read(|world| {
        pipeline(&world.store, &fqn)?;
        Ok::<_, ApiError>(world.runs.row(&fqn, run_id).map(|row| row.json.clone()))
    })?;
    Ok(row.map_or_else(|| StatusCode::NO_CONTENT.into_response(), |row| Json(row).into_response()))
}

async fn list(
    State(shared): State<Arc<Shared>>,
    Path(fqn): Path<String>,
    Query(query): Query<RowQuery>,
) -> Reply {
    let rows = shared.read(|world| {
        pipeline(&world.store, &fqn)?;
        let rows = world.runs.list(&fqn, query);
        Ok::<_, ApiError>(rows.into_iter().map(|row| row.json.clone()).collect::<Vec<_>>())
    })?;
    let paging = json!({ "total": rows.len() });
    Ok(Json(json!({ "data": rows, "paging": paging })).into_response())
}

fn pipeline<'a>(store: &'a Store, fqn: &str) -> Result<&'a Object, Refused> {
    let missing =
        || Refused::NotFound { kind: "ingestionPipeline".to_owned(), name: fqn.to_owned() };
    let pipelines = collection::by_path(INGESTION_PIPELINES).ok_or_else(missing)?;
    store.by_name(pipelines, fqn, Include::default())
}
