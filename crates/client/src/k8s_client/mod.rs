//! [`K8sPipelineClient`]: pipelines as Jobs and CronJobs. One file for each operation.

mod callers;
mod delete;
mod deploy;
mod diagnose;
mod follow;
mod kill;
mod logs;
mod pipelines;
mod queue;
mod revisions;
mod run;
mod runs;
mod slug;
mod tasks;
mod toggle;

use std::fmt;

use kube::Api;
use kube::api::ListParams;
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::logs::LogPage;
use ompipe_core::{
    Application, AutomationWorkflow, IngestionPipeline, PipelineIdentity, Run, RunId, Service,
    labels,
};
use secrecy::SecretString;

use crate::cluster::Cluster;
use crate::error::{KubernetesError, Result};
use crate::health::ServiceStatus;
use crate::prepare::Preparation;
use crate::service_client::{
    Deleted, Deployed, Killed, PipelineServiceClient, RunRequest, Started, Toggled,
};
use crate::transaction::Object;

pub use callers::Admission;
pub use follow::RunObserver;
pub use logs::{LogSelection, LogSource, LogStage};
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

    /// How this client was configured.
    #[must_use]
    pub const fn config(&self) -> &K8sPipelineClientConfig {
        &self.config
    }

    pub(crate) const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn api<K: Object>(&self) -> Api<K> {
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

    /// As [`Self::list`], of a custom resource: a cluster that does not have it, or a caller that
    /// may not see it, has none of ompipe's.
    async fn list_custom<K: Object>(&self, selector: &str) -> Result<Vec<K>> {
        none_of_no_kind(self.list(selector).await)
    }

    /// As [`Self::get`], of a custom resource.
    async fn get_custom<K: Object>(&self, name: &str) -> Result<Option<K>> {
        none_of_no_kind(self.get(name).await)
    }

    async fn get<K: Object>(&self, name: &str) -> Result<Option<K>> {
        let got = self.api::<K>().get_opt(name).await;
        let doing = || format!("reading {} {name}", K::kind(&()));
        Ok(got.map_err(|error| KubernetesError::new(doing(), error))?)
    }
}

fn none_of_no_kind<T: Default>(found: Result<T>) -> Result<T> {
    match found {
        Err(error) if error.is_no_such_kind() => Ok(T::default()),
        found => found,
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
        request: RunRequest,
    ) -> Result<Started> {
        self.run(pipeline, service, request).await
    }

    async fn delete_pipeline(&self, pipeline: &PipelineIdentity) -> Result<Deleted> {
        self.delete(pipeline).await
    }

    async fn toggle_ingestion(
        &self,
        pipeline: &PipelineIdentity,
        enabled: bool,
    ) -> Result<Toggled> {
        self.toggle(pipeline, enabled).await
    }

    async fn kill_ingestion(&self, pipeline: &PipelineIdentity) -> Result<Killed> {
        self.kill(pipeline, None).await
    }

    async fn kill_ingestion_run(&self, pipeline: &PipelineIdentity, run: RunId) -> Result<Killed> {
        self.kill(pipeline, Some(run)).await
    }

    async fn queued_pipeline_status(&self, pipeline: &PipelineIdentity) -> Result<Vec<Run>> {
        self.queued_runs(pipeline).await
    }

    async fn pipeline_runs(&self, pipeline: &PipelineIdentity) -> Result<Vec<Run>> {
        self.runs(pipeline).await
    }

    async fn get_last_ingestion_logs(
        &self,
        pipeline: &PipelineIdentity,
        after: Option<&str>,
    ) -> Result<LogPage> {
        self.log_page(pipeline, LogSelection::default(), after).await
    }

    async fn get_ingestion_logs(
        &self,
        pipeline: &PipelineIdentity,
        run: RunId,
        after: Option<&str>,
    ) -> Result<LogPage> {
        let selection = LogSelection { run: Some(run), ..LogSelection::default() };
        self.log_page(pipeline, selection, after).await
    }

    async fn run_automations_workflow(
        &self,
        workflow: AutomationWorkflow,
        run: RunId,
    ) -> Result<Started> {
        self.run_automation(workflow, run).await
    }

    async fn run_application_flow(&self, application: Application, run: RunId) -> Result<Started> {
        self.run_application(application, run).await
    }

    async fn get_service_status(&self) -> ServiceStatus {
        self.service_status().await
    }

    fn get_host_ip(&self) -> Option<String> {
        let host = &self.config.host;
        let hint = || {
            let namespace = &self.config.namespace;
            format!("pods of namespace {namespace}: their addresses are those of its nodes")
        };
        host.ip_info_enabled.then(|| host.ip.clone().unwrap_or_else(hint))
    }
}
