//! A Job and its pods as the caches keep them: as little as the decision needs.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ompipe_core::job::{AttemptSeen, FINALIZER, Observed, RECORD, REPORTED};
use ompipe_core::labels;
use ompipe_core::omjob::Source;
use serde::Deserialize;

use crate::by_owner::Owned;
use crate::tracking::Tracked;
use crate::view::{Attempt, view_of};

/// Longest record in an annotation.
const MOST_OF_RECORD: usize = 16 << 10;

/// A Job that is a run.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Job")]
pub(crate) struct RunView {
    metadata: ObjectMeta,
    /// What the decision asks for, without the pods.
    seen: Arc<Observed>,
}

view_of!(RunView, Job);

impl From<Job> for RunView {
    fn from(job: Job) -> Self {
        let ttl = job.spec.and_then(|spec| spec.ttl_seconds_after_finished);
        let conditions = job.status.and_then(|status| status.conditions);
        let job = Job {
            metadata: slim(job.metadata),
            spec: Some(JobSpec { ttl_seconds_after_finished: ttl, ..JobSpec::default() }),
            status: Some(JobStatus { conditions, ..JobStatus::default() }),
        };
        let seen = Arc::new(Observed::read(&job, Vec::new(), Source::Cache));
        Self { metadata: ObjectMeta { annotations: None, ..job.metadata }, seen }
    }
}

impl RunView {
    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(crate) fn seen(&self) -> &Observed {
        &self.seen
    }

    /// The same with its pods.
    pub(crate) fn observed(&self, attempts: Vec<AttemptSeen>, source: Source) -> Observed {
        Observed { attempts: by_age(attempts), source, ..Observed::clone(&self.seen) }
    }
}

fn slim(metadata: ObjectMeta) -> ObjectMeta {
    let mut annotations = metadata.annotations.unwrap_or_default();
    // Ours have a few hundred bytes; anybody may write others there.
    annotations.retain(|key, value| {
        [RECORD, REPORTED].contains(&key.as_str()) && value.len() <= MOST_OF_RECORD
    });
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        deletion_timestamp: metadata.deletion_timestamp,
        // Ours is put on and taken off by name.
        finalizers: metadata.finalizers.map(|mut all| {
            all.retain(|finalizer| finalizer == FINALIZER);
            all
        }),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    }
}

fn by_age(mut attempts: Vec<AttemptSeen>) -> Vec<AttemptSeen> {
    attempts.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    attempts
}

/// A pod of a Job.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Pod")]
pub(crate) struct RunPod {
    metadata: ObjectMeta,
    /// `None` for a pod without a Job.
    pub(crate) attempt: Option<Attempt<AttemptSeen>>,
}

view_of!(RunPod, Pod);

impl From<Pod> for RunPod {
    fn from(pod: Pod) -> Self {
        let labels = pod.metadata.labels.as_ref();
        let object = labels.and_then(|labels| labels.get(labels::JOB_NAME)).cloned();
        let held = pod.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty());
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let attempt = AttemptSeen::read(&pod).map(|(owner, seen)| {
            let object = object.unwrap_or_default();
            Attempt { namespace, object, owner, seen, held }
        });
        let metadata = ObjectMeta {
            name: pod.metadata.name,
            namespace: pod.metadata.namespace,
            uid: pod.metadata.uid,
            resource_version: pod.metadata.resource_version,
            ..ObjectMeta::default()
        };
        Self { metadata, attempt }
    }
}

impl Owned for RunPod {
    type Kept = Attempt<AttemptSeen>;

    fn owned(&self) -> Option<(&str, Self::Kept)> {
        self.attempt.as_ref().map(|attempt| (attempt.owner.as_str(), attempt.clone()))
    }
}

impl Tracked for RunPod {
    type Seen = AttemptSeen;
}
