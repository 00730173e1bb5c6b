//! The operations of a pipeline service (upstream's interface of the same name).

use std::future::Future;

use jiff::Timestamp;
use ompipe_core::logs::LogPage;
use ompipe_core::version;
use ompipe_core::{
    Application, AutomationWorkflow, ConfigOverrides, IngestionPipeline, PipelineIdentity, Run,
    RunId, Service, WorkloadKind,
};

use crate::error::Result;
use crate::health::ServiceStatus;
use crate::transaction::Written;

/// Deploys and runs ingestion pipelines somewhere.
///
/// Every operation may be repeated: what is done already is not done again, and not an error.
/// Calls that fail for a passing reason (429, 5xx, no connection) are repeated within a limit.
pub trait PipelineServiceClient {
    /// Stores a pipeline so that it runs on its schedule and on demand.
    ///
    /// Creates or changes two Secrets, a `ConfigMap` and the schedule. All or nothing: when a step
    /// is refused, what this call wrote is taken back and the former deployment stays. Deploying
    /// the same again changes nothing. A run that has started keeps the config that it started
    /// with. Without a schedule, an earlier schedule goes and its runs go on; a schedule of the
    /// other mode, or of upstream's Java client, goes likewise. Of two deploys at once one comes
    /// after the other, whole.
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
    /// Creates a Job or `OMJob`, and the Secret with its config unless that is there. The same run
    /// id twice is one run: the second call answers as the first did. While another run of the
    /// pipeline has not ended, `concurrencyPolicy` decides: `Forbid` refuses, `Allow` starts,
    /// `Replace` stops the other, waits for its end, and starts.
    ///
    /// # Errors
    /// As [`Self::deploy_pipeline`], an override that does not fit the pipeline, or a run that has
    /// not ended.
    fn run_pipeline(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
        request: RunRequest,
    ) -> impl Future<Output = Result<Started>> + Send;

    /// Removes a pipeline: its schedule first, so that nothing starts any more, then its runs, then
    /// its config and secrets; those of the other mode and of upstream's Java client too.
    ///
    /// Pods that run get their grace period. A pipeline that is not there is no error.
    ///
    /// # Errors
    /// Kubernetes refuses; the error says what is left.
    fn delete_pipeline(
        &self,
        pipeline: &PipelineIdentity,
    ) -> impl Future<Output = Result<Deleted>> + Send;

    /// Switches the schedule of a pipeline on or off. Runs that have started go on.
    ///
    /// The answer says when there is no schedule to switch.
    ///
    /// # Errors
    /// The pipeline is not deployed, or Kubernetes refuses.
    fn toggle_ingestion(
        &self,
        pipeline: &PipelineIdentity,
        enabled: bool,
    ) -> impl Future<Output = Result<Toggled>> + Send;

    /// Stops every run of a pipeline that has not ended, whether its pod runs, starts or waits to
    /// be tried again. Pods get their grace period, are not orphaned, and are gone soon after it.
    ///
    /// # Errors
    /// Kubernetes refuses.
    fn kill_ingestion(
        &self,
        pipeline: &PipelineIdentity,
    ) -> impl Future<Output = Result<Killed>> + Send;

    /// Stops one run; one that has ended, or is gone, is no error.
    ///
    /// # Errors
    /// Kubernetes refuses.
    fn kill_ingestion_run(
        &self,
        pipeline: &PipelineIdentity,
        run: RunId,
    ) -> impl Future<Output = Result<Killed>> + Send;

    /// The runs that wait to start, newest first.
    ///
    /// # Errors
    /// Kubernetes refuses.
    fn queued_pipeline_status(
        &self,
        pipeline: &PipelineIdentity,
    ) -> impl Future<Output = Result<Vec<Run>>> + Send;

    /// The runs of a pipeline that the cluster still knows, newest first; none when it never ran.
    ///
    /// # Errors
    /// Kubernetes refuses.
    fn pipeline_runs(
        &self,
        pipeline: &PipelineIdentity,
    ) -> impl Future<Output = Result<Vec<Run>>> + Send;

    /// One page of the log of the latest run; `after` is its number, the first when absent.
    ///
    /// The log is that of all attempts, one after the other. Memory does not grow with it, and a
    /// full page never changes.
    ///
    /// # Errors
    /// There is no run, no log yet (the error says what the run waits for), or no such page.
    fn get_last_ingestion_logs(
        &self,
        pipeline: &PipelineIdentity,
        after: Option<&str>,
    ) -> impl Future<Output = Result<LogPage>> + Send;

    /// As [`Self::get_last_ingestion_logs`], of one run.
    ///
    /// # Errors
    /// As there.
    fn get_ingestion_logs(
        &self,
        pipeline: &PipelineIdentity,
        run: RunId,
        after: Option<&str>,
    ) -> impl Future<Output = Result<LogPage>> + Send;

    /// Starts an automation, such as a test of a connection; its worker writes the result to
    /// OpenMetadata. Creates a Job and a Secret that goes with it.
    ///
    /// # Errors
    /// The workflow is too long for its worker, or Kubernetes refuses.
    fn run_automations_workflow(
        &self,
        workflow: AutomationWorkflow,
        run: RunId,
    ) -> impl Future<Output = Result<Started>> + Send;

    /// Starts an application that is not an ingestion pipeline. Creates a Job or `OMJob`, and a
    /// Secret that goes with it.
    ///
    /// # Errors
    /// As [`Self::run_automations_workflow`].
    fn run_application_flow(
        &self,
        application: Application,
        run: RunId,
    ) -> impl Future<Output = Result<Started>> + Send;

    /// Whether an application of the marketplace could run here: [`Application`] is one that could.
    fn validate_app_registration(&self, _application: &Application) {}

    /// Whether everything that operations need is there: the API answers, the namespace exists,
    /// every right is granted, and in operator mode the custom resources are installed.
    ///
    /// Never takes longer than [`crate::HEALTH_LIMIT`]; what is wrong is in the answer.
    fn get_service_status(&self) -> impl Future<Output = ServiceStatus> + Send;

    /// Where ingestions connect from, for firewalls: the configured address, else a hint. Nothing
    /// if the configuration keeps it private.
    fn get_host_ip(&self) -> Option<String>;

    /// True when scheduled runs keep the credentials of the last deploy, so that pipelines must be
    /// deployed again after the bot's token was changed.
    fn pins_credentials_at_deploy_time(&self) -> bool {
        true
    }

    /// True when an ingestion framework of one version works with a server of another.
    ///
    /// # Errors
    /// The text that has no version in it.
    fn valid_server_client_versions<'t>(
        &self,
        client: &'t str,
        server: &'t str,
    ) -> Result<bool, &'t str> {
        version::are_compatible(client, server)
    }
}

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Its id.
    pub run: RunId,
    /// What it has different from the pipeline.
    pub overrides: ConfigOverrides,
    /// Whether the OpenMetadata server made up the id, and so has a row of the run already.
    pub recorded: bool,
    /// Whether it waits for its turn where `concurrencyPolicy` would refuse it: as soon as fewer runs
    /// of the pipeline than its `maxActiveRuns` go on, it starts, the oldest first. Something has to
    /// tend the queues then ([`crate::K8sPipelineClient::tend_queues`]).
    pub may_wait: bool,
    /// Whether it is refused unless the pipeline is deployed: a run of a pipeline that somebody deletes
    /// in the same moment would be left behind.
    pub only_deployed: bool,
}

impl RunRequest {
    /// A run that waits for its turn.
    #[must_use]
    pub fn queued(run: RunId) -> Self {
        Self { may_wait: true, ..run.into() }
    }
}

impl From<RunId> for RunRequest {
    fn from(run: RunId) -> Self {
        Self {
            run,
            overrides: ConfigOverrides::default(),
            recorded: false,
            may_wait: false,
            only_deployed: false,
        }
    }
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
    /// What changed about a former schedule, and what of the pipeline has no effect, one sentence
    /// each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// A run that was started.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// Whose run it is: the FQN of the pipeline, automation or application.
    pub pipeline: String,
    /// Where it runs.
    pub namespace: String,
    /// Under which OpenMetadata keeps its status.
    #[serde(serialize_with = "as_text")]
    pub run_id: RunId,
    /// Kind of its object.
    pub kind: WorkloadKind,
    /// Name of its object.
    pub job_name: String,
    /// Whether it waits for its turn.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub queued: bool,
}

/// What a delete removed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Deleted {
    /// The pipeline.
    pub pipeline: PipelineIdentity,
    /// Every object that was there.
    pub objects: Vec<Written>,
}

/// What a toggle found and did.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Toggled {
    /// The pipeline.
    pub pipeline: PipelineIdentity,
    /// Whether its schedule is on now.
    pub enabled: bool,
    /// The schedules that were switched or are as they should be; none of a pipeline that runs on
    /// demand only.
    pub schedules: Vec<Written>,
}

/// What a kill stopped.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Killed {
    /// The pipeline.
    pub pipeline: PipelineIdentity,
    /// The runs that had not ended.
    pub runs: Vec<Run>,
}

fn as_text<S: serde::Serializer>(id: &RunId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
