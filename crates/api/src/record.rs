//! What an operator needs to go on with a run after a restart, as it stands in an `OMJob`'s status:
//! [`StageStatus`] and [`Reporting`] of the pure core, word for word. Times have microseconds.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use ompipe_core::omjob::{Bytes, End, PodRef, Reason, Reporting, StageStatus, Trouble};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// Longest sentence in a status, in characters. Kubernetes quotes whole answers in some.
const MOST_CHARS: usize = 1024;

/// What is recorded of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StageRecord {
    /// When the stage began, which its deadline counts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub started_at: Option<MicroTime>,
    /// Attempts whose end is recorded.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "schema::count")]
    pub ended: u32,
    /// Those of them that `backoffLimit` counts.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "schema::count")]
    pub failures: u32,
    /// Those of them that a drain, a preemption or the loss of a node ended.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "schema::count")]
    pub disruptions: u32,
    /// Memory limit of the next attempt in bytes, once an OOM kill has raised it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub memory_limit: Option<u64>,
    /// The last pod that was seen to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodRecord>,
    /// Pods that the API server refused to make, one after the other.
    #[serde(skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "schema::count")]
    pub refusals: u32,
    /// No pod is made before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub not_before: Option<MicroTime>,
    /// What keeps the stage from starting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleRecord>,
    /// How the stage ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<EndRecord>,
}

/// The pod of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodRecord {
    /// Number of the attempt, from 0.
    #[schemars(schema_with = "schema::count")]
    pub attempt: u32,
    /// The pod's name.
    pub name: String,
}

/// What keeps a stage from starting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TroubleRecord {
    /// A word of the closed set of `mainReason`.
    pub reason: String,
    /// The same in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How a stage ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndRecord {
    /// A word of the closed set of `mainReason`.
    pub reason: String,
    /// Exit code of the container, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The same in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When its process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub finished_at: Option<MicroTime>,
}

/// Whether OpenMetadata knows the run's end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportingRecord {
    /// Who reported, or that the operator is about to.
    pub state: ReportingState,
    /// Reports of the operator that failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "schema::count")]
    pub tries: u32,
    /// The operator tries no report before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub not_before: Option<MicroTime>,
    /// What came of the last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far the report of a run's end is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReportingState {
    /// The exit handler reported.
    ByExitHandler,
    /// The exit handler could not, so the operator reports until OpenMetadata answers.
    #[default]
    Outstanding,
    /// The operator reported.
    ByOperator,
    /// Nobody could report, and the time for it is over.
    GivenUp,
}

impl StageRecord {
    /// What the pure core knows of a stage. Sentences are cut to a length that a status can bear.
    pub(crate) fn of(stage: &StageStatus) -> Self {
        Self {
            started_at: stage.started.map(MicroTime),
            ended: stage.ended,
            failures: stage.failures,
            disruptions: stage.disruptions,
            memory_limit: stage.memory_limit.map(|limit| limit.0),
            pod: stage.pod.clone().map(|PodRef { attempt, name }| PodRecord { attempt, name }),
            refusals: stage.refusals,
            not_before: stage.not_before.map(MicroTime),
            trouble: stage.trouble.as_ref().map(TroubleRecord::of),
            end: stage.end.as_ref().map(EndRecord::of),
        }
    }

    /// The same for the pure core.
    pub(crate) fn recorded(&self) -> StageStatus {
        StageStatus {
            started: time(self.started_at.as_ref()),
            ended: self.ended,
            failures: self.failures,
            disruptions: self.disruptions,
            memory_limit: self.memory_limit.map(Bytes),
            pod: self.pod.clone().map(|PodRecord { attempt, name }| PodRef { attempt, name }),
            refusals: self.refusals,
            not_before: time(self.not_before.as_ref()),
            trouble: self.trouble.as_ref().map(TroubleRecord::recorded),
            end: self.end.as_ref().map(EndRecord::recorded),
        }
    }
}

impl TroubleRecord {
    fn of(trouble: &Trouble) -> Self {
        Self { reason: trouble.reason.to_string(), message: capped(&trouble.message) }
    }

    fn recorded(&self) -> Trouble {
        Trouble::new(reason(&self.reason), self.message.clone())
    }
}

impl EndRecord {
    fn of(end: &End) -> Self {
        Self {
            reason: end.reason.to_string(),
            exit_code: end.exit_code,
            signal: end.signal,
            message: capped(&end.message),
            finished_at: end.finished.map(MicroTime),
        }
    }

    fn recorded(&self) -> End {
        End {
            reason: reason(&self.reason),
            exit_code: self.exit_code,
            signal: self.signal,
            message: self.message.clone(),
            finished: time(self.finished_at.as_ref()),
        }
    }
}

impl ReportingRecord {
    /// What the pure core knows of the report; `None` while none is due.
    pub(crate) fn of(reporting: &Reporting) -> Option<Self> {
        let state = |state| Self { state, ..Self::default() };
        Some(match reporting {
            Reporting::NotDue => return None,
            Reporting::ByExitHandler => state(ReportingState::ByExitHandler),
            Reporting::ByOperator => state(ReportingState::ByOperator),
            Reporting::GivenUp(message) => {
                Self { message: Some(capped(message)), ..state(ReportingState::GivenUp) }
            }
            Reporting::Outstanding { tries, not_before, message } => Self {
                state: ReportingState::Outstanding,
                tries: *tries,
                not_before: not_before.map(MicroTime),
                message: message.as_deref().map(capped),
            },
        })
    }

    /// The same for the pure core.
    pub(crate) fn recorded(&self) -> Reporting {
        match self.state {
            ReportingState::ByExitHandler => Reporting::ByExitHandler,
            ReportingState::ByOperator => Reporting::ByOperator,
            ReportingState::GivenUp => Reporting::GivenUp(self.message.clone().unwrap_or_default()),
            ReportingState::Outstanding => Reporting::Outstanding {
                tries: self.tries,
                not_before: time(self.not_before.as_ref()),
                message: self.message.clone(),
            },
        }
    }
}

/// `text`, cut to what a status can bear.
pub(crate) fn capped(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some(_) => text.chars().take(MOST_CHARS - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// A later version of ompipe may know more reasons.
fn reason(name: &str) -> Reason {
    Reason::named(name).unwrap_or(Reason::Unknown)
}

fn time(time: Option<&MicroTime>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// Serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}
