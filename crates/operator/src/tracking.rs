//! The finalizer on a pod whose end is not recorded yet: put on, taken off.

use kube::api::{Patch, PatchParams};
use ompipe_core::omjob::TRACKING_FINALIZER;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, code};
use crate::view::PodView;

/// One pod, and no other of its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodId<'p> {
    pub(crate) namespace: &'p str,
    pub(crate) name: &'p str,
    pub(crate) uid: &'p str,
}

/// Puts the finalizer on a pod that another operator made.
pub(crate) async fn track(context: &Context, pod: PodId<'_>) -> Result<(), Error> {
    let finalizers = json!({ "uid": pod.uid, "finalizers": [TRACKING_FINALIZER] });
    patch(context, pod, finalizers).await
}

/// Takes the finalizer off.
pub(crate) async fn release(context: &Context, pod: PodId<'_>) -> Result<(), Error> {
    let finalizers = json!({
        "uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING_FINALIZER],
    });
    patch(context, pod, finalizers).await
}

/// That the pod is gone, or another one has its name, is success: the pod meant is gone.
async fn patch(context: &Context, pod: PodId<'_>, metadata: Value) -> Result<(), Error> {
    let api = context.writes.to::<PodView>(pod.namespace)?;
    let patch = Patch::Strategic(json!({ "metadata": metadata }));
    match api.patch(pod.name, &PatchParams::default(), &patch).await {
        Ok(pod) if is_gone(&pod) => context.pods.note_removed(&pod),
        Ok(pod) => context.pods.note(&pod),
        Err(error) if matches!(code(&error), 404 | 409) => {}
        Err(error) => return Err(Error::api("write a pod's finalizers")(error)),
    }
    Ok(())
}

fn is_gone(pod: &PodView) -> bool {
    pod.attempt.as_ref().is_some_and(|attempt| attempt.seen.deletion.is_some() && !attempt.held)
}
