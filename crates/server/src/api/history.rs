//! The runs of all pipelines: listed with filters, counted, and each with where its time went.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ompipe_core::archive::{AttemptRecord, RunRecord, Trigger};
use ompipe_core::fields::Fields;
use ompipe_core::history::{self, Cursor, RunFilter, Statistics};
use ompipe_core::{PipelineState, RunId};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

use super::asked::{Asked, NamedRun, RunPath};
use super::problem::Problem;
use super::run::RunState;
use crate::app::{App, Shared};

/// Runs of a page when nobody says how many.
const LIMIT: i64 = 100;
/// Most runs of one page.
const MOST: i64 = 1000;

/// A run as it is on record: the shape of `ompipe history --output json`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordedRun {
    /// Version of the shape.
    format: u32,
    /// Under which OpenMetadata keeps its status.
    #[schema(value_type = String, format = "uuid")]
    run_id: RunId,
    /// Fully qualified name of its pipeline, where its objects say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "shop.nightly")]
    pipeline: Option<String>,
    /// Namespace of its objects.
    namespace: String,
    /// Kind of its object.
    #[schema(example = "Job")]
    kind: String,
    /// Name of its object.
    object: String,
    /// Who asked for it: `schedule` or `onDemand`.
    #[schema(value_type = String, example = "schedule")]
    trigger: Trigger,
    /// What it does, or how it ended.
    state: RunState,
    /// Why it waits or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Exit code of the last attempt that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// First digits of the digest of its config.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_revision: Option<String>,
    /// When it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<Timestamp>,
    /// Who told OpenMetadata of its end, where the operator looks after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_by: Option<String>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_at: Option<Timestamp>,
    /// Its attempts, in order, as far as their pods were seen.
    attempts: Vec<Attempt>,
    /// When this was seen.
    updated: Timestamp,
}

/// One attempt of a run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    /// Name of its pod.
    pod: String,
    /// The pod's node.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// The image that ran, by its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// When the pod was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    /// When the pod got its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled: Option<Timestamp>,
    /// When its process began.
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    /// When its process ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<Timestamp>,
    /// Exit code of its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A page of runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunPage {
    runs: Vec<RecordedRun>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Where the time of a run went.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Timeline {
    run: RecordedRun,
    /// The parts of its time, in order: each begins where the one before ended.
    spans: Vec<Span>,
}

/// A part of a run's time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Span {
    /// `queued`, `scheduling`, `starting` (image and containers), `running`, `retrying` or `reporting`.
    #[schema(example = "running")]
    phase: &'static str,
    /// Number of the attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<usize>,
    /// When it began.
    from: Timestamp,
    /// When it ended; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
}

/// What runs have in common. Days are those of UTC.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunStatistics {
    /// All runs that are meant.
    runs: usize,
    /// Those that ended.
    ended: usize,
    /// Part of those that ended well, of those that nobody stopped, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    success_rate: Option<f64>,
    /// How long those took that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<Seconds>,
    /// Why they failed, the most frequent first.
    reasons: Vec<ReasonCount>,
    /// Each day on which one began, the oldest first.
    days: Vec<Day>,
}

/// How long runs took from their creation to their end, in seconds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Seconds {
    /// Half of them took at most so long.
    p50: i64,
    /// 95 of 100 took at most so long.
    p95: i64,
    /// The longest.
    max: i64,
}

/// How many runs failed for a reason.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReasonCount {
    #[schema(example = "OOMKilled")]
    reason: String,
    runs: usize,
}

/// The runs of a day.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Day {
    #[schema(format = "date", example = "2026-11-29")]
    date: String,
    succeeded: usize,
    failed: usize,
    stopped: usize,
    unfinished: usize,
}

/// Which runs are meant, as [`read_filter`] reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the shape for the OpenAPI document")]
struct FilterQuery {
    /// Only runs in one of these states, separated by commas
    #[param(required = false)]
    state: String,
    /// Only runs created at that time or later (RFC 3339)
    #[param(required = false)]
    since: String,
    /// Only runs created before that time (RFC 3339)
    #[param(required = false)]
    until: String,
    /// Only runs of the pipeline with that fully qualified name
    #[param(required = false)]
    pipeline: String,
    /// Only runs of pipelines of that service
    #[param(required = false)]
    service: String,
    /// Only runs that wait or failed for that reason
    #[param(required = false)]
    reason: String,
}

/// List the runs of all pipelines.
///
/// Newest first: those of the cluster, and the archived ones of the last 30 days. A caller that has the
/// answer already sends its `ETag` as `If-None-Match`.
#[utoipa::path(
    get,
    path = "/runs",
    operation_id = "listAllRuns",
    tag = "runs",
    params(
        FilterQuery,
        ("limit" = Option<u16>, Query, description = "Most runs of the answer, by default 100", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "nextCursor of the page before"),
    ),
    responses(
        (status = 200, description = "The runs", body = RunPage, headers(("ETag" = String, description = "Names this answer"))),
        (status = 304, description = "The caller has this answer already"),
    )
)]
pub(super) async fn list(
    State(app): State<Shared>,
    headers: HeaderMap,
    asked: Asked,
) -> Result<Response, Problem> {
    let (filter, after, limit) = asked.read(|fields| {
        let limit = fields.integer("limit", 1..=MOST).unwrap_or(LIMIT);
        (
            read_filter(fields),
            fields.parsed::<Cursor>("cursor"),
            usize::try_from(limit).unwrap_or(1),
        )
    })?;
    let snapshot = app.board.snapshot(&app.client, Duration::ZERO).await?;
    let page = history::page(&snapshot.runs, &filter, after, limit);
    let shown = RunPage {
        runs: page.runs.into_iter().cloned().map(RecordedRun::from).collect(),
        next_cursor: page.next.map(|next| next.to_string()),
    };
    // When a run was looked at is no part of what the answer says.
    let said = shown.runs.iter().map(|run| {
        (
            &run.run_id,
            run.state.as_str(),
            &run.reason,
            &run.message,
            run.attempts.len(),
            run.finished,
            run.reported_at,
        )
    });
    let tag = tag_of(&format!("{:?}{:?}", said.collect::<Vec<_>>(), shown.next_cursor));
    if has_already(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag)], Json(shown)).into_response())
}

/// Count runs.
///
/// Success rate, durations, failures by reason, and runs per day, of the runs that are meant.
#[utoipa::path(
    get,
    path = "/runs/statistics",
    operation_id = "getStatistics",
    tag = "runs",
    params(FilterQuery),
    responses((status = 200, description = "What they have in common", body = RunStatistics))
)]
pub(super) async fn statistics(
    State(app): State<Shared>,
    asked: Asked,
) -> Result<Json<RunStatistics>, Problem> {
    let filter = asked.read(read_filter)?;
    let snapshot = app.board.snapshot(&app.client, Duration::ZERO).await?;
    let meant = snapshot.runs.iter().filter(|run| filter.accepts(run));
    Ok(Json(Statistics::of(meant, &TimeZone::UTC).into()))
}

/// Get where the time of a run went.
#[utoipa::path(
    get,
    path = "/pipelines/{pipeline}/runs/{runId}/timeline",
    operation_id = "getTimeline",
    tag = "runs",
    params(RunPath),
    responses((status = 200, description = "The run and its times", body = Timeline))
)]
pub(super) async fn timeline(
    State(app): State<Shared>,
    named: NamedRun,
) -> Result<Json<Timeline>, Problem> {
    let run = recorded(&app, &named).await?;
    let spans = history::timeline(&run).into_iter().map(Span::from).collect();
    Ok(Json(Timeline { run: run.into(), spans }))
}

async fn recorded(app: &App, named: &NamedRun) -> Result<RunRecord, Problem> {
    let snapshot = app.board.snapshot(&app.client, Duration::ZERO).await?;
    let mut runs = snapshot.runs_of(&named.pipeline.fully_qualified_name);
    let run = runs.find(|run| run.run_id == named.run).cloned();
    Ok(run.ok_or_else(|| ompipe_client::Error::no_run(&named.pipeline, Some(named.run)))?)
}

fn read_filter(fields: &mut Fields<'_>) -> RunFilter {
    let text = |value: Option<&str>| value.map(str::to_owned);
    RunFilter {
        states: fields.parsed::<States>("state").map(|states| states.0).unwrap_or_default(),
        since: fields.parsed::<Time>("since").map(|time| time.0),
        until: fields.parsed::<Time>("until").map(|time| time.0),
        pipeline: text(fields.string("pipeline")),
        service: text(fields.string("service")),
        reason: text(fields.string("reason")),
    }
}

/// States, separated by commas.
struct States(Vec<PipelineState>);

impl std::str::FromStr for States {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = |state: &str| serde_json::from_value(state.trim().into()).ok();
        let states: Option<Vec<PipelineState>> = text.split(',').map(read).collect();
        states.map(Self).ok_or(
            "must be some of queued, running, success, partialSuccess, failed and stopped, \
             separated by commas",
        )
    }
}

struct Time(Timestamp);

impl std::str::FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "must be a time such as 2026-01-31T00:00:00Z")
    }
}

/// Weak: the same runs in the same states, not the same bytes.
fn tag_of(said: &str) -> HeaderValue {
    let digest = Sha256::digest(said.as_bytes());
    let digits = digest.first_chunk().copied().map_or(0, u128::from_be_bytes);
    HeaderValue::from_str(&format!("W/\"{digits:032x}\""))
        .unwrap_or(HeaderValue::from_static("W/\"\""))
}

fn has_already(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let tag = tag.to_str().unwrap_or_default();
    let known = headers.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    known.is_some_and(|known| {
        known.split(',').any(|one| matches!(one.trim(), "*") || one.trim() == tag)
    })
}

impl From<RunRecord> for RecordedRun {
    fn from(run: RunRecord) -> Self {
        Self {
            format: run.format(),
            run_id: run.run_id,
            pipeline: run.pipeline,
            namespace: run.namespace,
            kind: run.kind,
            object: run.object,
            trigger: run.trigger,
            state: run.state.into(),
            reason: run.reason,
            message: run.message,
            exit_code: run.exit_code,
            config_revision: run.config_revision,
            created: run.created,
            finished: run.finished,
            reported_by: run.reported_by,
            reported_at: run.reported_at,
            attempts: run.attempts.into_iter().map(Attempt::from).collect(),
            updated: run.updated,
        }
    }
}

impl From<AttemptRecord> for Attempt {
    fn from(attempt: AttemptRecord) -> Self {
        let AttemptRecord { pod, node, image, created, scheduled, started, .. } = attempt;
        let AttemptRecord { finished, exit_code, reason, .. } = attempt;
        Self { pod, node, image, created, scheduled, started, finished, exit_code, reason }
    }
}

impl From<history::Span> for Span {
    fn from(span: history::Span) -> Self {
        let history::Span { phase, attempt, from, to } = span;
        Self { phase: phase.as_str(), attempt, from, to }
    }
}

impl From<Statistics> for RunStatistics {
    fn from(found: Statistics) -> Self {
        let seconds =
            |one: history::Durations| Seconds { p50: one.p50, p95: one.p95, max: one.max };
        let day = |day: history::Day| Day {
            date: day.date.to_string(),
            succeeded: day.succeeded,
            failed: day.failed,
            stopped: day.stopped,
            unfinished: day.unfinished,
        };
        let reason = |one: history::ReasonCount| ReasonCount { reason: one.reason, runs: one.runs };
        Self {
            runs: found.runs,
            ended: found.ended,
            success_rate: found.success_rate,
            seconds: found.durations.map(seconds),
            reasons: found.reasons.into_iter().map(reason).collect(),
            days: found.days.into_iter().map(day).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::board::tests::{at, record};

    #[test]
    fn the_shape_is_that_of_the_command_line() {
        let run = record(
            1,
            "shop.a",
            &json!({
                "state": "failed", "reason": "Error", "message": "m", "exitCode": 1,
                "configRevision": "a", "created": at(1), "finished": at(2), "reportedBy": "operator",
                "reportedAt": at(3), "attempts": [{
                    "pod": "p", "node": "n", "image": "i", "created": at(1), "scheduled": at(1),
                    "started": at(1), "finished": at(2), "exitCode": 1, "reason": "Error",
                }],
            }),
        );
        let ours = serde_json::to_value(RecordedRun::from(run.clone())).unwrap();
        assert_eq!(ours, serde_json::to_value(run).unwrap());
    }

    #[rstest]
    #[case("failed", Some(1))]
    #[case("failed, partialSuccess", Some(2))]
    #[case("Failed", None)]
    #[case("", None)]
    fn states(#[case] text: &str, #[case] count: Option<usize>) {
        assert_eq!(text.parse::<States>().ok().map(|states| states.0.len()), count);
    }

    #[rstest]
    #[case(r#"W/"a""#, true)]
    #[case(r#""b", W/"a""#, true)]
    #[case("*", true)]
    #[case(r#"W/"b""#, false)]
    fn an_answer_that_the_caller_has(#[case] known: &str, #[case] expected: bool) {
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, known.parse().unwrap())]);
        assert_eq!(has_already(&headers, &HeaderValue::from_static(r#"W/"a""#)), expected);
    }
}
