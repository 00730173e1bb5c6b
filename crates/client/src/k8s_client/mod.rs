//! [`K8sPipelineClient`]: pipelines as Jobs and CronJobs. One file for each operation.

mod account;
mod anchor;
mod archive;
mod callers;
mod delete;
mod deploy;
mod describe;
mod diagnose;
mod dry_run;
mod follow;
mod health;
mod hooks;
mod kill;
mod known;
mod lines;
mod logs;
mod masks;
mod moments;
mod orphans;
mod pipelines;
mod plan;
mod queue;
mod retry;
mod revisions;
mod run;
mod runs;
mod slug;
mod tasks;
mod toggle;

use std::collections::BTreeSet;
use std::fmt;

use kube::api::ListParams;
use kube::{Api, ResourceExt};
use ompipe_archive::Archive;
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::labels::selector_of_name;
use ompipe_core::logs::LogPage;
use ompipe_core::{
    Application, AutomationWorkflow, IngestionPipeline, PipelineIdentity, Run, RunId, Service,
    labels,
};
use secrecy::SecretString;

use crate::cluster::Cluster;
use crate::error::{KubernetesError, Result};
use crate::health::ServiceStatus;
use crate::object::Object;
use crate::prepare::Preparation;
use crate::service_client::{
    Deleted, Deployed, Killed, PipelineServiceClient, RunRequest, Started, Toggled,
};

pub use callers::Admission;
pub use describe::PipelineDetail;
pub use dry_run::{PlannedChange, PlannedDeploy};
pub use follow::RunObserver;
pub use known::Known;
pub use logs::{LogSelection, LogSource, LogStage};
pub use orphans::{Census, Orphan, OrphanReason};
pub use pipelines::{DeployedPipeline, Inventory, PipelineFilter};

/// Runs ingestion pipelines as Jobs and CronJobs of a Kubernetes cluster.
///
/// Holds no state of its own: everything lives in the cluster (docs/adr/0014-stateless-client.md),
/// so any number of clients may work at the same time.
pub struct K8sPipelineClient {
    config: K8sPipelineClientConfig,
    cluster: Cluster,
    preparation: Preparation,
    /// Where logs and records of runs are that the cluster no longer has.
    archive: Option<Archive>,
    /// Whether the secrets of a run are masked in its log.
    masks_logs: bool,
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
        Ok(Self { config, cluster, preparation, archive: None, masks_logs: true })
    }

    /// The same, which also reads what the operator has archived.
    #[must_use]
    pub fn with_archive(self, archive: Option<Archive>) -> Self {
        Self { archive, ..self }
    }

    /// The same, which masks the secrets of a run in its log or not. As the operator does it, so that the
    /// pages of a log are the same from the archive and from the pod.
    #[must_use]
    pub fn with_masked_logs(self, masks_logs: bool) -> Self {
        Self { masks_logs, ..self }
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

    /// Every object of a kind that belongs to a pipeline, also those that it has from a time when the
    /// entity of its FQN had another id.
    async fn owned<K: Object>(&self, pipeline: &PipelineIdentity) -> Result<Vec<K>> {
        let (by_id, by_name) = (labels::selector(pipeline), selector_of_name(&pipeline.name));
        let (mut found, named) = tokio::try_join!(self.list(&by_id), self.list::<K>(&by_name))?;
        let known: BTreeSet<Option<String>> = found.iter().map(K::uid).collect();
        let is_own = |object: &K| {
            let owner = labels::identity_of(object.labels(), object.annotations());
            owner.is_some_and(|owner| owner.is_same_pipeline(pipeline))
        };
        let former = named.into_iter().filter(|object| !known.contains(&object.uid()));
        found.extend(former.filter(is_own));
        Ok(found)
    }

    /// As [`Self::owned`], of a custom resource.
    async fn owned_custom<K: Object>(&self, pipeline: &PipelineIdentity) -> Result<Vec<K>> {
        none_of_no_kind(self.owned(pipeline).await)
    }

    async fn list<K: Object>(&self, selector: &str) -> Result<Vec<K>> {
        self.list_in(Reach::Namespace, selector).await
    }

    async fn list_in<K: Object>(&self, reach: Reach, selector: &str) -> Result<Vec<K>> {
        let api = match reach {
            Reach::Namespace => self.api::<K>(),
            Reach::Cluster => Api::all(self.cluster.calls.clone()),
        };
        let listed = api.list(&ListParams::default().labels(selector)).await;
        let doing = || match reach {
            Reach::Namespace => {
                format!("listing {} in namespace {}", K::plural(&()), self.config.namespace)
            }
            Reach::Cluster => format!("listing {} in all namespaces", K::plural(&())),
        };
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

/// Where objects are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// In the configured namespace.
    Namespace,
    /// Everywhere.
    Cluster,
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
