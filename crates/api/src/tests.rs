//! What upstream produces reads, and reads back the same.

use kube::CustomResourceExt;
use ompipe_core::{PipelineState, Reason, Run};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// An `OMJob` as upstream's Java client sends it
/// (docs/contracts/upstream-java-client.md#omjob-as-sent).
fn of_upstream() -> Value {
    json!({
        "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob",
        "metadata": { "name": "om-job-shop-a1b2c3d4", "namespace": "n", "annotations": {} },
        "spec": {
            "mainPodSpec": {
                "image": "i", "imagePullPolicy": "IfNotPresent", "command": ["python", "main.py"],
                "env": [
                    { "name": "pipelineType", "value": "metadata" },
                    { "name": "empty", "valueFrom": {} },
                    { "name": "config", "valueFrom": { "configMapKeyRef": { "name": "om-config-shop", "key": "config" } } },
                ],
                "resources": { "requests": { "cpu": "500m", "memory": "1Gi" } },
                "securityContext": { "runAsUser": 1000, "runAsNonRoot": true },
                "labels": { "app.kubernetes.io/managed-by": "openmetadata" },
            },
            "ttlSecondsAfterFinished": 604_800,
        },
    })
}

#[test]
fn what_upstream_sends_reads_back_the_same() {
    let job: OMJob = serde_json::from_value(of_upstream()).unwrap();
    assert_eq!(serde_json::to_value(&job).unwrap(), of_upstream());
}

#[rstest]
#[case("/spec/mainPodSpec/env", Value::Null)]
#[case("/spec/mainPodSpec/resources", json!({ "limits": null }))]
#[case("/spec/ttlSecondsAfterFinished", json!(-1))]
fn odd_values_of_upstream_are_read(#[case] pointer: &str, #[case] value: Value) {
    let mut document = of_upstream();
    *document.pointer_mut(pointer).unwrap() = value;
    serde_json::from_value::<OMJob>(document).unwrap();
}

#[test]
fn amounts_may_be_numbers() {
    let resources: ResourceAmounts =
        serde_json::from_value(json!({ "limits": { "cpu": 2, "memory": "4Gi" } })).unwrap();
    let limits = resources.limits.unwrap();
    assert_eq!((limits["cpu"].0.as_str(), limits["memory"].0.as_str()), ("2", "4Gi"));
}

#[test]
fn the_definitions_have_upstreams_names() {
    let names: Vec<_> =
        crds().into_iter().map(|crd| (crd.metadata.name.unwrap(), crd.spec.names)).collect();
    let [(job, job_names), (cron, cron_names)] = &names[..] else { panic!("{names:?}") };
    assert_eq!(
        (job.as_str(), cron.as_str()),
        ("omjobs.pipelines.openmetadata.org", "cronomjobs.pipelines.openmetadata.org")
    );
    assert_eq!(job_names.short_names.as_deref(), Some(&["omj".to_owned()][..]));
    assert_eq!(cron_names.short_names.as_deref(), Some(&["comj".to_owned()][..]));
    assert!(OMJob::crd().spec.versions[0].subresources.as_ref().unwrap().status.is_some());
}

/// The run that an `OMJob` of upstream with this status stands for.
fn run_with(status: &Value) -> Run {
    let mut document = of_upstream();
    document["metadata"]["uid"] = "a1b2c3d4-e5f6-7890-abcd-ef1234567890".into();
    document["status"] = status.clone();
    let job: OMJob = serde_json::from_value(document).unwrap();
    Run::observe(&job.workload().unwrap(), &[])
}

#[rstest]
#[case(json!({}), PipelineState::Queued)]
#[case(json!({ "phase": "Running" }), PipelineState::Queued)]
#[case(json!({ "phase": "ExitHandlerRunning" }), PipelineState::Running)]
#[case(json!({ "phase": "Succeeded", "mainPodExitCode": 0 }), PipelineState::Success)]
#[case::upstream_counts_the_exit_handler(json!({ "phase": "Succeeded", "mainPodExitCode": 1 }), PipelineState::Failed)]
#[case::the_exit_handler_failed(json!({ "phase": "Failed", "mainPodExitCode": 0 }), PipelineState::Success)]
#[case(json!({ "phase": "Failed" }), PipelineState::Failed)]
fn the_state_of_a_run(#[case] status: Value, #[case] state: PipelineState) {
    assert_eq!(run_with(&status).state, state);
}

#[test]
fn a_failed_run_says_why() {
    let run = run_with(&json!({ "phase": "Failed", "mainReason": "OOMKilled", "message": "m" }));
    assert_eq!((run.reason, run.message.as_deref()), (Some(Reason::OomKilled), Some("m")));
}

#[rstest]
#[case("om-job-shop-a1b2c3d4", false)]
#[case("om-cronomjob-shop-1767225600", true)]
fn the_name_tells_what_a_schedule_made(#[case] name: &str, #[case] scheduled: bool) {
    let mut job: OMJob = serde_json::from_value(of_upstream()).unwrap();
    job.metadata.name = Some(name.to_owned());
    job.metadata.uid = Some("a1b2c3d4-e5f6-7890-abcd-ef1234567890".to_owned());
    assert_eq!(job.workload().unwrap().scheduled, scheduled);
}

#[test]
fn the_pod_of_upstreams_fields() {
    let job: OMJob = serde_json::from_value(of_upstream()).unwrap();
    let pod = job.spec.main_pod_spec.to_template();
    let spec = pod.spec.unwrap();
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    assert_eq!(spec.containers[0].name, "main");
    let variables = spec.containers[0].env.as_ref().unwrap();
    assert_eq!(variables[1].value_from, None, "an empty source is refused by Kubernetes");
    assert!(variables[2].value_from.is_some());
}

#[test]
fn a_pod_template_is_merged_by_kubernetes_keys() {
    let spec: StagePodSpec = serde_json::from_value(json!({
        "image": "i", "env": [{ "name": "A", "value": "1" }],
        "podTemplate": { "spec": {
            "restartPolicy": "Always", "priorityClassName": "high",
            "containers": [{ "name": "main", "env": [{ "name": "B", "value": "2" }] }, { "name": "proxy" }],
        }},
    }))
    .unwrap();
    let pod = spec.to_template().spec.unwrap();
    let names: Vec<_> = pod.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["main", "proxy"]);
    assert_eq!(pod.containers[0].env.as_ref().unwrap().len(), 2);
    assert_eq!(pod.containers[0].image.as_deref(), Some("i"));
    assert_eq!(pod.priority_class_name.as_deref(), Some("high"));
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
}

#[test]
fn a_status_of_upstream_is_read() {
    let status: OMJobStatus = serde_json::from_value(json!({
        "phase": "ExitHandlerRunning", "mainPodName": "m", "exitHandlerPodName": "e",
        "startTime": "2026-01-09T15:30:00Z", "message": "x", "mainPodExitCode": 0, "fieldOfTheFuture": 1,
    }))
    .unwrap();
    assert_eq!(status.phase, Some(Phase::ExitHandlerRunning));
    assert!(!Phase::ExitHandlerRunning.is_terminal());
}
