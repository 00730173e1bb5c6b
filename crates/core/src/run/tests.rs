//! Tables over Jobs and pods.

use rstest::rstest;
use serde_json::{Value, json};

use k8s_openapi::api::batch::v1::Job;

use super::*;

const UID: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

fn job(conditions: &Value) -> Job {
    serde_json::from_value(json!({
        "metadata": { "name": "om-job-p-a1b2c3d4", "uid": UID },
        "status": { "conditions": conditions },
    }))
    .unwrap()
}

fn observe(job: &Job, pods: &[Pod]) -> Run {
    Run::observe(&Workload::of_job(job).unwrap(), pods)
}

fn pod(status: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": "p", "ownerReferences": [
            { "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": UID },
        ]},
        "status": status,
    }))
    .unwrap()
}

fn main_container(state: &Value) -> Value {
    json!({ "containerStatuses": [{
        "name": "main", "state": state, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
    }]})
}

fn failed(reason: &str) -> Value {
    json!([{ "type": "Failed", "status": "True", "reason": reason, "message": "told by Kubernetes" }])
}

/// The seed's mapping table and what stands behind each state.
#[rstest]
#[case::created(json!([]), None, PipelineState::Queued, None)]
#[case::starting(json!([]), Some(main_container(&json!({ "waiting": { "reason": "ContainerCreating" } }))), PipelineState::Queued, None)]
#[case::no_image(json!([]), Some(main_container(&json!({ "waiting": { "reason": "ImagePullBackOff" } }))), PipelineState::Queued, Some(Reason::ImagePull))]
#[case::no_secret(json!([]), Some(main_container(&json!({ "waiting": { "reason": "CreateContainerConfigError" } }))), PipelineState::Queued, Some(Reason::ContainerConfig))]
#[case::no_node(json!([]), Some(json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] })), PipelineState::Queued, Some(Reason::Unschedulable))]
#[case::running(json!([]), Some(main_container(&json!({ "running": {} }))), PipelineState::Running, None)]
#[case::between_attempts(json!([]), Some(main_container(&json!({ "terminated": { "exitCode": 1 } }))), PipelineState::Running, Some(Reason::Error))]
#[case::complete(json!([{ "type": "Complete", "status": "True" }]), Some(main_container(&json!({ "terminated": { "exitCode": 0 } }))), PipelineState::Success, None)]
#[case::not_complete(json!([{ "type": "Complete", "status": "False" }]), None, PipelineState::Queued, None)]
#[case::error(failed("BackoffLimitExceeded"), Some(main_container(&json!({ "terminated": { "exitCode": 1 } }))), PipelineState::Failed, Some(Reason::Error))]
#[case::out_of_memory(failed("BackoffLimitExceeded"), Some(main_container(&json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }))), PipelineState::Failed, Some(Reason::OomKilled))]
#[case::evicted(failed("BackoffLimitExceeded"), Some(json!({ "phase": "Failed", "reason": "Evicted", "message": "low on disk" })), PipelineState::Failed, Some(Reason::Evicted))]
#[case::deadline(
    failed("DeadlineExceeded"),
    None,
    PipelineState::Failed,
    Some(Reason::DeadlineExceeded)
)]
#[case::failed_before_any_pod(
    failed("BackoffLimitExceeded"),
    None,
    PipelineState::Failed,
    Some(Reason::JobFailed)
)]
fn states_and_reasons(
    #[case] conditions: Value,
    #[case] status: Option<Value>,
    #[case] state: PipelineState,
    #[case] reason: Option<Reason>,
) {
    let pods: Vec<Pod> = status.iter().map(pod).collect();
    let run = observe(&job(&conditions), &pods);
    assert_eq!((run.state, run.reason), (state, reason));
}

#[rstest]
#[case::first_of_four(3, &[1], Some("retrying 2/4"))]
#[case::second_of_three(2, &[1, 255], Some("retrying 3/3"))]
#[case::last(1, &[1, 1], None)]
#[case::no_retries(0, &[1], None)]
#[case::config(3, &[2], None)]
#[case::ended_well(3, &[0], None)]
#[case::no_pod_yet(3, &[], None)]
fn a_run_between_two_attempts_says_so(
    #[case] limit: i32,
    #[case] codes: &[i32],
    #[case] expected: Option<&str>,
) {
    let mut job = job(&json!([]));
    job.spec = serde_json::from_value(json!({ "backoffLimit": limit, "template": {} })).unwrap();
    let state = |code: &i32| main_container(&json!({ "terminated": { "exitCode": code } }));
    let pods: Vec<Pod> = codes.iter().map(state).map(|status| pod(&status)).collect();
    let run = observe(&job, &pods);
    assert_eq!(run.retrying.map(|retrying| retrying.to_string()).as_deref(), expected);
    let state = expected.unwrap_or(if codes.is_empty() { "queued" } else { "running" });
    assert_eq!(run.state_in_words(), state);
}

#[test]
fn a_run_that_never_started_until_its_deadline_says_what_kept_it() {
    let mut job = job(&failed("DeadlineExceeded"));
    assert_eq!(observe(&job, &[]).reason, Some(Reason::DeadlineExceeded));
    let trouble = Some(Trouble::new(Reason::Mount, "secret \"a\" not found"));
    let record = Record { trouble, ..Record::default() };
    let annotations = job.metadata.annotations.get_or_insert_default();
    annotations.insert(crate::job::RECORD.to_owned(), record.value());
    let run = observe(&job, &[]);
    assert_eq!((run.state, run.reason), (PipelineState::Failed, Some(Reason::Mount)));
    assert_eq!(run.message.as_deref(), Some("secret \"a\" not found"));
}

#[test]
fn the_last_exit_code_counts_and_a_signal_is_named() {
    let killed = pod(&main_container(&json!({ "terminated": { "exitCode": 143 } })));
    let run = observe(&job(&failed("BackoffLimitExceeded")), &[killed]);
    assert_eq!(run.exit_code, Some(143));
    assert_eq!(run.message.unwrap(), "ended by signal 15 (exit code 143)");
}

#[test]
fn a_scheduled_run_goes_by_the_uid_of_its_job() {
    let run = observe(&job(&json!([])), &[]);
    assert_eq!((run.run_id.to_string(), run.scheduled), (UID.to_owned(), true));
}

#[test]
fn pods_of_other_jobs_do_not_count() {
    let mut foreign = pod(&main_container(&json!({ "running": {} })));
    foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "other".to_owned();
    let run = observe(&job(&json!([])), &[foreign]);
    assert_eq!((run.state, run.attempts), (PipelineState::Queued, 0));
}
