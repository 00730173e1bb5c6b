//! Every key at once, then none, then the variables of the chart.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams};
use ompipe_api::{CronOMJob, OMJob};
use ompipe_client::PipelineServiceClient;
use ompipe_core::{Application, AutomationWorkflow, RunId};
use ompipe_tests::contract::{
    APPLICATION, AUTOMATION, EPHEMERAL_STORAGE, PIPELINE, Row, Stage, all_parameters, table, view,
};
use rstest::rstest;
use serde_json::{Value, json};

use super::{client, live, pod_of, raw, scheduled};
use crate::support::{Scene, install_crds};

const LABEL: &str = "example.org/owner";
const ANNOTATION: &str = "example.org/ticket";

/// A scene in one of the modes.
struct Case {
    scene: Scene,
    operator: bool,
    rows: Vec<Row>,
    pipeline: String,
    service: String,
}

impl Case {
    async fn new(operator: bool) -> Self {
        let scene = Scene::new("contract").await;
        install_crds(&scene.client).await;
        let rows = table(&scene.namespace);
        let (pipeline, service) = (scene.pipeline(PIPELINE, &scheduled()), scene.service());
        Self { scene, operator, rows, pipeline, service }
    }

    fn config(&self, parameters: &Value) -> String {
        let mut parameters = parameters.clone();
        parameters["useOMJobOperator"] = self.operator.into();
        self.scene.config(&parameters)
    }

    fn all(&self) -> Value {
        all_parameters(&self.rows)
    }

    async fn call(&self, verb: &str, config: &str, environment: &[(&str, &str)]) -> Value {
        let args =
            [verb, "-c", config, "-f", &self.pipeline, "--service", &self.service, "-o", "json"];
        self.scene.ompipe_with(&args, environment).await.good().json()
    }

    async fn schedule(&self) -> Value {
        if self.operator {
            live::<CronOMJob>(&self.scene, "om-cronomjob-nightly").await
        } else {
            live::<CronJob>(&self.scene, "om-cronjob-nightly").await
        }
    }

    async fn run(&self, name: &str) -> Value {
        if self.operator {
            live::<OMJob>(&self.scene, name).await
        } else {
            live::<Job>(&self.scene, name).await
        }
    }

    /// Checks the table on a live object of the pipeline.
    fn check(&self, object: &Value, concerns: impl Fn(&Row, &str) -> bool) {
        let stages = Stage::of_pipeline_kind(object["kind"].as_str().unwrap());
        assert!(!stages.is_empty(), "{object}");
        self.check_stages(stages, object, concerns);
    }

    fn check_stages(
        &self,
        stages: &[Stage],
        object: &Value,
        concerns: impl Fn(&Row, &str) -> bool,
    ) {
        for &stage in stages {
            let view = view(stage, object, pod_of);
            for row in self.rows.iter().filter(|row| !row.is_alternative) {
                for (pointer, value) in row.values(stage).filter(|(at, _)| concerns(row, at)) {
                    let found = view.pointer(pointer);
                    assert_eq!(found, Some(value), "{} on {stage:?} at {pointer}", row.key);
                }
            }
        }
    }

    /// Puts a label and an annotation of somebody else on an object.
    async fn mark<K: kube::Resource<DynamicType = ()>>(&self, name: &str) {
        let marks =
            json!({ "metadata": { "labels": { LABEL: "x" }, "annotations": { ANNOTATION: "y" } } });
        let patch = Patch::Merge(marks);
        raw::<K>(&self.scene).patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Puts them on everything that deploy made.
    async fn mark_all(&self) {
        if self.operator {
            self.mark::<CronOMJob>("om-cronomjob-nightly").await;
        } else {
            self.mark::<CronJob>("om-cronjob-nightly").await;
        }
        self.mark::<Secret>("om-secret-nightly").await;
        self.mark::<ConfigMap>("om-config-nightly").await;
    }

    async fn check_marks(&self) {
        let objects = [
            self.schedule().await,
            live::<Secret>(&self.scene, "om-secret-nightly").await,
            live::<ConfigMap>(&self.scene, "om-config-nightly").await,
        ];
        for object in objects {
            let metadata = &object["metadata"];
            assert_eq!(metadata["labels"][LABEL], "x", "{metadata}");
            assert_eq!(metadata["annotations"][ANNOTATION], "y", "{metadata}");
        }
    }
}

/// An object without what the API server counts.
fn settled(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "labels", "annotations"].contains(&key.as_str()));
    object.as_object_mut().unwrap().remove("status");
    object
}

#[rstest]
#[case::job(false)]
#[case::operator(true)]
#[tokio::test]
async fn every_key_is_on_the_live_schedule_and_goes_when_it_is_removed(#[case] operator: bool) {
    let case = Case::new(operator).await;
    case.call("deploy", &case.config(&json!({})), &[]).await;
    case.mark_all().await;
    let bare = settled(case.schedule().await);

    case.call("deploy", &case.config(&case.all()), &[]).await;
    case.check(&case.schedule().await, |_, _| true);
    case.check_marks().await;

    case.call("deploy", &case.config(&json!({})), &[]).await;
    assert_eq!(settled(case.schedule().await), bare);
    case.check_marks().await;
    case.scene.end().await;
}

#[rstest]
#[case::job(false)]
#[case::operator(true)]
#[tokio::test]
async fn every_key_is_on_the_live_run(#[case] operator: bool) {
    let case = Case::new(operator).await;
    let started = case.call("run", &case.config(&case.all()), &[]).await;
    let run = case.run(started["jobName"].as_str().unwrap()).await;
    case.check(&run, |_, _| true);
    case.scene.end().await;
}

#[rstest]
#[case::job(false, &[Stage::Application])]
#[case::operator(true, &[Stage::ApplicationMain, Stage::ApplicationExit])]
#[tokio::test]
async fn every_key_is_on_live_automations_and_applications(
    #[case] operator: bool,
    #[case] stages: &[Stage],
) {
    let case = Case::new(operator).await;
    let mut parameters = case.all();
    parameters["useOMJobOperator"] = operator.into();
    let client = client(&case.scene, &parameters).await;
    let workflow =
        json!({ "name": AUTOMATION, "workflowType": "TEST_CONNECTION", "request": { "a": 1 } });
    let workflow = AutomationWorkflow::read(&workflow).unwrap();
    let started = client.run_automations_workflow(workflow, RunId::random()).await.unwrap();
    let job = live::<Job>(&case.scene, &started.job_name).await;
    case.check_stages(&[Stage::Automation], &job, |_, _| true);
    let application = Application::read(&json!({ "name": APPLICATION })).unwrap();
    let started = client.run_application_flow(application, RunId::random()).await.unwrap();
    case.check_stages(stages, &case.run(&started.job_name).await, |_, _| true);
    case.scene.end().await;
}

#[rstest]
#[case::job(false)]
#[case::operator(true)]
#[tokio::test]
async fn every_variable_of_the_chart_is_on_the_live_schedule(#[case] operator: bool) {
    let case = Case::new(operator).await;
    // The file says the other mode, and other values of what a scene sets.
    let config = case.scene.config(&json!({ "useOMJobOperator": !operator }));
    let mode = operator.to_string();
    let of_table = case.rows.iter().flat_map(|row| &row.variables);
    let of_table = of_table.filter(|(name, _)| *name != "USE_OMJOB_OPERATOR");
    let mut variables: Vec<(&str, &str)> =
        of_table.map(|(name, text)| (*name, text.as_str())).collect();
    variables.push(("USE_OMJOB_OPERATOR", &mode));
    case.call("deploy", &config, &variables).await;
    let has_variable =
        |row: &Row, pointer: &str| !row.variables.is_empty() && pointer != EPHEMERAL_STORAGE;
    case.check(&case.schedule().await, has_variable);
    case.scene.end().await;
}
