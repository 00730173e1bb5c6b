//! What the reporter saw of one Job.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;

use super::{FINALIZER, Record, Reporter};
use crate::PipelineState;
use crate::labels::{self, Pairs};
use crate::omjob::{Deletion, PodState, Source, TRACKING_FINALIZER, Trouble};

/// A Job, its pods, and what came of the last action if that is not visible in them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    /// Whether it carries [`FINALIZER`].
    pub held: bool,
    /// When its deletion was asked for.
    pub deleted: Option<Timestamp>,
    /// What Kubernetes says of its end; nothing follows then.
    pub end: Option<JobEnd>,
    /// `ttlSecondsAfterFinished`; `None` keeps the Job for ever.
    pub ttl: Option<SignedDuration>,
    /// What is written on it.
    pub record: Record,
    /// Its pods, oldest first.
    pub attempts: Vec<AttemptSeen>,
    /// Where all this was read.
    pub source: Source,
    /// Why it has no pod, when it has none: read live only.
    pub refusal: Option<Trouble>,
    /// Whether the server to report to is known not to answer at the moment.
    pub outage: bool,
    /// What came of the report that this pass just tried.
    pub report: Option<Report>,
}

/// The end of a Job, as its conditions have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobEnd {
    /// When.
    pub time: Option<Timestamp>,
    /// How it failed; `None` when it is complete.
    pub failure: Option<JobFailure>,
}

/// The failure of a Job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobFailure {
    /// Whether `activeDeadlineSeconds` had passed.
    pub late: bool,
    /// Kubernetes' sentence.
    pub message: String,
}

/// One pod of a Job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it carries [`TRACKING_FINALIZER`].
    pub tracked: bool,
    /// Set when somebody deleted it.
    pub deletion: Option<Deletion>,
    /// The state of its main container.
    pub state: PodState,
}

/// What came of a report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// OpenMetadata has the end of the run.
    Done {
        /// Whose account it is.
        by: Reporter,
        /// What it says; none of an automation.
        state: Option<PipelineState>,
    },
    /// OpenMetadata did not answer, or not well.
    Unavailable(String),
    /// There is nothing to report with, or OpenMetadata refuses for good.
    Impossible(String),
}

/// True for the labels of a Job that is the run of a pipeline or an automation, made by ompipe or by
/// upstream's Java client. An application's run has no row of its own to report to.
#[must_use]
pub fn is_ours(labels: &Pairs) -> bool {
    let is = |key: &str, value: &str| labels.get(key).is_some_and(|label| label == value);
    let works = [labels::COMPONENT_VALUE, labels::AUTOMATION];
    is(labels::NAME, labels::NAME_VALUE) && works.iter().any(|kind| is(labels::COMPONENT, kind))
}

impl Observed {
    /// Reads a Job, with its pods.
    #[must_use]
    pub fn read(job: &Job, attempts: Vec<AttemptSeen>, source: Source) -> Self {
        let metadata = &job.metadata;
        let mut finalizers = metadata.finalizers.iter().flatten();
        let ttl = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished);
        Self {
            held: finalizers.any(|finalizer| finalizer == FINALIZER),
            deleted: metadata.deletion_timestamp.as_ref().map(|time| time.0),
            end: JobEnd::of(job),
            ttl: ttl.map(|seconds| SignedDuration::from_secs(seconds.into())),
            record: metadata.annotations.as_ref().map(Record::read).unwrap_or_default(),
            attempts,
            source,
            refusal: None,
            outage: false,
            report: None,
        }
    }
}

impl JobEnd {
    /// Reads a Job's conditions. The target of an end comes before it, while pods still stop.
    #[must_use]
    pub fn of(job: &Job) -> Option<Self> {
        let conditions = job.status.as_ref()?.conditions.as_ref()?;
        let holds = |kind: &str| conditions.iter().find(|c| c.type_ == kind && c.status == "True");
        let either = |kinds: [&str; 2]| kinds.into_iter().find_map(holds);
        let time = |condition: &JobCondition| condition.last_transition_time.as_ref().map(|t| t.0);
        if let Some(complete) = either(["Complete", "SuccessCriteriaMet"]) {
            return Some(Self { time: time(complete), failure: None });
        }
        let failed = either(["Failed", "FailureTarget"])?;
        let late = failed.reason.as_deref() == Some("DeadlineExceeded")
            || time(failed).zip(deadline(job)).is_some_and(|(time, deadline)| time >= deadline);
        let failure = JobFailure { late, message: failed.message.clone().unwrap_or_default() };
        Some(Self { time: time(failed), failure: Some(failure) })
    }
}

/// When `activeDeadlineSeconds` of a Job passes. The Job controller counts the pods that it deletes at
/// the deadline as failed when another change of the Job makes it look twice, and then names the
/// reason `BackoffLimitExceeded`.
fn deadline(job: &Job) -> Option<Timestamp> {
    let started = job.status.as_ref()?.start_time.as_ref()?.0;
    let seconds = job.spec.as_ref()?.active_deadline_seconds?;
    started.checked_add(SignedDuration::from_secs(seconds)).ok()
}

impl AttemptSeen {
    /// Reads a pod, with the UID of the Job that it belongs to: a label that no user can override,
    /// and that stays when the Job lets its pods go.
    #[must_use]
    pub fn read(pod: &Pod) -> Option<(String, Self)> {
        let metadata = &pod.metadata;
        let job = metadata.labels.as_ref()?.get(labels::JOB_UID)?.clone();
        let mut finalizers = metadata.finalizers.iter().flatten();
        let seen = Self {
            name: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
            created: metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0),
            tracked: finalizers.any(|finalizer| finalizer == TRACKING_FINALIZER),
            deletion: Deletion::of(pod),
            state: PodState::of(pod),
        };
        Some((job, seen))
    }
}
