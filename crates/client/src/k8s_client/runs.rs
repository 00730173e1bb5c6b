//! `status`: the runs of a pipeline, read off its Jobs and their pods.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use ompipe_core::{PipelineIdentity, Run, RunId, run};

use super::K8sPipelineClient;
use crate::error::{Error, Result};

/// A run with its Job and pods.
pub(super) struct RunObjects {
    pub(super) run: Run,
    pub(super) job: Job,
    pub(super) pods: Vec<Pod>,
}

impl K8sPipelineClient {
    pub(super) async fn runs(&self, pipeline: &PipelineIdentity) -> Result<Vec<Run>> {
        let (jobs, pods): (Vec<Job>, Vec<Pod>) =
            tokio::try_join!(self.owned(pipeline), self.owned(pipeline))?;
        let mut runs: Vec<Run> = jobs.iter().filter_map(|job| Run::observe(job, &pods)).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.created));
        Ok(runs)
    }

    /// One run by its id, or the latest.
    pub(super) async fn run_objects(
        &self,
        pipeline: &PipelineIdentity,
        wanted: Option<RunId>,
    ) -> Result<RunObjects> {
        let (jobs, pods): (Vec<Job>, Vec<Pod>) =
            tokio::try_join!(self.owned(pipeline), self.owned(pipeline))?;
        let job = match wanted {
            Some(wanted) => jobs.into_iter().find(|job| run::run_id(job) == Some(wanted)),
            None => jobs.into_iter().max_by_key(|job| job.metadata.creation_timestamp.clone()),
        };
        let observed = job.and_then(|job| Some((Run::observe(&job, &pods)?, job)));
        let (run, job) = observed.ok_or_else(|| Error::no_run(pipeline, wanted))?;
        Ok(RunObjects { run, job, pods })
    }
}
