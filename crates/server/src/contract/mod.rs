//! What an OpenMetadata server asks of its pipeline service: the routes that its Airflow client
//! knows (docs/contracts/openmetadata-http.md#routes), in every version of it at once.
//!
//! | Route | File |
//! |---|---|
//! | `health`, `health-auth`, `csrf-token`, `ip` | here |
//! | `deploy`, `delete`, `enable`, `disable` | `pipelines` |
//! | `trigger`, `kill`, `status`, `last_dag_logs` | `runs` |
//! | `run_automation`, `run_application` | `tasks` |

mod pipelines;
mod runs;
mod tasks;

use axum::extract::{FromRequestParts, Query, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router, middleware};
use http::StatusCode;
use http::request::Parts;
use ompipe_client::{Error, PipelineServiceClient};
use ompipe_core::PipelineIdentity;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::{App, Shared};
use crate::layers;
use crate::refusal::Refusal;

pub(crate) use runs::start;

/// Below which paths a server looks for its pipeline service: that of Airflow 3, that of an early
/// one, and that of Airflow 2, the only one of older servers
/// (docs/contracts/openmetadata-http.md#url-prefixes).
pub(crate) const PREFIXES: [&str; 3] =
    ["/pluginsv2/api/v2/openmetadata", "/api/v2/openmetadata", "/api/v1/openmetadata"];

/// The client asks for it before every write until it gets one
/// (docs/contracts/openmetadata-http.md#csrf-token). It protects nothing here: no browser holds
/// credentials that another site could use.
const CSRF_TOKEN: &str = "not-needed";

/// What is answered to a request that was done.
type Answer = Result<Json<Value>, Refusal>;

/// The routes, below each prefix.
pub(crate) fn routes(app: &Shared) -> Router<Shared> {
    let known = Router::new()
        .route("/health-auth", get(health_auth))
        .route("/csrf-token", get(csrf_token))
        .route("/ip", get(ip))
        .route("/deploy", post(pipelines::deploy))
        .route("/delete", delete(pipelines::delete))
        .route("/enable", post(pipelines::enable))
        .route("/disable", post(pipelines::disable))
        .route("/trigger", post(runs::trigger))
        .route("/kill", post(runs::kill))
        .route("/status", get(runs::status))
        .route("/last_dag_logs", get(runs::last_dag_logs))
        .route("/run_automation", post(tasks::run_automation))
        .route("/run_application", post(tasks::run_application))
        .route_layer(middleware::from_fn_with_state(app.clone(), layers::log_in))
        .route("/health", get(health));
    PREFIXES.iter().fold(Router::new(), |all, prefix| all.nest(prefix, known.clone()))
}

/// Whether the service is there, for anybody. Servers of 1.0 and 1.1 read the version here, without
/// credentials; later ones would read only cookies.
async fn health(State(app): State<Shared>) -> Json<Value> {
    Json(match app.version.get().await {
        Ok(version) => json!({ "status": "healthy", "version": version.as_str() }),
        Err(_) => json!({ "status": "healthy" }),
    })
}

/// The same for OpenMetadata, which compares the version with its own.
async fn health_auth(State(app): State<Shared>) -> Answer {
    let version = app.version.get().await;
    let version = version.map_err(|why| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    Ok(Json(json!({ "status": "healthy", "version": version.as_str() })))
}

async fn csrf_token() -> Json<Value> {
    Json(json!({ "csrf_token": CSRF_TOKEN }))
}

/// Where ingestions connect from.
async fn ip(State(app): State<Shared>) -> Json<Value> {
    Json(json!({ "ip": app.client.get_host_ip().unwrap_or_else(|| "unknown".to_owned()) }))
}

/// A request that was done, in words that the server's users see as its reason.
fn done(message: impl Into<String>) -> Json<Value> {
    Json(json!({ "message": message.into() }))
}

/// The name of the pipeline that a body is about: what Airflow calls the id of a DAG.
fn dag_id(body: &Value) -> Result<&str, Refusal> {
    name(body.get("dag_id").and_then(Value::as_str))
}

fn name(dag_id: Option<&str>) -> Result<&str, Refusal> {
    let name = dag_id.filter(|name| !name.is_empty());
    name.ok_or_else(|| Refusal::bad_request("dag_id: must be the name of a pipeline"))
}

/// The pipeline with a name, if one is deployed. One that OpenMetadata no longer has does not stand in
/// the way of another with its name.
///
/// # Errors
/// Several have the name, or Kubernetes refuses.
async fn deployed(app: &App, name: &str) -> Result<Option<PipelineIdentity>, Error> {
    match app.client.find_known(name).await {
        Err(Error::NotDeployed { .. }) => Ok(None),
        found => found.map(Some),
    }
}

/// The query of a request about one pipeline.
#[derive(Debug, Deserialize)]
struct Asked {
    dag_id: Option<String>,
    only_queued: Option<String>,
    task_id: Option<String>,
    run_id: Option<String>,
    after: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let asked = Query::try_from_uri(&parts.uri);
        asked.map(|Query(asked)| asked).map_err(|error| Refusal::bad_request(error.body_text()))
    }
}

impl Asked {
    fn name(&self) -> Result<&str, Refusal> {
        name(self.dag_id.as_deref())
    }
}
