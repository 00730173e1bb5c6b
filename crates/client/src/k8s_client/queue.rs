//! Runs that wait for their turn (Airflow's `maxActiveRuns`): objects that are suspended, and resumed
//! when another run of their pipeline has ended. Any number of replicas may do this side by side: all
//! of them choose the same run, and only one can resume it.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use ompipe_api::OMJob;
use ompipe_core::labels::{self, KUEUE_QUEUE, OMPIPE, QUEUE_NEXT, QUEUED};
use ompipe_core::{PipelineIdentity, Queue, Workload, WorkloadKind};
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::K8sPipelineClient;
use super::runs::of_run;
use crate::error::{KubernetesError, Result};
use crate::object::Object;

/// Pause after a call that failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Pause before a kind that is not there is looked for again.
const ABSENT: Duration = Duration::from_mins(5);

/// A pipeline's queue that is being tended; gives the pipeline back when nobody waits any more.
type Tending<'c> = BoxFuture<'c, PipelineIdentity>;

impl K8sPipelineClient {
    /// Lets runs that wait start as places become free; never ends.
    pub async fn tend_queues(&self) {
        let mut waiting = std::pin::pin!(self.waiting_runs());
        let mut tended: stream::FuturesUnordered<Tending<'_>> = stream::FuturesUnordered::new();
        // For each pipeline that is tended, whether a run was seen to wait since.
        let mut again = HashMap::new();
        loop {
            let pipeline = tokio::select! {
                Some(run) = waiting.next() => {
                    let Some(pipeline) = run.pipeline() else { continue };
                    if let Some(again) = again.get_mut(&pipeline.id) {
                        *again = true;
                        continue;
                    }
                    pipeline
                }
                Some(done) = tended.next() => match again.remove(&done.id) {
                    Some(true) => done,
                    Some(false) | None => continue,
                },
            };
            again.insert(pipeline.id, false);
            tended.push(self.tend(pipeline).boxed());
        }
    }

    /// Lets the runs of one pipeline start one after the other until none waits.
    async fn tend(&self, pipeline: PipelineIdentity) -> PipelineIdentity {
        let mut changes = std::pin::pin!(self.ends_of_runs(&pipeline));
        loop {
            match self.advance(&pipeline).await {
                Ok(0) => return pipeline,
                Ok(waiting) => {
                    debug!(pipeline = pipeline.fully_qualified_name, waiting, "runs wait");
                    // A watch that ends for good is none of these.
                    if changes.next().await.is_none() {
                        return pipeline;
                    }
                }
                Err(error) => {
                    warn!(%error, "runs that wait cannot be looked after now");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Resumes the runs whose turn has come; how many go on waiting.
    async fn advance(&self, pipeline: &PipelineIdentity) -> Result<usize> {
        let workloads = self.workloads(pipeline).await?;
        let queue = Queue::of(&workloads);
        let next = queue.next();
        for run in &next {
            self.resume(run).await?;
        }
        Ok(queue.waiting() - next.len())
    }

    /// Lets a suspended run start, unless another replica has done so.
    async fn resume(&self, run: &Workload) -> Result<()> {
        let resumed = match run.kind {
            WorkloadKind::Job => self.patch_resumed::<Job>(run).await,
            WorkloadKind::OmJob => self.patch_resumed::<OMJob>(run).await,
        };
        match resumed {
            Ok(()) => info!(run = %run.run_id, job = run.name, "started: an earlier run has ended"),
            // The test of the patch failed, or the run was deleted.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
            Err(error) => {
                let doing = format!("resuming {} {}", run.kind.as_str(), run.name);
                return Err(KubernetesError::new(doing, error).into());
            }
        }
        Ok(())
    }

    async fn patch_resumed<K: Object>(&self, run: &Workload) -> kube::Result<()> {
        let patch = serde_json::from_value(patch_of_turn(run)).map_err(kube::Error::SerdeError)?;
        let patch = Patch::Json::<()>(patch);
        let params =
            PatchParams { field_manager: Some(OMPIPE.to_owned()), ..PatchParams::default() };
        self.api::<K>().patch(&run.name, &params, &patch).await.map(drop)
    }

    /// The runs that wait, each as soon as it does.
    fn waiting_runs(&self) -> impl Stream<Item = Workload> + use<> {
        let all = watcher::Config::default().labels(&labels::selector_of_queued());
        let present = |event| match event {
            Event::Apply(run) | Event::InitApply(run) => Some(run),
            Event::Init | Event::InitDone | Event::Delete(_) => None,
        };
        self.watch_runs(all).filter_map(move |event| std::future::ready(present(event)))
    }

    /// Something for each moment at which a run of a pipeline may have ended.
    fn ends_of_runs(&self, pipeline: &PipelineIdentity) -> impl Stream<Item = ()> + use<> {
        let runs = watcher::Config::default().labels(&labels::run_selector(pipeline));
        let may_have_ended = |event: Event<Workload>| match event {
            Event::Delete(_) | Event::InitDone => true,
            Event::Apply(run) => run.end.is_some(),
            Event::Init | Event::InitApply(_) => false,
        };
        let ended = move |event| std::future::ready(may_have_ended(event).then_some(()));
        self.watch_runs(runs).filter_map(ended)
    }

    /// Every change of the selected runs, of both kinds; those of a kind that is not there are none.
    fn watch_runs(&self, which: watcher::Config) -> BoxStream<'static, Event<Workload>> {
        let om_jobs = self.streams::<OMJob>();
        let jobs = watcher(self.streams::<Job>(), which.clone())
            .default_backoff()
            .map_ok(|event| of_run(event, Workload::of_job));
        // A watch without the right would tell so in the log at every try, for ever.
        let om_jobs = stream::once(until_seen(self.api::<OMJob>())).map(move |()| {
            let api = watcher(om_jobs.clone(), which.clone());
            api.default_backoff().map_ok(|event| of_run(event, OMJob::workload))
        });
        let om_jobs = om_jobs.flatten();
        let told = stream::select(jobs, om_jobs).filter_map(|event| {
            let event = event.inspect_err(|error| debug!(%error, "a watch is taken up again"));
            std::future::ready(event.ok().flatten())
        });
        told.boxed()
    }
}

/// Ends the wait of a run in our queue. One that Kueue has to admit stays suspended, and Kueue gets to
/// know it: that is who resumes it.
fn patch_of_turn(run: &Workload) -> Value {
    let label = |key: &str| format!("/metadata/labels/{}", escaped(key));
    let next = match run.annotations.get(QUEUE_NEXT) {
        None => json!({ "op": "replace", "path": "/spec/suspend", "value": false }),
        Some(queue) => json!({ "op": "add", "path": label(KUEUE_QUEUE), "value": queue }),
    };
    json!([
        { "op": "test", "path": "/metadata/uid", "value": run.uid },
        { "op": "test", "path": "/spec/suspend", "value": true },
        { "op": "remove", "path": label(QUEUED) },
        next,
    ])
}

/// A key in a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Waits until objects of a kind may be listed: in mode job there may be neither the kind nor the right.
pub(super) async fn until_seen(api: Api<OMJob>) {
    loop {
        match api.list(&ListParams::default().limit(1)).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                debug!(reason = status.message, "no OMJobs are looked at");
                sleep(ABSENT).await;
            }
            // What else goes wrong passes, and the watch waits for that.
            Ok(_) | Err(_) => return,
        }
    }
}
