//! Labels of metrics: closed sets, so that no series is made by what users call their objects.

use std::fmt;

use ompipe_core::cron::Missed;
use ompipe_core::job;
use ompipe_core::omjob::{Report, Stage};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// Defines the values of a label.
macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The value in the metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
                self.as_str().encode(encoder)
            }
        }
    };
}

label_values! {
    /// A controller of the operator.
    Controller {
        /// That of `OMJob`s.
        OmJob = "omjob",
        /// That of `CronOMJob`s.
        CronOmJob = "cronomjob",
        /// The reporter of plain Jobs.
        Job = "job",
    }
}

label_values! {
    /// How dealing with an object ended.
    ReconcileResult {
        /// Nothing is left to do until something happens or a time comes.
        Success = "success",
        /// Something failed; it is tried again.
        Error = "error",
    }
}

label_values! {
    /// What a request asks of the API server, in the words of Kubernetes' access rules.
    Verb {
        /// One object, or what is no resource, such as the version.
        Get = "get",
        /// All objects of a kind.
        List = "list",
        /// The changes from now on.
        Watch = "watch",
        /// A new object.
        Create = "create",
        /// An object, replaced as a whole.
        Update = "update",
        /// An object, changed in part or applied.
        Patch = "patch",
        /// One object, removed.
        Delete = "delete",
        /// All objects of a kind, removed.
        DeleteCollection = "deletecollection",
    }
}

/// What came back from the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A status code.
    Code(u16),
    /// None: the connection failed, or it took too long.
    Error,
}

impl EncodeLabelValue for Answer {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Code(code) => code.encode(encoder),
            Self::Error => "error".encode(encoder),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StageLabel {
    stage: &'static str,
}

impl From<Stage> for StageLabel {
    fn from(stage: Stage) -> Self {
        let stage = match stage {
            Stage::Main => "main",
            Stage::Exit => "exit",
        };
        Self { stage }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PhaseLabel {
    pub(super) phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Ended {
    pub(super) phase: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ControllerLabel {
    pub(super) controller: Controller,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reconciled {
    pub(super) controller: Controller,
    pub(super) result: ReconcileResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    pub(super) verb: Verb,
    pub(super) code: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VerbLabel {
    pub(super) verb: Verb,
}

/// Why a slot did not fire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Cause {
    reason: &'static str,
}

impl From<Missed> for Cause {
    fn from(missed: Missed) -> Self {
        let reason = match missed {
            Missed::TooLate => "too_late",
            Missed::StillRunning => "still_running",
        };
        Self { reason }
    }
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabel {
    result: &'static str,
}

impl From<&Report> for ResultLabel {
    fn from(report: &Report) -> Self {
        let result = match report {
            Report::Done => "done",
            Report::Unavailable(_) => "unavailable",
            Report::Impossible(_) => "impossible",
        };
        Self { result }
    }
}

impl From<&job::Report> for ResultLabel {
    fn from(report: &job::Report) -> Self {
        let result = match report {
            job::Report::Done { .. } => "done",
            job::Report::Unavailable(_) => "unavailable",
            job::Report::Impossible(_) => "impossible",
        };
        Self { result }
    }
}
