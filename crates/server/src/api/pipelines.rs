//! The deployed pipelines, and when they run.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use ompipe_client::{DeployedPipeline, PipelineServiceClient};
use ompipe_core::archive::RunRecord;
use ompipe_core::{IngestionPipeline, RunId, Schedule, Service};
use serde::Serialize;
use tracing::info;
use utoipa::ToSchema;

use super::asked::{Asked, Body, Named, PipelinePath};
use super::problem::Problem;
use super::run::{Run, RunState};
use crate::app::Shared;
use crate::board::STRIP;

/// Fire times that are told when nobody says how many.
const FIRE_TIMES: usize = 5;
/// Most fire times of one answer.
const MOST_FIRE_TIMES: i64 = 100;

/// The deployed pipelines, by their fully qualified names.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pipelines {
    pipelines: Vec<Pipeline>,
}

/// A deployed pipeline.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pipeline {
    /// Id of the entity in OpenMetadata.
    #[schema(format = "uuid")]
    id: String,
    /// Its name, unique within its service.
    #[schema(example = "nightly")]
    name: String,
    /// Its name with that of its service, unique in the server.
    #[schema(example = "shop.nightly")]
    fully_qualified_name: String,
    /// What it ingests, in lower case.
    #[schema(example = "metadata")]
    #[serde(rename = "pipelineType")]
    kind: String,
    /// When it runs of itself; absent when it runs on demand only.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<Plan>,
    /// When it runs next of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run: Option<Timestamp>,
    /// Its latest run that the cluster still knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<Run>,
    /// Its last runs, newest first; only in the list of all pipelines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    last_runs: Vec<ShortRun>,
    /// When it last ended well, as far as its runs are known; only in the list of all pipelines.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<Timestamp>,
    /// Since when each of its runs failed; only in the list of all pipelines.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
}

/// A run of a pipeline, in short.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShortRun {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    run_id: RunId,
    /// What it does, or how it ended.
    state: RunState,
    /// When it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<Timestamp>,
}

impl From<&RunRecord> for ShortRun {
    fn from(run: &RunRecord) -> Self {
        let RunRecord { run_id, state, created, finished, .. } = *run;
        Self { run_id, state: state.into(), created, finished }
    }
}

/// What is to be different about a pipeline.
#[derive(Debug, ToSchema)]
#[schema(as = PipelineChange)]
#[expect(dead_code, reason = "the shape for the OpenAPI document; values are never kept as such")]
pub(super) struct Wanted {
    /// Whether its schedule is to be switched off.
    suspended: bool,
}

/// When a pipeline runs of itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    /// Minute, hour, day of month, month, day of week.
    #[schema(example = "0 2 * * *")]
    cron: String,
    /// In whose time: a zone of the IANA database.
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    /// Whether it is switched off.
    suspended: bool,
}

/// A deployed pipeline, and what its runs are made of.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PipelineDetail {
    #[serde(flatten)]
    pipeline: Pipeline,
    /// The service that it ingests; absent for applications.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<IngestedService>,
    /// How many of its runs may go on at a time; more of them wait.
    max_active_runs: usize,
}

/// The service that a pipeline ingests. How it is reached is not told.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IngestedService {
    /// Its name.
    name: String,
    /// What kind of service it is.
    #[schema(example = "databaseService")]
    kind: String,
    /// Its type at the last deploy, if that had to know it.
    #[schema(example = "Postgres")]
    #[serde(skip_serializing_if = "Option::is_none")]
    service_type: Option<String>,
}

/// When a pipeline runs of itself from now on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FireTimes {
    /// Absent when it runs on demand only.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<Plan>,
    /// The next times; none when it is switched off.
    next: Vec<Timestamp>,
}

impl From<DeployedPipeline> for Pipeline {
    fn from(deployed: DeployedPipeline) -> Self {
        let schedule = plan(&deployed);
        let DeployedPipeline { identity, pipeline_type, next_run, last_run, .. } = deployed;
        Self {
            id: identity.id.to_string(),
            name: identity.name,
            fully_qualified_name: identity.fully_qualified_name,
            kind: pipeline_type,
            schedule,
            next_run,
            last_run: last_run.map(Run::from),
            last_runs: Vec::new(),
            last_success: None,
            failing_since: None,
        }
    }
}

fn plan(deployed: &DeployedPipeline) -> Option<Plan> {
    let schedule = deployed.timetable.as_ref()?;
    Some(Plan {
        cron: schedule.as_cron().to_owned(),
        time_zone: schedule.zone().to_string(),
        suspended: deployed.suspended,
    })
}

/// List the pipelines.
///
/// Every deployed pipeline with its schedule and its latest run.
#[utoipa::path(
    get,
    path = "/pipelines",
    operation_id = "listPipelines",
    tag = "pipelines",
    responses((status = 200, description = "The pipelines", body = Pipelines))
)]
pub(super) async fn list(State(app): State<Shared>) -> Result<Json<Pipelines>, Problem> {
    let snapshot = app.board.snapshot(&app.client, Duration::ZERO).await?;
    let shown = |deployed: &DeployedPipeline| {
        let name = &deployed.identity.fully_qualified_name;
        Pipeline {
            last_runs: snapshot.runs_of(name).take(STRIP).map(ShortRun::from).collect(),
            last_success: snapshot.last_success(name),
            failing_since: snapshot.failing_since(name),
            ..deployed.clone().into()
        }
    };
    Ok(Json(Pipelines { pipelines: snapshot.pipelines.iter().map(shown).collect() }))
}

/// Get a pipeline.
#[utoipa::path(
    get,
    path = "/pipelines/{pipeline}",
    operation_id = "getPipeline",
    tag = "pipelines",
    params(PipelinePath),
    responses((status = 200, description = "The pipeline", body = PipelineDetail))
)]
pub(super) async fn detail(
    State(app): State<Shared>,
    Named(identity): Named,
) -> Result<Json<PipelineDetail>, Problem> {
    let (deployed, (stored, service)) =
        tokio::try_join!(app.client.pipeline(&identity), app.client.load(&identity))?;
    Ok(Json(PipelineDetail {
        pipeline: deployed.into(),
        max_active_runs: stored.max_active_runs.get(),
        service: ingested(&stored, service),
    }))
}

/// Change a pipeline.
///
/// Switches its schedule off and on. Runs that go on are not touched.
#[utoipa::path(
    patch,
    path = "/pipelines/{pipeline}",
    operation_id = "changePipeline",
    tag = "pipelines",
    params(PipelinePath),
    request_body(content = Wanted, description = "What is to be different"),
    responses((status = 200, description = "The pipeline as it is now", body = Pipeline))
)]
pub(super) async fn change(
    State(app): State<Shared>,
    Named(identity): Named,
    body: Body,
) -> Result<Json<Pipeline>, Problem> {
    let suspended = body.read(|fields| fields.boolean("suspended"))?;
    let suspended = suspended.ok_or_else(|| Problem::with("suspended", "is missing"))?;
    app.client.toggle_ingestion(&identity, !suspended).await?;
    info!(pipeline = identity.fully_qualified_name, suspended, "changed");
    Ok(Json(app.client.pipeline(&identity).await?.into()))
}

fn ingested(pipeline: &IngestionPipeline, service: Option<Service>) -> Option<IngestedService> {
    let reference = pipeline.service.as_ref()?;
    Some(IngestedService {
        name: reference.name.clone(),
        kind: reference.kind.clone(),
        service_type: service.map(|service| service.service_type),
    })
}

/// Get the next fire times.
#[utoipa::path(
    get,
    path = "/pipelines/{pipeline}/schedule",
    operation_id = "getSchedule",
    tag = "pipelines",
    params(
        PipelinePath,
        ("count" = Option<u8>, Query, description = "How many fire times, by default 5", minimum = 1, maximum = 100),
    ),
    responses((status = 200, description = "The schedule", body = FireTimes))
)]
pub(super) async fn schedule(
    State(app): State<Shared>,
    asked: Asked,
    Named(identity): Named,
) -> Result<Json<FireTimes>, Problem> {
    let count = asked.read(|fields| fields.integer("count", 1..=MOST_FIRE_TIMES))?;
    let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(FIRE_TIMES);
    let deployed = app.client.pipeline(&identity).await?;
    let fires = deployed.timetable.as_ref().filter(|_| !deployed.suspended);
    let next = fires.map(|schedule| fire_times(schedule, now(), count));
    Ok(Json(FireTimes { schedule: plan(&deployed), next: next.unwrap_or_default() }))
}

fn fire_times(schedule: &Schedule, after: Timestamp, count: usize) -> Vec<Timestamp> {
    let following = |time: &Timestamp| schedule.next_after(*time);
    std::iter::successors(schedule.next_after(after), following).take(count).collect()
}

#[expect(clippy::disallowed_methods, reason = "a request is the outermost caller")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fire_times_follow_each_other() {
        let schedule = Schedule::new("30 2 * * *", "Europe/Berlin".parse().unwrap()).unwrap();
        // The clocks go forward on the 29th, and 2:30 does not come.
        let times = fire_times(&schedule, "2026-03-27T12:00:00Z".parse().unwrap(), 3);
        let times: Vec<String> = times.iter().map(ToString::to_string).collect();
        let expected = ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"];
        assert_eq!(times, expected);
    }
}
