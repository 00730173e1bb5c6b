//! The preStop hook (docs/contracts/upstream-java-client.md#prestop-hook): it runs whenever a pod
//! is stopped from outside, with the seven variables; and what a stopped or broken pod means for
//! its run.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams, PostParams};
use ompipe_core::RunId;
use ompipe_tests::standin::PipelineState;
use rstest::rstest;
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{Scene, bed, end_now, eventually};

/// A worker that says when it is up and ends when it is told to, and a hook that tells its
/// variables to the container's log.
fn parameters() -> Value {
    json!({ "extraEnvVars": [
        "WORKER_MAIN:trap 'exit 1' TERM; echo up; sleep 600 & wait",
        "WORKER_EXIT_HANDLER:echo hook $pipelineRunId $jobName $namespace $pipelineStatus $pipelineType $ingestionPipelineFQN ${#config} > /proc/1/fd/1",
    ]})
}

/// What stops the pod.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    Delete,
    Evict,
    Deadline,
    Kill,
}

/// Waits for the pod of a run whose worker is up.
async fn pod_that_is_up(scene: &Scene, config: &str, pipeline: &str) -> String {
    eventually("a worker that is up", || async {
        let logs = scene.ompipe(&["logs", "-c", config, "--file", pipeline]).await;
        if logs.stdout != "up\n" {
            return Err(logs.stderr);
        }
        scene.ours::<Pod>().await.into_keys().next().ok_or_else(|| "no pod".to_owned())
    })
    .await
}

async fn only_pod(scene: &Scene) -> String {
    scene.ours::<Pod>().await.into_keys().next().unwrap()
}

async fn stop(scene: &Scene, how: Stop, config: &str, pipeline: &str, pod: &str) {
    match how {
        Stop::Delete => {
            scene.api::<Pod>().delete(pod, &DeleteParams::default()).await.unwrap();
        }
        Stop::Evict => {
            scene.api::<Pod>().evict(pod, &EvictParams::default()).await.unwrap();
        }
        Stop::Deadline => {
            let job = scene.ours::<Job>().await.into_keys().next().unwrap();
            end_now(&scene.api::<Job>(), &job).await;
        }
        Stop::Kill => drop(scene.ompipe(&["kill", "-c", config, "-f", pipeline]).await.good()),
    }
}

#[rstest]
#[case::delete(Stop::Delete)]
#[case::evict(Stop::Evict)]
#[case::deadline(Stop::Deadline)]
#[case::kill(Stop::Kill)]
#[tokio::test]
async fn the_hook_runs_with_its_variables(#[case] how: Stop) {
    let scene = Scene::new("hook").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&parameters());
    let id = RunId::random().to_string();
    let run =
        ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--run-id", &id, "--follow"];
    let mut following = Scene::follow(&run);
    following.until("up").await;
    let pod = only_pod(&scene).await;
    stop(&scene, how, &config, &pipeline, &pod).await;
    if how == Stop::Evict {
        // An evicted run is tried again, so nothing ends the following but a kill.
        until_another_pod(&scene, &pod).await;
        stop(&scene, Stop::Kill, &config, &pipeline, &pod).await;
    }
    let outcome = following.end().await;
    let (job, namespace) = (format!("om-job-nightly-{}", &id[..8]), &scene.namespace);
    let said = format!("hook {id} {job} {namespace} Failed metadata shop.nightly ");
    assert!(outcome.stdout.starts_with(&format!("up\n{said}")), "{outcome:?}");
    scene.end().await;
}

/// Waits until the Job controller has replaced a pod.
async fn until_another_pod(scene: &Scene, first: &str) {
    eventually("another attempt", || async {
        let pods = scene.ours::<Pod>().await;
        let other = pods.keys().any(|name| name != first);
        if other { Ok(()) } else { Err(format!("{:?}", pods.keys())) }
    })
    .await;
}

#[tokio::test]
async fn an_eviction_does_not_use_up_the_retries() {
    let scene = Scene::new("evict").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&parameters());
    scene.ompipe(&["run", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let pod = pod_that_is_up(&scene, &config, &pipeline).await;
    stop(&scene, Stop::Evict, &config, &pipeline, &pod).await;
    // backoffLimit is 0, so a failure that counted would have ended the run.
    until_another_pod(&scene, &pod).await;
    let status = ["status", "-c", &config, "-f", &pipeline, "-o", "json"];
    let run = scene.ompipe(&status).await.good().json()[0].clone();
    assert!(["running", "queued"].contains(&run["state"].as_str().unwrap()), "{run}");
    scene.end().await;
}

#[rstest]
#[case::no_program(127)]
#[case::no_script(2)]
#[tokio::test]
async fn what_cannot_start_is_not_tried_again(#[case] code: i32) {
    let scene = Scene::new("config").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let worker = format!("WORKER_MAIN:exit {code}");
    let config = scene.config(&json!({ "backoffLimit": 3, "extraEnvVars": [worker] }));
    let run =
        ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--follow", "-o", "json"];
    let ended = scene.ompipe(&run).await.ended_with(1).json();
    assert_eq!((&ended["run"]["attempts"], &ended["run"]["exitCode"]), (&json!(1), &json!(code)));
    scene.end().await;
}

#[tokio::test]
async fn the_hook_of_a_scheduled_run_knows_its_job() {
    let scene = Scene::new("hook").await;
    let scheduled = json!({ "airflowConfig": { "scheduleInterval": "0 2 * * 0" } });
    let (pipeline, service) = (scene.pipeline("nightly", &scheduled), scene.service());
    let config = scene.config(&parameters());
    scene.ompipe(&["deploy", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let schedule = scene.api::<CronJob>().get("om-cronjob-nightly").await.unwrap();
    let job = crate::deploy::run_of(&schedule);
    let job = scene.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
    let mut following = Scene::follow(&["logs", "-c", &config, "--file", &pipeline, "--follow"]);
    following.until("up").await;
    stop(&scene, Stop::Kill, &config, &pipeline, "").await;
    let outcome = following.end().await;
    let said = format!("hook {} {} {}", job.uid().unwrap(), job.name_any(), scene.namespace);
    assert!(outcome.stdout.contains(&said), "{outcome:?}");
    scene.end().await;
}

#[tokio::test]
async fn the_real_exit_handler_reports_a_pod_that_is_deleted() {
    const FQN: &str = "shop.nightly";
    let scene = Scene::new("report").await;
    let service = scene.standin.add_postgres_service("shop", &bed().sample()).unwrap();
    let fields = json!({
        "name": "nightly", "pipelineType": "metadata", "airflowConfig": {},
        "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
    });
    let entity = scene.standin.add_pipeline("databaseService", &service, &fields).unwrap();
    let pipeline = scene.file("pipeline.json", &scene.standin.deployable(&entity));
    // The worker only waits; the hook is the ingestion image's own. It gives up on diagnostics that
    // take long, so it gets a share of the processor that other tests cannot take.
    let config = scene.config(&json!({
        "ingestionImage": bed().ingestion_image,
        "resources": { "requests": { "cpu": "500m", "memory": "256Mi" }, "limits": { "memory": "1Gi" } },
        "podTemplate": { "spec": { "containers": [{ "name": "main", "command": ["sleep", "600"] }] } },
    }));
    let id = RunId::random();
    let run_id = id.to_string();
    scene.ompipe(&["run", "-c", &config, "-f", &pipeline, "--run-id", &run_id]).await.good();
    let pod = eventually("a running pod", || async {
        let pods = scene.ours::<Pod>().await;
        let (name, pod) = pods.into_iter().next().ok_or("no pod")?;
        let phase = pod.status.and_then(|status| status.phase).unwrap_or_default();
        if phase == "Running" { Ok(name) } else { Err(phase) }
    })
    .await;
    stop(&scene, Stop::Delete, &config, &pipeline, &pod).await;
    let minutes = Duration::from_mins(3);
    let run = run_id.parse().unwrap();
    scene.standin.until_state(FQN, run, PipelineState::Failed, minutes).await.unwrap();
    assert_eq!(scene.standin.states(FQN, run), [PipelineState::Failed]);
    let rows = scene.standin.rows(FQN);
    assert!(rows[0]["status"].to_string().contains("Pod Diagnostics"), "{rows:?}");
    scene.end().await;
}
