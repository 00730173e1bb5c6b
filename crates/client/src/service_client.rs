//! The operations of a pipeline service (upstream's interface of the same name).

use std::future::Future;

use jiff::Timestamp;
use ompipe_core::logs::LogPage;
use ompipe_core::{IngestionPipeline, PipelineIdentity, Run, RunId, Service};

use crate::error::Result;
use crate::transaction::Written;

/// Deploys and runs ingestion pipelines somewhere.
pub trait PipelineServiceClient {
    /// Stores a pipeline so that it runs on its schedule and on demand.
    ///
    /// All or nothing: when a step is refused, what this call wrote is taken back and the former
    /// deployment stands. Deploying the same again changes nothing. A run that has started keeps
    /// the config that it started with. Without a schedule, an earlier schedule goes and its runs
    /// go on.
    ///
    /// `service` is fetched from the OpenMetadata server when the config depends on it and none is
    /// given.
    ///
    /// # Errors
    /// The pipeline cannot run, OpenMetadata does not know its service, or Kubernetes refuses.
    fn deploy_pipeline(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
    ) -> impl Future<Output = Result<Deployed>> + Send;

    /// Starts a run now, with the config that `pipeline` has now; it need not be deployed.
    ///
    /// The same run id twice is one run: the second call answers as the first did. A pipeline of
    /// which a run has not ended does not start another.
    ///
    /// # Errors
    /// As [`Self::deploy_pipeline`], or a run has not ended.
    fn run_pipeline(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
        run: RunId,
    ) -> impl Future<Output = Result<Started>> + Send;

    /// The runs of a pipeline that the cluster still knows, newest first.
    ///
    /// # Errors
    /// Kubernetes refuses.
    fn pipeline_runs(
        &self,
        pipeline: &PipelineIdentity,
    ) -> impl Future<Output = Result<Vec<Run>>> + Send;

    /// One page of the log of the latest run; `after` is its number, the first when absent.
    ///
    /// Memory does not grow with the log.
    ///
    /// # Errors
    /// There is no run, no log yet, or no such page.
    fn get_last_ingestion_logs(
        &self,
        pipeline: &PipelineIdentity,
        after: Option<&str>,
    ) -> impl Future<Output = Result<LogPage>> + Send;
}

/// What a deploy did.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    /// The pipeline.
    pub pipeline: PipelineIdentity,
    /// Where it was deployed to.
    pub namespace: String,
    /// Every object and what happened to it.
    pub objects: Vec<Written>,
    /// The schedule, in the dialect of Kubernetes, and its zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// When it fires next; none when it is suspended or on demand only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Timestamp>,
}

/// A run that was started.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The pipeline.
    pub pipeline: PipelineIdentity,
    /// Where it runs.
    pub namespace: String,
    /// Under which OpenMetadata keeps its status.
    pub run_id: String,
    /// Name of its Job.
    pub job_name: String,
}
