//! [`K8sPipelineClient`]: pipelines as Jobs and CronJobs. One file for each operation.

mod deploy;
mod follow;
mod logs;
mod pipelines;
mod revisions;
mod run;
mod runs;
mod slug;

use std::fmt;

use kube::Api;
use kube::api::ListParams;
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::logs::LogPage;
use ompipe_core::{IngestionPipeline, PipelineIdentity, Run, RunId, Service, labels};
use secrecy::SecretString;

use crate::cluster::Cluster;
use crate::error::{KubernetesError, Result};
use crate::prepare::Preparation;
use crate::service_client::{Deployed, PipelineServiceClient, Started};
use crate::transaction::Object;

pub use follow::RunObserver;
pub use pipelines::DeployedPipeline;

/// Runs ingestion pipelines as Jobs and CronJobs of a Kubernetes cluster.
///
/// Holds no state of its own: everything lives in the cluster (design §2.9), so any number may
/// work side by side.
pub struct K8sPipelineClient {
    config: K8sPipelineClientConfig,
    cluster: Cluster,
    preparation: Preparation,
}

impl K8sPipelineClient {
    /// A client of the cluster that `config` names. Connects on the first call.
    ///
    /// `token` is the bot's, for pipelines that come without a server connection.
    ///
    /// # Errors
    /// When there is no cluster to talk to.
    pub async fn connect(
        config: K8sPipelineClientConfig,
        token: Option<SecretString>,
    ) -> Result<Self> {
        let cluster = Cluster::connect(&config.cluster).await?;
        let preparation = Preparation::new(&config, token);
        Ok(Self { config, cluster, preparation })
    }

    /// What this client makes pipelines runnable with.
    #[must_use]
    pub const fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.cluster.calls.clone(), self.config.namespace.as_str())
    }

    /// As [`Self::api`], for watches and logs, which may be silent for long.
    fn streams<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.cluster.streams.clone(), self.config.namespace.as_str())
    }

    /// Every object of a kind that belongs to a pipeline.
    async fn owned<K: Object>(&self, pipeline: &PipelineIdentity) -> Result<Vec<K>> {
        self.list(&labels::selector(pipeline)).await
    }

    async fn list<K: Object>(&self, selector: &str) -> Result<Vec<K>> {
        let listed = self.api::<K>().list(&ListParams::default().labels(selector)).await;
        let doing = || format!("listing {} in namespace {}", K::plural(&()), self.config.namespace);
        Ok(listed.map_err(|error| KubernetesError::new(doing(), error))?.items)
    }

    async fn get<K: Object>(&self, name: &str) -> Result<Option<K>> {
        let got = self.api::<K>().get_opt(name).await;
        let doing = || format!("reading {} {name}", K::kind(&()));
        Ok(got.map_err(|error| KubernetesError::new(doing(), error))?)
    }
}

impl fmt::Debug for K8sPipelineClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("K8sPipelineClient").field("config", &self.config).finish_non_exhaustive()
    }
}

impl PipelineServiceClient for K8sPipelineClient {
    async fn deploy_pipeline(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
    ) -> Result<Deployed> {
        self.deploy(pipeline, service).await
    }

    async fn run_pipeline(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
        run: RunId,
    ) -> Result<Started> {
        self.run(pipeline, service, run).await
    }

    async fn pipeline_runs(&self, pipeline: &PipelineIdentity) -> Result<Vec<Run>> {
        self.runs(pipeline).await
    }

    async fn get_last_ingestion_logs(
        &self,
        pipeline: &PipelineIdentity,
        after: Option<&str>,
    ) -> Result<LogPage> {
        self.log_page(pipeline, after).await
    }
}
