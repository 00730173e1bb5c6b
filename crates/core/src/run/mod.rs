//! The state of a run, read off its object and pods
//! (docs/contracts/upstream-java-client.md#state-mapping).
//!
//! | Job or `OMJob` | State |
//! |---|---|
//! | no pod has started | queued, with why it waits |
//! | a pod has started, none of the end conditions | running |
//! | `Complete`, `Succeeded` | success |
//! | `Failed` | failed, with why |
//! | being deleted, no pod runs any more | stopped |

mod attempt;
mod config_source;
mod fate;
mod workload;

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::RunId;
use crate::job::{Record, Reported};
use crate::labels;
use crate::pod;
use crate::pod::{PodState, Refusal, Trouble};

pub use crate::pod::{FINAL_EXIT_CODES, MAIN_CONTAINER, Reason, trouble_in_events};
pub use attempt::{attempts, exit_handlers, has_log};
pub use config_source::{ConfigSource, literal, variables};
pub use fate::{JobFate, another_attempt_follows};
pub use workload::{End, EndReporter, Failure, Workload, WorkloadKind, queued, run_id};

/// The HTTP code of what quotas, policies and webhooks refuse.
const FORBIDDEN: u16 = 403;

/// A state of OpenMetadata's `PipelineStatus`
/// (docs/contracts/openmetadata-http.md#pipeline-status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PipelineState {
    /// Asked for, not started.
    Queued,
    /// Started, not ended.
    Running,
    /// Ended well.
    Success,
    /// Ended, some of its steps with errors.
    PartialSuccess,
    /// Ended badly.
    Failed,
    /// Ended by a user.
    Stopped,
}

impl PipelineState {
    /// The name in OpenMetadata's schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::PartialSuccess => "partialSuccess",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// True when nothing follows.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::PartialSuccess | Self::Failed | Self::Stopped)
    }
}

impl fmt::Display for PipelineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// That a run waits for its next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Retrying {
    /// Number of the attempt that comes next, from 1.
    pub attempt: u32,
    /// Attempts that the run may have.
    pub of: u32,
}

impl Retrying {
    fn of(workload: &Workload, attempts: &[PodState]) -> Option<Self> {
        let of = workload.backoff_limit?.saturating_add(1);
        let PodState::Ended { end, .. } = attempts.last()? else { return None };
        // A disruption is no attempt of the worker's, so that the next one has the same number.
        let counts = |attempt: &&PodState| matches!(attempt, PodState::Ended { end, .. } if !end.reason.is_disruption());
        let attempt = u32::try_from(attempts.iter().filter(counts).count()).ok()?.saturating_add(1);
        let goes_on = workload.is_live() && !workload.started;
        let fails = !end.succeeded() && !end.is_final();
        (goes_on && fails && attempt <= of).then_some(Self { attempt, of })
    }
}

impl fmt::Display for Retrying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retrying {}/{}", self.attempt, self.of)
    }
}

/// One run, as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Under which OpenMetadata keeps its status.
    #[serde(serialize_with = "as_text")]
    pub run_id: RunId,
    /// Kind of its object.
    pub kind: WorkloadKind,
    /// Name of its object.
    pub job: String,
    /// Whether a schedule started it.
    pub scheduled: bool,
    /// What it does now, or how it ended.
    pub state: PipelineState,
    /// Why it waits or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Exit code of the last attempt that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Attempts so far.
    pub attempts: usize,
    /// The attempt that comes next, where the last one failed and another follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrying: Option<Retrying>,
    /// Whether the OpenMetadata server made up its id, and so has a row of it from the start.
    #[serde(skip)]
    pub recorded: bool,
    /// When it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Who told OpenMetadata so, where the operator looks after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported>,
    /// Who reports how it ends.
    #[serde(skip)]
    pub end_reporter: EndReporter,
}

impl Run {
    /// Reads a run off its object and that object's pods.
    #[must_use]
    pub fn observe(workload: &Workload, pods: &[Pod]) -> Self {
        let attempts: Vec<_> = attempts(workload, pods).into_iter().map(PodState::of).collect();
        let trouble = explain(workload, &attempts);
        Self {
            run_id: workload.run_id_with(pods),
            kind: workload.kind,
            job: workload.name.clone(),
            scheduled: workload.scheduled,
            state: state(workload, &attempts),
            reason: trouble.as_ref().map(|trouble| trouble.reason),
            message: trouble.map(|trouble| trouble.message),
            exit_code: attempts.iter().rev().find_map(PodState::exit_code),
            attempts: attempts.len(),
            retrying: Retrying::of(workload, &attempts),
            recorded: workload.annotations.contains_key(labels::RECORDED),
            created: workload.created,
            finished: workload.end.as_ref().and_then(|end| end.time),
            reported: workload.reported.clone(),
            end_reporter: workload.end_reporter,
        }
    }

    /// The state in a word for people: `retrying 2/4` between two attempts.
    #[must_use]
    pub fn state_in_words(&self) -> String {
        self.retrying.map_or_else(|| self.state.to_string(), |retrying| retrying.to_string())
    }

    /// How it ended, as a report to OpenMetadata says it; `None` while it goes on.
    #[must_use]
    pub fn ended(&self) -> Option<pod::End> {
        let finished = self.finished;
        match self.state {
            PipelineState::Queued | PipelineState::Running => None,
            PipelineState::Success | PipelineState::PartialSuccess => {
                Some(pod::End::of_process(0, false, finished))
            }
            PipelineState::Failed | PipelineState::Stopped => {
                let reason = self.reason.unwrap_or(Reason::JobFailed);
                let end = pod::End::without_code(reason, self.message.clone().unwrap_or_default());
                Some(pod::End { exit_code: self.exit_code, finished, ..end })
            }
        }
    }

    /// The same run, which waits or ended for a reason that only events tell.
    #[must_use]
    pub fn with_trouble(self, trouble: Trouble) -> Self {
        Self { reason: Some(trouble.reason), message: Some(trouble.message), ..self }
    }

    /// True when it has neither ended nor is being stopped.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.state.is_terminal() && self.reason != Some(Reason::Killed)
    }

    /// The same run, which waits because its pod is refused with `message`.
    #[must_use]
    pub fn refused(self, message: &str) -> Self {
        // The Job controller's event says only the words, and retries whatever they are.
        let Refusal { trouble, .. } = Refusal::of_answer(FORBIDDEN, message);
        Self { reason: Some(trouble.reason), message: Some(trouble.message), ..self }
    }
}

fn as_text<S: serde::Serializer>(id: &RunId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn state(workload: &Workload, attempts: &[PodState]) -> PipelineState {
    match &workload.end {
        Some(End { failure: None, .. }) => PipelineState::Success,
        Some(End { failure: Some(_), .. }) => PipelineState::Failed,
        None if workload.deleting && !attempts.contains(&PodState::Running) => {
            PipelineState::Stopped
        }
        None if workload.started || attempts.iter().any(PodState::has_started) => {
            PipelineState::Running
        }
        None => PipelineState::Queued,
    }
}

/// What kept a run from starting until its deadline: its pods may be gone by now, but an operator
/// wrote it on the Job.
fn kept_from_start(workload: &Workload, attempts: &[PodState]) -> Option<Trouble> {
    let record = Record::read(&workload.annotations);
    let recorded = record.last.is_some_and(|last| last.end.exit_code.is_some());
    if recorded || attempts.iter().any(PodState::has_started) {
        return None;
    }
    let waits = attempts.iter().rev().find_map(|attempt| match attempt {
        PodState::Waiting(trouble) => trouble.clone(),
        PodState::Running | PodState::Ended { .. } => None,
    });
    waits.or(record.trouble)
}

/// Why a run failed or waits, if it does either.
fn explain(workload: &Workload, attempts: &[PodState]) -> Option<Trouble> {
    let last_trouble = || attempts.iter().rev().find_map(PodState::trouble);
    match &workload.end {
        Some(End { failure: None, .. }) => None,
        Some(End { failure: Some(Failure { reason: Some(reason), message }), .. }) => {
            let kept = kept_from_start(workload, attempts);
            let is_late = *reason == Reason::DeadlineExceeded;
            kept.filter(|_| is_late).or_else(|| Some(Trouble::new(*reason, message.clone())))
        }
        Some(End { failure: Some(Failure { reason: None, message }), .. }) => {
            last_trouble().or_else(|| Some(Trouble::new(Reason::JobFailed, message.clone())))
        }
        None if workload.deleting => Some(Trouble::new(Reason::Killed, "it is being stopped")),
        None if workload.waits_in.is_some() => {
            let queue = workload.waits_in.as_deref()?;
            Some(Trouble::new(Reason::Queued, pod::in_queue(queue)))
        }
        None => last_trouble(),
    }
}

#[cfg(test)]
mod tests;
