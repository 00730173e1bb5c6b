//! A pod of an `OMJob` as the caches keep it.

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ompipe_core::omjob::PodSeen;
use serde::Deserialize;

use super::meta::{self, Meta};
use crate::tracking::PodId;

/// A pod, as far as it tells about an attempt.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Wire")]
pub(crate) struct PodView {
    pub(super) metadata: ObjectMeta,
    /// Whose attempt it is, and how that stands; `None` for a pod of nobody.
    pub(crate) attempt: Option<Attempt>,
}

/// An attempt of an `OMJob`.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) namespace: String,
    /// Name of the `OMJob`.
    pub(crate) omjob: String,
    /// Its UID.
    pub(crate) owner: String,
    pub(crate) seen: PodSeen,
    /// Whether a finalizer of anybody keeps the pod.
    pub(crate) held: bool,
}

impl Attempt {
    /// The pod.
    pub(crate) fn id(&self) -> PodId<'_> {
        PodId { namespace: &self.namespace, name: &self.seen.name, uid: &self.seen.uid }
    }
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
                omjob: owner.name.clone(),
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
