//! `status`: the runs of a pipeline, read off their objects and pods.

use futures::future;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::runtime::watcher::Event as Change;
use ompipe_api::OMJob;
use ompipe_core::labels;
use ompipe_core::{PipelineIdentity, PipelineState, Run, RunId, Workload};
use tracing::debug;

use super::K8sPipelineClient;
use crate::error::{Error, Result};

/// A run with its object and pods.
pub(super) struct RunObjects {
    pub(super) run: Run,
    pub(super) workload: Workload,
    pub(super) pods: Vec<Pod>,
}

/// An event of a run's object as one of the run; `None` for an object that is no run of a pipeline.
pub(super) fn of_run<K>(
    event: Change<K>,
    read: impl Fn(&K) -> Option<Workload>,
) -> Option<Change<Workload>> {
    match event {
        Change::Init => Some(Change::Init),
        Change::InitDone => Some(Change::InitDone),
        Change::Apply(object) => read(&object).map(Change::Apply),
        Change::InitApply(object) => read(&object).map(Change::InitApply),
        Change::Delete(object) => read(&object).map(Change::Delete),
    }
}

impl K8sPipelineClient {
    /// Every run, newest first.
    pub(super) async fn runs(&self, pipeline: &PipelineIdentity) -> Result<Vec<Run>> {
        let (workloads, pods) = self.run_state(pipeline).await?;
        let runs = workloads.iter().map(|workload| self.explained(workload, &pods));
        Ok(future::join_all(runs).await)
    }

    pub(super) async fn queued_runs(&self, pipeline: &PipelineIdentity) -> Result<Vec<Run>> {
        let runs = self.runs(pipeline).await?;
        Ok(runs.into_iter().filter(|run| run.state == PipelineState::Queued).collect())
    }

    /// One run by its id, or the latest.
    pub(super) async fn run_objects(
        &self,
        pipeline: &PipelineIdentity,
        wanted: Option<RunId>,
    ) -> Result<RunObjects> {
        let (workloads, pods) = self.run_state(pipeline).await?;
        let is_wanted = |workload: &Workload| {
            wanted.is_none_or(|wanted| Run::observe(workload, &pods).run_id == wanted)
        };
        let workload = workloads.into_iter().find(is_wanted);
        let workload = workload.ok_or_else(|| Error::no_run(pipeline, wanted))?;
        let run = self.explained(&workload, &pods).await;
        Ok(RunObjects { run, workload, pods })
    }

    /// The objects of the runs of a pipeline, newest first: Jobs and `OMJobs`, whatever the mode,
    /// since it may have changed; and those of upstream's Java client.
    pub(super) async fn workloads(&self, pipeline: &PipelineIdentity) -> Result<Vec<Workload>> {
        let selector = labels::run_selector(pipeline);
        let (jobs, om_jobs): (Vec<Job>, Vec<OMJob>) =
            tokio::try_join!(self.list(&selector), self.list_custom(&selector))?;
        let jobs = jobs.iter().filter_map(Workload::of_job);
        let all = jobs.chain(om_jobs.iter().filter_map(OMJob::workload));
        let mut own: Vec<Workload> = all.filter(|found| found.belongs_to(pipeline)).collect();
        own.sort_by(|one, other| other.order().cmp(&one.order()));
        Ok(own)
    }

    async fn run_state(&self, pipeline: &PipelineIdentity) -> Result<(Vec<Workload>, Vec<Pod>)> {
        let selector = labels::run_selector(pipeline);
        tokio::try_join!(self.workloads(pipeline), self.list(&selector))
    }

    /// A run that waits without a pod may be refused one: only events say so.
    async fn explained(&self, workload: &Workload, pods: &[Pod]) -> Run {
        let run = Run::observe(workload, pods);
        if run.state != PipelineState::Queued || run.attempts > 0 || run.reason.is_some() {
            return run;
        }
        match self.last_warning(workload).await {
            Some(message) => run.refused(&message),
            None => run,
        }
    }

    /// What Kubernetes last warned of about a run's object. Who may not read events sees none.
    async fn last_warning(&self, workload: &Workload) -> Option<String> {
        let about = format!("involvedObject.uid={},type=Warning", workload.uid);
        let listed = self.api::<Event>().list(&ListParams::default().fields(&about)).await;
        let events = listed.inspect_err(|error| debug!(%error, "events could not be read")).ok()?;
        let newest = events.items.into_iter().max_by_key(|event| event.last_timestamp.clone())?;
        newest.message
    }
}
