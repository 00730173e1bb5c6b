//! What is recorded of an `OMJob`: enough to go on from, after any crash.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Bytes, End, Reason, Trouble};

/// Phase of an `OMJob`; the names are upstream's. It never goes back.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Phase {
    /// Main has not started.
    #[default]
    Pending,
    /// Main has started; a next attempt may be due.
    Running,
    /// Main is over; the exit handler is due or runs.
    ExitHandlerRunning,
    /// Main ended with exit code 0.
    Succeeded,
    /// Main ended in any other way, or never started.
    Failed,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Running, Self::ExitHandlerRunning, Self::Succeeded, Self::Failed];

    /// True when nothing follows.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// The name in the custom resource.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::ExitHandlerRunning => "ExitHandlerRunning",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One of the two stages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The ingestion.
    Main,
    /// The exit handler.
    Exit,
}

impl Stage {
    /// The name in pod names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Exit => "exit",
        }
    }

    /// The value of upstream's pod-type label.
    #[must_use]
    pub const fn pod_type(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Exit => "exit-handler",
        }
    }
}

/// The pod of an attempt that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodRef {
    /// Number of the attempt, from 0.
    pub attempt: u32,
    /// The pod's name.
    pub name: String,
}

/// What is recorded of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StageStatus {
    /// When the stage began, which its deadline counts from; main's starts anew at a resume.
    pub started: Option<Timestamp>,
    /// Attempts whose end is recorded, so also the number of the attempt that is under way or due.
    pub ended: u32,
    /// Those of them that `backoffLimit` counts.
    pub failures: u32,
    /// Those of them that a drain, a preemption or the loss of a node ended.
    pub disruptions: u32,
    /// Memory limit of the next attempt, once an OOM kill has raised it.
    pub memory_limit: Option<Bytes>,
    /// The last pod that was seen to run. Before its end is recorded it cannot vanish unseen.
    pub pod: Option<PodRef>,
    /// Creations refused in a row.
    pub refusals: u32,
    /// No pod is made before.
    pub not_before: Option<Timestamp>,
    /// What keeps the stage from starting.
    pub trouble: Option<Trouble>,
    /// How the stage ended; nothing of it is made any more.
    pub end: Option<End>,
}

impl StageStatus {
    /// Attempts so far, the one that runs included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.ended.max(self.pod.as_ref().map_or(0, |pod| pod.attempt + 1))
    }
}

/// Whether OpenMetadata knows the run's end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reporting {
    /// The run goes on, or ended under another operator.
    #[default]
    NotDue,
    /// The exit handler reported.
    ByExitHandler,
    /// The exit handler cannot: the operator reports, and goes on until OpenMetadata answers.
    Outstanding {
        /// Reports that failed.
        tries: u32,
        /// No report is tried before.
        not_before: Option<Timestamp>,
        /// What OpenMetadata said last.
        message: Option<String>,
    },
    /// The operator reported.
    ByOperator,
    /// Nobody could report, and the time for it is over.
    GivenUp(String),
}

/// What is recorded of an `OMJob`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Status {
    /// The summary for people and the OpenMetadata server.
    pub phase: Phase,
    /// The ingestion.
    pub main: StageStatus,
    /// The exit handler.
    pub exit: StageStatus,
    /// Whether `suspend` keeps main from running.
    pub suspended: bool,
    /// Whether OpenMetadata knows the end.
    pub reporting: Reporting,
    /// When the phase became terminal.
    pub completed: Option<Timestamp>,
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionKind {
    /// The ingestion is over, however it ended.
    MainFinished,
    /// The exit handler ended, with exit code 0 or not.
    ExitHandlerSucceeded,
    /// OpenMetadata knows how the run ended.
    Reported,
    /// Something keeps the stage that is due from starting.
    Stalled,
    /// `spec.suspend` keeps the ingestion from running.
    Suspended,
}

impl ConditionKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::MainFinished,
        Self::ExitHandlerSucceeded,
        Self::Reported,
        Self::Stalled,
        Self::Suspended,
    ];

    /// The condition's type in the custom resource.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MainFinished => "MainFinished",
            Self::ExitHandlerSucceeded => "ExitHandlerSucceeded",
            Self::Reported => "Reported",
            Self::Stalled => "Stalled",
            Self::Suspended => "Suspended",
        }
    }
}

/// A condition without its times, which the writer keeps while the value stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionKind,
    /// `True`, `False`, or `Unknown` for `None`.
    pub holds: Option<bool>,
    /// A word for scripts.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Status {
    /// The stage's record.
    #[must_use]
    pub const fn stage(&self, stage: Stage) -> &StageStatus {
        match stage {
            Stage::Main => &self.main,
            Stage::Exit => &self.exit,
        }
    }

    pub(super) const fn stage_mut(&mut self, stage: Stage) -> &mut StageStatus {
        match stage {
            Stage::Main => &mut self.main,
            Stage::Exit => &mut self.exit,
        }
    }

    /// Why the run waits or ended, in a sentence.
    #[must_use]
    pub fn message(&self) -> Option<Cow<'_, str>> {
        let end = self.main.end.as_ref().map(|end| end.message.as_str());
        let trouble = || self.main.trouble.as_ref().map(|trouble| trouble.message.as_str());
        let known = end.or_else(trouble);
        let raised = || {
            let limit = self.main.memory_limit?;
            Some(format!("the memory limit is {limit}, raised after an OOM kill").into())
        };
        known.map(Cow::Borrowed).or_else(raised)
    }

    /// Why the ingestion failed or does not start.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match &self.main.end {
            Some(end) => Some(end.reason).filter(|_| !end.succeeded()),
            None => self.main.trouble.as_ref().map(|trouble| trouble.reason),
        }
    }

    /// A condition of each kind that there is something to say about.
    #[must_use]
    pub fn conditions(&self) -> Vec<Condition> {
        let ended = |kind, holds: fn(&End) -> bool, end: &End| Condition {
            kind,
            holds: Some(holds(end)),
            reason: end.reason.as_str(),
            message: end.message.clone(),
        };
        let main =
            self.main.end.as_ref().map(|end| ended(ConditionKind::MainFinished, |_| true, end));
        let exit = self
            .exit
            .end
            .as_ref()
            .map(|end| ended(ConditionKind::ExitHandlerSucceeded, End::succeeded, end));
        let all = [main, exit, self.reported(), self.stalled(), self.suspension()];
        all.into_iter().flatten().collect()
    }

    fn reported(&self) -> Option<Condition> {
        let (holds, reason, message) = match &self.reporting {
            Reporting::NotDue => return None,
            Reporting::ByExitHandler => (true, "ExitHandler", None),
            Reporting::ByOperator => (true, "LastResort", None),
            Reporting::Outstanding { message, .. } => (false, "Outstanding", message.as_deref()),
            Reporting::GivenUp(message) => (false, "GivenUp", Some(message.as_str())),
        };
        let message = message.unwrap_or_default().to_owned();
        Some(Condition { kind: ConditionKind::Reported, holds: Some(holds), reason, message })
    }

    fn stalled(&self) -> Option<Condition> {
        let stage = if self.main.end.is_none() { &self.main } else { &self.exit };
        let trouble = stage.trouble.as_ref()?;
        Some(Condition {
            kind: ConditionKind::Stalled,
            holds: Some(true),
            reason: trouble.reason.as_str(),
            message: trouble.message.clone(),
        })
    }

    fn suspension(&self) -> Option<Condition> {
        self.suspended.then(|| Condition {
            kind: ConditionKind::Suspended,
            holds: Some(true),
            reason: Reason::Suspended.as_str(),
            message: "spec.suspend is true".to_owned(),
        })
    }
}
