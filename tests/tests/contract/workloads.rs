//! Every workload that a configuration makes, cut into views.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use ompipe_api::StagePodSpec;
use ompipe_client::{Objects, RunnablePipeline, TaskObjects};
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::{
    Application, AutomationWorkflow, IngestionPipeline, Problems, RunId, Service, Slug,
    WorkflowConfig,
};
use ompipe_tests::contract::{
    ALL, APPLICATION, AUTOMATION, PIPELINE, PIPELINE_FQN, SCHEDULE, SERVICE, Stage, cut, view,
};
use serde_json::{Value, json};

/// Something by the pod that it concerns.
pub(crate) type ByStage<T> = BTreeMap<Stage, T>;

/// A configuration of these parameters and variables.
pub(crate) fn read(
    parameters: &Value,
    variables: &[(&str, &str)],
) -> Result<K8sPipelineClientConfig, Problems> {
    let document = json!({ "pipelineServiceClientConfiguration": { "parameters": parameters } });
    let variables =
        variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    K8sPipelineClientConfig::read(&document, &variables).map(|checked| checked.config)
}

/// The views of every workload.
pub(crate) fn views(parameters: &Value) -> ByStage<Value> {
    views_of(&read(parameters, &[]).unwrap())
}

/// The pods of every workload, those of an `OMJob` as its operator makes them.
pub(crate) fn pods(parameters: &Value) -> ByStage<PodTemplateSpec> {
    let config = read(parameters, &[]).unwrap();
    let pod =
        |(stage, cut): (Stage, Value)| (stage, serde_json::from_value(cut["pod"].clone()).unwrap());
    each_of(&config, |stage, object| cut(stage, object, pod_of)).into_iter().map(pod).collect()
}

/// As [`views`], of a configuration that was read.
pub(crate) fn views_of(config: &K8sPipelineClientConfig) -> ByStage<Value> {
    each_of(config, |stage, object| view(stage, object, pod_of))
}

fn each_of(
    config: &K8sPipelineClientConfig,
    make: impl Fn(Stage, &Value) -> Value,
) -> ByStage<Value> {
    let runnable = runnable(config);
    let slug = Slug::candidates(PIPELINE, PIPELINE_FQN).next().unwrap();
    let objects = Objects::new(config, &runnable, &slug);
    let automation = automation();
    let automation = TaskObjects::of_automation(config, &automation, run());
    let application = application();
    let application = TaskObjects::of_application(config, &application, run());
    let object = |stage: Stage| match stage {
        Stage::Job => serde_json::to_value(objects.job(run())),
        Stage::CronJob => serde_json::to_value(objects.cron_job().unwrap()),
        Stage::OmJobMain | Stage::OmJobExit => serde_json::to_value(objects.om_job(run())),
        Stage::CronOmJobMain | Stage::CronOmJobExit => {
            serde_json::to_value(objects.cron_om_job().unwrap())
        }
        Stage::Automation => serde_json::to_value(automation.job()),
        Stage::Application => serde_json::to_value(application.job()),
        Stage::ApplicationMain | Stage::ApplicationExit => {
            serde_json::to_value(application.om_job())
        }
    };
    ALL.into_iter().map(|stage| (stage, make(stage, &object(stage).unwrap()))).collect()
}

/// The pod that an operator makes of a stage.
fn pod_of(stage: &Value) -> Value {
    let spec: StagePodSpec = serde_json::from_value(stage.clone()).unwrap();
    serde_json::to_value(spec.to_template()).unwrap()
}

pub(crate) fn run() -> RunId {
    "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap()
}

fn runnable(config: &K8sPipelineClientConfig) -> RunnablePipeline {
    let pipeline = IngestionPipeline::read(&json!({
        "name": PIPELINE,
        "pipelineType": "metadata",
        "fullyQualifiedName": PIPELINE_FQN,
        "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
        "airflowConfig": { "scheduleInterval": SCHEDULE },
        "service": { "type": "databaseService", "name": SERVICE },
        "openMetadataServerConnection": connection(),
    }))
    .unwrap();
    let service = json!({ "name": SERVICE, "serviceType": "Postgres" });
    let service = Service::read(&service).unwrap();
    let workflow = WorkflowConfig::build(&pipeline, Some(&service)).unwrap();
    let window = config.schedule_spread.of(Some(SERVICE), PIPELINE_FQN);
    let pipeline = pipeline.with_spread(window);
    RunnablePipeline { pipeline, service: Some(service), workflow }
}

fn automation() -> AutomationWorkflow {
    let request = json!({ "connection": {} });
    let document =
        json!({ "name": AUTOMATION, "workflowType": "TEST_CONNECTION", "request": request });
    AutomationWorkflow::read(&document).unwrap()
}

fn application() -> Application {
    Application::read(&json!({ "name": APPLICATION, "appType": "internal" })).unwrap()
}

fn connection() -> Value {
    json!({ "hostPort": "http://om:8585/api", "securityConfig": { "jwtToken": "a.b.c" } })
}
