//! A run as the API shows it. What the crate `ompipe-core` knows may change; this may only grow.

use jiff::Timestamp;
use ompipe_core::{PipelineState, diagnosis, job};
use serde::Serialize;
use utoipa::ToSchema;

/// A run, as the cluster knows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    /// Under which OpenMetadata keeps its status.
    #[schema(format = "uuid")]
    #[serde(rename = "runId")]
    id: String,
    /// Kind of its object.
    #[schema(example = "Job")]
    kind: &'static str,
    /// Name of its object.
    job: String,
    /// Whether a schedule started it.
    scheduled: bool,
    /// What it does, or how it ended.
    state: RunState,
    /// Why it waits or failed, in a word of a closed set.
    #[schema(example = "OOMKilled")]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Exit code of the last attempt that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// Attempts so far.
    attempts: usize,
    /// When it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<Timestamp>,
    /// Who told OpenMetadata how it ended, where the operator looks after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<Reported>,
}

/// What a run does, or how it ended.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum RunState {
    /// It waits for its turn, or for its pod.
    Queued,
    /// It goes on.
    Running,
    /// It ended well.
    Success,
    /// It ended, some of its steps with errors.
    PartialSuccess,
    /// It ended badly.
    Failed,
    /// A user ended it.
    Stopped,
}

impl RunState {
    /// The name of the state.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::PartialSuccess => "partialSuccess",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// Who told OpenMetadata how a run ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reported {
    /// `run`: it did itself; `operator`; `nobody`: that was not possible.
    #[schema(example = "operator")]
    by: &'static str,
    /// When.
    at: Timestamp,
    /// As what.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<RunState>,
    /// Why nobody could.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A run, and what is to be said about it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunDetail {
    #[serde(flatten)]
    run: Run,
    /// What `ompipe doctor` finds: of the surroundings and of this run.
    findings: Vec<Finding>,
}

/// What was looked at, and how it came out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// What was looked at.
    #[schema(example = "rights of runs")]
    check: &'static str,
    /// How it came out.
    verdict: Verdict,
    /// What was seen.
    detail: String,
    /// What to do, unless all is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Verdict {
    /// As it should be.
    Good,
    /// Worth a look; runs may work all the same.
    Warning,
    /// Something does not work.
    Bad,
}

impl RunDetail {
    pub(super) fn new(run: ompipe_core::Run, findings: Vec<diagnosis::Finding>) -> Self {
        Self { run: run.into(), findings: findings.into_iter().map(Finding::from).collect() }
    }
}

impl From<ompipe_core::Run> for Run {
    fn from(run: ompipe_core::Run) -> Self {
        Self {
            id: run.run_id.to_string(),
            kind: run.kind.as_str(),
            job: run.job,
            scheduled: run.scheduled,
            state: run.state.into(),
            reason: run.reason.map(ompipe_core::Reason::as_str),
            message: run.message,
            exit_code: run.exit_code,
            attempts: run.attempts,
            created: run.created,
            finished: run.finished,
            reported: run.reported.map(Reported::from),
        }
    }
}

impl From<PipelineState> for RunState {
    fn from(state: PipelineState) -> Self {
        match state {
            PipelineState::Queued => Self::Queued,
            PipelineState::Running => Self::Running,
            PipelineState::Success => Self::Success,
            PipelineState::PartialSuccess => Self::PartialSuccess,
            PipelineState::Failed => Self::Failed,
            PipelineState::Stopped => Self::Stopped,
        }
    }
}

impl From<job::Reported> for Reported {
    fn from(reported: job::Reported) -> Self {
        let job::Reported { at, by, state, message } = reported;
        Self { by: by.as_str(), at, state: state.map(RunState::from), message }
    }
}

impl From<diagnosis::Finding> for Finding {
    fn from(finding: diagnosis::Finding) -> Self {
        let diagnosis::Finding { check, verdict, detail, remedy } = finding;
        let verdict = match verdict {
            diagnosis::Verdict::Good => Verdict::Good,
            diagnosis::Verdict::Warning => Verdict::Warning,
            diagnosis::Verdict::Bad => Verdict::Bad,
        };
        Self { check, verdict, detail, remedy }
    }
}
