//! A pod of an `OMJob` as the caches keep it.

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
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
}

impl From<Wire> for PodView {
    fn from(wire: Wire) -> Self {
        let spec = wire.spec.map(|Spec { node_name }| PodSpec { node_name, ..PodSpec::default() });
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
