//! What the reconciler saw of one `OMJob`.

use jiff::{SignedDuration, Timestamp};

use super::{MoreMemory, PodSeen, Refusal, Status};

/// An `OMJob`, its pods, and what came of the last action if that is not visible in them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Since when it is being deleted.
    pub deleted: Option<Timestamp>,
    /// Whether it carries [`super::FINALIZER`].
    pub finalizer: bool,
    /// What its spec says that matters here.
    pub limits: Limits,
    /// What was recorded.
    pub status: Status,
    /// Its pods, by owner UID.
    pub pods: Vec<PodSeen>,
    /// Where all this was read.
    pub source: Source,
    /// The creation that this pass just tried was refused.
    pub refusal: Option<Refusal>,
    /// Whether the server to report to is known not to answer at the moment.
    pub outage: bool,
    /// What came of the last resort that this pass just tried.
    pub report: Option<Report>,
}

/// Where an observation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A watch, which may lag behind, for the `OMJob` and its pods each on its own.
    Cache,
    /// The API server: the `OMJob` first, then the pods.
    Api,
}

/// The fields of an `OMJob`'s spec that decide its course.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// `activeDeadlineSeconds`: bounds all attempts of main together.
    pub active_deadline: Option<SignedDuration>,
    /// `backoffLimit`: failures that are followed by another attempt; a disruption is no failure.
    /// `None`, as in the `OMJob`s of upstream's server, means one attempt, even when that one is
    /// disrupted.
    pub backoff_limit: Option<u32>,
    /// `retryWithMoreMemory`; `None` retries with the same memory.
    pub more_memory: Option<MoreMemory>,
    /// `exitHandlerDeadlineSeconds`: bounds all attempts of the exit handler together.
    pub exit_deadline: SignedDuration,
    /// `ttlSecondsAfterFinished`; `None` keeps the `OMJob` for ever.
    pub ttl: Option<SignedDuration>,
    /// `suspend`.
    pub suspend: bool,
    /// Whether there is an `exitHandlerSpec`.
    pub exit_handler: bool,
}

impl Default for Limits {
    /// What an `OMJob` of upstream's server means, which has none of these fields.
    fn default() -> Self {
        Self {
            active_deadline: None,
            backoff_limit: None,
            more_memory: None,
            exit_deadline: SignedDuration::from_mins(10),
            ttl: None,
            suspend: false,
            exit_handler: true,
        }
    }
}

/// What came of a last resort report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// OpenMetadata has the run's end.
    Done,
    /// OpenMetadata did not answer, or not well.
    Unavailable(String),
    /// There is nothing to report with: no connection is known, or OpenMetadata refuses for good.
    Impossible(String),
}
