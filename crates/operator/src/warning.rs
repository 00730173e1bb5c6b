//! Why a pod does not start, where only its events tell: a volume that cannot be mounted, a network
//! that cannot be set up.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use ompipe_core::omjob::{PodState, Trouble};
use ompipe_core::run::trouble_in_events;

use crate::clock;
use crate::writes::Writes;

/// How long a pod may wait without a reason before its events are read; most have started by then.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// Time between two reads of the events of the same pod.
const EVERY: SignedDuration = SignedDuration::from_secs(30);

/// A pod that may wait without a reason.
pub(crate) struct Waiting<'p> {
    pub(crate) namespace: &'p str,
    pub(crate) uid: &'p str,
    pub(crate) created: Timestamp,
    pub(crate) state: &'p mut PodState,
}

/// Puts the reason that the pod's events tell into its state; when to look again, if at all.
pub(crate) async fn explain(writes: &Writes, pod: Waiting<'_>) -> Option<Timestamp> {
    if *pod.state != PodState::Waiting(None) {
        return None;
    }
    let now = clock::now();
    let due = pod.created.saturating_add(PATIENCE).unwrap_or(now);
    if due > now {
        return Some(due);
    }
    match read(writes, pod.namespace, pod.uid).await {
        Some(trouble) => {
            *pod.state = PodState::Waiting(Some(trouble));
            None
        }
        None => now.checked_add(EVERY).ok(),
    }
}

/// The newest telling warning about a pod. Who may not read events sees none.
async fn read(writes: &Writes, namespace: &str, uid: &str) -> Option<Trouble> {
    let about = format!("involvedObject.uid={uid},type=Warning");
    let events = writes.read::<Event>(namespace);
    let listed = events.list(&ListParams::default().fields(&about)).await;
    let listed = listed.inspect_err(|error| tracing::debug!(%error, "cannot read events"));
    trouble_in_events(&listed.ok()?.items)
}
