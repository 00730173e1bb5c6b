//! The custom resources on a real API server: what upstream's Java client and chart produce is
//! accepted, nothing of it is pruned, and nonsense is refused with a message.

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use ompipe_api::{CronOMJob, OMJob, OMJobStatus, status_patch};
use ompipe_core::omjob::{PodRef, Reason, Status, Trouble};
use rstest::rstest;
use serde_json::{Value, json};

use super::{live, raw};
use crate::support::{Scene, from, install_crds};

const OMJOB: &str = "OMJob";
const CRON_OMJOB: &str = "CronOMJob";

/// A stage as upstream's client sends it (docs/contracts/upstream-java-client.md#omjob-as-sent).
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
        "retryWithMoreMemory": { "factor": 3, "limit": "8Gi" },
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
#[case::words_beside_an_empty_source(json!({ "mainPodSpec": with("env", json!([{ "name": "a", "value": "b", "valueFrom": {} }])) }))]
#[case::an_empty_value_beside_a_source(json!({ "mainPodSpec": with("env", json!([{ "name": "a", "value": "", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }])) }))]
#[case::every_toleration(json!({ "mainPodSpec": with("tolerations", json!([{ "operator": "Exists" }, { "key": "spot", "operator": "Exists", "value": "" }, { "key": "spot" }])) }))]
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
fn what_is_whole_has_every_field_of_the_definition() {
    let definition = serde_json::to_value(&ompipe_api::crds()[0]).unwrap();
    let fields = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties").unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let spec = &fields["spec"]["properties"];
    let run = whole_run();
    assert_eq!(names(&run), names(spec));
    assert_eq!(names(&run["mainPodSpec"]), names(&spec["mainPodSpec"]["properties"]));
    let (status, known) = (whole_status(), &fields["status"]["properties"]);
    assert_eq!(names(&status), names(known));
    for stage in ["main", "exitHandler"] {
        assert_eq!(names(&status[stage]), names(&known[stage]["properties"]));
    }
}

/// A status with every field of the definition.
fn whole_status() -> Value {
    let stage = json!({
        "startedAt": "2026-01-09T15:30:00.123456Z", "ended": 1, "failures": 1, "disruptions": 1, "memoryLimit": 1_073_741_824,
        "pod": { "attempt": 0, "name": "x-main" }, "refusals": 2,
        "notBefore": "2026-01-09T15:30:01.000001Z",
        "trouble": { "reason": "Quota", "message": "m" },
        "end": {
            "reason": "OOMKilled", "exitCode": 137, "signal": 9, "message": "m",
            "finishedAt": "2026-01-09T15:31:00.000000Z",
        },
    });
    json!({
        "phase": "Failed", "mainPodName": "x-main", "exitHandlerPodName": "x-exit",
        "startTime": "2026-01-09T15:30:00Z", "completionTime": "2026-01-09T15:31:00Z",
        "message": "m", "mainPodExitCode": 137, "mainReason": "OOMKilled", "mainSignal": 9,
        "attempts": [{ "podName": "x-main", "exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-09T15:31:00Z" }],
        "conditions": [{ "type": "Reported", "status": "True", "reason": "Done", "message": "", "observedGeneration": 1, "lastTransitionTime": "2026-01-09T15:31:00Z" }],
        "observedGeneration": 1,
        "main": stage, "exitHandler": stage,
        "reporting": { "state": "Outstanding", "tries": 1, "notBefore": "2026-01-09T15:31:01.500000Z", "message": "m" },
    })
}

#[tokio::test]
async fn the_status_of_either_operator_is_kept() {
    let scene = scene().await;
    create(&scene, object(OMJOB, &json!({ "mainPodSpec": stage_of_upstream() }))).await.unwrap();
    let status = whole_status();
    let patch = Patch::Merge(json!({ "status": status }));
    let objects = raw::<OMJob>(&scene);
    objects.patch_status("x", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(live::<OMJob>(&scene, "x").await["status"], status);
    create(&scene, object(CRON_OMJOB, &whole_run())).await.unwrap();
    let status = json!({
        "lastScheduleTime": "2026-01-09T15:30:00Z", "lastSuccessfulTime": "2026-01-09T15:31:00Z",
        "lastOMJobName": "x-1", "message": "m", "active": [{ "name": "x-1", "uid": "u" }],
        "suspended": true, "lastTrigger": "now", "observedGeneration": 1,
    });
    let patch = Patch::Merge(json!({ "status": status }));
    let objects = raw::<CronOMJob>(&scene);
    objects.patch_status("x", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(live::<CronOMJob>(&scene, "x").await["status"], status);
    scene.end().await;
}

/// Where nonsense stands, and what the API server says to it.
#[rstest]
#[case(OMJOB, "/spec/mainPodSpec/image", json!(""), &["spec.mainPodSpec.image"])]
#[case(OMJOB, "/spec/mainPodSpec", json!({}), &["spec.mainPodSpec.image: Required value"])]
#[case(OMJOB, "/spec", json!({}), &["spec.mainPodSpec: Required value"])]
#[case(OMJOB, "/spec/activeDeadlineSeconds", json!(0), &["spec.activeDeadlineSeconds"])]
#[case(OMJOB, "/spec/backoffLimit", json!(-1), &["spec.backoffLimit"])]
#[case(OMJOB, "/spec/exitHandlerDeadlineSeconds", json!(0), &["spec.exitHandlerDeadlineSeconds"])]
#[case(OMJOB, "/spec/ttlSecondsAfterFinished", json!("soon"), &["spec.ttlSecondsAfterFinished"])]
#[case(OMJOB, "/spec/mainPodSpec/command", json!("python main.py"), &["spec.mainPodSpec.command"])]
#[case(OMJOB, "/spec/mainPodSpec/env", json!([{ "value": "x" }]), &["spec.mainPodSpec.env[0].name: Required value"])]
#[case(OMJOB, "/spec/mainPodSpec/resources", json!({ "limits": { "cpu": [] } }), &["spec.mainPodSpec.resources.limits.cpu"])]
#[case(OMJOB, "/spec/mainPodSpec/tolerations", json!([{ "operator": "Equals" }]), &["spec.mainPodSpec.tolerations[0].operator: Unsupported value"])]
#[case(OMJOB, "/spec/mainPodSpec/tolerations", json!([{ "key": "a", "operator": "Exists", "value": "b" }]), &["spec.mainPodSpec.tolerations[0].value", "must have no value when operator is Exists"])]
#[case(OMJOB, "/spec/mainPodSpec/tolerations", json!([{ "value": "b" }]), &["must be Exists when key is empty"])]
#[case(OMJOB, "/spec/exitHandlerSpec/tolerations", json!([{ "key": "a", "tolerationSeconds": 1 }]), &["spec.exitHandlerSpec.tolerations[0].effect", "must be NoExecute when tolerationSeconds is given"])]
#[case(OMJOB, "/spec/mainPodSpec/env", json!([{ "name": "a", "value": "b", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }]), &["must have value or one of valueFrom.configMapKeyRef"])]
#[case(OMJOB, "/spec/exitHandlerSpec/env", json!([{ "name": "a", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" }, "fieldRef": { "fieldPath": "metadata.name" } } }]), &["must have value or one of valueFrom.configMapKeyRef"])]
#[case(OMJOB, "/spec/mainPodSpec/imagePullPolicy", json!("Sometimes"), &["must be Always, IfNotPresent or Never"])]
#[case(OMJOB, "/spec/mainPodSpec/podTemplate", json!("a pod"), &["spec.mainPodSpec.podTemplate"])]
#[case(CRON_OMJOB, "/spec/schedule", json!("0 0 * * * *"), &["spec.schedule", "must have five fields (minute, hour"])]
#[case(CRON_OMJOB, "/spec/schedule", json!("@every 5m"), &["must have five fields"])]
#[case(CRON_OMJOB, "/spec/successfulJobsHistoryLimit", json!(-1), &["spec.successfulJobsHistoryLimit"])]
#[case(CRON_OMJOB, "/spec/failedJobsHistoryLimit", json!(-1), &["spec.failedJobsHistoryLimit"])]
#[case(CRON_OMJOB, "/spec/omJobSpec/mainPodSpec/imagePullPolicy", json!("Sometimes"), &["must be Always, IfNotPresent or Never"])]
#[case(CRON_OMJOB, "/spec/concurrencyPolicy", json!("Never"), &["spec.concurrencyPolicy: Unsupported value"])]
#[case(CRON_OMJOB, "/spec/schedule", json!(""), &["spec.schedule"])]
#[case(CRON_OMJOB, "/spec", json!({ "schedule": "* * * * *" }), &["spec.omJobSpec: Required value"])]
#[case(CRON_OMJOB, "/spec/omJobSpec/mainPodSpec/image", json!(""), &["spec.omJobSpec.mainPodSpec.image"])]
#[case(CRON_OMJOB, "/spec/omJobSpec/activeDeadlineSeconds", json!(0), &["spec.omJobSpec.activeDeadlineSeconds"])]
#[tokio::test]
async fn nonsense_is_refused(
    #[case] kind: &str,
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] expected: &[&str],
) {
    let scene = scene().await;
    let mut object = object(kind, &whole_run());
    if kind == CRON_OMJOB {
        object["spec"]["concurrencyPolicy"] = "Forbid".into();
    }
    *object.pointer_mut(pointer).unwrap() = value;
    let refused = create(&scene, object).await.unwrap_err().to_string();
    assert!(expected.iter().all(|part| refused.contains(part)), "{refused}");
    scene.end().await;
}

/// Schedules of every shape that the operator reads.
#[rstest]
#[case("*/5 0-6 1,15 jan-dec MON-FRI")]
#[case(" 0  0 * * 7 ")]
#[case("@daily")]
#[case("@Hourly")]
#[tokio::test]
async fn a_schedule_is_accepted(#[case] schedule: &str) {
    let scene = scene().await;
    let mut object = object(CRON_OMJOB, &whole_run());
    object["spec"]["schedule"] = schedule.into();
    create(&scene, object).await.unwrap();
    scene.end().await;
}

/// What may be changed of a run that there is.
#[rstest]
#[case::ttl(json!({ "ttlSecondsAfterFinished": 0 }), None)]
#[case::deadlines(json!({ "activeDeadlineSeconds": 1, "exitHandlerDeadlineSeconds": 1 }), None)]
#[case::suspend(json!({ "suspend": true }), None)]
#[case::retries(json!({ "backoffLimit": 9 }), None)]
#[case::image(json!({ "mainPodSpec": { "image": "other" } }), Some("spec.mainPodSpec: Forbidden: mainPodSpec may change only while spec.suspend is true; make a new OMJob"))]
#[case::deep_in_the_template(json!({ "mainPodSpec": { "podTemplate": { "spec": { "automountServiceAccountToken": true } } } }), Some("spec.mainPodSpec: Forbidden"))]
#[case::exit_handler(json!({ "exitHandlerSpec": { "image": "other" } }), Some("spec.exitHandlerSpec: Forbidden"))]
#[case::no_exit_handler(json!({ "exitHandlerSpec": null }), Some("spec.exitHandlerSpec: Forbidden"))]
#[tokio::test]
async fn a_run_does_what_it_was_made_for(#[case] change: Value, #[case] refused: Option<&str>) {
    let scene = scene().await;
    create(&scene, object(OMJOB, &whole_run())).await.unwrap();
    let patch = Patch::Merge(json!({ "spec": change }));
    let changed = raw::<OMJob>(&scene).patch("x", &PatchParams::default(), &patch).await;
    match refused {
        None => drop(changed.unwrap()),
        Some(expected) => {
            let refused = changed.unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }
    scene.end().await;
}

#[tokio::test]
async fn a_suspended_run_and_the_runs_of_a_schedule_may_become_others() {
    let scene = scene().await;
    let mut run = whole_run();
    run["suspend"] = true.into();
    create(&scene, object(OMJOB, &run)).await.unwrap();
    let other =
        json!({ "mainPodSpec": { "image": "other" }, "exitHandlerSpec": null, "suspend": false });
    let patch = Patch::Merge(json!({ "spec": other }));
    raw::<OMJob>(&scene).patch("x", &PatchParams::default(), &patch).await.unwrap();
    create(&scene, object(CRON_OMJOB, &whole_run())).await.unwrap();
    let patch = Patch::Merge(json!({ "spec": { "omJobSpec": other } }));
    raw::<CronOMJob>(&scene).patch("x", &PatchParams::default(), &patch).await.unwrap();
    scene.end().await;
}

/// Which phase may follow which.
#[rstest]
#[case("Pending", "Failed", true)]
#[case("Pending", "ExitHandlerRunning", true)]
#[case("Running", "Running", true)]
#[case("Running", "Failed", true)]
#[case("Running", "Pending", false)]
#[case("ExitHandlerRunning", "Succeeded", true)]
#[case("ExitHandlerRunning", "Running", false)]
#[case("Succeeded", "Failed", false)]
#[case("Failed", "Pending", false)]
#[tokio::test]
async fn a_phase_never_goes_back(#[case] from: &str, #[case] to: &str, #[case] allowed: bool) {
    let scene = scene().await;
    create(&scene, object(OMJOB, &whole_run())).await.unwrap();
    let objects = raw::<OMJob>(&scene);
    let params = PatchParams::default();
    let become_ = |phase: &str| Patch::Merge(json!({ "status": { "phase": phase } }));
    objects.patch_status("x", &params, &become_(from)).await.unwrap();
    let changed = objects.patch_status("x", &params, &become_(to)).await;
    if allowed {
        changed.unwrap();
    } else {
        let refused = changed.unwrap_err().to_string();
        assert!(refused.contains("a phase never goes back"), "{refused}");
    }
    scene.end().await;
}

fn waiting() -> Status {
    let mut record = Status::default();
    record.main.trouble = Some(Trouble::new(Reason::Quota, "exceeded quota"));
    record.main.refusals = 3;
    record.main.not_before = Some("2026-01-09T15:30:00.123456Z".parse().unwrap());
    record.main.pod = Some(PodRef { attempt: 2, name: "x-main-2".to_owned() });
    record
}

/// What the operator writes is what it reads, and what it no longer says is gone.
#[tokio::test]
async fn a_record_is_kept_and_taken_back() {
    let scene = scene().await;
    create(&scene, object(OMJOB, &whole_run())).await.unwrap();
    let api = scene.api::<OMJob>();
    let mut omjob = api.get("x").await.unwrap();
    for record in [waiting(), Status::default()] {
        let status = OMJobStatus::of(&record, &omjob, &[], "2026-01-09T15:30:00Z".parse().unwrap());
        let patch = Patch::Merge(status_patch(&omjob, &status).unwrap());
        omjob = api.patch_status("x", &PatchParams::default(), &patch).await.unwrap();
        assert_eq!(omjob.status.as_ref().unwrap().recorded(), record);
    }
    let stage = &live::<OMJob>(&scene, "x").await["status"]["main"];
    assert_eq!(*stage, json!({}));
    scene.end().await;
}

/// A write from an old view fails, also one that would change nothing.
#[tokio::test]
async fn a_status_is_written_from_the_newest_view_only() {
    let scene = scene().await;
    create(&scene, object(OMJOB, &whole_run())).await.unwrap();
    let api = scene.api::<OMJob>();
    let old = api.get("x").await.unwrap();
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
    api.patch("x", &PatchParams::default(), &patch).await.unwrap();
    let mut without_version = old.clone();
    without_version.metadata.resource_version = None;
    let written = OMJobStatus::of(&waiting(), &old, &[], "2026-01-09T15:30:00Z".parse().unwrap());
    for (view, status, code) in [
        (&old, written.clone(), 409),
        (&old, OMJobStatus::default(), 409),
        (&without_version, written, 422),
    ] {
        let patch = Patch::Merge(status_patch(view, &status).unwrap());
        let refused = api.patch_status("x", &PatchParams::default(), &patch).await.unwrap_err();
        let kube::Error::Api(answer) = refused else { panic!("{refused}") };
        assert_eq!(answer.code, code, "{answer:?}");
    }
    scene.end().await;
}
