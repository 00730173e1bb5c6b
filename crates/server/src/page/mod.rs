//! The page for people, at `/`: what fails, what runs, what comes next, and why. Made on the server of
//! the same [`Snapshot`] as the API's lists; a small script keeps it up to date
//! and shows logs. Nothing comes from elsewhere, and nothing is inline.
//!
//! | Path | File |
//! |---|---|
//! | `/` | `overview` |
//! | `/pipelines` | `pipelines` |
//! | `/pipelines/{pipeline}` | `pipeline` |
//! | `/pipelines/{pipeline}/runs/{runId}` | `run` |
//! | what changes something, with `ui.actions` | `actions` |
//!
//! `parts` has what several of them show, `text` makes names and times harmless and readable.

mod actions;
mod overview;
mod parts;
mod pipeline;
mod pipelines;
mod run;
mod text;

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use maud::{Markup, html};
use ompipe_client::Error;

use crate::api::access;
use crate::app::{App, Shared};
use crate::board::Snapshot;
use crate::refusal::presentable;

/// Own style, own script, own forms, and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// How old what is shown may be.
const MAX_AGE: Duration = Duration::from_secs(2);

/// The routes; none where the page is switched off.
pub(crate) fn routes(app: &Shared) -> Router<Shared> {
    if !app.ui.enabled {
        return Router::new();
    }
    let mut pages = Router::new()
        .route("/", get(overview::show))
        .route("/pipelines", get(pipelines::show))
        .route("/pipelines/{pipeline}", get(pipeline::show))
        .route("/pipelines/{pipeline}/runs/{runId}", get(run::show))
        .route("/assets/page.css", get(style))
        .route("/assets/page.js", get(script));
    if app.ui.actions {
        pages = pages
            .route("/pipelines/{pipeline}/runs", get(actions::ask_run).post(actions::run))
            .route("/pipelines/{pipeline}/pause", get(actions::ask_pause).post(actions::pause))
            .route("/pipelines/{pipeline}/resume", get(actions::ask_resume).post(actions::resume));
        let kill = get(actions::ask_kill).post(actions::kill);
        pages = pages.route("/pipelines/{pipeline}/runs/{runId}/kill", kill);
    }
    pages
        .route_layer(middleware::from_fn_with_state(app.clone(), access::guard))
        .route_layer(middleware::from_fn(harden))
}

async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

async fn script() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT).into_response()
}

/// Pages are for the caller alone, and load nothing from elsewhere; compressed where that is understood.
async fn harden(request: Request, next: Next) -> Response {
    let takes_gzip = crate::api::takes_gzip(request.headers());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if takes_gzip { compressed(response).await } else { response }
}

async fn compressed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    // Bodies of pages are in memory already.
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    parts.headers.remove(http::header::CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    Response::from_parts(parts, gzip(&bytes).into())
}

/// A `Vec` takes everything.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let _written = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// Why a page is not shown.
struct Refused(StatusCode, String);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let status = crate::api::Problem::from(error);
        Self(status.status_code(), status.detail().to_owned())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, detail) = self;
        let title = status.canonical_reason().unwrap_or("Error");
        let page = html! {
            (maud::DOCTYPE)
            html lang="en" {
                head { meta charset="utf-8"; title { (title) " · ompipe" } }
                body { main { h1 { (title) } p { (text::visible(&presentable(&detail))) } } }
            }
        };
        (status, Html(page.into_string())).into_response()
    }
}

type Shown = Result<Html<String>, Refused>;

fn shown(page: Markup) -> Html<String> {
    Html(page.into_string())
}

/// What every page needs: what there is to see, the path and the query of the request.
struct Visit {
    app: Shared,
    snapshot: Arc<Snapshot>,
    path: HashMap<String, String>,
    query: HashMap<String, String>,
}

impl FromRequestParts<Shared> for Visit {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Refused> {
        let bad = |()| Refused(StatusCode::BAD_REQUEST, "the address cannot be read".to_owned());
        let app = Arc::clone(app);
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, &()).await;
        let Query(query) = Query::try_from_uri(&parts.uri).map_err(|_| bad(()))?;
        let snapshot = app.board.snapshot(&app.client, MAX_AGE).await?;
        let path = path.map(|Path(path)| path).unwrap_or_default();
        Ok(Self { app, snapshot, path, query })
    }
}

impl Visit {
    fn site(&self) -> parts::Site<'_> {
        let namespace = self.app.client.config().namespace.as_str();
        parts::Site::new(self.app.api.base_path(), namespace, &self.snapshot)
    }

    fn part(&self, name: &str) -> &str {
        self.path.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A value of the query, unless it is empty.
    fn asked(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The deployed pipeline of the path.
    fn pipeline(&self) -> Result<&ompipe_client::DeployedPipeline, Refused> {
        let name = self.part("pipeline");
        let found = self.snapshot.pipelines.iter();
        let mut found = found.filter(|one| one.identity.fully_qualified_name == name);
        found.next().ok_or_else(|| {
            let detail = format!("pipeline {name} is not deployed in this namespace");
            Refused(StatusCode::NOT_FOUND, detail)
        })
    }

    /// The run of the path.
    fn run(&self) -> Result<&ompipe_core::archive::RunRecord, Refused> {
        let id = self.part("runId");
        let mut runs = self.snapshot.runs_of(self.part("pipeline"));
        runs.find(|run| run.run_id.to_string() == id).ok_or_else(|| {
            let detail = "there is no such run, in the cluster or in the archive".to_owned();
            Refused(StatusCode::NOT_FOUND, detail)
        })
    }
}

/// Whether the page may change something.
const fn may_act(app: &App) -> bool {
    app.ui.actions
}

#[cfg(test)]
mod tests;
