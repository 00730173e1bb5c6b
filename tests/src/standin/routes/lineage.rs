//! Lineage edges.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, patch, put};
use axum::{Json, Router};
use json_patch::Patch;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::api_error::ApiError;
use super::super::collection::{self, Collection};
use super::super::entity::{Object, reference, text};
use super::super::lineage::Ends;
use super::super::shared::Shared;
use super::super::store::{Include, Refused};
use super::super::world::World;
use super::Reply;
use super::body::JsonBody;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", put(put_edge))
        .route("/getLineageEdge/{from}/{to}", get(edge))
        .route("/{kind}/name/{fqn}", get(around_name))
        .route("/{kind}/{id}", get(around_id))
        .route("/{from_kind}/{from}/{to_kind}/{to}", patch(change_edge))
}

#[derive(Debug, Deserialize)]
struct AddLineage {
    edge: Value,
}

async fn put_edge(
    State(shared): State<Arc<Shared>>,
    JsonBody(request): JsonBody<AddLineage>,
) -> Reply {
    shared.write(|world| world.lineage.put(request.edge)).map_err(ApiError::invalid)?;
    Ok(StatusCode::OK.into_response())
}

async fn edge(
    State(shared): State<Arc<Shared>>,
    Path((from, to)): Path<(String, String)>,
) -> Reply {
    let ends = Ends { from: &from, to: &to };
    let details =
        shared.read(|world| world.lineage.get(ends).map(|edge| edge["lineageDetails"].clone()));
    let details = details.ok_or_else(|| no_edge(&from, &to))?;
    Ok(Json(json!({ "edge": details })).into_response())
}

async fn change_edge(
    State(shared): State<Arc<Shared>>,
    Path((_, from, _, to)): Path<(String, String, String, String)>,
    JsonBody(patch): JsonBody<Patch>,
) -> Reply {
    let ends = Ends { from: &from, to: &to };
    let patched = shared.write(|world| world.lineage.patch(ends, &patch));
    patched.ok_or_else(|| no_edge(&from, &to))?.map_err(ApiError::invalid)?;
    Ok(StatusCode::OK.into_response())
}

fn no_edge(from: &str, to: &str) -> ApiError {
    ApiError::not_found(format!("no lineage edge from {from} to {to}"))
}

async fn around_id(
    State(shared): State<Arc<Shared>>,
    Path((kind, id)): Path<(String, String)>,
) -> Reply {
    let graph = shared.read(|world| {
        let collection = collection_of(&kind)?;
        let entity = world.store.by_id(collection, &id, Include::All)?;
        Ok::<_, ApiError>(graph(world, collection, entity))
    })?;
    Ok(Json(graph).into_response())
}

async fn around_name(
    State(shared): State<Arc<Shared>>,
    Path((kind, fqn)): Path<(String, String)>,
) -> Reply {
    let graph = shared.read(|world| {
        let collection = collection_of(&kind)?;
        let entity = world.store.by_name(collection, &fqn, Include::All)?;
        Ok::<_, ApiError>(graph(world, collection, entity))
    })?;
    Ok(Json(graph).into_response())
}

fn graph(world: &World, collection: &Collection, entity: &Object) -> Value {
    let mut graph = world.lineage.around(text(entity, "id").unwrap_or_default());
    graph["entity"] = reference(entity, collection.kind);
    graph
}

fn collection_of(kind: &str) -> Result<&'static Collection, Refused> {
    let unknown = || Refused::Invalid(format!("unknown entity type `{kind}`"));
    collection::by_kind(kind).ok_or_else(unknown)
}
