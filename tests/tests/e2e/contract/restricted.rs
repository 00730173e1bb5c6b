//! A namespace that enforces the Pod Security Standard `restricted` takes every pod of ours as the
//! default configuration makes it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use ompipe_api::{CronOMJob, OMJob, StagePodSpec};
use ompipe_client::PipelineServiceClient;
use ompipe_core::{Application, RunId};
use serde_json::json;

use super::{client, scheduled};
use crate::support::{Scene, from, install_crds};

async fn restricted(name: &str) -> Scene {
    let scene = Scene::new(name).await;
    scene.restrict().await;
    scene
}

#[tokio::test]
async fn a_run_starts_and_succeeds() {
    let scene = restricted("restricted").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({}));
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--follow"];
    let outcome = scene.ompipe(&run).await.good();
    assert!(outcome.stderr.contains("ended: success"), "{}", outcome.stderr);
    scene.end().await;
}

#[tokio::test]
async fn the_pods_of_an_om_job_are_admitted() {
    let scene = restricted("admitted").await;
    install_crds(&scene.client).await;
    let pods = scene.api::<Pod>();
    let plain: Pod = from(
        json!({ "metadata": { "name": "plain" }, "spec": { "containers": [{ "name": "main", "image": "i" }] } }),
    );
    let refused = pods.create(&PostParams::default(), &plain).await.unwrap_err().to_string();
    assert!(refused.contains("violates PodSecurity \"restricted"), "{refused}");
    for (name, stage) in stages(&scene).await {
        let template = stage.to_template();
        let mut metadata = template.metadata.unwrap();
        metadata.name = Some(name.to_owned());
        let pod = Pod { metadata, spec: template.spec, status: None };
        pods.create(&PostParams::default(), &pod).await.unwrap();
    }
    scene.end().await;
}

/// Every stage of the live objects of operator mode.
async fn stages(scene: &Scene) -> Vec<(&'static str, StagePodSpec)> {
    let parameters = json!({ "useOMJobOperator": true });
    let (pipeline, service) = (scene.pipeline("nightly", &scheduled()), scene.service());
    let config = scene.config(&parameters);
    let source = ["-c", &config, "-f", &pipeline, "--service", &service, "-o", "json"];
    scene.ompipe(&[&["deploy"][..], &source].concat()).await.good();
    let started = scene.ompipe(&[&["run"][..], &source].concat()).await.good().json();
    let application = Application::read(&json!({ "name": "tagger" })).unwrap();
    let task = client(scene, &parameters).await;
    let task = task.run_application_flow(application, RunId::random()).await.unwrap();
    let (jobs, schedules) = (scene.api::<OMJob>(), scene.api::<CronOMJob>());
    let run = jobs.get(started["jobName"].as_str().unwrap()).await.unwrap().spec;
    let task = jobs.get(&task.job_name).await.unwrap().spec;
    let scheduled = schedules.get("om-cronomjob-nightly").await.unwrap().spec.om_job_spec;
    vec![
        ("run-main", run.main_pod_spec),
        ("run-exit", run.exit_handler_spec.unwrap()),
        ("scheduled-main", scheduled.main_pod_spec),
        ("scheduled-exit", scheduled.exit_handler_spec.unwrap()),
        ("task-main", task.main_pod_spec),
        ("task-exit", task.exit_handler_spec.unwrap()),
    ]
}

#[tokio::test]
async fn a_dollar_reaches_the_process_as_it_is() {
    let scene = Scene::new("dollar").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let given = "$(jobName) $$ $x $$(jobName)";
    let config =
        scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:printenv A", format!("A:{given}")] }));
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--follow"];
    let outcome = scene.ompipe(&run).await.good();
    assert_eq!(outcome.stdout, format!("{given}\n"));
    scene.end().await;
}
