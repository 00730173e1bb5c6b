//! The pods of an `OMJob`: whose attempt each one is, and who wants it gone.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{Bytes, Deletion, POD_TYPE, PodState, Stage, TRACKING_FINALIZER, attempt_of};
use crate::Quantity;
use crate::run::MAIN_CONTAINER;

/// One pod of an `OMJob`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whose attempt it is.
    pub stage: Stage,
    /// Number of the attempt, from 0.
    pub attempt: u32,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it carries [`TRACKING_FINALIZER`].
    pub tracked: bool,
    /// Set when somebody deleted it.
    pub deletion: Option<Deletion>,
    /// Memory limit of its main container.
    pub memory_limit: Option<Bytes>,
    /// How its main container stands.
    pub state: PodState,
}

impl PodSeen {
    /// Reads a pod; `None` when it is no attempt of the `OMJob` of that name and UID.
    #[must_use]
    pub fn read(omjob: &str, uid: &str, pod: &Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let mut owners = metadata.owner_references.iter().flatten();
        owners.find(|owner| owner.uid == uid)?;
        let name = metadata.name.clone()?;
        let (stage, attempt) = attempt_of(omjob, &name).or_else(|| upstreams_attempt(pod))?;
        let finalizers = metadata.finalizers.iter().flatten();
        Some(Self {
            uid: metadata.uid.clone()?,
            created: metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0),
            tracked: finalizers.into_iter().any(|finalizer| finalizer == TRACKING_FINALIZER),
            deletion: Deletion::of(pod),
            memory_limit: memory_limit(pod),
            state: PodState::of(pod),
            name,
            stage,
            attempt,
        })
    }

    /// True until its main container is over.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        !matches!(self.state, PodState::Ended { .. })
    }
}

/// What the kernel kills the main container for exceeding.
fn memory_limit(pod: &Pod) -> Option<Bytes> {
    let mut containers = pod.spec.as_ref()?.containers.iter();
    let main = containers.find(|container| container.name == MAIN_CONTAINER)?;
    let limit = main.resources.as_ref()?.limits.as_ref()?.get("memory")?;
    limit.0.parse::<Quantity>().ok()?.bytes()
}

/// Upstream's operator makes one pod of each type, and hashes the names of some.
fn upstreams_attempt(pod: &Pod) -> Option<(Stage, u32)> {
    let kind = pod.metadata.labels.as_ref()?.get(POD_TYPE)?;
    let stages = [Stage::Main, Stage::Exit];
    stages.into_iter().find(|stage| stage.pod_type() == kind).map(|stage| (stage, 0))
}
