//! `run`: check that nothing runs, make sure of the config, create the Job.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use ompipe_core::{IngestionPipeline, PipelineIdentity, Run, RunId, Service, run};

use super::K8sPipelineClient;
use super::revisions::Need;
use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::service_client::Started;
use crate::transaction::Transaction;

impl K8sPipelineClient {
    pub(super) async fn run(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
        run: RunId,
    ) -> Result<Started> {
        let runnable = self.preparation.prepare(pipeline, service).await?;
        let identity = &runnable.pipeline.identity;
        if let Some(job) = self.job_of_run(identity, run).await? {
            return Ok(self.started(identity, run, job.name_any()));
        }
        let present = self.present(identity).await?;
        let objects = Objects::new(&self.config, &runnable, &present.slug);
        let mut transaction = Transaction::default();
        match self.create_run(&mut transaction, &objects, run).await {
            Ok(job) => Ok(self.started(identity, run, job)),
            Err(refused) => Err(transaction.roll_back(refused).await),
        }
    }

    /// The Job of a run that was started before; an error when another run has not ended.
    async fn job_of_run(&self, pipeline: &PipelineIdentity, run: RunId) -> Result<Option<Job>> {
        let jobs: Vec<Job> = self.owned(pipeline).await?;
        let unfinished = jobs
            .iter()
            .filter_map(|job| Run::observe(job, &[]))
            .find(|other| !other.state.is_terminal() && other.run_id != run)
            .map(|other| other.run_id);
        match (jobs.into_iter().find(|job| run::run_id(job) == Some(run)), unfinished) {
            (Some(job), _) => Ok(Some(job)),
            (None, Some(run)) => {
                let pipeline = pipeline.fully_qualified_name.clone();
                Err(Error::AlreadyRunning { pipeline, run })
            }
            (None, None) => Ok(None),
        }
    }

    async fn create_run(
        &self,
        transaction: &mut Transaction,
        objects: &Objects<'_>,
        run: RunId,
    ) -> Result<String> {
        self.ensure_revision(transaction, objects, Need::Run).await?;
        let job = objects.job(run);
        let name = job.name_any();
        if transaction.create(&self.api(), &job).await?.is_some() {
            return Ok(name);
        }
        // A lost answer to an earlier call, or another run whose id begins alike.
        let present: Option<Job> = self.get(&name).await?;
        match present.and_then(|present| run::run_id(&present)) {
            Some(present) if present == run => Ok(name),
            _ => Err(Error::JobNameTaken { job: name }),
        }
    }

    fn started(&self, pipeline: &PipelineIdentity, run: RunId, job_name: String) -> Started {
        Started {
            pipeline: pipeline.clone(),
            namespace: self.config.namespace.to_string(),
            run_id: run.to_string(),
            job_name,
        }
    }
}
