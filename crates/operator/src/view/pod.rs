//! A pod of an `OMJob` as the caches keep it.

use k8s_openapi::api::core::v1::{
    Container, Pod, PodSchedulingGate, PodSpec, PodStatus, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ompipe_core::omjob::PodSeen;
use serde::Deserialize;

use super::attempt::Attempt;
use super::meta::{self, Meta};
use crate::by_owner::Owned;
use crate::tracking::Tracked;

/// A pod, as far as it tells about an attempt.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Wire")]
pub(crate) struct PodView {
    pub(super) metadata: ObjectMeta,
    /// Whose attempt it is, and how that stands; `None` for a pod of nobody.
    pub(crate) attempt: Option<Attempt<PodSeen>>,
}

impl Owned for PodView {
    type Kept = Attempt<PodSeen>;

    fn owned(&self) -> Option<(&str, Self::Kept)> {
        self.attempt.as_ref().map(|attempt| (attempt.owner.as_str(), attempt.clone()))
    }
}

impl Tracked for PodView {
    type Seen = PodSeen;
}

super::view_of!(PodView, Pod);

#[derive(Deserialize)]
struct Wire {
    metadata: Meta,
    spec: Option<Spec>,
    status: Option<PodStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    #[serde(default)]
    init_containers: Vec<InitContainer>,
    #[serde(default)]
    containers: Vec<Limited>,
    scheduling_gates: Option<Vec<PodSchedulingGate>>,
}

/// A container's name, and its limits, of which an OOM kill may ask for more.
#[derive(Deserialize)]
struct Limited {
    name: String,
    #[serde(default)]
    resources: Amounts,
}

#[derive(Default, Deserialize)]
struct Amounts {
    limits: Option<Memory>,
}

#[derive(Deserialize)]
struct Memory {
    memory: Option<Quantity>,
}

/// What tells a sidecar from an init container that ends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitContainer {
    name: String,
    restart_policy: Option<String>,
}

impl From<Spec> for PodSpec {
    fn from(Spec { node_name, init_containers, containers, scheduling_gates }: Spec) -> Self {
        let init_containers = init_containers.into_iter().map(|init| Container {
            name: init.name,
            restart_policy: init.restart_policy,
            ..Container::default()
        });
        Self {
            node_name,
            scheduling_gates,
            init_containers: Some(init_containers.collect()),
            containers: containers.into_iter().map(Container::from).collect(),
            ..Self::default()
        }
    }
}

impl From<Limited> for Container {
    fn from(Limited { name, resources }: Limited) -> Self {
        let memory = resources.limits.and_then(|limits| limits.memory);
        let limits = memory.map(|memory| [("memory".to_owned(), memory)].into());
        let resources = Some(ResourceRequirements { limits, ..ResourceRequirements::default() });
        Self { name, resources, ..Self::default() }
    }
}

impl From<Wire> for PodView {
    fn from(wire: Wire) -> Self {
        let spec = wire.spec.map(PodSpec::from);
        Self::from(Pod { metadata: wire.metadata.into(), spec, status: wire.status })
    }
}

impl From<Pod> for PodView {
    fn from(pod: Pod) -> Self {
        let attempt = meta::owner_of(&pod.metadata, "OMJob").and_then(|owner| {
            let seen = PodSeen::read(&owner.name, &owner.uid, &pod)?;
            let held = pod.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty());
            Some(Attempt {
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                object: owner.name.clone(),
                owner: owner.uid.clone(),
                seen,
                held,
            })
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

#[cfg(test)]
mod tests {
    use ompipe_core::omjob::{Bytes, PodState, Reason};
    use serde_json::json;

    use super::*;

    /// The cache leaves out nearly all of a pod's spec, but not what tells the two apart.
    #[test]
    fn a_sidecar_that_ended_is_no_failed_init_container() {
        let pod = json!({
            "metadata": {
                "name": "run-main", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{
                    "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob", "name": "run",
                    "uid": "o", "controller": true,
                }],
            },
            "spec": {
                "nodeName": "n", "containers": [
                    { "name": "proxy", "resources": { "limits": { "memory": "1Mi" } } },
                    { "name": "main", "resources": { "limits": { "cpu": "1", "memory": "2Gi" } } },
                ],
                "initContainers": [{ "name": "mesh", "image": "i", "restartPolicy": "Always" }],
            },
            "status": { "phase": "Pending", "initContainerStatuses": [{
                "name": "mesh", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
                "state": { "terminated": { "exitCode": 1 } },
                "lastState": { "terminated": { "exitCode": 1 } },
            }]},
        });
        let view: PodView = serde_json::from_value(pod).unwrap();
        let seen = view.attempt.unwrap().seen;
        assert_eq!(seen.memory_limit, Some(Bytes(2 << 30)), "the main container's");
        let PodState::Waiting(Some(trouble)) = seen.state else {
            panic!("it waits for its sidecar");
        };
        assert_eq!(trouble.reason, Reason::Sidecar);
    }
}
