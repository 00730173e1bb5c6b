//! `kill`: what it stops, what it leaves, and that nothing of a stopped run stays.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use ompipe_api::OMJob;
use ompipe_core::RunId;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Scene, eventually, install_crds};

/// Starts a run and returns its id.
async fn started(scene: &Scene, config: &str, pipeline: &str) -> String {
    let service = scene.service();
    let run = ["run", "-c", config, "-f", pipeline, "--service", &service, "-o", "json"];
    let started = scene.ompipe(&run).await.good().json();
    started["runId"].as_str().unwrap().to_owned()
}

/// Waits until the latest run is as wanted.
async fn until(scene: &Scene, config: &str, pipeline: &str, wanted: impl Fn(&Value) -> bool) {
    eventually("the state of the run", || async {
        let status = ["status", "-c", config, "-f", pipeline, "-o", "json"];
        let seen = scene.ompipe(&status).await.good().json();
        if wanted(&seen[0]) { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
}

/// Waits until no Job and no pod of ompipe's is left.
async fn nothing_left(scene: &Scene) {
    eventually("an end without leftovers", || async {
        let (jobs, pods) = (scene.ours::<Job>().await, scene.ours::<Pod>().await);
        if jobs.is_empty() && pods.is_empty() {
            return Ok(());
        }
        Err(format!("{:?} {:?}", jobs.keys(), pods.keys()))
    })
    .await;
}

#[tokio::test]
async fn a_running_run_is_gone_within_its_grace_period() {
    const GRACE: Duration = Duration::from_secs(5);
    // The worker is its container's first process and ignores TERM, as Python does.
    let scene = Scene::new("kill").await;
    let pipeline = scene.pipeline("nightly", &json!({}));
    let config = scene.config(&json!({
        "extraEnvVars": ["WORKER_MAIN:trap '' TERM; echo up; while :; do sleep 1; done"],
        "podTemplate": { "spec": { "terminationGracePeriodSeconds": GRACE.as_secs() } },
    }));
    let run = started(&scene, &config, &pipeline).await;
    until(&scene, &config, &pipeline, |run| run["state"] == "running").await;
    let start = Instant::now();
    let killed = scene.ompipe(&["kill", "-c", &config, "-f", &pipeline, "-o", "json"]).await.good();
    let killed = killed.json();
    assert_eq!(killed["runs"].as_array().unwrap().len(), 1, "{killed}");
    assert_eq!(
        (&killed["runs"][0]["runId"], &killed["runs"][0]["reason"]),
        (&json!(run), &json!("Killed"))
    );
    nothing_left(&scene).await;
    // The promise is grace and five seconds; the rest is for a machine that does other work.
    assert!(start.elapsed() < GRACE * 4, "{:?}", start.elapsed());
    let again = scene.ompipe(&["kill", "-c", &config, "-f", &pipeline]).await.good();
    assert_eq!(again.stdout, "pipeline shop.nightly has no active runs\n");
    scene.end().await;
}

#[tokio::test]
async fn a_run_that_waits_for_a_node_is_stopped() {
    let scene = Scene::new("kill").await;
    let pipeline = scene.pipeline("nightly", &json!({}));
    let config = scene.config(&json!({ "nodeSelector": "no=such-node" }));
    started(&scene, &config, &pipeline).await;
    until(&scene, &config, &pipeline, |run| run["reason"] == "Unschedulable").await;
    let killed = scene.ompipe(&["kill", "-c", &config, "-f", &pipeline]).await.good();
    assert!(killed.stdout.starts_with("stopping 1 run of pipeline shop.nightly"), "{killed:?}");
    nothing_left(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn a_run_between_two_attempts_is_stopped() {
    let scene = Scene::new("kill").await;
    let pipeline = scene.pipeline("nightly", &json!({}));
    // Between attempts, ten seconds and more, a Job has no active pod.
    let config =
        scene.config(&json!({ "backoffLimit": 6, "extraEnvVars": ["WORKER_MAIN:exit 1"] }));
    started(&scene, &config, &pipeline).await;
    eventually("a failed attempt and no next one", || async {
        let jobs = scene.ours::<Job>().await;
        let status = jobs.values().next().and_then(|job| job.status.clone()).unwrap_or_default();
        let waits = status.failed.unwrap_or(0) > 0 && status.active.unwrap_or(0) == 0;
        if waits { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    let killed = scene.ompipe(&["kill", "-c", &config, "-f", &pipeline]).await.good();
    assert!(killed.stdout.starts_with("stopping 1 run"), "{killed:?}");
    nothing_left(&scene).await;
    scene.end().await;
}

/// `kubectl delete job --cascade=orphan` leaves the pod of a run, which belongs to no Job then.
#[tokio::test]
async fn a_pod_that_its_job_left_behind_is_stopped() {
    let scene = Scene::new("kill").await;
    let pipeline = scene.pipeline("nightly", &json!({}));
    let config = scene.config(&json!({
        "extraEnvVars": ["WORKER_MAIN:trap 'exit 1' TERM; sleep 600 & wait"],
    }));
    started(&scene, &config, &pipeline).await;
    until(&scene, &config, &pipeline, |run| run["state"] == "running").await;
    let job = scene.ours::<Job>().await.into_keys().next().unwrap();
    scene.api::<Job>().delete(&job, &DeleteParams::orphan()).await.unwrap();
    eventually("a pod without a Job", || async {
        let pods = scene.ours::<Pod>().await;
        let orphans = pods.values().filter(|pod| pod.owner_references().is_empty()).count();
        if orphans == 1 { Ok(()) } else { Err(format!("{orphans} of {}", pods.len())) }
    })
    .await;
    scene.ompipe(&["kill", "-c", &config, "-f", &pipeline]).await.good();
    nothing_left(&scene).await;
    scene.end().await;
}

#[tokio::test]
async fn one_run_is_stopped_and_the_other_goes_on() {
    let scene = Scene::new("kill").await;
    let pipeline = scene.pipeline("nightly", &json!({}));
    let config = scene.config(&json!({
        "concurrencyPolicy": "Allow",
        "extraEnvVars": ["WORKER_MAIN:trap 'exit 1' TERM; sleep 600 & wait"],
    }));
    let stopped = started(&scene, &config, &pipeline).await;
    let other = started(&scene, &config, &pipeline).await;
    let kill = ["kill", "-c", &config, "-f", &pipeline, "--run", &stopped];
    scene.ompipe(&kill).await.good();
    let left = eventually("the end of one run", || async {
        let jobs: Vec<Job> = scene.ours::<Job>().await.into_values().collect();
        if jobs.len() == 1 { Ok(jobs) } else { Err(format!("{} Jobs", jobs.len())) }
    })
    .await;
    assert_eq!(left[0].labels()["app.kubernetes.io/run-id"], other);
    assert_eq!(left[0].metadata.deletion_timestamp, None);
    let unknown = RunId::random().to_string();
    let kill = ["kill", "-c", &config, "-f", &pipeline, "--run", &unknown, "-o", "json"];
    assert_eq!(scene.ompipe(&kill).await.good().json()["runs"], json!([]));
    scene.end().await;
}

#[tokio::test]
async fn of_om_jobs_only_live_ones_are_stopped() {
    let scene = Scene::new("kill").await;
    install_crds(&scene.client).await;
    let pipeline = scene.pipeline("nightly", &json!({}));
    let config = scene.config(&json!({ "useOMJobOperator": true, "concurrencyPolicy": "Allow" }));
    let finished = started(&scene, &config, &pipeline).await;
    let name = scene.ours::<OMJob>().await.into_keys().next().unwrap();
    let status = json!({ "status": { "phase": "Succeeded", "mainPodExitCode": 0 } });
    let om_jobs = scene.api::<OMJob>();
    om_jobs.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let live = started(&scene, &config, &pipeline).await;
    let killed = scene.ompipe(&["kill", "-c", &config, "-f", &pipeline, "-o", "json"]).await.good();
    let killed = killed.json();
    assert_eq!(killed["runs"].as_array().unwrap().len(), 1, "{killed}");
    assert_eq!(killed["runs"][0]["runId"], json!(live));
    let left = scene.ours::<OMJob>().await;
    assert_eq!(left.keys().collect::<Vec<_>>(), [&name]);
    assert_eq!(left[&name].labels()["app.kubernetes.io/run-id"], finished);
    scene.end().await;
}
