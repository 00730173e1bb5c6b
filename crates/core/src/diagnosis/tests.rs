//! Tables over runs, pods and events.

use k8s_openapi::api::batch::v1::Job;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const UID: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";
const NAME: &str = "om-job-p-a1b2c3d4";

fn workload() -> Workload {
    let job: Job = serde_json::from_value(json!({
        "metadata": { "name": NAME, "uid": UID },
        "status": { "conditions": [{ "type": "Complete", "status": "True" }] },
    }))
    .unwrap();
    Workload::of_job(&job).unwrap()
}

/// A pod as ompipe makes it.
fn good_pod() -> Value {
    let literals =
        ["pipelineType", "pipelineRunId", "ingestionPipelineFQN", "namespace", "pipelineStatus"];
    let mut env: Vec<Value> =
        literals.iter().map(|name| json!({ "name": name, "value": "x" })).collect();
    env.push(json!({ "name": "jobName", "value": NAME }));
    env.push(json!({ "name": "config", "valueFrom": { "secretKeyRef": { "name": "s", "key": "config" } } }));
    json!({
        "metadata": { "name": "p", "ownerReferences": [
            { "apiVersion": "batch/v1", "kind": "Job", "name": NAME, "uid": UID },
        ]},
        "spec": { "terminationGracePeriodSeconds": 60, "containers": [{
            "name": "main", "env": env,
            "lifecycle": { "preStop": { "exec": { "command": ["python", "exit_handler.py"] } } },
        }]},
    })
}

fn findings(pod: &Value, events: &[Event], row: Option<PipelineState>) -> Vec<Finding> {
    let pods: Vec<Pod> = vec![serde_json::from_value(pod.clone()).unwrap()];
    let workload = workload();
    let run = Run::observe(&workload, &pods);
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let row = row.map(Some);
    of_run(&Subject { workload: &workload, run: &run, pods: &pods, events, row, now })
}

fn verdict_of(findings: &[Finding], check: &str) -> (Verdict, String) {
    let finding = findings.iter().find(|finding| finding.check == check).unwrap();
    assert_eq!(finding.remedy.is_none(), finding.verdict == Verdict::Good, "{finding:?}");
    (finding.verdict, finding.detail.clone())
}

#[test]
fn what_ompipe_makes_is_good() {
    let findings = findings(&good_pod(), &[], Some(PipelineState::Success));
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:?}");
    assert_eq!(findings.len(), 8);
}

#[rstest]
#[case("/spec/containers/0/lifecycle", Value::Null, "preStop hook", Verdict::Bad)]
#[case("/spec/containers/0/lifecycle/preStop/exec/command", json!(["true"]), "preStop hook", Verdict::Bad)]
#[case("/spec/terminationGracePeriodSeconds", json!(45), "grace period", Verdict::Warning)]
#[case("/spec/terminationGracePeriodSeconds", json!(5), "grace period", Verdict::Bad)]
#[case("/spec/containers/0/env/0/name", json!("other"), "variables", Verdict::Bad)]
#[case::config_as_a_file("/spec/containers/0/env/6/name", json!("configFile"), "variables", Verdict::Good)]
#[case::whole_run_id("/spec/containers/0/env/5/value", json!(format!("om-job-p-{UID}")), "job name", Verdict::Bad)]
#[case::scheduled("/spec/containers/0/env/5", json!({ "name": "jobName", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['batch.kubernetes.io/job-name']" } } }), "job name", Verdict::Good)]
#[case::stuck("/metadata/deletionTimestamp", json!("2026-01-01T11:58:00Z"), "termination", Verdict::Bad)]
#[case::ending("/metadata/deletionTimestamp", json!("2026-01-01T12:00:40Z"), "termination", Verdict::Good)]
fn each_check_of_a_pod(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] check: &str,
    #[case] verdict: Verdict,
) {
    let mut pod = good_pod();
    match pod.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => pod["metadata"]["deletionTimestamp"] = value,
    }
    assert_eq!(verdict_of(&findings(&pod, &[], None), check).0, verdict);
}

fn failed_hook() -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {}, "reason": "FailedPreStopHook", "message": "exit code 1",
    }))
    .unwrap()
}

#[test]
fn a_failed_hook_of_a_pod_that_is_gone_is_found() {
    let workload = workload();
    let run = Run::observe(&workload, &[]);
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let events = [failed_hook()];
    let subject =
        Subject { workload: &workload, run: &run, pods: &[], events: &events, row: None, now };
    assert_eq!(verdict_of(&of_run(&subject), "hook events").0, Verdict::Bad);
}

#[test]
fn a_failed_hook_is_told_with_its_message() {
    let event = failed_hook();
    let (verdict, detail) = verdict_of(&findings(&good_pod(), &[event], None), "hook events");
    assert_eq!((verdict, detail.as_str()), (Verdict::Bad, "FailedPreStopHook: exit code 1"));
}

#[rstest]
#[case(PipelineState::Success, Verdict::Good)]
#[case::stuck(PipelineState::Running, Verdict::Bad)]
#[case::stuck(PipelineState::Queued, Verdict::Bad)]
#[case::other_end(PipelineState::Failed, Verdict::Bad)]
#[case::other_end(PipelineState::Stopped, Verdict::Bad)]
#[case::more_exact(PipelineState::PartialSuccess, Verdict::Good)]
fn a_row_that_never_ended_is_told(#[case] row: PipelineState, #[case] verdict: Verdict) {
    let found = findings(&good_pod(), &[], Some(row));
    assert_eq!(verdict_of(&found, "status in OpenMetadata").0, verdict);
}

#[test]
fn a_run_that_waits_says_what_to_do() {
    let mut pod = good_pod();
    pod["status"] = json!({ "containerStatuses": [{
        "name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } },
    }]});
    let workload = Workload { end: None, ..workload() };
    let pods: Vec<Pod> = vec![serde_json::from_value(pod).unwrap()];
    let run = Run::observe(&workload, &pods);
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let subject =
        Subject { workload: &workload, run: &run, pods: &pods, events: &[], row: None, now };
    let found = of_run(&subject);
    let (verdict, detail) = verdict_of(&found, "run");
    assert!(verdict == Verdict::Bad && detail.contains("no such image"), "{found:?}");
    assert!(found[0].remedy.as_ref().unwrap().contains("imagePullSecrets"));
}

#[test]
fn an_ended_run_without_a_row_is_told() {
    let pods: Vec<Pod> = vec![serde_json::from_value(good_pod()).unwrap()];
    let now = "2026-01-01T12:00:00Z".parse().unwrap();
    let (workload, events) = (workload(), &[]);
    let run = Run::observe(&workload, &pods);
    let row = Some(None);
    let subject = Subject { workload: &workload, run: &run, pods: &pods, events, row, now };
    let (verdict, detail) = verdict_of(&of_run(&subject), "status in OpenMetadata");
    assert_eq!(verdict, Verdict::Bad);
    assert!(detail.contains("no row of the run"), "{detail}");
}

#[test]
fn a_supervised_worker_needs_no_hook() {
    let mut pod = good_pod();
    let main = &mut pod["spec"]["containers"][0];
    main["lifecycle"] = Value::Null;
    main["command"] = json!(["/ompipe/ompipe-exit", "supervise", "--", "python", "main.py"]);
    assert_eq!(verdict_of(&findings(&pod, &[], None), "preStop hook").0, Verdict::Good);
}
