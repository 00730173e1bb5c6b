//! Search by field and by filter.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use super::super::api_error::ApiError;
use super::super::collection::{self, Collection};
use super::super::entity::{Object, text};
use super::super::search::{admits, answer, field_matches};
use super::super::shared::Shared;
use super::super::store::{Include, Store};
use super::Reply;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new().route("/fieldQuery", get(by_field)).route("/query", get(by_filter))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldQuery {
    index: String,
    field_name: String,
    field_value: String,
    #[serde(default)]
    from: usize,
    #[serde(default = "page_size")]
    size: usize,
}

fn page_size() -> usize {
    10
}

async fn by_field(State(shared): State<Arc<Shared>>, Query(query): Query<FieldQuery>) -> Reply {
    let found = shared.read(|world| {
        let hits = find(&world.store, index(&query.index)?, |entity| {
            Ok(field_matches(entity, &query.field_name, &query.field_value))
        })?;
        let page: Vec<&Object> = hits.iter().skip(query.from).take(query.size).copied().collect();
        Ok::<_, ApiError>(answer(&query.index, hits.len(), &page))
    })?;
    Ok(Json(found).into_response())
}

/// Pages run backwards through the FQNs: the client asks for descending order and hands back the
/// last FQN that it saw. Repeated keys (`include_source_fields`) are why this is a map.
async fn by_filter(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Reply {
    let name = query.get("index").map(String::as_str).unwrap_or_default();
    let filter: Option<Value> = match query.get("query_filter").filter(|text| !text.is_empty()) {
        Some(text) => {
            Some(serde_json::from_str(text).map_err(|e| ApiError::invalid(e.to_string()))?)
        }
        None => None,
    };
    let before = query.get("search_after");
    let size = query.get("size").and_then(|size| size.parse().ok()).unwrap_or_else(page_size);
    let found = shared.read(|world| {
        let hits = find(&world.store, index(name)?, |entity| {
            filter.as_ref().map_or(Ok(true), |filter| admits(filter, entity))
        })?;
        let earlier = |entity: &&&Object| {
            before.is_none_or(|before| text(entity, "fullyQualifiedName") < Some(before))
        };
        let page: Vec<&Object> = hits.iter().rev().filter(earlier).take(size).copied().collect();
        Ok::<_, ApiError>(answer(name, hits.len(), &page))
    })?;
    Ok(Json(found).into_response())
}

fn index(name: &str) -> Result<&'static Collection, ApiError> {
    let unknown = || ApiError::not_found(format!("no search index `{name}`"));
    collection::by_index(name).ok_or_else(unknown)
}

/// The live entities that pass, by ascending FQN.
fn find<'a>(
    store: &'a Store,
    collection: &Collection,
    admits: impl Fn(&Value) -> Result<bool, String>,
) -> Result<Vec<&'a Object>, ApiError> {
    let mut hits = Vec::new();
    for entity in store.all(collection, Include::default()) {
        if admits(&Value::Object(entity.clone())).map_err(ApiError::invalid)? {
            hits.push(entity);
        }
    }
    Ok(hits)
}
