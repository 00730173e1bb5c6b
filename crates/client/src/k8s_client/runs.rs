//! `status`: the runs of a pipeline, read off their objects and pods.

use futures::future;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::runtime::watcher::Event as Change;
use ompipe_api::OMJob;
use ompipe_core::labels;
use ompipe_core::omjob::Trouble;
use ompipe_core::run::trouble_in_events;
use ompipe_core::{PipelineIdentity, PipelineState, Reason, Run, RunId, Workload};
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

    /// What keeps a run from starting, or kept it until its deadline, where only events say so.
    async fn explained(&self, workload: &Workload, pods: &[Pod]) -> Run {
        let run = Run::observe(workload, pods);
        let waits = run.state == PipelineState::Queued && run.reason.is_none();
        let is_late = run.reason == Some(Reason::DeadlineExceeded) && run.exit_code.is_none();
        if !waits && !is_late {
            return run;
        }
        if let Some(trouble) = self.trouble_of_pods(workload).await {
            return run.with_trouble(trouble);
        }
        let refused = if run.attempts == 0 { self.last_refusal(workload).await } else { None };
        match refused {
            Some(message) => run.refused(&message),
            None => run,
        }
    }

    /// Why the pods of a run do not start, or did not, since they may be gone by now.
    async fn trouble_of_pods(&self, workload: &Workload) -> Option<Trouble> {
        let names = format!("{}-", workload.name);
        let mut events = self.warnings("involvedObject.kind=Pod").await;
        events.retain(|event| {
            let pod = event.involved_object.name.as_deref();
            pod.is_some_and(|name| name.starts_with(&names))
        });
        trouble_in_events(&events)
    }

    /// The words in which a pod of the run was refused.
    async fn last_refusal(&self, workload: &Workload) -> Option<String> {
        const REFUSALS: [&str; 2] = ["FailedCreate", "MainPodRefused"];
        let events = self.warnings(&format!("involvedObject.uid={}", workload.uid)).await;
        let refusals = events.into_iter().filter(|event| {
            event.reason.as_deref().is_some_and(|reason| REFUSALS.contains(&reason))
        });
        refusals.max_by_key(|event| event.last_timestamp.clone())?.message
    }

    /// What Kubernetes warns of about an object. Who may not read events sees none.
    async fn warnings(&self, about: &str) -> Vec<Event> {
        let params = ListParams::default().fields(&format!("{about},type=Warning"));
        let listed = self.api::<Event>().list(&params).await;
        let events = listed.inspect_err(|error| debug!(%error, "events could not be read"));
        events.map(|events| events.items).unwrap_or_default()
    }
}
