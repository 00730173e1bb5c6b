//! How an attempt ended, and why it waits: a closed set of reasons, each with a sentence.
//!
//! These reasons are not [`crate::run::Reason`]: that one explains a Job, which knows fewer
//! endings (no kill, no quota, no lost node). Where both know one, they call it the same.

use std::fmt;

use jiff::Timestamp;

/// Why an attempt, or a whole stage, ended or waits: fit for labels and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Exit code 0.
    Completed,
    /// The process ended with another code.
    Error,
    /// The process was ended by a signal of nobody we know.
    Signal,
    /// The container's memory limit.
    OomKilled,
    /// The node was drained, short of something, or wanted by a more important pod.
    Evicted,
    /// The node went away, and the pod with it.
    NodeLost,
    /// Somebody deleted the pod.
    Deleted,
    /// Somebody deleted the `OMJob`: what a kill does.
    Killed,
    /// `activeDeadlineSeconds`, or the exit handler's own.
    DeadlineExceeded,
    /// `suspend` was set while it ran; it runs again after a resume.
    Suspended,
    /// The image cannot be had.
    ImagePull,
    /// The container cannot be made: a Secret is missing, a volume is refused.
    ContainerConfig,
    /// No node takes the pod.
    Unschedulable,
    /// The namespace's quota is used up.
    Quota,
    /// The API server, a policy or a webhook refuses the pod.
    Admission,
    /// The API server cannot take the pod at the moment.
    ApiUnavailable,
    /// The namespace is being deleted, so that no pod can be made in it.
    NamespaceTerminating,
    /// The pod waits for a reason that nobody gave.
    NotStarted,
    /// The `OMJob` has no exit handler.
    NotConfigured,
    /// It ended under another operator, which did not write down how.
    Unknown,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 20] = [
        Self::Completed,
        Self::Error,
        Self::Signal,
        Self::OomKilled,
        Self::Evicted,
        Self::NodeLost,
        Self::Deleted,
        Self::Killed,
        Self::DeadlineExceeded,
        Self::Suspended,
        Self::ImagePull,
        Self::ContainerConfig,
        Self::Unschedulable,
        Self::Quota,
        Self::Admission,
        Self::ApiUnavailable,
        Self::NamespaceTerminating,
        Self::NotStarted,
        Self::NotConfigured,
        Self::Unknown,
    ];

    /// The reason with a name; `None` for names of others.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// The name for people and scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::Signal => "Signal",
            Self::OomKilled => "OOMKilled",
            Self::Evicted => "Evicted",
            Self::NodeLost => "NodeLost",
            Self::Deleted => "Deleted",
            Self::Killed => "Killed",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Suspended => "Suspended",
            Self::ImagePull => "ImagePull",
            Self::ContainerConfig => "ContainerConfig",
            Self::Unschedulable => "Unschedulable",
            Self::Quota => "Quota",
            Self::Admission => "Admission",
            Self::ApiUnavailable => "ApiUnavailable",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::NotStarted => "NotStarted",
            Self::NotConfigured => "NotConfigured",
            Self::Unknown => "Unknown",
        }
    }

    /// True for what happened to the worker rather than in it: `backoffLimit` does not count it.
    #[must_use]
    pub const fn is_disruption(self) -> bool {
        matches!(self, Self::Evicted | Self::NodeLost | Self::Suspended)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What keeps a stage from starting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trouble {
    /// Its kind.
    pub reason: EndReason,
    /// The same in a sentence, mostly of Kubernetes.
    pub message: String,
}

impl Trouble {
    /// A trouble with its sentence.
    pub fn new(reason: EndReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// How an attempt or a stage ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// Exit code of the container, when it ran.
    pub exit_code: Option<i32>,
    /// The signal that ended it, when one did.
    pub signal: Option<i32>,
    /// A sentence for people.
    pub message: String,
    /// When, as the kubelet saw it.
    pub finished: Option<Timestamp>,
}

impl End {
    /// An end of which no container can tell.
    pub fn without_code(reason: EndReason, message: impl Into<String>) -> Self {
        Self { reason, exit_code: None, signal: None, message: message.into(), finished: None }
    }

    /// What a trouble becomes when the wait is over.
    #[must_use]
    pub fn of_trouble(trouble: &Trouble) -> Self {
        Self::without_code(trouble.reason, trouble.message.clone())
    }

    /// The end that upstream's operator recorded: an exit code at best.
    #[must_use]
    pub fn adopted(exit_code: Option<i32>) -> Self {
        let reason = match exit_code {
            Some(0) => EndReason::Completed,
            Some(_) => EndReason::Error,
            None => EndReason::Unknown,
        };
        let message = "it ended under another operator".to_owned();
        Self { reason, exit_code, signal: None, message, finished: None }
    }

    /// True when the process ended with exit code 0.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        matches!(self.exit_code, Some(0))
    }
}
