//! Every ending of a run, with real containers: the exit handler runs after each, and the phase says
//! what main said.

use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota};
use kube::api::{DeleteParams, EvictParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use ompipe_api::Phase;
use rstest::rstest;
use serde_json::{Value, json};

use super::stage::{condition, exit_code, phase, reason};
use super::{Operator, Stage};
use crate::support::{BARRIER, end_now, eventually, from, no_pods_allowed};

/// A process that runs until it is asked to stop, and stops then.
pub(super) const OBEDIENT: &str = "trap 'exit 143' TERM; while :; do sleep 0.2; done";
/// Pods that do not hold a test up when they are deleted.
fn quick() -> Value {
    json!({ "spec": { "terminationGracePeriodSeconds": 1 } })
}

#[rstest]
#[case::good("true", Phase::Succeeded, "Completed", 0, "Succeeded")]
#[case::bad("exit 3", Phase::Failed, "Error", 3, "failed")]
#[case::signal("sleep 60 & kill -9 $!; wait $!", Phase::Failed, "Signal", 137, "failed")]
#[tokio::test]
async fn a_process_that_ends(
    #[case] main: &str,
    #[case] expected: Phase,
    #[case] why: &str,
    #[case] code: i32,
    #[case] told: &str,
) {
    let stage = Stage::new("endings").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", main, json!({})).await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), exit_code(&job)), (Some(expected), Some(code)));
    assert_eq!(reason(&job), if code == 0 { "" } else { why }, "why it failed, if it did");
    assert_eq!(condition(&job, "MainFinished"), format!("True {why}"));
    assert_eq!(condition(&job, "ExitHandlerSucceeded"), "True Completed");
    assert_eq!(condition(&job, "Reported"), "True ExitHandler");
    assert_eq!(stage.told("run-exit").await.trim(), format!("told: {told}"));
    stage.scene.end().await;
}

#[tokio::test]
async fn out_of_memory() {
    let stage = Stage::new("oom").await;
    let operator = Operator::start(&stage.scene, &[]);
    let mut main = Stage::shell("tail /dev/zero");
    main["resources"]["limits"] = json!({ "memory": "32Mi" });
    stage.run("run", "", json!({ "mainPodSpec": main })).await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), reason(&job)), (Some(Phase::Failed), "OOMKilled"));
    let ended = r#"ompipe_operator_runs_ended_total{phase="Failed",reason="OOMKilled"}"#;
    assert!((operator.metric(ended).await - 1.0).abs() < f64::EPSILON);
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    stage.scene.end().await;
}

/// How somebody takes a running pod away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Deleted,
    ForceDeleted,
    Evicted,
}

async fn take_away(pods: &Api<Pod>, name: &str, away: Away) {
    match away {
        Away::Deleted => drop(pods.delete(name, &DeleteParams::default()).await.unwrap()),
        Away::ForceDeleted => {
            let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
            drop(pods.delete(name, &now).await.unwrap());
        }
        Away::Evicted => drop(pods.evict(name, &EvictParams::default()).await.unwrap()),
    }
}

#[rstest]
#[case::deleted(Away::Deleted, "Deleted")]
#[case::force_deleted(Away::ForceDeleted, "Deleted")]
#[case::evicted(Away::Evicted, "Evicted")]
#[tokio::test]
async fn a_pod_that_is_taken_away(#[case] away: Away, #[case] why: &str) {
    let stage = Stage::new("away").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let mut main = Stage::shell(OBEDIENT);
    main["podTemplate"] = quick();
    stage.run("run", "", json!({ "mainPodSpec": main })).await;
    stage.running("run-main").await;
    take_away(&stage.pods(), "run-main", away).await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), reason(&job)), (Some(Phase::Failed), why));
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    stage.scene.end().await;
}

#[rstest]
#[case::no_image(json!({ "image": "ompipe.local/nowhere:1", "imagePullPolicy": "Never" }), "ImagePull")]
#[case::no_node(json!({ "nodeSelector": { "ompipe.test/nowhere": "1" } }), "Unschedulable")]
#[case::no_secret(
    json!({ "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "none", "key": "k" } } }] }),
    "ContainerConfig"
)]
#[tokio::test]
async fn a_pod_that_never_starts(#[case] fields: Value, #[case] why: &str) {
    let stage = Stage::new("never").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let mut main = Stage::shell("true");
    main.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    stage.run("run", "", json!({ "mainPodSpec": main, "activeDeadlineSeconds": 600 })).await;
    let stalled = |job: &ompipe_api::OMJob| condition(job, "Stalled") == format!("True {why}");
    stage.job("run", "a condition that says why", stalled).await;
    end_now(&stage.scene.api::<ompipe_api::OMJob>(), "run").await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), reason(&job), exit_code(&job)), (Some(Phase::Failed), why, None));
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    stage.scene.end().await;
}

#[tokio::test]
async fn longer_than_its_deadline() {
    let stage = Stage::new("deadline").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", OBEDIENT, json!({ "activeDeadlineSeconds": 4 })).await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), reason(&job)), (Some(Phase::Failed), "DeadlineExceeded"));
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_quota_is_waited_for() {
    let stage = Stage::new("quota").await;
    no_pods_allowed(&stage.scene).await;
    let operator = Operator::start(&stage.scene, &[]);
    stage.run("run", "true", json!({})).await;
    let refused = |job: &ompipe_api::OMJob| condition(job, "Stalled") == "True Quota";
    let job = stage.job("run", "a condition that says why", refused).await;
    assert_eq!(phase(&job), Some(Phase::Pending), "refused for now is not failed");
    let more = json!({ "spec": { "hard": { "pods": "10" } } });
    let quotas: Api<ResourceQuota> = stage.scene.api();
    quotas.patch("q", &PatchParams::default(), &Patch::Merge(more)).await.unwrap();
    let job = stage.over("run").await;
    assert_eq!(phase(&job), Some(Phase::Succeeded));
    assert!(stage.events("run").await.contains(&"MainPodRefused".to_owned()));
    operator.terminate().await;
    stage.scene.end().await;
}

#[tokio::test]
async fn refused_for_good_still_runs_the_exit_handler() {
    let stage = Stage::new("refused").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let mut main = Stage::shell("true");
    // No API server takes a volume mount without its volume.
    main["podTemplate"] = json!({ "spec": { "containers": [
        { "name": "main", "volumeMounts": [{ "name": "nowhere", "mountPath": "/x" }] },
    ]}});
    stage.run("run", "", json!({ "mainPodSpec": main })).await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), reason(&job)), (Some(Phase::Failed), "Admission"));
    let message = job.status.unwrap().message.unwrap();
    assert!(message.contains("nowhere"), "the API server's own words, not: {message}");
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_specification_that_is_no_pod_still_runs_the_exit_handler() {
    let stage = Stage::new("nopod").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let mut main = Stage::shell("true");
    main["securityContext"] = json!({ "runAsUser": "root" });
    let spec = json!({ "mainPodSpec": main, "exitHandlerSpec": Stage::shell("echo told: $pipelineStatus") });
    let document = json!({
        "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob",
        "metadata": { "name": "run", "namespace": stage.scene.namespace }, "spec": spec,
    });
    let object: kube::core::DynamicObject = from(document);
    let kind = kube::core::ApiResource::erase::<ompipe_api::OMJob>(&());
    let jobs: Api<kube::core::DynamicObject> =
        Api::namespaced_with(stage.scene.client.clone(), &stage.scene.namespace, &kind);
    jobs.create(&PostParams::default(), &object).await.unwrap();
    let status = eventually("its end", || async {
        let job = jobs.get("run").await.map_err(|error| error.to_string())?;
        let status = job.data["status"].clone();
        let over = status["phase"] == "Failed" && job.finalizers().is_empty();
        if over { Ok(status) } else { Err(status.to_string()) }
    })
    .await;
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("mainPodSpec"), "{message}");
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    // It did not keep the others from running.
    let params = DeleteParams::default();
    stage.run("other", "true", json!({})).await;
    assert_eq!(phase(&stage.over("other").await), Some(Phase::Succeeded));
    jobs.delete("run", &params).await.unwrap();
    stage.scene.end().await;
}

#[tokio::test]
async fn a_deleted_run_stops_and_still_runs_the_exit_handler() {
    let stage = Stage::new("killed").await;
    let _operator = Operator::start(&stage.scene, &[]);
    // The exit handler leaves a trace that outlives its pod.
    let exit = format!("echo told: $pipelineStatus; {BARRIER}");
    let trace = json!({ "exitHandlerSpec": Stage::shell(&exit) });
    stage.run("run", OBEDIENT, trace).await;
    stage.running("run-main").await;
    stage.jobs().delete("run", &DeleteParams::default()).await.unwrap();
    stage.running("run-exit").await;
    let main = stage.pods().get_opt("run-main").await.unwrap();
    let alive = main.and_then(|pod| pod.status?.phase).is_some_and(|phase| phase == "Running");
    assert!(!alive, "the exit handler began before main had ended");
    let told = eventually("words of the exit handler", || async {
        let told = stage.told("run-exit").await;
        if told.ends_with('\n') { Ok(told) } else { Err(told) }
    })
    .await;
    assert_eq!(told.trim(), "told: failed");
    stage.tell("run-exit").await;
    stage.gone("run").await;
    assert!(stage.events("run").await.contains(&"OMJobFailed".to_owned()));
    stage.scene.end().await;
}

#[tokio::test]
async fn a_sidecar_changes_nothing_and_does_not_outlive_the_run() {
    let stage = Stage::new("sidecar").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let mut main = Stage::shell(&format!("{BARRIER}; exit 4"));
    let sidecar = json!({
        "name": "a-proxy", "image": main["image"], "command": ["sh", "-c", "sleep 600"],
    });
    main["podTemplate"] = quick();
    main["podTemplate"]["spec"]["containers"] = json!([sidecar]);
    stage.run("run", "", json!({ "mainPodSpec": main })).await;
    let pods = stage.pods();
    eventually("both containers", || async {
        let pod = pods.get("run-main").await.map_err(|error| error.to_string())?;
        let status = pod.status.unwrap_or_default();
        let states =
            status.container_statuses.iter().flatten().filter_map(|one| one.state.as_ref());
        let running = states.filter(|state| state.running.is_some()).count();
        if running == 2 { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    stage.tell("run-main").await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), exit_code(&job)), (Some(Phase::Failed), Some(4)));
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    eventually("an end of the sidecar", || async {
        let pod = pods.get_opt("run-main").await.map_err(|error| error.to_string())?;
        let phase = pod.and_then(|pod| pod.status?.phase);
        if phase.as_deref() == Some("Running") { Err("it runs".to_owned()) } else { Ok(()) }
    })
    .await;
    stage.scene.end().await;
}

#[tokio::test]
async fn retries_are_attempts_of_one_run() {
    let stage = Stage::new("retries").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let main = "case $HOSTNAME in run-main) exit 1 ;; *) exit 0 ;; esac";
    stage.run("run", main, json!({ "backoffLimit": 2 })).await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), exit_code(&job)), (Some(Phase::Succeeded), Some(0)));
    let status = job.status.unwrap();
    let pods: Vec<_> = status.attempts.iter().map(|attempt| attempt.pod_name.as_str()).collect();
    assert_eq!(pods, ["run-main", "run-main-1"]);
    assert_eq!(status.main_pod_name.as_deref(), Some("run-main-1"));
    assert_eq!(stage.told("run-exit").await.trim(), "told: Succeeded");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_suspended_run_waits_and_a_run_that_is_suspended_stops() {
    let stage = Stage::new("suspend").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", OBEDIENT, json!({ "suspend": true, "activeDeadlineSeconds": 600 })).await;
    let suspended = |job: &ompipe_api::OMJob| condition(job, "Suspended").starts_with("True");
    stage.job("run", "a suspension", suspended).await;
    assert!(stage.pods().get_opt("run-main").await.unwrap().is_none());
    let suspend = |value: bool| Patch::Merge(json!({ "spec": { "suspend": value } }));
    let params = PatchParams::default();
    stage.jobs().patch("run", &params, &suspend(false)).await.unwrap();
    stage.running("run-main").await;
    stage.jobs().patch("run", &params, &suspend(true)).await.unwrap();
    stage.job("run", "another suspension", suspended).await;
    stage.jobs().patch("run", &params, &suspend(false)).await.unwrap();
    stage.running("run-main-1").await;
    stage.jobs().delete("run", &DeleteParams::default()).await.unwrap();
    stage.gone("run").await;
    stage.scene.end().await;
}

#[rstest]
#[case::at_once(0)]
#[case::later(3)]
#[tokio::test]
async fn a_ttl_removes_the_run_and_its_pods(#[case] seconds: u32) {
    let stage = Stage::new("ttl").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", "true", json!({ "ttlSecondsAfterFinished": seconds })).await;
    stage.gone("run").await;
    assert!(stage.events("run").await.contains(&"OMJobCompleted".to_owned()));
    stage.scene.end().await;
}

#[tokio::test]
async fn without_a_ttl_a_run_stays() {
    let stage = Stage::new("stays").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", "true", json!({})).await;
    stage.run("brief", "true", json!({ "ttlSecondsAfterFinished": 1 })).await;
    stage.gone("brief").await;
    assert_eq!(phase(&stage.over("run").await), Some(Phase::Succeeded));
    assert!(stage.pods().get_opt("run-main").await.unwrap().is_some(), "its log is still wanted");
    stage.scene.end().await;
}

/// Backup tools bring back specifications and no status.
#[tokio::test]
async fn a_finished_run_that_a_backup_brings_back_does_not_run_again() {
    let stage = Stage::new("restored").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", "true", json!({})).await;
    let over = stage.over("run").await;
    let ended = stage
        .job("run", "a run that says in its metadata that it ended", |job| {
            job.annotations().contains_key("pipelines.openmetadata.org/ended")
        })
        .await;
    stage.jobs().delete("run", &DeleteParams::background()).await.unwrap();
    stage.gone("run").await;
    let metadata = json!({
        "name": "run", "labels": ended.labels(), "annotations": ended.annotations(),
    });
    let (version, kind) = ("pipelines.openmetadata.org/v1", "OMJob");
    let backup = from(json!({
        "apiVersion": version, "kind": kind, "metadata": metadata, "spec": over.spec,
    }));
    stage.jobs().create(&PostParams::default(), &backup).await.unwrap();
    let restored = stage.over("run").await;
    assert_eq!(phase(&restored), Some(Phase::Succeeded));
    assert!(stage.pods().get_opt("run-main").await.unwrap().is_none(), "it ran again");
    // Without that annotation it is a new run, as whoever wants it again makes it.
    stage.jobs().delete("run", &DeleteParams::background()).await.unwrap();
    stage.gone("run").await;
    let again = from(json!({
        "apiVersion": version, "kind": kind, "metadata": { "name": "run" }, "spec": over.spec,
    }));
    stage.jobs().create(&PostParams::default(), &again).await.unwrap();
    stage.over("run").await;
    assert!(stage.pods().get_opt("run-main").await.unwrap().is_some());
    stage.scene.end().await;
}

/// Kubernetes ends the operator's pods with the others, and makes no new ones there.
#[tokio::test]
async fn a_namespace_that_is_deleted_with_its_operator_does_not_hang() {
    let stage = Stage::new("inside").await;
    let operator = Operator::start(&stage.scene, &[]);
    operator.ready("leader").await;
    stage.run("run", "trap '' TERM; sleep 600 & wait; sleep 600", json!({})).await;
    stage.running("run-main").await;
    let namespaces: Api<Namespace> = Api::all(stage.scene.client.clone());
    let name = &stage.scene.namespace;
    namespaces.delete(name, &DeleteParams::default()).await.unwrap();
    eventually("a namespace that is being deleted", || async {
        let pod = stage.pods().get_opt("run-main").await.map_err(|error| error.to_string())?;
        let deleted = pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        if deleted { Ok(()) } else { Err("its pods stand".to_owned()) }
    })
    .await;
    operator.terminate().await;
    let job = stage.jobs().get_opt("run").await.unwrap();
    assert!(job.is_none_or(|job| job.finalizers().is_empty()), "it was not let go of");
    eventually("a namespace that is gone", || async {
        let left = namespaces.get_opt(name).await.map_err(|error| error.to_string())?;
        left.map_or(Ok(()), |left| Err(format!("{:?}", left.status)))
    })
    .await;
}

#[tokio::test]
async fn a_namespace_that_is_deleted_does_not_hang() {
    let stage = Stage::new("namespace").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", OBEDIENT, json!({})).await;
    stage.running("run-main").await;
    let namespaces: Api<Namespace> = Api::all(stage.scene.client.clone());
    let name = &stage.scene.namespace;
    namespaces.delete(name, &DeleteParams::default()).await.unwrap();
    eventually("a namespace that is gone", || async {
        let left = namespaces.get_opt(name).await.map_err(|error| error.to_string())?;
        left.map_or(Ok(()), |left| Err(format!("{:?}", left.status)))
    })
    .await;
}

#[tokio::test]
async fn an_exit_handler_that_fails_is_a_condition_not_the_phase() {
    let stage = Stage::new("exitfails").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let fails = json!({
        "exitHandlerSpec": Stage::shell("exit 1"), "exitHandlerDeadlineSeconds": 5,
    });
    stage.run("run", "true", fails).await;
    let job = stage.phase("run", Phase::Succeeded).await;
    assert_eq!(condition(&job, "ExitHandlerSucceeded"), "False Error");
    assert!(condition(&job, "Reported").starts_with("False"), "{job:?}");
    stage.jobs().delete("run", &DeleteParams::default()).await.unwrap();
    stage.scene.end().await;
}

#[tokio::test]
async fn a_run_without_an_exit_handler_ends_all_the_same() {
    let stage = Stage::new("noexit").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", "true", json!({ "exitHandlerSpec": null })).await;
    let job = stage.phase("run", Phase::Succeeded).await;
    assert_eq!(condition(&job, "ExitHandlerSucceeded"), "False NotConfigured");
    stage.scene.end().await;
}
