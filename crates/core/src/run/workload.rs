//! The object that stands for a run: a Job, or an `OMJob` (crate `ompipe-api` reads those).

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;

use super::fate::DEFAULT_BACKOFF_LIMIT;
use super::{Reason, attempts};
use crate::job::{self, Reported};
use crate::labels::{self, Pairs};
use crate::{MaxActiveRuns, PipelineIdentity, RunId};

/// Kind of a run's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum WorkloadKind {
    /// A Job of Kubernetes.
    Job,
    /// An `OMJob`.
    #[serde(rename = "OMJob")]
    OmJob,
}

impl WorkloadKind {
    /// The kind as Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::OmJob => "OMJob",
        }
    }
}

/// What the object says about its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub namespace: Option<String>,
    /// Its UID, by which its pods are known.
    pub uid: String,
    /// Its labels.
    pub labels: Pairs,
    /// Its annotations.
    pub annotations: Pairs,
    /// FQN of the pipeline in the environment of its container, if it says so.
    pub pipeline_fqn: Option<String>,
    /// The run's id.
    pub run_id: RunId,
    /// Whether a schedule made it.
    pub scheduled: bool,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Of a run that waits for its turn: how many of its pipeline may go on at a time.
    pub queued: Option<MaxActiveRuns>,
    /// The queue of Kueue in which it waits, suspended.
    pub waits_in: Option<String>,
    /// Whether it says itself that a pod has started.
    pub started: bool,
    /// `backoffLimit`: how many failed attempts are followed by another.
    pub backoff_limit: Option<u32>,
    /// How it ended, if it did.
    pub end: Option<End>,
    /// That the report of the end is settled, where the operator looks after that.
    pub reported: Option<Reported>,
    /// Who reports how it ends.
    pub end_reporter: EndReporter,
}

/// Who reports to OpenMetadata how a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReporter {
    /// An operator does, whatever became of the run's pods.
    Operator,
    /// The run's own pods do, as far as they can.
    Pods,
}

/// How a run's object says that the run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// When.
    pub time: Option<Timestamp>,
    /// Why it failed; `None` when it succeeded.
    pub failure: Option<Failure>,
}

/// Why a run failed, as its object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason; `None` when the pods know better.
    pub reason: Option<Reason>,
    /// The same in a sentence.
    pub message: String,
}

impl Workload {
    /// Reads a Job; `None` when it cannot be a run of a pipeline.
    #[must_use]
    pub fn of_job(job: &Job) -> Option<Self> {
        let metadata = &job.metadata;
        let labels = metadata.labels.clone().unwrap_or_default();
        let template = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let suspend = job.spec.as_ref().and_then(|spec| spec.suspend);
        let queued = queued(&labels, suspend);
        let waits_in = labels.get(labels::KUEUE_QUEUE).filter(|_| suspend == Some(true)).cloned();
        let variables = template.and_then(|pod| pod.containers.first()?.env.as_ref());
        Some(Self {
            kind: WorkloadKind::Job,
            name: metadata.name.clone()?,
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone()?,
            run_id: run_id(&labels, metadata.uid.as_deref())?,
            scheduled: !labels.contains_key(labels::RUN_ID),
            labels,
            reported: metadata.annotations.as_ref().and_then(Reported::read),
            annotations: metadata.annotations.clone().unwrap_or_default(),
            pipeline_fqn: variables.and_then(|variables| labels::fqn_in(variables)),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            deleting: metadata.deletion_timestamp.is_some(),
            queued,
            waits_in,
            started: false,
            backoff_limit: job.spec.as_ref().map(backoff_limit),
            end: end_of(job),
            end_reporter: end_reporter(job),
        })
    }

    /// Whose run it is; `None` of what upstream's Java client made.
    #[must_use]
    pub fn pipeline(&self) -> Option<PipelineIdentity> {
        labels::identity_of(&self.labels, &self.annotations)
    }

    /// True when the run is one of `pipeline`'s: by identity, or, for what upstream's Java client
    /// made, by the FQN that its worker gets.
    #[must_use]
    pub fn belongs_to(&self, pipeline: &PipelineIdentity) -> bool {
        match self.pipeline() {
            Some(owner) => owner.is_same_pipeline(pipeline),
            None => self.pipeline_fqn.as_ref() == Some(&pipeline.fully_qualified_name),
        }
    }

    /// True when it has neither ended nor is about to go.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.end.is_none() && !self.deleting
    }

    /// Which of a pipeline's runs came first: those of one second are told apart by what their
    /// triggers say, and, if these say nothing, by name, so that all who ask see the same order.
    #[must_use]
    pub fn order(&self) -> (Option<Timestamp>, Option<&str>, &str) {
        let triggered = self.annotations.get(labels::TRIGGERED_AT).map(String::as_str);
        (self.created, triggered, &self.name)
    }

    /// The id under which OpenMetadata keeps the run. Of upstream's scheduled runs it is the UID
    /// of the newest pod (docs/contracts/upstream-java-client.md#containers).
    pub(super) fn run_id_with(&self, pods: &[Pod]) -> RunId {
        let is_upstreams = !self.labels.contains_key(labels::PIPELINE_ID);
        let newest = || attempts(self, pods).last()?.metadata.uid.as_deref()?.parse().ok();
        if self.scheduled && is_upstreams { newest().unwrap_or(self.run_id) } else { self.run_id }
    }
}

/// An operator that reports the ends of Jobs holds each with a finalizer, and leaves a record when it
/// has settled the report.
fn end_reporter(job: &Job) -> EndReporter {
    let mut finalizers = job.metadata.finalizers.iter().flatten();
    let is_settled = job.metadata.annotations.as_ref().and_then(Reported::read).is_some();
    let is_held = finalizers.any(|finalizer| finalizer == job::FINALIZER);
    if is_held || is_settled { EndReporter::Operator } else { EndReporter::Pods }
}

/// A run's id: its label, or the UID of an object that a schedule made.
#[must_use]
pub fn run_id(labels: &Pairs, uid: Option<&str>) -> Option<RunId> {
    labels.get(labels::RUN_ID).map(String::as_str).or(uid)?.parse().ok()
}

/// Whether a run waits for its turn: one that somebody else suspended does not.
#[must_use]
pub fn queued(labels: &Pairs, suspend: Option<bool>) -> Option<MaxActiveRuns> {
    let limit = labels.get(labels::QUEUED).filter(|_| suspend == Some(true))?;
    limit.parse().ok()
}

fn backoff_limit(spec: &JobSpec) -> u32 {
    let limit = spec.backoff_limit.unwrap_or(DEFAULT_BACKOFF_LIMIT);
    limit.try_into().unwrap_or_default()
}

fn end_of(job: &Job) -> Option<End> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let holds = |kind: &str| conditions.iter().find(|c| c.type_ == kind && c.status == "True");
    if let Some(complete) = holds("Complete") {
        let time = complete.last_transition_time.as_ref().map(|time| time.0);
        return Some(End { time, failure: None });
    }
    let failed = holds("Failed")?;
    let is_deadline = failed.reason.as_deref() == Some("DeadlineExceeded");
    let failure = Failure {
        reason: is_deadline.then_some(Reason::DeadlineExceeded),
        message: failed.message.clone().unwrap_or_default(),
    };
    let time = failed.last_transition_time.as_ref().map(|time| time.0);
    Some(End { time, failure: Some(failure) })
}
