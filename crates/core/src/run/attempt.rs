//! The pods of a run: one for each attempt.

use k8s_openapi::api::core::v1::Pod;

use super::Workload;
use crate::labels;
use crate::pod::PodState;

/// The pods of a run's attempts, oldest first.
#[must_use]
pub fn attempts<'p>(workload: &Workload, pods: &'p [Pod]) -> Vec<&'p Pod> {
    owned(workload, pods, |pod| !is_exit_handler(pod))
}

/// The pods of a run's exit handler, oldest first; a Job has none.
#[must_use]
pub fn exit_handlers<'p>(workload: &Workload, pods: &'p [Pod]) -> Vec<&'p Pod> {
    owned(workload, pods, is_exit_handler)
}

/// True when a pod's main container has begun, so that it has a log.
#[must_use]
pub fn has_log(pod: &Pod) -> bool {
    PodState::of(pod).has_started()
}

fn owned<'p>(workload: &Workload, pods: &'p [Pod], wanted: impl Fn(&Pod) -> bool) -> Vec<&'p Pod> {
    let is_owned = |pod: &&Pod| {
        let owners = pod.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.uid == workload.uid)
    };
    let mut pods: Vec<&Pod> = pods.iter().filter(is_owned).filter(|pod| wanted(pod)).collect();
    pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone()));
    pods
}

fn is_exit_handler(pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(labels::POD_TYPE)).is_some_and(|kind| kind != "main")
}
