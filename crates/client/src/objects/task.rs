//! `om-automation-…` and `om-app-…`: what runs besides pipelines. The entity, which holds a token
//! and maybe a connection's password, is in a Secret that goes with the Job.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{PodTemplateSpec, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use ompipe_api::{OMJob, OMJobSpec, StagePodSpec};
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::kubernetes::LabelValue;
use ompipe_core::labels::{self, APPLICATION, AUTOMATION, Pairs};
use ompipe_core::workflow::CONFIG_ENV;
use ompipe_core::{Application, AutomationWorkflow, RunId, ServerConnection, Slug, TaskEntity};
use secrecy::ExposeSecret;

use super::pod::{Blueprint, Role};
use super::{environment, job, launch, secret};

/// The program of an automation (docs/contracts/upstream-java-client.md#containers).
const AUTOMATION_COMMAND: [&str; 2] = ["python", "run_automation.py"];
/// The program of an application.
const APPLICATION_COMMAND: [&str; 3] = ["python", "-m", "metadata.applications.runner"];
/// An application reports its own end, so its exit handler does nothing.
const NO_EXIT_HANDLER: [&str; 3] = ["sh", "-c", "exit 0"];

/// Builds the objects of one automation or run of an application.
#[derive(Debug)]
pub struct TaskObjects<'a> {
    config: &'a K8sPipelineClientConfig,
    entity: &'a TaskEntity,
    name: String,
    labels: Pairs,
    command: &'static [&'static str],
    role: Role,
    run: RunId,
}

impl<'a> TaskObjects<'a> {
    /// Of an automation.
    #[must_use]
    pub fn of_automation(
        config: &'a K8sPipelineClientConfig,
        workflow: &'a AutomationWorkflow,
        run: RunId,
    ) -> Self {
        let entity = workflow.entity();
        let labels = labels::of_task(AUTOMATION, run);
        let name = slug(entity).automation(run);
        Self {
            config,
            entity,
            name,
            labels,
            command: &AUTOMATION_COMMAND,
            role: Role::Answering,
            run,
        }
    }

    /// Of a run of an application.
    #[must_use]
    pub fn of_application(
        config: &'a K8sPipelineClientConfig,
        application: &'a Application,
        run: RunId,
    ) -> Self {
        let entity = application.entity();
        let mut labels = labels::of_task(APPLICATION, run);
        let app = LabelValue::sanitised(&entity.name).to_string();
        labels.insert(labels::APP_NAME.to_owned(), app);
        let name = slug(entity).application(run);
        Self {
            config,
            entity,
            name,
            labels,
            command: &APPLICATION_COMMAND,
            role: Role::Worker,
            run,
        }
    }

    /// Id of the run.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// What the worker gets.
    ///
    /// `owner` takes the Secret with it when it goes.
    #[must_use]
    pub fn secret(&self, owner: OwnerReference) -> Secret {
        let text = self.entity.text().expose_secret().as_bytes().to_vec();
        let config = BTreeMap::from([(CONFIG_ENV.to_owned(), ByteString(text))]);
        let connection = secret::of_connection(self.entity.server_connection.as_ref());
        let variables = secret::variables(&self.config.extra_env_vars);
        let data = config.into_iter().chain(variables).chain(connection);
        Secret {
            metadata: ObjectMeta { owner_references: Some(vec![owner]), ..self.metadata() },
            data: Some(data.collect()),
            immutable: Some(true),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        }
    }

    /// The Job. An automation answers somebody who waits, so it is not tried again; nor is an
    /// application, whose state is its own.
    #[must_use]
    pub fn job(&self) -> Job {
        let spec = JobSpec { backoff_limit: Some(0), ..job::of_pod(self.config, self.worker()) };
        Job { metadata: self.metadata(), spec: Some(spec), status: None }
    }

    /// The same as an `OMJob`.
    #[must_use]
    pub fn om_job(&self) -> OMJob {
        let config = self.config;
        let exit_handler = Blueprint {
            command: &NO_EXIT_HANDLER,
            env: Vec::new(),
            resources: &config.exit_handler_resources,
            role: Role::Idle,
            ..self.blueprint()
        };
        OMJob {
            metadata: self.metadata(),
            spec: OMJobSpec {
                main_pod_spec: StagePodSpec::of_template(self.worker()),
                exit_handler_spec: Some(StagePodSpec::of_template(self.template(exit_handler))),
                ttl_seconds_after_finished: Some(config.ttl_seconds_after_finished.into()),
                active_deadline_seconds: Some(config.active_deadline_seconds),
                backoff_limit: Some(0),
                ..OMJobSpec::default()
            },
            status: None,
        }
    }

    fn worker(&self) -> PodTemplateSpec {
        self.template(self.blueprint())
    }

    fn blueprint(&self) -> Blueprint<'_> {
        let connection = self.entity.server_connection.as_ref();
        let secret = |_| self.name.clone();
        Blueprint {
            labels: self.labels.clone(),
            annotations: self.annotations(),
            image: &self.config.ingestion_image,
            command: self.command,
            env: environment::of_task(&self.config.extra_env_vars, &self.name, self.reports()),
            resources: &self.config.resources,
            role: self.role,
            config_file: None,
            authority: connection.and_then(ServerConnection::mounted_authority).map(secret),
        }
    }

    /// Whether the pod reports with a token that its worker does not have. An application reports its own
    /// end.
    fn reports(&self) -> bool {
        let connection = self.entity.server_connection.as_ref();
        let token = connection.and_then(ServerConnection::report_token);
        token.is_some() && self.role == Role::Answering
    }

    fn template(&self, blueprint: Blueprint<'_>) -> PodTemplateSpec {
        let fqn = &self.entity.fully_qualified_name;
        launch::template(self.config, self.config.pod_templates.of(None, fqn), blueprint)
    }

    fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.config.namespace.to_string()),
            labels: Some(self.labels.clone()),
            annotations: Some(self.annotations()),
            ..ObjectMeta::default()
        }
    }

    fn annotations(&self) -> Pairs {
        let fqn = self.entity.fully_qualified_name.clone();
        Pairs::from([(labels::ENTITY_FQN.to_owned(), fqn)])
    }
}

/// A run's object as the owner of its Secret; `None` when it was not created by an API server.
pub(crate) fn owner<K: Resource<DynamicType = ()>>(object: &K) -> Option<OwnerReference> {
    object.owner_ref(&())
}

/// Names carry the run's id, so any form of the name will do.
fn slug(entity: &TaskEntity) -> Slug {
    Slug::first(&entity.name, &entity.fully_qualified_name)
}
