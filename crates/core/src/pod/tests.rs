//! Tables over the statuses of pods.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn state_of(status: &Value) -> PodState {
    let mesh = json!({ "name": "mesh", "restartPolicy": "Always" });
    let pod = json!({
        "metadata": { "name": "p" }, "status": status,
        "spec": { "nodeName": "n", "containers": [], "initContainers": [{ "name": "fetch-ca" }, mesh] },
    });
    PodState::of(&serde_json::from_value(pod).unwrap())
}

fn container(name: &str, fields: &Value) -> Value {
    let mut all = json!({
        "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
    });
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    all
}

fn waits(reason: &str) -> Value {
    container("main", &json!({ "state": { "waiting": { "reason": reason } } }))
}

fn ended(terminated: &Value) -> Value {
    json!({ "phase": "Failed", "containerStatuses": [
        container("main", &json!({ "state": { "terminated": terminated } })),
    ]})
}

fn trouble_of(status: &Value) -> Trouble {
    state_of(status).trouble().unwrap()
}

#[rstest]
#[case::with_words(
    json!({ "exitCode": 3, "reason": "Error", "message": "no CA bundle at /ca\n" }),
    "init container fetch-ca ended with exit code 3: no CA bundle at /ca"
)]
#[case::with_an_error(
    json!({ "exitCode": 1, "message": "starts\nERROR: vault is sealed\ncleans up\n" }),
    "init container fetch-ca ended with exit code 1: vault is sealed"
)]
#[case::silent(json!({ "exitCode": 3 }), "init container fetch-ca ended with exit code 3")]
#[case::out_of_memory(
    json!({ "exitCode": 137, "reason": "OOMKilled" }),
    "init container fetch-ca ended with exit code 137, because it used more memory than its limit allows"
)]
#[case::with_a_secret(
    json!({ "exitCode": 1, "message": "login with password=hunter2 failed" }),
    "init container fetch-ca ended with exit code 1: login with password=<from-secret> failed"
)]
fn a_failed_init_container_is_the_reason(#[case] terminated: Value, #[case] message: &str) {
    let init = container("fetch-ca", &json!({ "state": { "terminated": terminated } }));
    let good = container("first", &json!({ "state": { "terminated": { "exitCode": 0 } } }));
    let status = json!({
        "phase": "Failed", "initContainerStatuses": [good, init],
        "containerStatuses": [waits("PodInitializing")],
    });
    assert_eq!(trouble_of(&status), Trouble::new(Reason::InitContainer, message));
    let mut pending = status;
    pending["phase"] = "Pending".into();
    assert_eq!(state_of(&pending).trouble().unwrap().reason, Reason::InitContainer);
}

#[rstest]
#[case::back_off(
    json!({
        "restartCount": 2, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        "lastState": { "terminated": { "exitCode": 1, "message": "no certificate" } },
    }),
    "sidecar mesh ended with exit code 1: no certificate (CrashLoopBackOff)"
)]
#[case::between_two_crashes(
    json!({
        "restartCount": 1, "started": false, "state": { "running": {} },
        "lastState": { "terminated": { "exitCode": 1 } },
    }),
    "sidecar mesh ended with exit code 1"
)]
#[case::crashed_and_ended_again(
    json!({
        "restartCount": 1, "started": false, "state": { "terminated": { "exitCode": 0 } },
        "lastState": { "terminated": { "exitCode": 7 } },
    }),
    "sidecar mesh ended with exit code 7"
)]
fn a_sidecar_that_crashes_is_the_reason(#[case] fields: Value, #[case] message: &str) {
    let status = json!({
        "phase": "Pending", "initContainerStatuses": [container("mesh", &fields)],
        "containerStatuses": [waits("PodInitializing")],
    });
    let trouble = state_of(&status).trouble();
    assert_eq!(trouble, Some(Trouble::new(Reason::Sidecar, message)));
}

#[rstest]
#[case::crashing(1, Reason::Sidecar)]
#[case::stopped_with_its_pod(0, Reason::NotStarted)]
fn a_sidecar_that_ended_with_its_pod_is_no_failed_init_container(
    #[case] restarts: i32,
    #[case] reason: Reason,
) {
    let ended = json!({ "terminated": { "exitCode": 1 } });
    let mesh = json!({
        "restartCount": restarts, "state": ended, "started": false,
        "lastState": if restarts > 0 { ended.clone() } else { json!({}) },
    });
    let status = json!({
        "phase": "Failed", "initContainerStatuses": [container("mesh", &mesh)],
        "containerStatuses": [waits("PodInitializing")],
    });
    assert_eq!(trouble_of(&status).reason, reason);
}

#[test]
fn a_sidecar_that_is_up_again_holds_nobody_back() {
    let mesh = json!({
        "restartCount": 1, "started": true, "state": { "running": {} },
        "lastState": { "terminated": { "exitCode": 1 } },
    });
    let status = json!({
        "phase": "Pending", "initContainerStatuses": [container("mesh", &mesh)],
        "containerStatuses": [waits("PodInitializing")],
    });
    assert_eq!(state_of(&status), PodState::Waiting(None));
}

#[rstest]
#[case::cpu("OutOfcpu", "Node didn't have enough resource: cpu")]
#[case::storage("OutOfephemeral-storage", "")]
#[case::extended("OutOfexample.com/gpu", "")]
#[case::ports("NodePorts", "")]
#[case::taint("TaintToleration", "")]
#[case::affinity("NodeAffinity", "")]
#[case::os("PodOSNotSupported", "")]
#[case::numa("TopologyAffinityError", "")]
#[case::sysctl("SysctlForbidden", "forbidden sysctl")]
#[case::plugin("UnexpectedAdmissionError", "")]
#[case::of_a_later_version("SomethingNew", "Pod was rejected: no idea")]
fn a_pod_that_the_kubelet_rejects_is_disrupted_before_it_ran(
    #[case] reason: &str,
    #[case] message: &str,
) {
    let status = json!({ "phase": "Failed", "reason": reason, "message": message });
    let PodState::Ended { end, .. } = state_of(&status) else { panic!("it has ended") };
    assert_eq!((end.reason, end.exit_code), (Reason::Rejected, None));
    assert!(end.reason.is_disruption());
    assert_eq!(end.message, message);
}

#[rstest]
#[case::no_words(json!({ "exitCode": 1 }), Reason::Error, "ended with exit code 1")]
#[case::auth(
    json!({ "exitCode": 1, "message": "FATAL: password authentication failed for user \"om\"" }),
    Reason::SourceAuth,
    "ended with exit code 1: password authentication failed for user \"om\""
)]
#[case::config(
    json!({ "exitCode": 1, "message": "ValidationError: 1 validation error for A" }),
    Reason::BadConfig,
    "ended with exit code 1: ValidationError: 1 validation error for A"
)]
#[case::config_by_code(
    json!({ "exitCode": 2, "message": "main.py: file x cannot be read" }),
    Reason::BadConfig,
    "ended with exit code 2, which means that a config or an argument is not valid: main.py: file x cannot be read"
)]
#[case::code_wins(
    json!({ "exitCode": 2, "message": "ValueError: Connection refused" }),
    Reason::BadConfig,
    "ended with exit code 2, which means that a config or an argument is not valid: ValueError: Connection refused"
)]
#[case::no_command(json!({ "exitCode": 127 }), Reason::BadConfig, "ended with exit code 127, which means that the command does not exist")]
#[case::no_start(
    json!({ "exitCode": 128, "reason": "StartError", "message": "exec: \"python\": not found" }),
    Reason::ContainerConfig,
    "cannot be started: exec: \"python\": not found"
)]
#[case::signal(
    json!({ "exitCode": 137, "message": "ValueError: Connection refused" }),
    Reason::Signal,
    "ended by signal 9 (exit code 137)"
)]
fn a_worker_that_fails_tells_the_last_error_of_its_log(
    #[case] terminated: Value,
    #[case] reason: Reason,
    #[case] message: &str,
) {
    assert_eq!(trouble_of(&ended(&terminated)), Trouble::new(reason, message));
}
