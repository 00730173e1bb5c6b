//! What is known of an `OMJob`: from the caches, or read live.

use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use ompipe_api::OMJOB_NAME;
use ompipe_core::kubernetes::LabelValue;
use ompipe_core::omjob::{Observed, PodSeen, Source, Stage, Status, pod_name};

use super::Context;
use crate::error::Error;
use crate::view::{JobView, PodView};
use crate::warning::{self, Waiting};

/// What the caches know.
pub(super) fn cached(context: &Context, job: &JobView) -> Observed {
    observed(context, job, context.attempts_of(job), Source::Cache)
}

/// Adds what only the events of its pods tell about why they do not start; when to look again.
pub(super) async fn explain(
    context: &Context,
    job: &JobView,
    observed: &mut Observed,
) -> Option<Timestamp> {
    let namespace = job.namespace().unwrap_or_default();
    let mut looks = Vec::new();
    for pod in &mut observed.pods {
        let record = observed.status.stage(pod.stage);
        let is_under_way = record.end.is_none() && pod.attempt >= record.ended;
        // What is known already is kept until the pod starts.
        if !is_under_way || record.trouble.is_some() || pod.deletion.is_some() {
            continue;
        }
        let (uid, created, state) = (&pod.uid, pod.created, &mut pod.state);
        let waiting = Waiting { namespace: &namespace, uid, created, state };
        looks.extend(warning::explain(&context.writes, waiting).await);
    }
    looks.into_iter().min()
}

/// What the API server knows: the `OMJob` first, then its pods; `None` when it is gone, or another
/// one has its name.
pub(super) async fn live(
    context: &Context,
    job: &JobView,
) -> Result<Option<(JobView, Observed)>, Error> {
    let namespace = job.namespace().unwrap_or_default();
    let api: Api<JobView> = context.writes.read(&namespace);
    let read = api.get_opt(&job.name_any()).await.map_err(Error::api("read the OMJob"))?;
    let Some(read) = read.filter(|read| read.uid() == job.uid()) else { return Ok(None) };
    let pods = live_pods(&context.writes.read(&namespace), &read).await?;
    let attempts = attempts_in(&pods, read.uid());
    let observed = observed(context, &read, attempts, Source::Api);
    Ok(Some((read, observed)))
}

fn observed(context: &Context, job: &JobView, attempts: Vec<PodSeen>, source: Source) -> Observed {
    let outage = context.servers.is_down_for(job.uid());
    Observed { outage, ..job.observed(attempts, source) }
}

/// Pods by the label that nobody may override, and by the names that were recorded: upstream's
/// operator let the server override its labels.
async fn live_pods(api: &Api<PodView>, job: &JobView) -> Result<Vec<PodView>, Error> {
    let name = LabelValue::sanitised(&job.name_any());
    let params = ListParams::default().labels(&format!("{OMJOB_NAME}={}", name.as_str()));
    let mut pods = api.list(&params).await.map_err(Error::api("list pods"))?.items;
    for name in recorded_names(&job.name_any(), &job.record) {
        if pods.iter().all(|pod| pod.name_any() != name) {
            pods.extend(api.get_opt(&name).await.map_err(Error::api("read a pod"))?);
        }
    }
    Ok(pods)
}

/// Names under which a pod of the attempt under way may stand.
fn recorded_names(omjob: &str, record: &Status) -> Vec<String> {
    let of_stage = |stage: Stage| {
        let known = record.stage(stage);
        let recorded = known.pod.as_ref().map(|pod| pod.name.clone());
        recorded.into_iter().chain([pod_name(omjob, stage, known.ended)])
    };
    let mut names: Vec<String> = of_stage(Stage::Main).chain(of_stage(Stage::Exit)).collect();
    names.sort();
    names.dedup();
    names
}

fn attempts_in(pods: &[PodView], uid: &str) -> Vec<PodSeen> {
    let attempts = pods.iter().filter_map(|pod| pod.attempt.as_ref());
    attempts.filter(|attempt| attempt.owner == uid).map(|attempt| attempt.seen.clone()).collect()
}
