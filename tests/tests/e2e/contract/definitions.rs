//! The custom resources on a real API server: what upstream's Java client and chart produce is
//! accepted, nothing of it is pruned, and nonsense is refused with a message.

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use ompipe_api::{CronOMJob, OMJob};
use rstest::rstest;
use serde_json::{Value, json};

use super::{live, raw};
use crate::support::{Scene, from, install_crds};

const OMJOB: &str = "OMJob";
const CRON_OMJOB: &str = "CronOMJob";

/// A stage as upstream's client sends it (`upstream-client.md` §6.1).
fn stage_of_upstream() -> Value {
    json!({
        "image": "docker.getcollate.io/openmetadata/ingestion:1.12.0",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "main.py"],
        "env": [
            { "name": "pipelineType", "value": "metadata" },
            { "name": "pipelineRunId", "value": "{{ omjob.uid }}" },
            { "name": "empty", "valueFrom": {} },
            { "name": "config", "valueFrom": { "configMapKeyRef": { "name": "om-config-x", "key": "config", "optional": false } } },
            { "name": "token", "valueFrom": { "secretKeyRef": { "name": "om-secret-x", "key": "t", "optional": true } } },
            { "name": "pod", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } },
            { "name": "cpu", "valueFrom": { "resourceFieldRef": { "containerName": "main", "resource": "limits.cpu", "divisor": "1m" } } },
        ],
        "serviceAccountName": "openmetadata-ingestion",
        "resources": { "requests": { "cpu": "500m", "memory": "1Gi" }, "limits": { "cpu": "2", "memory": "4Gi" } },
        "imagePullSecrets": [{ "name": "registry" }],
        "nodeSelector": { "zone": "a" },
        "tolerations": [{ "key": "spot", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60 }],
        "securityContext": { "runAsUser": 1000, "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        "labels": { "app.kubernetes.io/managed-by": "openmetadata" },
        "annotations": { "a": "b" },
    })
}

/// An object of a kind, with this specification of a run.
fn object(kind: &str, run: &Value) -> Value {
    let spec = match kind {
        OMJOB => run.clone(),
        _ => json!({
            "schedule": "0 0 * * *", "timeZone": "UTC", "suspend": true, "startingDeadlineSeconds": 60,
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 3, "omJobSpec": run,
        }),
    };
    json!({
        "apiVersion": "pipelines.openmetadata.org/v1", "kind": kind,
        "metadata": { "name": "x", "labels": {}, "annotations": {} }, "spec": spec,
    })
}

async fn create(scene: &Scene, object: Value) -> kube::Result<DynamicObject> {
    let objects = match object["kind"].as_str() {
        Some(OMJOB) => raw::<OMJob>(scene),
        _ => raw::<CronOMJob>(scene),
    };
    objects.create(&PostParams::default(), &from(object)).await
}

async fn scene() -> Scene {
    let scene = Scene::new("definitions").await;
    install_crds(&scene.client).await;
    scene
}

/// A stage with one field as somebody may write it.
fn with(field: &str, value: Value) -> Value {
    let mut stage = stage_of_upstream();
    stage[field] = value;
    stage
}

/// Everything that a definition has.
fn whole_run() -> Value {
    let template = json!({
        "metadata": { "finalizers": ["example.org/kept"] },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "main", "args": ["x"], "fieldOfTheFuture": { "a": [1] } }],
            "volumes": [{ "name": "v", "emptyDir": {} }],
        },
    });
    json!({
        "mainPodSpec": with("podTemplate", template.clone()),
        "exitHandlerSpec": with("podTemplate", template),
        "ttlSecondsAfterFinished": 604_800, "activeDeadlineSeconds": 7200, "backoffLimit": 3,
        "suspend": false, "exitHandlerDeadlineSeconds": 300,
    })
}

fn unknown_in_security_context() -> Value {
    with("securityContext", json!({ "runAsUser": 1, "fieldOfTheFuture": { "deep": ["kept"] } }))
}

/// What a specification of a run may look like, in both kinds.
#[rstest]
#[case::of_upstream(json!({ "mainPodSpec": stage_of_upstream(), "exitHandlerSpec": stage_of_upstream(), "ttlSecondsAfterFinished": 86400 }))]
#[case::no_exit_handler(json!({ "mainPodSpec": stage_of_upstream() }))]
#[case::image_only(json!({ "mainPodSpec": { "image": "i" } }))]
#[case::no_environment(json!({ "mainPodSpec": with("env", Value::Null) }))]
#[case::an_empty_environment(json!({ "mainPodSpec": with("env", json!([])) }))]
#[case::numbers_as_amounts(json!({ "mainPodSpec": with("resources", json!({ "limits": { "cpu": 2, "memory": 1_073_741_824 } })) }))]
#[case::an_unknown_security_field(json!({ "mainPodSpec": unknown_in_security_context() }))]
#[case::never_cleaned_up(json!({ "mainPodSpec": stage_of_upstream(), "ttlSecondsAfterFinished": -1 }))]
#[case::nulls(json!({ "mainPodSpec": { "image": "i", "command": null, "resources": null, "nodeSelector": null, "tolerations": null, "securityContext": null, "labels": null, "annotations": null, "imagePullSecrets": null, "serviceAccountName": null, "imagePullPolicy": null } }))]
#[case::everything(whole_run())]
#[tokio::test]
async fn nothing_is_pruned(#[case] run: Value) {
    let scene = scene().await;
    let job = object(OMJOB, &run);
    create(&scene, job.clone()).await.unwrap();
    assert_eq!(live::<OMJob>(&scene, "x").await["spec"], job["spec"]);
    let schedule = object(CRON_OMJOB, &run);
    create(&scene, schedule.clone()).await.unwrap();
    assert_eq!(live::<CronOMJob>(&scene, "x").await["spec"], schedule["spec"]);
    // What the API server has, the operator can read.
    scene.api::<OMJob>().get("x").await.unwrap();
    scene.api::<CronOMJob>().get("x").await.unwrap();
    scene.end().await;
}

#[test]
fn the_whole_run_has_every_field_of_the_definition() {
    let definition = serde_json::to_value(&ompipe_api::crds()[0]).unwrap();
    let spec =
        definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let run = whole_run();
    assert_eq!(names(&run), names(&spec["properties"]));
    let stage = &spec["properties"]["mainPodSpec"]["properties"];
    assert_eq!(names(&run["mainPodSpec"]), names(stage));
}

#[tokio::test]
async fn the_status_of_either_operator_is_kept() {
    let scene = scene().await;
    create(&scene, object(OMJOB, &json!({ "mainPodSpec": stage_of_upstream() }))).await.unwrap();
    let status = json!({
        "phase": "Failed", "mainPodName": "x-main", "exitHandlerPodName": "x-exit",
        "startTime": "2026-01-09T15:30:00Z", "completionTime": "2026-01-09T15:31:00Z",
        "message": "m", "mainPodExitCode": 137, "mainReason": "OOMKilled", "mainSignal": 9,
        "attempts": [{ "podName": "x-main", "exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-09T15:31:00Z" }],
        "conditions": [{ "type": "Reported", "status": "True", "reason": "Done", "message": "", "observedGeneration": 1, "lastTransitionTime": "2026-01-09T15:31:00Z" }],
        "observedGeneration": 1,
    });
    let patch = Patch::Merge(json!({ "status": status }));
    let objects = raw::<OMJob>(&scene);
    objects.patch_status("x", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(live::<OMJob>(&scene, "x").await["status"], status);
    create(&scene, object(CRON_OMJOB, &whole_run())).await.unwrap();
    let status = json!({
        "lastScheduleTime": "2026-01-09T15:30:00Z", "lastSuccessfulTime": "2026-01-09T15:31:00Z",
        "lastOMJobName": "x-1", "message": "m", "active": [{ "name": "x-1", "uid": "u" }],
        "observedGeneration": 1,
    });
    let patch = Patch::Merge(json!({ "status": status }));
    let objects = raw::<CronOMJob>(&scene);
    objects.patch_status("x", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(live::<CronOMJob>(&scene, "x").await["status"], status);
    scene.end().await;
}

/// Where nonsense stands, and what the API server says to it.
#[rstest]
#[case(OMJOB, "/spec/mainPodSpec/image", json!(""), "spec.mainPodSpec.image")]
#[case(OMJOB, "/spec/mainPodSpec", json!({}), "spec.mainPodSpec.image: Required value")]
#[case(OMJOB, "/spec", json!({}), "spec.mainPodSpec: Required value")]
#[case(OMJOB, "/spec/activeDeadlineSeconds", json!(0), "spec.activeDeadlineSeconds")]
#[case(OMJOB, "/spec/backoffLimit", json!(-1), "spec.backoffLimit")]
#[case(OMJOB, "/spec/exitHandlerDeadlineSeconds", json!(0), "spec.exitHandlerDeadlineSeconds")]
#[case(OMJOB, "/spec/ttlSecondsAfterFinished", json!("soon"), "spec.ttlSecondsAfterFinished")]
#[case(OMJOB, "/spec/mainPodSpec/command", json!("python main.py"), "spec.mainPodSpec.command")]
#[case(OMJOB, "/spec/mainPodSpec/env", json!([{ "value": "x" }]), "spec.mainPodSpec.env[0].name: Required value")]
#[case(OMJOB, "/spec/mainPodSpec/resources", json!({ "limits": { "cpu": [] } }), "spec.mainPodSpec.resources.limits.cpu")]
#[case(OMJOB, "/spec/mainPodSpec/tolerations", json!([{ "operator": "Equals" }]), "spec.mainPodSpec.tolerations[0].operator: Unsupported value")]
#[case(CRON_OMJOB, "/spec/concurrencyPolicy", json!("Never"), "spec.concurrencyPolicy: Unsupported value")]
#[case(CRON_OMJOB, "/spec/schedule", json!(""), "spec.schedule")]
#[case(CRON_OMJOB, "/spec", json!({ "schedule": "* * * * *" }), "spec.omJobSpec: Required value")]
#[case(CRON_OMJOB, "/spec/omJobSpec/mainPodSpec/image", json!(""), "spec.omJobSpec.mainPodSpec.image")]
#[case(CRON_OMJOB, "/spec/omJobSpec/activeDeadlineSeconds", json!(0), "spec.omJobSpec.activeDeadlineSeconds")]
#[tokio::test]
async fn nonsense_is_refused(
    #[case] kind: &str,
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] expected: &str,
) {
    let scene = scene().await;
    let mut object = object(kind, &whole_run());
    if kind == CRON_OMJOB {
        object["spec"]["concurrencyPolicy"] = "Forbid".into();
    }
    *object.pointer_mut(pointer).unwrap() = value;
    let refused = create(&scene, object).await.unwrap_err().to_string();
    assert!(refused.contains(expected), "{refused}");
    scene.end().await;
}
