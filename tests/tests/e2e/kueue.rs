//! Runs in a queue of Kueue. Kueue itself is not here: the tests do to the real API server what it does, which is
//! to suspend and resume Jobs, to take away the scheduling gate of a pod, and to delete a pod that it preempts
//! after it has said so in a condition.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use ompipe_api::{OMJob, Phase};
use ompipe_tests::standin::PipelineState;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::access::limited_kubeconfig;
use crate::operator::{Operator, Stage, documented_rules};
use crate::support::{Scene, UNTIL_TOLD, eventually, release};

const QUEUE: &str = "kueue.x-k8s.io/queue-name";
const FQN: &str = "shop.nightly";

/// Admits a pod: takes its scheduling gate away.
async fn admit(pods: &Api<Pod>, pod: &str) {
    let patch = json!({ "spec": { "schedulingGates": null } });
    pods.patch(pod, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// Preempts a pod (Kueue: `pkg/controller/jobs/pod`, *Stop*).
async fn preempt(pods: &Api<Pod>, pod: &str) {
    let condition = json!({
        "type": "TerminationTarget", "status": "True", "reason": "WorkloadEvictedDueToPreempted",
        "message": "Preempted to accommodate a workload of higher priority",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let patch = json!({ "status": { "conditions": [condition] } });
    pods.patch_status(pod, &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    pods.delete(pod, &DeleteParams::default()).await.unwrap();
}

fn is_queued(job: &OMJob) -> bool {
    let status = job.status.as_ref();
    let message = status.and_then(|status| status.message.as_deref());
    let reason = status.and_then(|status| status.main_reason.as_deref());
    (reason, message) == (Some("Queued"), Some("waits in Kueue's queue batch"))
}

#[tokio::test]
async fn an_omjob_waits_for_kueue_and_survives_its_preemption() {
    let stage = Stage::new("gated").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let mut main = Stage::shell(UNTIL_TOLD);
    main["labels"] = json!({ (QUEUE): "batch" });
    // Kueue's webhook puts it on pods with the label.
    let gate = json!([{ "name": "kueue.x-k8s.io/admission" }]);
    main["podTemplate"] = json!({ "spec": { "schedulingGates": gate } });
    let spec = json!({ "mainPodSpec": main, "activeDeadlineSeconds": 1, "backoffLimit": 0 });
    stage.run("run", "", spec).await;
    stage.job("run", "a run in a queue", is_queued).await;
    // Not a wait for something: three times the deadline, which does not count yet.
    sleep(Duration::from_secs(3)).await;
    let waiting = stage.jobs().get("run").await.unwrap();
    assert_eq!(waiting.status.unwrap().phase, Some(Phase::Pending));
    let longer = Patch::Merge(json!({ "spec": { "activeDeadlineSeconds": 600 } }));
    stage.jobs().patch("run", &PatchParams::default(), &longer).await.unwrap();
    admit(&stage.pods(), "run-main").await;
    stage.running("run-main").await;
    preempt(&stage.pods(), "run-main").await;
    // The next attempt waits in the queue again.
    let next = |job: &OMJob| is_queued(job) && job.status.as_ref().unwrap().attempts.len() == 1;
    let job = stage.job("run", "another attempt in the queue", next).await;
    assert_eq!(job.status.unwrap().attempts[0].reason.as_deref(), Some("Evicted"));
    admit(&stage.pods(), "run-main-1").await;
    stage.running("run-main-1").await;
    stage.tell("run-main-1").await;
    let job = stage.over("run").await;
    assert_eq!(job.status.unwrap().phase, Some(Phase::Succeeded));
    stage.scene.end().await;
}

/// What Kueue does to a Job.
async fn suspend(scene: &Scene, job: &str, value: bool) {
    let patch = Patch::Merge(json!({ "spec": { "suspend": value } }));
    scene.api::<Job>().patch(job, &PatchParams::default(), &patch).await.unwrap();
}

async fn pod_beside(scene: &Scene, others: &[String]) -> String {
    eventually("a worker that is up", || async {
        let pods = scene.ours::<Pod>().await;
        let pod = pods.keys().find(|name| !others.contains(name)).ok_or("no pod")?;
        let log = scene.api::<Pod>().logs(pod, &kube::api::LogParams::default()).await;
        let log = log.map_err(|error| error.to_string())?;
        if log.contains("up\n") { Ok(pod.clone()) } else { Err(log) }
    })
    .await
}

#[tokio::test]
async fn a_job_waits_for_kueue_and_survives_its_preemption() {
    let scene = Scene::new("kueue").await;
    let worker = format!("WORKER_MAIN:{UNTIL_TOLD}");
    let config = scene.config(&json!({ "queueName": "batch", "extraEnvVars": [worker] }));
    let pipeline = scene.scheduled_nightly();
    let rights = limited_kubeconfig(&scene, "operator", &documented_rules()).await;
    let _operator = Operator::start(&scene, &[("KUBECONFIG", &rights)]);
    scene.ompipe(&["deploy", "-c", &config, "-f", &pipeline]).await.good();
    let schedule = scene.api::<CronJob>().get("om-cronjob-nightly").await.unwrap();
    let mut job = crate::deploy::run_of(&schedule);
    assert_eq!(job.labels()[QUEUE], "batch");
    // Kueue's webhook suspends Jobs with the label when they are made.
    job.spec.as_mut().unwrap().suspend = Some(true);
    let job = scene.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
    let (name, id) = (job.name_any(), job.uid().unwrap().parse().unwrap());
    let status = || async {
        let status = ["status", "-c", &config, "-f", &pipeline, "-o", "json"];
        scene.ompipe(&status).await.good().json()[0].clone()
    };
    let run: Value = status().await;
    assert_eq!((&run["state"], &run["reason"]), (&json!("queued"), &json!("Queued")), "{run}");
    assert_eq!(run["message"], "waits in Kueue's queue batch");
    suspend(&scene, &name, false).await;
    let first = pod_beside(&scene, &[]).await;
    suspend(&scene, &name, true).await;
    eventually("the end of the preempted pod", || async {
        let left = scene.ours::<Pod>().await.len();
        if left == 0 { Ok(()) } else { Err(left.to_string()) }
    })
    .await;
    assert_eq!(status().await["reason"], "Queued", "it waits again");
    let is_end =
        |state: &PipelineState| !matches!(state, PipelineState::Queued | PipelineState::Running);
    assert!(!scene.standin.states(FQN, id).iter().any(is_end), "a preemption is no end");
    suspend(&scene, &name, false).await;
    let second = pod_beside(&scene, &[first]).await;
    release(&scene.api(), &second).await;
    eventually("the one end", || async {
        let states = scene.standin.states(FQN, id);
        let ends: Vec<_> = states.iter().filter(|state| is_end(state)).collect();
        if ends == [&PipelineState::Success] { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;
    scene.end().await;
}

/// The sandbox has no Kueue; a cluster that has it gets the other finding.
#[tokio::test]
async fn the_doctor_looks_for_kueue() {
    let scene = Scene::new("no-kueue").await;
    let groups = scene.client.list_api_groups().await.unwrap().groups;
    let is_there = groups.iter().any(|group| group.name == "kueue.x-k8s.io");
    let expected = if is_there { "the cluster has it" } else { "the cluster has no Kueue" };
    let config = scene.config(&json!({ "pipelineQueueNames": { (FQN): "batch" } }));
    let told = scene.ompipe(&["doctor", "-c", &config]).await.stdout;
    assert!(told.contains(expected), "{told}");
    let config = scene.config(&json!({}));
    let told = scene.ompipe(&["doctor", "-c", &config]).await.stdout;
    assert!(!told.contains("Kueue"), "{told}");
    scene.end().await;
}
