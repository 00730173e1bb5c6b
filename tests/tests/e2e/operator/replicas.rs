//! Two replicas, hand-over, adoption of upstream's runs, drain.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use ompipe_api::{OMJob, Phase};
use rstest::rstest;
use serde_json::{Value, json};

use super::stage::{condition, exit_code, phase};
use super::{Operator, Stage};
use crate::support::{BARRIER, UNTIL_TOLD, eventually, from, release};

impl Stage {
    /// Lets a process that waits at the barrier go on.
    pub(crate) async fn tell(&self, pod: &str) {
        release(&self.pods(), pod).await;
    }

    pub(crate) async fn uid(&self, pod: &str) -> String {
        self.pods().get(pod).await.unwrap().uid().unwrap()
    }
}

/// In which phase the operator is killed.
#[derive(Clone, Copy, Debug)]
enum At {
    Pending,
    Running,
    ExitHandler,
}

#[rstest]
#[case::pending(At::Pending)]
#[case::running(At::Running)]
#[case::exit_handler(At::ExitHandler)]
#[tokio::test]
async fn another_operator_goes_on_where_one_was_killed(#[case] at: At) {
    let stage = Stage::new("goeson").await;
    let operator = Operator::start(&stage.scene, &[]);
    operator.ready("leader").await;
    let exit = format!("{BARRIER}; echo told: $pipelineStatus");
    stage.run("run", UNTIL_TOLD, json!({ "exitHandlerSpec": Stage::shell(&exit) })).await;
    let main = match at {
        At::Pending => None,
        At::Running | At::ExitHandler => {
            stage.running("run-main").await;
            Some(stage.uid("run-main").await)
        }
    };
    if matches!(at, At::ExitHandler) {
        stage.tell("run-main").await;
        stage.running("run-exit").await;
    }
    operator.kill().await;
    let _operator = Operator::start(&stage.scene, &[]);
    if !matches!(at, At::ExitHandler) {
        stage.running("run-main").await;
        stage.tell("run-main").await;
    }
    stage.running("run-exit").await;
    stage.tell("run-exit").await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), exit_code(&job)), (Some(Phase::Succeeded), Some(0)));
    if let Some(main) = main {
        assert_eq!(stage.uid("run-main").await, main, "there was a second main pod");
    }
    assert_eq!(stage.told("run-exit").await.trim(), "told: Succeeded");
    stage.scene.end().await;
}

/// The kubelet lets go of the pod meanwhile, so that the pod does not say any more when it was asked
/// to end.
#[tokio::test]
async fn a_kill_that_no_operator_saw_is_told_as_one() {
    let stage = Stage::new("killedunseen").await;
    let operator = Operator::start(&stage.scene, &[]);
    stage.run("run", UNTIL_TOLD, json!({ "exitHandlerSpec": Stage::shell(BARRIER) })).await;
    stage.running("run-main").await;
    operator.kill().await;
    stage.jobs().delete("run", &DeleteParams::background()).await.unwrap();
    stage.pods().delete("run-main", &DeleteParams::default()).await.unwrap();
    eventually("a pod that the kubelet let go of", || async {
        let pod = stage.pods().get("run-main").await.map_err(|error| error.to_string())?;
        let let_go = pod.metadata.deletion_grace_period_seconds == Some(0);
        if let_go { Ok(()) } else { Err(format!("{:?}", pod.metadata)) }
    })
    .await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.running("run-exit").await;
    let job = stage.jobs().get("run").await.unwrap();
    assert_eq!(condition(&job, "MainFinished"), "True Killed");
    stage.tell("run-exit").await;
    stage.gone("run").await;
    stage.scene.end().await;
}

#[tokio::test]
async fn a_rolling_upgrade_in_mid_run_hands_over_at_once() {
    let stage = Stage::new("handover").await;
    // A lease so long that only a hand-over, not its end, can explain what follows.
    let patient = [("LEASE_DURATION_SECONDS", "600")];
    let old = Operator::start(&stage.scene, &patient);
    old.ready("leader").await;
    let new = Operator::start(&stage.scene, &patient);
    new.ready("follower").await;
    stage.run("run", UNTIL_TOLD, json!({})).await;
    stage.running("run-main").await;
    let main = stage.uid("run-main").await;
    old.terminate().await;
    new.ready("leader").await;
    stage.tell("run-main").await;
    let job = stage.over("run").await;
    assert_eq!(phase(&job), Some(Phase::Succeeded));
    assert_eq!(stage.uid("run-main").await, main);
    stage.scene.end().await;
}

/// A run of upstream's operator in mid-run, with its pod: no finalizers, the server's labels over
/// its own, a bare status.
pub(crate) async fn of_upstream(stage: &Stage) -> OMJob {
    let job = stage.run("run", UNTIL_TOLD, json!({})).await;
    let pod: Pod = from(json!({
        "metadata": {
            "name": "run-main",
            "labels": {
                "app.kubernetes.io/managed-by": "openmetadata",
                "omjob.pipelines.openmetadata.org/name": "run",
                "omjob.pipelines.openmetadata.org/pod-type": "main",
            },
            "ownerReferences": [{
                "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob", "name": "run",
                "uid": job.uid(), "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": { "restartPolicy": "Never", "containers": [Stage::container(UNTIL_TOLD)] },
    }));
    stage.pods().create(&PostParams::default(), &pod).await.unwrap();
    stage
        .write_status(json!({
            "phase": "Running", "mainPodName": "run-main", "message": "Main pod created",
            "startTime": job.creation_timestamp(),
        }))
        .await;
    stage.running("run-main").await;
    job
}

impl Stage {
    async fn write_status(&self, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.jobs().patch_status("run", &PatchParams::default(), &patch).await.unwrap();
    }
}

#[tokio::test]
async fn upstreams_run_is_adopted_in_mid_run() {
    let stage = Stage::new("adopt").await;
    of_upstream(&stage).await;
    let main = stage.uid("run-main").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let pods = stage.pods();
    eventually("a tracked pod", || async {
        let pod = pods.get("run-main").await.map_err(|error| error.to_string())?;
        if pod.finalizers().is_empty() { Err("not tracked".to_owned()) } else { Ok(()) }
    })
    .await;
    stage.tell("run-main").await;
    let job = stage.over("run").await;
    assert_eq!(phase(&job), Some(Phase::Succeeded));
    assert_eq!(stage.uid("run-main").await, main, "there was a second main pod");
    assert_eq!(stage.told("run-exit").await.trim(), "told: Succeeded");
    stage.scene.end().await;
}

#[tokio::test]
async fn upstreams_run_whose_main_pod_is_gone_gets_its_exit_handler() {
    let stage = Stage::new("adoptgone").await;
    of_upstream(&stage).await;
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    stage.pods().delete("run-main", &now).await.unwrap();
    let _operator = Operator::start(&stage.scene, &[]);
    let job = stage.over("run").await;
    assert_eq!(phase(&job), Some(Phase::Failed));
    assert_eq!(condition(&job, "ExitHandlerSucceeded"), "True Completed");
    assert!(stage.pods().get_opt("run-main").await.unwrap().is_none(), "main ran again");
    stage.scene.end().await;
}

#[tokio::test]
async fn upstreams_finished_runs_are_left_as_they_are() {
    let stage = Stage::new("adoptdone").await;
    stage.run("run", "true", json!({})).await;
    stage
        .write_status(json!({
            "phase": "Succeeded", "mainPodExitCode": 0, "message": "of another operator",
            "completionTime": "2026-01-01T00:00:00Z",
        }))
        .await;
    let operator = Operator::start(&stage.scene, &[]);
    stage.run("new", "true", json!({})).await;
    stage.over("new").await;
    let job = stage.jobs().get("run").await.unwrap();
    assert_eq!(job.status.unwrap().message.as_deref(), Some("of another operator"));
    let pods = stage.pods().get_opt("run-main").await.unwrap();
    assert!(pods.is_none(), "a finished run ran again");
    operator.terminate().await;
    stage.scene.end().await;
}

#[tokio::test]
async fn a_drain_lets_go_of_everything() {
    let stage = Stage::new("drain").await;
    let operator = Operator::start(&stage.scene, &[]);
    stage.run("run", UNTIL_TOLD, json!({})).await;
    stage.running("run-main").await;
    operator.terminate().await;
    Operator::drain(&stage.scene).await;
    let job = stage.jobs().get("run").await.unwrap();
    assert!(job.finalizers().is_empty(), "{:?}", job.finalizers());
    let pod = stage.pods().get("run-main").await.unwrap();
    assert!(pod.finalizers().is_empty(), "{:?}", pod.finalizers());
    // Nothing hangs without an operator.
    stage.jobs().delete("run", &DeleteParams::background()).await.unwrap();
    stage.gone("run").await;
    stage.scene.end().await;
}
