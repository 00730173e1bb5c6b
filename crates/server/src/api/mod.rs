//! ompipe's own API, for scripts, dashboards and people (docs/api.md): `/api/v1`.
//!
//! | Below `/api/v1` | File |
//! |---|---|
//! | `pipelines`, `pipelines/{pipeline}`, `…/schedule` | `pipelines` |
//! | `…/runs`, `…/runs/{runId}` | `runs`, shown as `run` has it |
//! | `runs`, `runs/statistics`, `…/runs/{runId}/timeline` | `history` |
//! | `runs/changes` | `changes` |
//! | `…/runs/{runId}/logs`, `…/logs/pages/{page}` | `logs`, with `range` and `gzip` |
//! | `…/runs/{runId}/logs/follow` | `follow` |
//! | `health` | `health` |
//! | `openapi.json`, the page at its root | `openapi`, `page` |
//!
//! `access` says who may do what, `asked` reads requests, `problem` refuses them.

pub(crate) mod access;
mod asked;
mod changes;
mod follow;
mod gzip;
mod health;
mod history;
mod logs;
mod openapi;
mod page;
mod pipelines;
mod problem;
mod range;
mod run;
mod runs;
mod token;

use std::fmt;
use std::sync::Arc;

use axum::routing::get;
use axum::{Router, middleware};
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::Shared;
use crate::contract;
use crate::settings::{BasePath, Settings};

pub(crate) use problem::Problem;

use access::Tokens;
use changes::Subscribers;

/// Below which path it is found.
const PREFIX: &str = "/api/v1";
/// Logs that are read at the same time, followed or whole: each is a connection to the cluster.
const LOG_READERS: usize = 128;

/// What the API needs beside the rest of the application.
pub(crate) struct Api {
    base_path: BasePath,
    /// The document and the page, which never change.
    document: String,
    page: String,
    /// What is known of tokens of Kubernetes; `None` when they are not taken.
    tokens: Option<Tokens>,
    log_readers: Arc<Semaphore>,
    subscribers: Subscribers,
}

impl Api {
    pub(crate) fn new(settings: &Settings) -> Self {
        let document = openapi::document(&settings.base_path);
        Self {
            base_path: settings.base_path.clone(),
            page: page::render(&document, &settings.base_path),
            document: document.to_string(),
            tokens: settings
                .kubernetes_authentication
                .then(|| Tokens::new(&settings.token_audience)),
            log_readers: Arc::new(Semaphore::new(LOG_READERS)),
            subscribers: Subscribers::new(),
        }
    }

    /// Below which path everything is served.
    pub(crate) const fn base_path(&self) -> &BasePath {
        &self.base_path
    }

    /// A path as callers have to ask for it.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base_path)
    }

    /// A place for one who reads a log.
    fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.log_readers).try_acquire_owned().map_err(|_| {
            let detail = "too many logs are being read at the same time";
            Problem::plain(StatusCode::SERVICE_UNAVAILABLE, detail).and_retry_after(5)
        })
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("base_path", &self.base_path).finish_non_exhaustive()
    }
}

/// Whether a caller can read gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    gzip::is_accepted(headers)
}

/// True for the paths of the API. Among them are those that the Airflow client of older servers asks
/// for, which reads other refusals.
pub(crate) fn has_path(path: &str) -> bool {
    let below = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(PREFIX) && !contract::PREFIXES.iter().any(|prefix| below(prefix))
}

/// The routes.
pub(crate) fn routes(app: &Shared) -> Router<Shared> {
    let below = Router::new()
        .route("/", get(page::show))
        .route("/openapi.json", get(openapi::show))
        .route("/health", get(health::show))
        .route("/pipelines", get(pipelines::list))
        .route("/runs", get(history::list))
        .route("/runs/statistics", get(history::statistics))
        .route("/runs/changes", get(changes::follow))
        .route("/pipelines/{pipeline}", get(pipelines::detail).patch(pipelines::change))
        .route("/pipelines/{pipeline}/schedule", get(pipelines::schedule))
        .route("/pipelines/{pipeline}/runs", get(runs::list).post(runs::start))
        .route("/pipelines/{pipeline}/runs/{runId}", get(runs::detail).delete(runs::stop))
        .route("/pipelines/{pipeline}/runs/{runId}/timeline", get(history::timeline))
        .route("/pipelines/{pipeline}/runs/{runId}/logs", get(logs::whole))
        .route("/pipelines/{pipeline}/runs/{runId}/logs/pages/{page}", get(logs::page))
        .route("/pipelines/{pipeline}/runs/{runId}/logs/follow", get(follow::follow));
    Router::new()
        .nest(PREFIX, below)
        .route("/api/v1/", get(page::show))
        .route_layer(middleware::from_fn_with_state(app.clone(), access::guard))
        .route_layer(middleware::map_response(harden))
}

/// Answers are for the caller alone, and are what they say they are: a log may look like a page.
async fn harden<B>(mut response: http::Response<B>) -> http::Response<B> {
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
