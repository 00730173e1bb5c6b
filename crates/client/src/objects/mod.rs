//! The Kubernetes objects of a pipeline, built by pure functions. Their shape follows upstream's
//! published description (docs/contracts/upstream-java-client.md#published-description).
//!
//! ```text
//! deploy ─┬─ Secret    om-secret-{slug}          who the pipeline is, and what a run needs
//!         ├─ Secret    om-secret-{slug}-{hash8}  one workflow config, immutable ◄──┐ env `config`
//!         ├─ ConfigMap om-config-{slug}          the same config for people, masked │
//!         └─ CronJob   om-cronjob-{slug}         when scheduled ───────────────────┤
//! run ────── Job       om-job-{slug}-{run8} ───────────────────────────────────────┘
//! ```
//! Once the pipeline's Secret exists, it owns everything else: Kubernetes' garbage collector removes
//! whatever is created after the pipeline was deleted.
//! In operator mode a `CronOMJob` stands for the `CronJob` and an `OMJob` for the Job. Automations
//! and applications ([`TaskObjects`]) are a Job or `OMJob` and a Secret of their own.

mod config_map;
mod cron_job;
mod environment;
mod job;
mod launch;
mod om_job;
mod pod;
mod run_pod;
mod secret;
mod supervisor;
mod task;
mod wrapper;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use ompipe_api::{CronOMJob, OMJob};
use ompipe_core::config::{K8sPipelineClientConfig, Mode};
use ompipe_core::labels::{self, Pairs};
use ompipe_core::{
    IngestionPipeline, PipelineIdentity, RunId, Schedule, Service, Slug, WorkflowConfig, revision,
};
use serde_json::Value;

pub(crate) use secret::{is_variable_key, read_pipeline, revision_of};
pub use task::TaskObjects;
pub(crate) use task::owner;

/// A pipeline that can run: read, checked, with the config of its workflow.
#[derive(Debug)]
pub struct RunnablePipeline {
    /// The entity.
    pub pipeline: IngestionPipeline,
    /// Its service, when the config depends on it.
    pub service: Option<Service>,
    /// What its worker gets.
    pub workflow: WorkflowConfig,
}

/// Builds the objects of one pipeline.
#[derive(Clone, Debug)]
pub struct Objects<'a> {
    config: &'a K8sPipelineClientConfig,
    runnable: &'a RunnablePipeline,
    slug: &'a Slug,
    /// Content address of what a run gets.
    digest: String,
    /// The pipeline's Secret, where it exists.
    anchor: Option<OwnerReference>,
    /// Whether the schedule is off.
    suspended: bool,
}

impl<'a> Objects<'a> {
    /// The objects of `runnable`, called after `slug`.
    #[must_use]
    pub fn new(
        config: &'a K8sPipelineClientConfig,
        runnable: &'a RunnablePipeline,
        slug: &'a Slug,
    ) -> Self {
        let digest = secret::digest_of(config, runnable);
        Self { config, runnable, slug, digest, anchor: None, suspended: !runnable.pipeline.enabled }
    }

    /// The same objects, owned by the pipeline's Secret as the API server has it.
    pub(crate) fn anchored(&self, secret: &Secret) -> Self {
        Self { anchor: owner(secret), ..self.clone() }
    }

    /// The pipeline's Secret as the owner of the other objects.
    pub(crate) const fn anchor(&self) -> Option<&OwnerReference> {
        self.anchor.as_ref()
    }

    /// These with the schedule off or on, whatever the pipeline says.
    #[must_use]
    pub(crate) fn with_suspended(self, suspended: bool) -> Self {
        Self { suspended, ..self }
    }

    /// How often a run is tried again: as the pipeline says, else as the configuration does.
    fn backoff_limit(&self) -> i32 {
        self.pipeline().airflow.retries.unwrap_or(self.config.backoff_limit)
    }

    /// After how many seconds a run is stopped, likewise.
    fn active_deadline_seconds(&self) -> i64 {
        self.pipeline().airflow.workflow_timeout.unwrap_or(self.config.active_deadline_seconds)
    }

    /// The Secret that says whose the slug is and keeps what a later run needs.
    #[must_use]
    pub fn pipeline_secret(&self) -> Secret {
        secret::of_pipeline(self)
    }

    /// The Secret with the workflow config, named by its content.
    #[must_use]
    pub fn revision_secret(&self) -> Secret {
        secret::of_revision(self)
    }

    /// The workflow config for people.
    #[must_use]
    pub fn config_map(&self) -> ConfigMap {
        config_map::build(self)
    }

    /// The schedule in mode job; `None` for a pipeline that runs on demand only.
    #[must_use]
    pub fn cron_job(&self) -> Option<CronJob> {
        cron_job::build(self)
    }

    /// The schedule in operator mode.
    #[must_use]
    pub fn cron_om_job(&self) -> Option<CronOMJob> {
        om_job::schedule(self)
    }

    /// One run on demand in mode job.
    #[must_use]
    pub fn job(&self, run: RunId) -> Job {
        job::on_demand(self, run)
    }

    /// One run on demand in operator mode.
    #[must_use]
    pub fn om_job(&self, run: RunId) -> OMJob {
        om_job::on_demand(self, run)
    }

    /// The schedule of the configured mode, as JSON.
    pub(crate) fn schedule(&self) -> Result<Option<Value>, serde_json::Error> {
        match self.config.mode {
            Mode::Job => self.cron_job().map(serde_json::to_value).transpose(),
            Mode::Operator => self.cron_om_job().map(serde_json::to_value).transpose(),
        }
    }

    /// One run of the configured mode, as JSON.
    pub(crate) fn run(&self, run: RunId) -> Result<Value, serde_json::Error> {
        match self.config.mode {
            Mode::Job => serde_json::to_value(self.job(run)),
            Mode::Operator => serde_json::to_value(self.om_job(run)),
        }
    }

    /// Short name of the revision that these objects refer to.
    #[must_use]
    pub fn revision(&self) -> &str {
        revision::short(&self.digest)
    }

    /// True when a pipeline's Secret says that it was deployed with this config.
    pub(crate) fn are_deployed(&self, secret: &Secret) -> bool {
        let annotations = secret.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(labels::CONFIG_DIGEST)) == Some(&self.digest)
    }

    pub(crate) fn identity(&self) -> &PipelineIdentity {
        &self.pipeline().identity
    }

    fn pipeline(&self) -> &IngestionPipeline {
        &self.runnable.pipeline
    }

    fn metadata(&self, name: String, labels: Pairs) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.config.namespace.to_string()),
            labels: Some(labels),
            annotations: Some(labels::annotations_of(&self.pipeline().identity)),
            owner_references: self.anchor.clone().map(|anchor| vec![anchor]),
            ..ObjectMeta::default()
        }
    }

    /// Of a schedule, which says what it was before it was moved.
    fn metadata_of_schedule(&self, name: String, labels: Pairs) -> ObjectMeta {
        let metadata = self.metadata(name, labels);
        match self.pipeline().schedule.as_ref().and_then(Schedule::unspread) {
            Some(given) => annotated(metadata, labels::UNSPREAD, given.to_owned()),
            None => metadata,
        }
    }

    /// The labels by which Kueue knows a run.
    fn queue_labels(&self) -> Pairs {
        let pipeline = self.pipeline();
        let service = pipeline.service.as_ref().map(|service| service.name.as_str());
        self.config.kueue.labels(service, &pipeline.identity.fully_qualified_name)
    }

    /// `labels` and the revision that the object refers to.
    fn with_revision(&self, mut labels: Pairs) -> Pairs {
        labels.insert(labels::CONFIG_REVISION.to_owned(), self.revision().to_owned());
        labels
    }
}

/// `metadata` with a further annotation.
fn annotated(mut metadata: ObjectMeta, key: &str, value: String) -> ObjectMeta {
    metadata.annotations.get_or_insert_default().insert(key.to_owned(), value);
    metadata
}

#[cfg(test)]
mod tests;
