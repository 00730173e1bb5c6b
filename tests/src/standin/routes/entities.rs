//! Create, read, list, change, delete: the same for every collection.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use json_patch::Patch;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::api_error::ApiError;
use super::super::clock::now_ms;
use super::super::collection::Collection;
use super::super::entity::{Object, text};
use super::super::shared::Shared;
use super::super::store::{Deletion, Include, Refused, Store};
use super::Reply;
use super::body::JsonBody;

type Kind = Extension<&'static Collection>;

pub(super) fn router(collection: &'static Collection) -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(list).post(create).put(put_one))
        .route("/bulk", put(put_many))
        .route("/restore", put(restore))
        .route("/{id}", get(by_id).patch(change).delete(remove))
        .route("/name/{fqn}", get(by_name))
        .layer(Extension(collection))
}

/// The queries of reads and deletes; anything else in them, like `fields`, changes nothing here.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Options {
    include: Include,
    recursive: bool,
    hard_delete: bool,
}

async fn by_name(
    State(shared): State<Arc<Shared>>,
    Extension(collection): Kind,
    Path(fqn): Path<String>,
    Query(options): Query<Options>,
) -> Reply {
    let entity =
        shared.read(|world| world.store.by_name(collection, &fqn, options.include).cloned())?;
    Ok(Json(entity).into_response())
}

async fn by_id(
    State(shared): State<Arc<Shared>>,
    Extension(collection): Kind,
    Path(id): Path<String>,
    Query(options): Query<Options>,
) -> Reply {
    let entity =
        shared.read(|world| world.store.by_id(collection, &id, options.include).cloned())?;
    Ok(Json(entity).into_response())
}

async fn create(
    State(shared): State<Arc<Shared>>,
    Extension(collection): Kind,
    JsonBody(body): JsonBody<Object>,
) -> Reply {
    let written = shared.write(|world| world.store.create(collection, &body, now_ms()))?;
    Ok((StatusCode::CREATED, Json(written.entity)).into_response())
}

async fn put_one(
    State(shared): State<Arc<Shared>>,
    Extension(collection): Kind,
    JsonBody(body): JsonBody<Object>,
) -> Reply {
    let written = shared.write(|world| world.store.put(collection, &body, now_ms()))?;
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(written.entity)).into_response())
}

async fn put_many(
    State(shared): State<Arc<Shared>>,
    Extension(collection): Kind,
    JsonBody(bodies): JsonBody<Vec<Object>>,
) -> Reply {
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    shared.write(|world| {
        for body in &bodies {
            match world.store.put(collection, body, now_ms()) {
                Ok(written) => passed.push(bulk_success(&written.entity)),
                Err(refused) => failed.push(bulk_failure(body, &refused)),
            }
        }
    });
    let status = match (passed.is_empty(), failed.is_empty()) {
        (_, true) => "success",
        (true, false) => "failure",
        (false, false) => "partialSuccess",
    };
    Ok(Json(json!({
        "dryRun": false,
        "status": status,
        "numberOfRowsProcessed": bodies.len(),
        "numberOfRowsPassed": passed.len(),
        "numberOfRowsFailed": failed.len(),
        "successRequest": passed,
        "failedRequest": failed,
    }))
    .into_response())
}

fn bulk_success(entity: &Object) -> Value {
    json!({ "request": text(entity, "fullyQualifiedName"), "status": 200 })
}

fn bulk_failure(body: &Object, refused: &Refused) -> Value {
    json!({ "request": text(body, "name"), "status": 400, "message": refused.to_string() })
}

async fn change(
    State(shared): State<Arc<Shared>>,
    Extension(collection): Kind,
    Path(id): Path<String>,
    JsonBody(patch): JsonBody<Patch>,
) -> Reply {
    let entity = shared.write(|world| world.store.patch(collection, &id, &patch, now_ms()))?;
    Ok(Json(entity).into_response())
}

async fn remove(
    State(shared): State<Arc<Shared>>,
    Extension(collection): Kind,
    Path(id): Path<String>,
    Query(options): Query<Options>,
) -> Reply {
    let how = Deletion { recursive: options.recursive, hard: options.hard_delete };
    let entity = shared.write(|world| {
        let entity = world.store.delete(collection, &id, how)?;
        if how.hard {
            world.runs.forget(&entity);
        }
        Ok::<_, Refused>(entity)
    })?;
    Ok(Json(entity).into_response())
}

#[derive(Debug, Deserialize)]
struct ById {
    id: String,
}

async fn restore(
    State(shared): State<Arc<Shared>>,
    Extension(collection): Kind,
    JsonBody(ById { id }): JsonBody<ById>,
) -> Reply {
    let entity = shared.write(|world| world.store.restore(collection, &id, now_ms()))?;
    Ok(Json(entity).into_response())
}

/// The queries of a listing; every key that is not about paging is a filter.
#[derive(Debug, Default)]
struct Listing {
    include: Include,
    limit: usize,
    after: usize,
    filters: BTreeMap<String, String>,
}

impl Listing {
    const PLAIN: [&str; 5] = ["include", "limit", "after", "before", "fields"];

    fn parse(mut query: BTreeMap<String, String>) -> Result<Self, ApiError> {
        let number = |key: &str, default: usize| match query.get(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| not_a_number(key, text)),
        };
        let (limit, after) = (number("limit", 10)?, number("after", 0)?);
        let include = match query.get("include").map(String::as_str) {
            None | Some("non-deleted") => Include::NonDeleted,
            Some("deleted") => Include::Deleted,
            Some("all") => Include::All,
            Some(other) => return Err(ApiError::invalid(format!("include={other} is unknown"))),
        };
        query.retain(|key, _| !Self::PLAIN.contains(&key.as_str()));
        Ok(Self { include, limit, after, filters: query })
    }

    fn page(&self, store: &Store, collection: &Collection) -> Value {
        let all: Vec<&Object> =
            store.all(collection, self.include).filter(|entity| self.admits(entity)).collect();
        let page: Vec<&Object> = all.iter().skip(self.after).take(self.limit).copied().collect();
        let mut paging = json!({ "total": all.len() });
        let next = self.after.saturating_add(page.len());
        if next < all.len() {
            paging["after"] = next.to_string().into();
        }
        json!({ "data": page, "paging": paging })
    }

    fn admits(&self, entity: &Object) -> bool {
        self.filters.iter().all(|(key, wanted)| match key.as_str() {
            // Any ancestor will do: the client lists the tables of a schema by `database=<schema>`.
            "service" | "database" | "databaseSchema" => is_below(entity, wanted),
            _ => text(entity, key).is_none_or(|value| value == wanted),
        })
    }
}

fn is_below(entity: &Object, ancestor: &str) -> bool {
    let fqn = text(entity, "fullyQualifiedName").unwrap_or_default();
    fqn.strip_prefix(ancestor).is_some_and(|rest| rest.starts_with('.'))
}

fn not_a_number(key: &str, text: &str) -> ApiError {
    ApiError::invalid(format!("{key}={text} is not a number"))
}

async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(collection): Kind,
    Query(query): Query<BTreeMap<String, String>>,
) -> Reply {
    let listing = Listing::parse(query)?;
    let page = shared.read(|world| listing.page(&world.store, collection));
    Ok(Json(page).into_response())
}
