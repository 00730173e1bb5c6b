//! Pods whose end is not recorded yet: the finalizer that keeps them, put on and taken off, and their
//! deletion. The same for pods of `OMJob`s and of Jobs.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DynamicObject;
use kube::runtime::reflector::ObjectRef;
use ompipe_core::omjob::TRACKING_FINALIZER;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::archive::Archiver;
use crate::by_owner::{ByOwner, Owned};
use crate::error::{Error, code};
use crate::view::{Attempt, Seen};
use crate::writes::Writes;

/// A pod that the caches keep as an attempt of a run.
pub(crate) trait Tracked:
    Owned<Kept = Attempt<Self::Seen>>
    + Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
{
    /// What the decision sees of it.
    type Seen: Seen;
}

/// One pod, and no other of its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodId<'p> {
    pub(crate) namespace: &'p str,
    pub(crate) name: &'p str,
    pub(crate) uid: &'p str,
}

/// The pods of one kind of run: how they are written, and where the answers go.
#[derive(Debug)]
pub(crate) struct Pods<'c, K: Tracked> {
    pub(crate) writes: &'c Writes,
    pub(crate) cache: &'c ByOwner<K>,
    /// Who may still read the log of a pod, where logs are archived.
    pub(crate) archiver: Option<&'c Archiver>,
}

impl<K: Tracked> Pods<'_, K> {
    /// Puts the finalizer on a pod that somebody else made.
    pub(crate) async fn track(&self, pod: PodId<'_>) -> Result<(), Error> {
        let finalizers = json!({ "uid": pod.uid, "finalizers": [TRACKING_FINALIZER] });
        self.patch(pod, finalizers).await
    }

    /// Takes the finalizer off, unless the pod's log is still being archived. Then its object is looked
    /// at again when that is done.
    pub(crate) async fn release(&self, pod: PodId<'_>) -> Result<(), Error> {
        if self.archiver.is_some_and(|archiver| !archiver.may_release(pod.uid)) {
            return Ok(());
        }
        self.let_go(pod).await
    }

    /// Removes the finalizer even if another part still needs the pod.
    pub(crate) async fn let_go(&self, pod: PodId<'_>) -> Result<(), Error> {
        let finalizers = json!({
            "uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING_FINALIZER],
        });
        self.patch(pod, finalizers).await
    }

    /// That the pod is gone, or another one has its name, is success: the pod meant is gone.
    async fn patch(&self, pod: PodId<'_>, metadata: Value) -> Result<(), Error> {
        let api = self.writes.to::<K>(pod.namespace)?;
        let patch = Patch::Strategic(json!({ "metadata": metadata }));
        match api.patch(pod.name, &PatchParams::default(), &patch).await {
            Ok(pod) if is_gone(&pod) => self.cache.note_removed(&pod),
            Ok(pod) => self.cache.note(&pod),
            Err(error) if matches!(code(&error), 404 | 409) => {}
            Err(error) => return Err(Error::api("write a pod's finalizers")(error)),
        }
        Ok(())
    }

    /// Deletes a pod with its grace period.
    pub(crate) async fn delete(&self, pod: PodId<'_>) -> Result<(), Error> {
        let params = DeleteParams::default()
            .preconditions(Preconditions { uid: Some(pod.uid.to_owned()), resource_version: None });
        match self.writes.to::<K>(pod.namespace)?.delete(pod.name, &params).await {
            Ok(answer) => drop(answer.map_left(|pod| self.cache.note(&pod))),
            Err(error) if matches!(code(&error), 404 | 409) => {}
            Err(error) => return Err(Error::api("delete a pod")(error)),
        }
        Ok(())
    }

    /// Releases the pods of an object that is gone, although our finalizer should have kept it:
    /// somebody took that off. Their own finalizer would keep them for ever.
    pub(crate) async fn release_orphans<O>(
        &self,
        object: &ObjectRef<DynamicObject>,
        what: &'static str,
    ) -> Result<(), Error>
    where
        O: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let of_it = |attempt: &Attempt<K::Seen>| {
            let is_of_it = attempt.object == object.name && attempt.namespace == namespace;
            is_of_it && attempt.seen.is_tracked()
        };
        let left = self.cache.filter(of_it);
        if left.is_empty() || !self.writes.leadership().is_held() {
            return Ok(());
        }
        let found = self.writes.read::<O>(namespace).get_opt(&object.name).await;
        let found = found.map_err(Error::api(what))?.and_then(|object| object.meta().uid.clone());
        for attempt in left.iter().filter(|attempt| found.as_ref() != Some(&attempt.owner)) {
            self.release(attempt.id()).await?;
        }
        Ok(())
    }
}

/// True for the answer to a write that let the pod go.
fn is_gone(pod: &impl Tracked) -> bool {
    pod.owned().is_some_and(|(_, attempt)| attempt.seen.is_deleted() && !attempt.held)
}
