//! `retry`: another run with the config that an earlier one had.

use k8s_openapi::api::core::v1::Secret;
use ompipe_core::workflow::{self, CONFIG_ENV};
use ompipe_core::{PipelineIdentity, RunId, Workload, labels};

use super::K8sPipelineClient;
use crate::error::{Error, Result};
use crate::objects::revision_of;
use crate::service_client::{RunRequest, Started};

impl K8sPipelineClient {
    /// Starts a run that ingests what an earlier one did, its overrides included. How it reaches
    /// OpenMetadata, and everything about its pod, is as for any run that starts now.
    ///
    /// # Errors
    /// There is no such run, its config is no longer kept, or as for a new run.
    pub async fn retry_run(
        &self,
        pipeline: &PipelineIdentity,
        earlier: RunId,
        request: RunRequest,
    ) -> Result<Started> {
        let workloads = self.workloads(pipeline).await?;
        let workload = workloads.iter().find(|workload| workload.run_id == earlier);
        let workload = workload.ok_or_else(|| Error::no_run(pipeline, Some(earlier)))?;
        let text = self.config_of(pipeline, workload).await?;
        let (entity, service) = self.load(pipeline).await?;
        let mut runnable = self.preparation.prepare(entity, service).await?;
        let earlier_config = runnable.workflow.of_earlier_run(&text);
        runnable.workflow = earlier_config.ok_or(Error::ConfigGone(earlier))?;
        workflow::check_size(runnable.workflow.text(), self.config.config_delivery).map_err(
            |source| Error::Workflow { pipeline: pipeline.fully_qualified_name.clone(), source },
        )?;
        self.start_prepared(&runnable, &request).await
    }

    /// The workflow config of a run, from the revision that its object names.
    async fn config_of(&self, pipeline: &PipelineIdentity, workload: &Workload) -> Result<String> {
        let gone = || Error::ConfigGone(workload.run_id);
        let revision = revision_of(&workload.labels).ok_or_else(gone)?;
        let secrets: Vec<Secret> = self.owned(pipeline).await?;
        let is_its_own = |secret: &&Secret| {
            let labels = secret.metadata.labels.as_ref();
            labels.and_then(revision_of) == Some(revision)
        };
        let secret = secrets.into_iter().find(|secret| is_its_own(&secret)).ok_or_else(gone)?;
        let config = secret.data.and_then(|mut data| data.remove(CONFIG_ENV)).ok_or_else(gone)?;
        String::from_utf8(config.0).map_err(|_| gone())
    }

    /// The runs of every pipeline whose id begins with `digits`, with their pipelines.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn find_runs(&self, digits: &str) -> Result<Vec<(PipelineIdentity, RunId)>> {
        let selector = labels::selector_of_all();
        let (jobs, om_jobs): (Vec<k8s_openapi::api::batch::v1::Job>, Vec<ompipe_api::OMJob>) =
            tokio::try_join!(self.list(&selector), self.list_custom(&selector))?;
        let workloads = jobs
            .iter()
            .filter_map(Workload::of_job)
            .chain(om_jobs.iter().filter_map(ompipe_api::OMJob::workload));
        let found = workloads.filter(|workload| workload.run_id.to_string().starts_with(digits));
        Ok(found
            .filter_map(|workload| {
                let identity = labels::identity_of(&workload.labels, &workload.annotations)?;
                Some((identity, workload.run_id))
            })
            .collect())
    }
}
