//! Deadlines of runs that never start: they come when it is known why, however long that takes.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use ompipe_api::OMJob;
use ompipe_core::job::Record;
use ompipe_core::omjob::{PodState, Refusal};
use ompipe_core::run::trouble_in_events;
use serde_json::json;

use super::{Scene, eventually};
use crate::operator::condition;

/// Brings on the deadline of the scene's only Job, once the API tells the reason why it has no worker
/// and an operator, if there is one, has recorded that.
pub(crate) async fn late_job(scene: &Scene, reason: &str, has_operator: bool) {
    let job = eventually("the Job's reason", || async {
        let (name, job) = scene.ours::<Job>().await.pop_first().ok_or("no Job")?;
        let record = Record::read(job.annotations());
        let recorded = record.trouble.as_ref().is_some_and(|why| why.reason.as_str() == reason);
        let told = if has_operator { recorded } else { is_told(scene, reason).await };
        // What refuses the pods is told by an event alone, which the operator reads at the end.
        if told || is_refused(scene, reason).await { Ok(name) } else { Err(format!("{record:?}")) }
    })
    .await;
    end_now(&scene.api::<Job>(), &job).await;
}

/// The same of its only `OMJob`.
pub(crate) async fn late_omjob(scene: &Scene, reason: &str) {
    let job = eventually("the OMJob's reason", || async {
        let (name, job) = scene.ours::<OMJob>().await.pop_first().ok_or("no OMJob")?;
        let stalled = condition(&job, "Stalled");
        if stalled == format!("True {reason}") { Ok(name) } else { Err(stalled) }
    })
    .await;
    end_now(&scene.api::<OMJob>(), &job).await;
}

async fn is_told(scene: &Scene, reason: &str) -> bool {
    let pods = scene.ours::<Pod>().await;
    let mut troubles = pods.values().filter_map(|pod| PodState::of(pod).trouble());
    if troubles.any(|trouble| trouble.reason.as_str() == reason) {
        return true;
    }
    let warnings = ListParams::default().fields("involvedObject.kind=Pod,type=Warning");
    let events = scene.api::<Event>().list(&warnings).await.unwrap().items;
    trouble_in_events(&events).is_some_and(|trouble| trouble.reason.as_str() == reason)
}

/// A new namespace refuses pods for other reasons, too: it has no service account at first.
async fn is_refused(scene: &Scene, reason: &str) -> bool {
    let refusals = ListParams::default().fields("reason=FailedCreate,involvedObject.kind=Job");
    let events = scene.api::<Event>().list(&refusals).await.unwrap();
    let mut messages = events.items.iter().filter_map(|event| event.message.as_deref());
    messages.any(|message| Refusal::of_answer(403, message).trouble.reason.as_str() == reason)
}

/// One second after its start, which is over.
pub(crate) async fn end_now<K>(api: &Api<K>, name: &str)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let deadline = Patch::Merge(json!({ "spec": { "activeDeadlineSeconds": 1 } }));
    api.patch(name, &PatchParams::default(), &deadline).await.unwrap();
}
