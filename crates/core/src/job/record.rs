//! What is written on a Job about its run: two annotations, so that a restart forgets nothing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::PipelineState;
use crate::labels::Pairs;
use crate::omjob::{End, Reason, Trouble};

/// Annotation: the state of a pod that has been deleted since, as JSON.
pub const RECORD: &str = "pipelines.openmetadata.org/record";
/// Annotation: that the end of the run is settled: when, by whom, and as what, as JSON.
pub const REPORTED: &str = "pipelines.openmetadata.org/reported";

/// Longest sentence that is kept, in bytes: Kubernetes quotes whole answers in some.
const MAX_MESSAGE: usize = 1024;

/// What is remembered of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// What kept a pod from starting.
    pub trouble: Option<Trouble>,
    /// The newest attempt that ended in a pod that was deleted.
    pub last: Option<LastAttempt>,
    /// Set once nothing is left to report.
    pub reported: Option<Reported>,
}

/// An attempt that ended, and that its pod was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LastAttempt {
    /// UID of the pod.
    pub pod: String,
    /// When the pod was made.
    pub created: Timestamp,
    /// How it ended, as the pod has it.
    pub end: End,
    /// When somebody asked for its deletion, if that is what ended it.
    pub stopped: Option<Timestamp>,
}

/// That the end of a run is settled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// When.
    pub at: Timestamp,
    /// Who wrote the row that OpenMetadata has.
    pub by: Reporter,
    /// The state in it; absent for an automation, or if the report failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PipelineState>,
    /// Why the report failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Who reported the end of a run to OpenMetadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reporter {
    /// The run itself: its worker, hook, supervisor or exit handler.
    Run,
    /// The operator.
    Operator,
    /// The report failed, and is not tried any more.
    Nobody,
}

impl Reporter {
    /// The name for people and scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Operator => "operator",
            Self::Nobody => "nobody",
        }
    }
}

impl Record {
    /// Reads a Job's annotations. What is not ours to read counts as not there.
    #[must_use]
    pub fn read(annotations: &Pairs) -> Self {
        let kept: Kept = parsed(annotations, RECORD).unwrap_or_default();
        Self {
            trouble: kept
                .trouble
                .and_then(|said| Some(Trouble::new(Reason::named(&said.reason)?, said.message))),
            last: kept.last.and_then(KeptAttempt::read),
            reported: parsed(annotations, REPORTED),
        }
    }

    /// Value of [`RECORD`].
    #[must_use]
    pub fn value(&self) -> String {
        let trouble = self.trouble.as_ref().map(|trouble| Said {
            reason: trouble.reason.to_string(),
            message: capped(&trouble.message),
        });
        let last = self.last.as_ref().map(KeptAttempt::of);
        as_json(&Kept { trouble, last })
    }
}

impl Reported {
    /// Reads a Job's annotations.
    #[must_use]
    pub fn read(annotations: &Pairs) -> Option<Self> {
        parsed(annotations, REPORTED)
    }

    /// Value of [`REPORTED`].
    #[must_use]
    pub fn value(&self) -> String {
        as_json(&Self { message: self.message.as_deref().map(capped), ..self.clone() })
    }
}

/// [`Record`] as it is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Kept {
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<Said>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<KeptAttempt>,
}

#[derive(Serialize, Deserialize)]
struct Said {
    reason: String,
    message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeptAttempt {
    pod: String,
    created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopped: Option<Timestamp>,
    reason: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<Timestamp>,
}

impl KeptAttempt {
    fn of(last: &LastAttempt) -> Self {
        let LastAttempt { pod, created, end, stopped } = last;
        Self {
            pod: pod.clone(),
            created: *created,
            stopped: *stopped,
            reason: end.reason.to_string(),
            message: capped(&end.message),
            exit_code: end.exit_code,
            signal: end.signal,
            finished: end.finished,
        }
    }

    fn read(self) -> Option<LastAttempt> {
        let Self { pod, created, stopped, reason, message, exit_code, signal, finished } = self;
        let end = End { reason: Reason::named(&reason)?, exit_code, signal, message, finished };
        Some(LastAttempt { pod, created, end, stopped })
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(annotations: &Pairs, key: &str) -> Option<T> {
    serde_json::from_str(annotations.get(key)?).ok()
}

fn as_json(value: &impl Serialize) -> String {
    // Nothing in these types can fail to be written.
    serde_json::to_string(value).unwrap_or_default()
}

fn capped(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_MESSAGE)].to_owned()
}
