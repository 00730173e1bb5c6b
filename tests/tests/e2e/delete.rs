//! `delete`: nothing is left, whatever the pipeline had; and what a refusal leaves is told.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt;
use ompipe_api::{CronOMJob, OMJob};
use serde_json::{Value, json};

use crate::access::limited_kubeconfig;
use crate::support::{Scene, eventually, install_crds};

/// A worker that ends when it is told to.
const WORKER: &str = "WORKER_MAIN:trap 'exit 1' TERM; sleep 600 & wait";

fn scheduled() -> Value {
    json!({ "airflowConfig": { "scheduleInterval": "0 2 * * 0" } })
}

/// Names of everything that ompipe has in a scene.
async fn leftovers(scene: &Scene) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    names.extend(scene.ours::<CronJob>().await.into_keys());
    names.extend(scene.ours::<CronOMJob>().await.into_keys());
    names.extend(scene.ours::<Job>().await.into_keys());
    names.extend(scene.ours::<OMJob>().await.into_keys());
    names.extend(scene.ours::<Pod>().await.into_keys());
    names.extend(scene.ours::<ConfigMap>().await.into_keys());
    names.extend(scene.ours::<Secret>().await.into_keys());
    names
}

async fn nothing_left(scene: &Scene) {
    eventually("a namespace without leftovers", || async {
        let left = leftovers(scene).await;
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    })
    .await;
}

/// Deploys and starts a pipeline.
async fn deployed_and_running(scene: &Scene, config: &str, pipeline: &str) {
    let service = scene.service();
    let source = ["-c", config, "-f", pipeline, "--service", &service];
    scene.ompipe(&[&["deploy"][..], &source].concat()).await.good();
    scene.ompipe(&[&["run"][..], &source].concat()).await.good();
}

#[tokio::test]
async fn nothing_is_left_and_again_is_no_error() {
    let scene = Scene::new("delete").await;
    install_crds(&scene.client).await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let config = scene.config(&json!({ "extraEnvVars": [WORKER] }));
    deployed_and_running(&scene, &config, &pipeline).await;
    eventually("a pod", || async {
        if scene.ours::<Pod>().await.is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    let delete = ["delete", "-c", &config, "-f", &pipeline];
    let deleted = scene.ompipe(&delete).await.good().stdout;
    let first = deleted.lines().nth(1).unwrap();
    assert!(first.contains("CronJob") && first.ends_with("deleted"), "{deleted}");
    nothing_left(&scene).await;
    let again = scene.ompipe(&delete).await.good();
    assert_eq!(again.stdout, "pipeline shop.nightly is deleted\n");
    scene.end().await;
}

#[tokio::test]
async fn another_pipeline_of_the_same_name_stays() {
    let scene = Scene::new("delete").await;
    let config = scene.config(&json!({}));
    let mut files = Vec::new();
    for service in ["one", "two"] {
        let fields = json!({
            "service": { "type": "databaseService", "name": service },
            "airflowConfig": { "scheduleInterval": "0 2 * * 0" },
        });
        let text = std::fs::read_to_string(scene.pipeline("nightly", &fields)).unwrap();
        let file = scene.text_file(&format!("{service}.json"), &text);
        let entity = json!({ "name": service, "serviceType": "Postgres" });
        let entity = scene.file(&format!("{service}-entity.json"), &entity);
        let source = ["-c", &config, "-f", &file, "--service", &entity];
        scene.ompipe(&[&["deploy"][..], &source].concat()).await.good();
        scene.ompipe(&[&["run", "--follow"][..], &source].concat()).await.good();
        files.push(file);
    }
    scene.ompipe(&["delete", "-c", &config, "-f", &files[0]]).await.good();
    let status = ["status", "-c", &config, "-f", &files[1], "-o", "json"];
    assert_eq!(scene.ompipe(&status).await.good().json().as_array().unwrap().len(), 1);
    let logs = scene.ompipe(&["logs", "-c", &config, "--file", &files[0]]).await.ended_with(3);
    assert!(logs.stderr.contains("has no runs"), "{}", logs.stderr);
    let schedules = scene.ours::<CronJob>().await;
    assert_eq!(schedules.len(), 1);
    let fqn = |o: &CronJob| o.annotations()["pipelines.openmetadata.org/pipeline-fqn"].clone();
    assert_eq!(schedules.values().map(fqn).collect::<Vec<_>>(), ["two.nightly"]);
    scene.end().await;
}

#[tokio::test]
async fn what_a_refusal_leaves_is_told_and_the_next_delete_takes_it() {
    let scene = Scene::new("delete").await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let config = scene.config(&json!({ "extraEnvVars": [WORKER] }));
    deployed_and_running(&scene, &config, &pipeline).await;
    let rules = json!([
        { "apiGroups": [""], "resources": ["secrets", "configmaps", "pods"], "verbs": ["get", "list", "delete"] },
        { "apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["get", "list", "delete"] },
        { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list"] },
    ]);
    let kubeconfig = limited_kubeconfig(&scene, "deleter", &rules).await;
    let delete = ["delete", "-c", &config, "-f", &pipeline];
    let refused = scene.ompipe_with(&delete, &[("KUBECONFIG", &kubeconfig)]).await.ended_with(3);
    assert!(refused.stderr.contains("cannot delete resource \"jobs\""), "{}", refused.stderr);
    for left in ["Job om-job-nightly-", "ConfigMap om-config-nightly", "Secret om-secret-nightly"] {
        assert!(refused.stderr.contains(left), "{}", refused.stderr);
    }
    assert_eq!(scene.ours::<CronJob>().await.len(), 0, "nothing starts any more");
    assert_eq!(scene.ours::<ConfigMap>().await.len(), 1, "the run that is left keeps its config");
    scene.ompipe(&delete).await.good();
    nothing_left(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_live_om_job_keeps_its_config_until_its_exit_handler_has_run() {
    const HOLD: &str = "test.ompipe/operator";
    let scene = Scene::new("delete").await;
    install_crds(&scene.client).await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let config = scene.config(&json!({ "useOMJobOperator": true }));
    deployed_and_running(&scene, &config, &pipeline).await;
    let om_jobs = scene.api::<OMJob>();
    let name = scene.ours::<OMJob>().await.into_keys().next().unwrap();
    hold(&scene, &name, &json!([HOLD])).await;
    scene.ompipe(&["delete", "-c", &config, "-f", &pipeline]).await.good();
    let left = om_jobs.get(&name).await.unwrap();
    assert!(left.metadata.deletion_timestamp.is_some(), "it waits for its operator");
    let exit_handler = left.spec.exit_handler_spec.clone().unwrap().to_template();
    let env = exit_handler.spec.unwrap().containers[0].env.clone().unwrap();
    let source = env.iter().find(|v| v.name == "config").unwrap().value_from.clone().unwrap();
    let secret = source.secret_key_ref.unwrap().name;
    let secrets = scene.ours::<Secret>().await;
    assert_eq!(secrets.keys().collect::<Vec<_>>(), [&secret], "the config alone is left");
    assert_eq!(scene.ours::<CronOMJob>().await.len(), 0);
    hold(&scene, &name, &json!([])).await;
    nothing_left(&scene).await;
    scene.end().await;
}

/// Stands in for an operator, which holds an `OMJob` by a finalizer.
async fn hold(scene: &Scene, name: &str, finalizers: &Value) {
    use kube::api::{Patch, PatchParams};
    let patch = json!({ "metadata": { "finalizers": finalizers } });
    let om_jobs = scene.api::<OMJob>();
    om_jobs.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}
