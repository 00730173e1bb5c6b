//! `trigger`, `kill`, `status`, `last_dag_logs`: the runs of a pipeline.

use axum::Json;
use axum::extract::State;
use ompipe_client::{Error, LogSelection, PipelineServiceClient, RunRequest, Started};
use ompipe_core::logs::{LogPage, PageError};
use ompipe_core::report::waiting_step;
use ompipe_core::version::ReleaseLine;
use ompipe_core::{ConfigOverrides, IngestionPipeline, PipelineIdentity, PipelineType, Run, RunId};
use serde_json::{Map, Value, json};
use tracing::{info, warn};

use super::{Answer, Asked, dag_id, deployed, done};
use crate::app::{App, Shared};
use crate::document::Document;
use crate::refusal::Refusal;
use crate::settings::ServerVersion;

/// Key of a log's text where the request names none.
const DEFAULT_TASK: &str = "ingestion_task";
/// Keys of an answer with a log that are no text (docs/contracts/openmetadata-http.md#logs).
const RESERVED_TASKS: [&str; 3] = ["total", "after", "error"];

/// Starts a run of a deployed pipeline, or lets it wait for its turn.
pub(super) async fn trigger(State(app): State<Shared>, Document(body, _share): Document) -> Answer {
    let name = dag_id(&body)?;
    let request = run_request(body.get("conf").unwrap_or(&Value::Null))?;
    let identity = app.client.find_known(name).await?;
    let started = start(&app, &identity, request).await?;
    info!(pipeline = identity.fully_qualified_name, run = %started.run_id, "triggered");
    let Started { run_id, job_name, kind, queued, .. } = started;
    let words = if queued { "waits for its turn" } else { "is started" };
    let message =
        format!("run {run_id} of pipeline {name:?} {words} as {} {job_name}", kind.as_str());
    Ok(Json(json!({ "message": message, "runId": run_id.to_string() })))
}

/// What `conf` asks for. A run whose id the server made up has a row there already.
fn run_request(conf: &Value) -> Result<RunRequest, Refusal> {
    let overrides = ConfigOverrides::read(conf)?;
    let given = match conf.get("pipelineRunId") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(
            id.parse::<RunId>()
                .map_err(|remedy| Refusal::bad_request(format!("conf.pipelineRunId: {remedy}")))?,
        ),
        Some(_) => return Err(Refusal::bad_request("conf.pipelineRunId: must be a string")),
    };
    let recorded = given.is_some();
    Ok(RunRequest {
        overrides,
        recorded,
        ..RunRequest::queued(given.unwrap_or_else(RunId::random))
    })
}

/// The type of the service is asked for anew, since it may have been changed; a server that does not
/// answer keeps no run from starting.
pub(crate) async fn start(
    app: &App,
    identity: &PipelineIdentity,
    request: RunRequest,
) -> Result<Started, Error> {
    let (pipeline, service) = app.client.load(identity).await?;
    let request = RunRequest { only_deployed: true, ..fitting(request, &pipeline) };
    match app.client.run_pipeline(pipeline.clone(), None, request.clone()).await {
        Err(Error::OpenMetadata { doing, source }) if service.is_some() => {
            warn!(%source, doing, "the service is taken as it was at the last deploy");
            app.client.run_pipeline(pipeline, service, request).await
        }
        done => done,
    }
}

/// Airflow's plugin passes an override of an application's config by in silence where the pipeline is
/// none, and servers rely on that: here it leaves a line in the log.
fn fitting(request: RunRequest, pipeline: &IngestionPipeline) -> RunRequest {
    if pipeline.pipeline_type == PipelineType::Application {
        return request;
    }
    let (overrides, had_some) = request.overrides.without_app_config();
    if had_some {
        let pipeline = &pipeline.identity.fully_qualified_name;
        warn!(pipeline, "appConfigOverride is for applications: this run goes on without it");
    }
    RunRequest { overrides, ..request }
}

/// Stops every run of a pipeline. Where nothing runs there is nothing to stop.
pub(super) async fn kill(State(app): State<Shared>, Document(body, _share): Document) -> Answer {
    let name = dag_id(&body)?;
    let nothing = || Ok(done(format!("nothing runs of {name:?}")));
    let Some(identity) = deployed(&app, name).await? else { return nothing() };
    let killed = app.client.kill_ingestion(&identity).await?;
    let runs: Vec<String> = killed.runs.iter().map(|run| run.run_id.to_string()).collect();
    info!(pipeline = identity.fully_qualified_name, ?runs, "killed");
    if runs.is_empty() {
        return nothing();
    }
    Ok(done(format!("stopped of {name:?}: {}", runs.join(", "))))
}

impl Asked {
    /// Which run's log is wanted; `None` is the latest.
    fn run(&self) -> Result<Option<RunId>, Refusal> {
        let asked = self.run_id.as_deref().filter(|id| !id.is_empty());
        let parsed = asked.map(str::parse::<RunId>).transpose();
        parsed.map_err(|remedy| Refusal::bad_request(format!("run_id: {remedy}")))
    }

    /// Under which key the text of a log is answered: the one that was asked for.
    fn task_key(&self) -> &str {
        let asked = self.task_id.as_deref().unwrap_or_default();
        if asked.is_empty() || RESERVED_TASKS.contains(&asked) { DEFAULT_TASK } else { asked }
    }
}

/// The runs that wait and that the server does not know of itself, newest first
/// (docs/contracts/openmetadata-http.md#status): it shows its own rows and these together, and the
/// same run twice if both have it.
pub(super) async fn status(State(app): State<Shared>, asked: Asked) -> Answer {
    let identity = match deployed(&app, asked.name()?).await {
        Ok(Some(identity)) => identity,
        Ok(None) | Err(Error::Ambiguous { .. }) => return Ok(Json(json!([]))),
        Err(error) => return Err(error.into()),
    };
    let all = asked.only_queued.as_deref() == Some("false");
    let runs = if all {
        app.client.pipeline_runs(&identity).await?
    } else {
        app.client.queued_pipeline_status(&identity).await?
    };
    let unknown = runs.iter().filter(|run| all || !run.recorded);
    let has_steps = knows_steps(app.version.get().await.ok().as_ref());
    Ok(Json(unknown.map(|run| pipeline_status(run, has_steps)).collect()))
}

/// Whether a server's `PipelineStatus` has the field `status`; a server of unknown version may not.
fn knows_steps(server: Option<&ServerVersion>) -> bool {
    let line = server.and_then(|version| ReleaseLine::in_text(version.as_str()));
    line.is_some_and(|line| line >= ReleaseLine::new(1, 3))
}

/// A `PipelineStatus` with the fields of its schema alone: one more loses the whole list.
fn pipeline_status(run: &Run, has_steps: bool) -> Value {
    let milliseconds = |time: jiff::Timestamp| Value::from(time.as_millisecond());
    let mut status = Map::from_iter([
        ("runId".to_owned(), run.run_id.to_string().into()),
        ("pipelineState".to_owned(), run.state.as_str().into()),
    ]);
    let times = [("startDate", run.created), ("timestamp", run.created), ("endDate", run.finished)];
    for (key, time) in times {
        if let Some(time) = time {
            status.insert(key.to_owned(), milliseconds(time));
        }
    }
    if let Some((reason, message)) = run.reason.zip(run.message.as_deref()).filter(|_| has_steps) {
        status.insert("status".to_owned(), json!([waiting_step(reason, message)]));
    }
    Value::Object(status)
}

/// One page of the log of the run that is named, else of the latest one. Before there is one, it is empty: a server takes another status
/// than 200 for a failure.
pub(super) async fn last_dag_logs(State(app): State<Shared>, asked: Asked) -> Answer {
    let identity = app.client.find_known(asked.name()?).await?;
    let selection = LogSelection { run: asked.run()?, ..LogSelection::default() };
    let after = asked.after.as_deref();
    let page = match app.log_page(&identity, selection, after).await {
        Ok(page) => page,
        // The file of the log was rotated since the page before was read: the server goes on when there
        // is as much again, and takes a refusal for the end.
        Err(Error::Page(PageError::BehindTheEnd { total, .. })) => {
            LogPage { total, ..empty_page() }
        }
        // Only where no log follows: a server goes on reading behind what it got first.
        Err(error @ Error::NoLog { ended: true, .. }) => sentence(&error),
        Err(Error::NoLog { .. } | Error::NoRuns(_)) => empty_page(),
        // Its pod went while it was looked for.
        Err(Error::Kubernetes(error)) if error.is_absence() => empty_page(),
        Err(error) => return Err(error.into()),
    };
    let mut answer = Map::from_iter([
        (asked.task_key().to_owned(), Value::from(page.text)),
        ("total".to_owned(), Value::from(page.total)),
    ]);
    // Absent on the last page: the server reads on as long as it is there.
    if let Some(after) = page.after {
        answer.insert("after".to_owned(), Value::from(after));
    }
    Ok(Json(Value::Object(answer)))
}

/// Why there is no log, where one reads it.
fn sentence(error: &Error) -> LogPage {
    LogPage { text: format!("ompipe: {error}\n"), total: 1, after: None }
}

fn empty_page() -> LogPage {
    LogPage { text: String::new(), total: 1, after: None }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(json!(null), false)]
    #[case(json!({}), false)]
    #[case(json!({ "pipelineRunId": null, "future": [1] }), false)]
    #[case(json!({ "pipelineRunId": "5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb01" }), true)]
    fn a_run_with_an_id_is_on_record(#[case] conf: Value, #[case] recorded: bool) {
        assert_eq!(run_request(&conf).unwrap().recorded, recorded);
    }

    #[rstest]
    #[case(json!({ "pipelineRunId": "manual__2024" }), "conf.pipelineRunId: must be a UUID")]
    #[case(json!({ "pipelineRunId": 7 }), "conf.pipelineRunId: must be a string")]
    #[case(json!({ "appConfigOverride": 7 }), "appConfigOverride")]
    fn what_cannot_be_is_a_bad_request(#[case] conf: Value, #[case] expected: &str) {
        let refusal = run_request(&conf).unwrap_err();
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
        assert!(refusal.error.contains(expected), "{}", refusal.error);
    }

    #[rstest]
    #[case::before_steps("1.2.5", false)]
    #[case::with_steps("1.3.0", true)]
    #[case::newest("2.0.7", true)]
    fn a_server_gets_the_reason_of_a_wait_in_a_step_that_it_knows(
        #[case] version: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(knows_steps(Some(&version.parse().unwrap())), expected);
        assert!(!knows_steps(None));
    }

    #[rstest]
    #[case(None, "ingestion_task")]
    #[case(Some("profiler_task"), "profiler_task")]
    #[case(Some("total"), "ingestion_task")]
    #[case(Some(""), "ingestion_task")]
    fn the_task_that_was_asked_for_is_the_key(#[case] task: Option<&str>, #[case] key: &str) {
        assert_eq!(asked(task, None).task_key(), key);
    }

    #[rstest]
    #[case(None, None)]
    #[case(Some(""), None)]
    #[case(
        Some("a1b2c3d4-e5f6-7890-abcd-ef1234567890"),
        Some("a1b2c3d4-e5f6-7890-abcd-ef1234567890")
    )]
    fn the_run_that_was_asked_for_is_the_one(
        #[case] run: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        let found = asked(None, run).run().unwrap().map(|run| run.to_string());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn a_run_without_a_log_gets_a_sentence() {
        let run = "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap();
        let error = Error::NoLog { run, why: "its pods are gone".to_owned(), ended: true };
        let expected = format!("ompipe: run {run} has no log: its pods are gone\n");
        assert_eq!(sentence(&error).text, expected);
    }

    #[test]
    fn a_run_id_that_is_no_uuid_is_refused() {
        assert!(asked(None, Some("latest")).run().is_err());
    }

    fn asked(task: Option<&str>, run: Option<&str>) -> Asked {
        let (task_id, run_id) = (task.map(str::to_owned), run.map(str::to_owned));
        Asked { dag_id: Some("p".to_owned()), only_queued: None, task_id, run_id, after: None }
    }
}
