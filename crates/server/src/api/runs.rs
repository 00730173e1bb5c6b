//! The runs of a pipeline: seen, started, stopped.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, StatusCode};
use ompipe_client::{Error, PipelineServiceClient, RunRequest, Started};
use ompipe_core::fields::Fields;
use ompipe_core::{ConfigOverrides, PipelineIdentity, RunId};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::info;
use utoipa::ToSchema;

use super::PREFIX;
use super::asked::{Body, Named, NamedOrArchived, NamedRun, PipelinePath, RunPath};
use super::problem::Problem;
use super::run::{Run, RunDetail};
use crate::app::{App, Shared};
use crate::contract;

/// Names what a caller wants done once, however often it has to ask for it.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// Longest such key, in bytes.
const MAX_KEY: usize = 255;

/// Runs that only the archive has which are listed.
const ARCHIVED: usize = 100;

/// The runs of a pipeline, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Runs {
    runs: Vec<Run>,
}

/// What a run is to be. Every field may be left out, and so may the whole.
#[derive(Debug, ToSchema)]
#[schema(as = RunRequest, rename_all = "camelCase")]
#[expect(dead_code, reason = "the shape for the OpenAPI document; values are never kept as such")]
pub(super) struct Requested {
    /// Its id; a new one when left out. The same id twice is one run.
    #[schema(format = "uuid")]
    pipeline_run_id: Option<String>,
    /// Keys that it has different from the configuration of its application.
    app_config_override: Option<Map<String, Value>>,
    /// Keys that it has different from the configuration of its source.
    source_config_override: Option<Map<String, Value>>,
    /// Names of the test cases to run, of a pipeline of tests.
    test_cases: Option<Vec<String>>,
}

/// A run that was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartedRun {
    /// Its id.
    #[schema(format = "uuid")]
    run_id: String,
    /// Fully qualified name of the pipeline.
    pipeline: String,
    /// Where it runs.
    namespace: String,
    /// Kind of its object.
    #[schema(example = "Job")]
    kind: &'static str,
    /// Name of its object.
    job: String,
    /// Whether it waits for its turn.
    queued: bool,
}

impl From<Started> for StartedRun {
    fn from(started: Started) -> Self {
        let Started { pipeline, namespace, run_id, kind, job_name, queued } = started;
        let (run_id, kind) = (run_id.to_string(), kind.as_str());
        Self { run_id, pipeline, namespace, kind, job: job_name, queued }
    }
}

/// List the runs of a pipeline.
///
/// Those that the cluster still knows, and the newest 100 that are archived, newest first; also of a
/// pipeline that is not deployed any more, if it is archived.
#[utoipa::path(
    get,
    path = "/pipelines/{pipeline}/runs",
    operation_id = "listRuns",
    tag = "runs",
    params(PipelinePath),
    responses((status = 200, description = "The runs", body = Runs))
)]
pub(super) async fn list(
    State(app): State<Shared>,
    NamedOrArchived(pipeline): NamedOrArchived,
) -> Result<Json<Runs>, Problem> {
    let runs = app.client.runs_with_archived(&pipeline, ARCHIVED).await?;
    Ok(Json(Runs { runs: runs.into_iter().map(Run::from).collect() }))
}

/// Get a run, with everything that is to be said about it.
///
/// The cluster and OpenMetadata are examined for it: for the state alone, the list is cheaper.
#[utoipa::path(
    get,
    path = "/pipelines/{pipeline}/runs/{runId}",
    operation_id = "getRun",
    tag = "runs",
    params(RunPath),
    responses((status = 200, description = "The run", body = RunDetail))
)]
pub(super) async fn detail(
    State(app): State<Shared>,
    named: NamedRun,
) -> Result<Json<RunDetail>, Problem> {
    let run = known(&app, &named).await?;
    let findings = app.client.diagnose(Some(&named.pipeline), Some(named.run)).await;
    Ok(Json(RunDetail::new(run, findings)))
}

/// A run that the cluster or the archive knows.
pub(super) async fn known(app: &App, named: &NamedRun) -> Result<ompipe_core::Run, Error> {
    let runs = app.client.runs_with_archived(&named.pipeline, ARCHIVED).await?;
    let run = runs.into_iter().find(|run| run.run_id == named.run);
    run.ok_or_else(|| Error::no_run(&named.pipeline, Some(named.run)))
}

/// Start a run.
///
/// At once, or as soon as fewer runs of the pipeline than its `maxActiveRuns` go on. Whoever got no
/// answer asks again with the same `Idempotency-Key` or `pipelineRunId`: that is the same run.
#[utoipa::path(
    post,
    path = "/pipelines/{pipeline}/runs",
    operation_id = "startRun",
    tag = "runs",
    params(
        PipelinePath,
        ("Idempotency-Key" = Option<String>, Header, description = "The same key is the same run of the pipeline, as long as the cluster knows that; without effect beside pipelineRunId", max_length = 255),
    ),
    request_body(content = Option<Requested>, description = "What the run is to be"),
    responses((
        status = 202, description = "The run is started, waits, or was asked for before",
        body = StartedRun, headers(("Location" = String, description = "Where the run is found")),
    ))
)]
pub(super) async fn start(
    State(app): State<Shared>,
    Named(pipeline): Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let given = body.read(read_run)?;
    let overrides = ConfigOverrides::read(&body.into_value())?;
    let run = match given {
        Some(given) => given,
        None => idempotent(&pipeline, &headers)?.unwrap_or_else(RunId::random),
    };
    if !overrides.is_empty() {
        let (deployed, _) = app.client.load(&pipeline).await?;
        deployed.with_overrides(&overrides)?;
    }
    let request = RunRequest { overrides, ..RunRequest::queued(run) };
    let started = contract::start(&app, &pipeline, request).await?;
    info!(pipeline = pipeline.fully_qualified_name, %run, "started");
    let location = app.api.path(&path_of(&pipeline, run));
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Json(StartedRun::from(started)))
        .into_response())
}

/// The id that the body names. The other fields are only noted as known here.
fn read_run(fields: &mut Fields<'_>) -> Option<RunId> {
    for known in ["appConfigOverride", "sourceConfigOverride", "testCases"] {
        fields.value(known);
    }
    fields.parsed("pipelineRunId")
}

fn idempotent(pipeline: &PipelineIdentity, headers: &HeaderMap) -> Result<Option<RunId>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
    let remedy = "must be 1 to 255 visible characters of ASCII";
    let key = key.ok_or_else(|| Problem::with(IDEMPOTENCY_KEY, remedy))?;
    Ok(Some(RunId::of_key(pipeline, key)))
}

fn path_of(pipeline: &PipelineIdentity, run: RunId) -> String {
    let name = utf8_percent_encode(&pipeline.fully_qualified_name, NON_ALPHANUMERIC);
    format!("{PREFIX}/pipelines/{name}/runs/{run}")
}

/// Stop a run.
///
/// Its pod gets its grace period and is gone soon after it. A run that has ended stays as it is.
#[utoipa::path(
    delete,
    path = "/pipelines/{pipeline}/runs/{runId}",
    operation_id = "stopRun",
    tag = "runs",
    params(RunPath),
    responses((status = 200, description = "The run: being stopped, or as it ended", body = Run))
)]
pub(super) async fn stop(State(app): State<Shared>, named: NamedRun) -> Result<Json<Run>, Problem> {
    let run = known(&app, &named).await?;
    let killed = app.client.kill_ingestion_run(&named.pipeline, named.run).await?;
    if !killed.runs.is_empty() {
        info!(pipeline = named.pipeline.fully_qualified_name, run = %named.run, "killed");
    }
    Ok(Json(killed.runs.into_iter().next().unwrap_or(run).into()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn pipeline() -> PipelineIdentity {
        PipelineIdentity {
            id: uuid::Uuid::from_u128(1),
            name: "a/b".to_owned(),
            fully_qualified_name: "shop.\"a/b\"".to_owned(),
        }
    }

    fn with_key(key: &[u8]) -> Result<Option<RunId>, Problem> {
        let value = http::HeaderValue::from_bytes(key).unwrap();
        let headers = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), value)]);
        idempotent(&pipeline(), &headers)
    }

    #[test]
    fn a_key_is_a_run() {
        let run = with_key(b"nightly-2026-11-26").unwrap();
        assert_eq!(run, Some(RunId::of_key(&pipeline(), "nightly-2026-11-26")));
        assert_eq!(idempotent(&pipeline(), &HeaderMap::new()).unwrap(), None);
    }

    #[rstest]
    #[case(b"")]
    #[case(&[b'x'; MAX_KEY + 1])]
    #[case("ü".as_bytes())]
    fn a_key_that_is_none_is_told(#[case] key: &[u8]) {
        let shown = serde_json::to_value(with_key(key).unwrap_err()).unwrap();
        assert_eq!(shown["problems"][0]["field"], IDEMPOTENCY_KEY, "{shown}");
    }

    #[test]
    fn a_name_is_one_segment_of_the_path() {
        let run: RunId = "5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb01".parse().unwrap();
        let expected = format!("/api/v1/pipelines/shop%2E%22a%2Fb%22/runs/{run}");
        assert_eq!(path_of(&pipeline(), run), expected);
    }
}
