//! Each way in which an `OMJob` can end, and each defect of upstream's operator that a decision can
//! have (docs/contracts/upstream-operator.md#defects), as one row.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::report::HOPELESS;

const UID: &str = "0b1e4f5e-0000-4000-8000-000000000001";

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_800_000_000 + seconds, 0).unwrap()
}

fn text(seconds: i64) -> String {
    at(seconds).to_string()
}

/// A pod as the API server shows it, made at second 0.
fn pod(name: &str, spec: &Value, status: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "uid": format!("uid-of-{name}"), "creationTimestamp": text(0),
            "finalizers": [TRACKING_FINALIZER],
            "ownerReferences": [
                { "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob", "name": "run", "uid": UID },
            ],
        },
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn on_node(name: &str, status: &Value) -> Pod {
    pod(name, &json!({ "nodeName": "n", "containers": [] }), status)
}

fn container(name: &str, state: &Value) -> Value {
    json!({ "name": name, "state": state, "image": "i", "imageID": "", "ready": false, "restartCount": 0 })
}

fn main(state: &Value) -> Value {
    json!({ "phase": "Running", "containerStatuses": [container("main", state)] })
}

fn ended(code: i32, reason: &str) -> Value {
    let state =
        json!({ "terminated": { "exitCode": code, "reason": reason, "finishedAt": text(60) } });
    json!({ "phase": "Failed", "containerStatuses": [container("main", &state)] })
}

fn running() -> Value {
    main(&json!({ "running": {} }))
}

/// Main has ended, and a mesh's proxy runs on beside it.
fn beside_a_sidecar(code: i32) -> Value {
    json!({ "phase": "Running", "containerStatuses": [
        container("istio-proxy", &json!({ "running": {} })),
        container("main", &json!({ "terminated": { "exitCode": code, "finishedAt": text(60) } })),
    ] })
}

/// Deleted at second `seconds`, with half a minute of grace.
fn deleted(mut pod: Pod, seconds: i64) -> Pod {
    let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(seconds + 30));
    pod.metadata.deletion_timestamp = Some(time);
    pod.metadata.deletion_grace_period_seconds = Some(30);
    pod
}

fn seen(pod: &Pod) -> PodSeen {
    PodSeen::read("run", UID, pod).unwrap()
}

/// An `OMJob` under our care, read live so that no decision asks for another look.
fn observed(pods: &[Pod]) -> Observed {
    Observed {
        name: "run".to_owned(),
        uid: UID.to_owned(),
        deleted: None,
        finalizer: true,
        limits: Limits {
            active_deadline: Some(SignedDuration::from_secs(600)),
            ..Limits::default()
        },
        status: Status::default(),
        pods: pods.iter().map(seen).collect(),
        source: Source::Api,
        refusal: None,
        outage: false,
        report: None,
    }
}

fn status(decision: &Decision) -> &Status {
    decision.status().expect("the decision records something")
}

fn makes(decision: &Decision, stage: Stage) -> bool {
    decision
        .actions
        .iter()
        .any(|action| matches!(action, Action::CreatePod { stage: s, .. } if *s == stage))
}

fn has(decision: &Decision, wanted: &Action) -> bool {
    decision.actions.contains(wanted)
}

fn with_condition(mut status: Value, kind: &str, reason: &str) -> Value {
    status["conditions"] =
        json!([{ "type": kind, "status": "True", "reason": reason, "message": "told" }]);
    status
}

/// Every way in which a pod can end: its reason stands in the record, its finalizer goes, and the
/// exit handler starts in the same decision.
#[rstest]
#[case::exit_0(on_node("run-main", &ended(0, "Completed")), Reason::Completed, Some(0))]
#[case::exit_1(on_node("run-main", &ended(1, "Error")), Reason::Error, Some(1))]
#[case::oom(on_node("run-main", &ended(137, "OOMKilled")), Reason::OomKilled, Some(137))]
#[case::signal(on_node("run-main", &ended(139, "Error")), Reason::Signal, Some(139))]
#[case::node_rebooted(on_node("run-main", &ended(137, "ContainerStatusUnknown")), Reason::NodeLost, Some(137))]
#[case::evicted_before_it_ran(on_node("run-main", &json!({ "phase": "Failed", "reason": "Evicted" })), Reason::Evicted, None)]
#[case::drained(deleted(on_node("run-main", &with_condition(ended(143, "Error"), "DisruptionTarget", "EvictionByEvictionAPI")), 30), Reason::Evicted, Some(143))]
#[case::preempted(deleted(on_node("run-main", &with_condition(ended(137, "Error"), "DisruptionTarget", "PreemptionByScheduler")), 30), Reason::Evicted, Some(137))]
#[case::node_gone(deleted(on_node("run-main", &with_condition(json!({ "phase": "Failed" }), "DisruptionTarget", "DeletionByPodGC")), 30), Reason::NodeLost, None)]
#[case::deleted(deleted(on_node("run-main", &ended(143, "Error")), 30), Reason::Deleted, Some(143))]
#[case::ended_before_it_was_deleted(deleted(on_node("run-main", &ended(1, "Error")), 90), Reason::Error, Some(1))]
#[case::finished_in_its_grace_period(deleted(on_node("run-main", &ended(0, "Completed")), 50), Reason::Completed, Some(0))]
#[case::deleted_without_a_node(deleted(pod("run-main", &json!({ "containers": [] }), &json!({ "phase": "Pending" })), 30), Reason::Deleted, None)]
#[case::deleted_before_it_started(deleted(on_node("run-main", &ended(137, "ContainerStatusUnknown")), 30), Reason::Deleted, None)]
#[case::deadline_of_the_pod(on_node("run-main", &json!({ "phase": "Failed", "reason": "DeadlineExceeded" })), Reason::DeadlineExceeded, None)]
#[case::sidecar_beside_it(on_node("run-main", &beside_a_sidecar(0)), Reason::Completed, Some(0))]
#[case::sidecar_failed(on_node("run-main", &json!({ "phase": "Failed", "containerStatuses": [
    container("agent", &json!({ "terminated": { "exitCode": 3 } })),
    container("main", &json!({ "terminated": { "exitCode": 0, "finishedAt": text(60) } })),
] })), Reason::Completed, Some(0))]
fn every_end_of_main_starts_the_exit_handler(
    #[case] pod: Pod,
    #[case] reason: Reason,
    #[case] code: Option<i32>,
) {
    let decision = decide(&observed(&[pod]), at(120));
    let end = status(&decision).main.end.as_ref().unwrap();
    assert_eq!((end.reason, end.exit_code), (reason, code), "{}", end.message);
    assert_eq!(status(&decision).phase, Phase::ExitHandlerRunning);
    assert!(matches!(
        decision.actions[..],
        [
            Action::Record(_),
            Action::CreatePod { stage: Stage::Exit, attempt: 0 },
            Action::ReleasePod { .. }
        ]
    ));
}

/// What keeps a pod from starting is recorded at once, and is the reason at the deadline.
#[rstest]
#[case::image(main(&json!({ "waiting": { "reason": "ImagePullBackOff", "message": "m" } })), Reason::ImagePull)]
#[case::secret(main(&json!({ "waiting": { "reason": "CreateContainerConfigError", "message": "m" } })), Reason::ContainerConfig)]
#[case::no_node(json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "message": "m" }] }), Reason::Unschedulable)]
fn what_never_starts_says_why(#[case] waiting: Value, #[case] reason: Reason) {
    let mut observed = observed(&[on_node("run-main", &waiting)]);
    let decision = decide(&observed, at(10));
    assert_eq!(status(&decision).phase, Phase::Pending);
    assert_eq!(decision.next_look, Some(at(600)));
    observed.status = status(&decision).clone();
    let decision = decide(&observed, at(600));
    assert!(matches!(decision.actions[..], [Action::DeletePod { .. }]));
    observed.pods = vec![seen(&deleted(on_node("run-main", &json!({ "phase": "Failed" })), 600))];
    let decision = decide(&observed, at(640));
    assert_eq!(status(&decision).main.end.as_ref().unwrap().reason, reason);
    assert!(makes(&decision, Stage::Exit));
}

#[rstest]
#[case::kill(true, false, 100, Reason::Killed)]
#[case::deadline(false, false, 700, Reason::DeadlineExceeded)]
#[case::kill_after_the_deadline(true, false, 700, Reason::Killed)]
fn what_we_stop_says_why(
    #[case] killed: bool,
    #[case] suspend: bool,
    #[case] when: i64,
    #[case] reason: Reason,
) {
    let mut observed = observed(&[on_node("run-main", &running())]);
    (observed.deleted, observed.limits.suspend) = (killed.then(|| at(100)), suspend);
    observed.limits.backoff_limit = Some(3);
    let decision = decide(&observed, at(when));
    let name = "run-main".to_owned();
    assert!(has(&decision, &Action::DeletePod { uid: format!("uid-of-{name}"), name }));
    let mut end = ended(137, "Error");
    end["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!(text(when + 30));
    observed.pods = vec![seen(&deleted(on_node("run-main", &end), when))];
    let decision = decide(&observed, at(when + 31));
    assert_eq!(status(&decision).main.end.as_ref().unwrap().reason, reason);
    assert!(makes(&decision, Stage::Exit));
}

/// The kubelet lets go of a pod after its end, and the API server takes that for the time of the
/// deletion then. A new leader sees nothing else.
#[rstest]
#[case::killed(Some(58), 143, Reason::Killed)]
#[case::killed_and_answered_with_an_error(Some(58), 1, Reason::Killed)]
#[case::killed_by_force_at_last(Some(58), 137, Reason::Killed)]
#[case::killed_afterwards(Some(61), 1, Reason::Error)]
#[case::deleted(None, 143, Reason::Deleted)]
#[case::collected(None, 1, Reason::Error)]
fn an_end_seen_after_the_kubelet_let_go_has_its_cause(
    #[case] killed: Option<i64>,
    #[case] code: i32,
    #[case] reason: Reason,
) {
    let mut main = deleted(on_node("run-main", &ended(code, "Error")), 32);
    main.metadata.deletion_grace_period_seconds = Some(0);
    let mut observed = observed(&[main]);
    observed.deleted = killed.map(at);
    let decision = decide(&observed, at(70));
    assert_eq!(status(&decision).main.end.as_ref().unwrap().reason, reason);
}

#[test]
fn a_suspended_run_stops_and_starts_anew_uncounted() {
    let mut observed = observed(&[on_node("run-main", &running())]);
    observed.limits.suspend = true;
    let end = ended(143, "Error");
    observed.pods = vec![seen(&deleted(on_node("run-main", &end), 50))];
    let decision = decide(&observed, at(61));
    let record = status(&decision);
    assert_eq!((record.phase, record.suspended, record.main.failures), (Phase::Running, true, 0));
    assert!(!makes(&decision, Stage::Exit));
    (observed.status, observed.pods) = (record.clone(), Vec::new());
    assert_eq!(decide(&observed, at(5_000)), Decision::default());
    observed.limits.suspend = false;
    let decision = decide(&observed, at(5_000));
    assert!(has(&decision, &Action::CreatePod { stage: Stage::Main, attempt: 1 }));
    assert_eq!(status(&decision).main.started, Some(at(5_000)));
}

fn refused(lasting: Lasting, reason: Reason) -> Refusal {
    Refusal { lasting, trouble: Trouble::new(reason, "told by the API server") }
}

/// Upstream's defects 2, 3 and 5: an API error is no end.
#[test]
fn a_creation_refused_for_now_is_tried_again_until_the_deadline() {
    let mut observed = observed(&[]);
    observed.refusal = Some(refused(Lasting::ForNow, Reason::Quota));
    let mut waits = Vec::new();
    for second in [0, 10, 20, 30] {
        let decision = decide(&observed, at(second));
        let record = status(&decision);
        assert_eq!(record.phase, Phase::Pending);
        assert_eq!(record.conditions()[0].reason, "Quota");
        waits.push(decision.next_look.unwrap().as_second() - at(second).as_second());
        observed.status = record.clone();
    }
    assert_eq!(waits, [1, 2, 4, 8]);
    observed.refusal = None;
    let decision = decide(&observed, at(600));
    let end = status(&decision).main.end.as_ref().unwrap();
    assert_eq!(end.reason, Reason::Quota);
    assert!(end.message.starts_with("told by the API server"));
    assert!(makes(&decision, Stage::Exit));
}

#[test]
fn a_creation_refused_for_good_ends_main_with_the_servers_words() {
    let mut observed = observed(&[]);
    observed.refusal = Some(refused(Lasting::ForGood, Reason::Admission));
    let decision = decide(&observed, at(0));
    assert_eq!(status(&decision).message().unwrap(), "told by the API server");
    assert!(makes(&decision, Stage::Exit));
}

/// Failures count, disruptions do not; without a `backoffLimit` there is no second attempt at all.
#[rstest]
#[case::no_retries(Some(0), "Error", false)]
#[case::no_retries_and_disrupted(Some(0), "Evicted", true)]
#[case::retry(Some(1), "Error", true)]
#[case::retry_of_the_disrupted(Some(1), "Evicted", true)]
#[case::upstreams(None, "Error", false)]
#[case::upstreams_and_disrupted(None, "Evicted", false)]
fn attempts_follow_backoff_limit(
    #[case] limit: Option<u32>,
    #[case] cause: &str,
    #[case] again: bool,
) {
    let mut end = ended(1, "Error");
    if cause == "Evicted" {
        end = with_condition(end, "DisruptionTarget", "EvictionByEvictionAPI");
    }
    let mut observed = observed(&[on_node("run-main", &end)]);
    observed.limits.backoff_limit = limit;
    let decision = decide(&observed, at(61));
    let record = status(&decision);
    assert_eq!(record.main.end.is_none(), again);
    assert_eq!(record.main.failures, u32::from(cause == "Error"));
    if again {
        let due = decision.next_look.unwrap();
        assert_eq!((record.phase, record.main.not_before), (Phase::Running, Some(due)));
        assert!((at(71)..=at(76)).contains(&due), "ten seconds, and up to half of that: {due}");
        observed.status = record.clone();
        assert!(!makes(&decide(&observed, at(70)), Stage::Main));
        let next = Action::CreatePod { stage: Stage::Main, attempt: 1 };
        assert!(has(&decide(&observed, due), &next));
    }
}

#[rstest]
#[case::config(2, true)]
#[case::not_executable(126, true)]
#[case::not_there(127, true)]
#[case::not_startable(128, true)]
#[case::any_other(255, false)]
fn a_wrong_config_or_command_is_not_retried(#[case] code: i32, #[case] is_final: bool) {
    let mut observed = observed(&[on_node("run-main", &ended(code, "Error"))]);
    observed.limits.backoff_limit = Some(3);
    assert_eq!(status(&decide(&observed, at(61))).main.end.is_some(), is_final);
}

/// Nothing of it has run, so another attempt is safe even where `backoffLimit` is 0.
#[test]
fn a_pod_that_its_node_turns_away_is_made_again() {
    let rejected = json!({ "phase": "Failed", "reason": "OutOfephemeral-storage" });
    let mut observed = observed(&[on_node("run-main", &rejected)]);
    observed.limits.backoff_limit = Some(0);
    let record = status(&decide(&observed, at(1))).clone();
    assert_eq!((record.main.end.is_none(), record.main.failures), (true, 0));
    observed.status = record;
    let next = Action::CreatePod { stage: Stage::Main, attempt: 1 };
    assert!(has(&decide(&observed, at(16)), &next));
}

fn in_exit_stage(code: i32) -> Observed {
    let mut observed = observed(&[on_node("run-main", &ended(code, "Error"))]);
    observed.status = status(&decide(&observed, at(100))).clone();
    observed
}

/// Upstream's defect 11: the phase is main's, the exit handler's result a condition.
#[rstest]
#[case(0, 0, Phase::Succeeded, true)]
#[case(1, 0, Phase::Failed, true)]
fn the_phase_is_mains(
    #[case] main: i32,
    #[case] exit: i32,
    #[case] phase: Phase,
    #[case] ok: bool,
) {
    let mut observed = in_exit_stage(main);
    observed.pods.push(seen(&on_node("run-exit", &ended(exit, "Error"))));
    let decision = decide(&observed, at(130));
    let record = status(&decision);
    assert_eq!((record.phase, record.completed), (phase, Some(at(130))));
    let handler =
        record.conditions().into_iter().find(|c| c.kind == ConditionKind::ExitHandlerSucceeded);
    assert_eq!(handler.unwrap().holds, Some(ok));
    assert_eq!(decision.actions.last(), Some(&Action::RemoveFinalizer));
}

#[test]
fn an_exit_handler_that_fails_is_tried_again() {
    let mut observed = in_exit_stage(1);
    observed.pods.push(seen(&on_node("run-exit", &ended(1, "Error"))));
    let decision = decide(&observed, at(130));
    assert_eq!(status(&decision).phase, Phase::ExitHandlerRunning);
    assert_eq!(decision.next_look, Some(at(132)));
    observed.status = status(&decision).clone();
    let next = Action::CreatePod { stage: Stage::Exit, attempt: 1 };
    assert!(has(&decide(&observed, at(132)), &next));
}

/// With a token that was replaced, for example: the operator may know the new one.
#[test]
fn an_exit_handler_without_hope_is_replaced_by_the_operator_at_once() {
    let mut observed = in_exit_stage(1);
    observed.pods.push(seen(&on_node("run-exit", &ended(HOPELESS.into(), "Error"))));
    let decision = decide(&observed, at(130));
    assert_eq!(status(&decision).phase, Phase::Failed);
    assert_eq!(decision.actions.last(), Some(&Action::ReportLastResort));
}

fn deletes(decision: &Decision) -> bool {
    decision.actions.iter().any(|action| matches!(action, Action::DeletePod { .. }))
}

#[test]
fn an_exit_handler_that_failed_three_times_is_replaced_by_the_operator() {
    let mut observed = in_exit_stage(1);
    for (name, time) in [("run-exit", 130), ("run-exit-1", 150)] {
        observed.pods.push(seen(&on_node(name, &ended(1, "Error"))));
        observed.status = status(&decide(&observed, at(time))).clone();
        assert_eq!(observed.status.phase, Phase::ExitHandlerRunning, "{name}");
    }
    observed.pods.push(seen(&on_node("run-exit-2", &ended(1, "Error"))));
    let decision = decide(&observed, at(180));
    assert_eq!(status(&decision).phase, Phase::Failed);
    assert_eq!(decision.actions.last(), Some(&Action::ReportLastResort));
}

/// Upstream's defect 8: a hanging exit handler ends at its deadline.
#[test]
fn an_exit_handler_that_hangs_has_ten_minutes() {
    let mut observed = in_exit_stage(1);
    observed.pods.push(seen(&on_node("run-exit", &main(&json!({ "running": {} })))));
    let decision = decide(&observed, at(699));
    assert!(!deletes(&decision) && decision.next_look == Some(at(700)), "{decision:?}");
    let decision = decide(&observed, at(700));
    assert!(matches!(decision.actions.last(), Some(Action::DeletePod { .. })));
}

/// What keeps it from starting is not waited for as long: the operator reports.
#[test]
fn an_exit_handler_without_an_image_is_replaced_by_the_operator() {
    let mut observed = in_exit_stage(1);
    let waiting = main(&json!({ "waiting": { "reason": "ErrImagePull", "message": "m" } }));
    observed.pods.push(seen(&on_node("run-exit", &waiting)));
    observed.status = status(&decide(&observed, at(110))).clone();
    let decision = decide(&observed, at(129));
    assert!(!deletes(&decision) && decision.next_look == Some(at(130)), "{decision:?}");
    let decision = decide(&observed, at(130));
    assert!(matches!(decision.actions.last(), Some(Action::DeletePod { .. })));
    observed.pods[1] = seen(&deleted(on_node("run-exit", &json!({ "phase": "Failed" })), 130));
    let decision = decide(&observed, at(161));
    assert_eq!(status(&decision).phase, Phase::Failed);
    assert_eq!(decision.actions.last(), Some(&Action::ReportLastResort));
    observed.status = status(&decision).clone();
    observed.report = Some(Report::Unavailable("down".to_owned()));
    let decision = decide(&observed, at(162));
    assert!(!has(&decision, &Action::RemoveFinalizer));
    assert_eq!(decision.next_look, Some(at(164)));
    observed.status = status(&decision).clone();
    observed.report = Some(Report::Done);
    let decision = decide(&observed, at(164));
    assert_eq!(status(&decision).reporting, Reporting::ByOperator);
    assert_eq!(decision.actions.last(), Some(&Action::RemoveFinalizer));
}

/// Nothing is written and nobody called until the server may answer again.
#[test]
fn an_outage_of_openmetadata_is_looked_after_every_three_seconds() {
    let mut observed = in_exit_stage(1);
    observed.pods.push(seen(&on_node("run-exit", &ended(HOPELESS.into(), "Error"))));
    observed.status = status(&decide(&observed, at(130))).clone();
    let unavailable = Some(Report::Unavailable("down".to_owned()));
    for tries in 0..9 {
        let now = at(130 + 3 * tries);
        (observed.report, observed.outage) = (unavailable.clone(), true);
        let failed = decide(&observed, now);
        assert_eq!(failed.next_look, Some(at(133 + 3 * tries)));
        observed.status = status(&failed).clone();
    }
    observed.report = None;
    let waiting = decide(&observed, at(160));
    assert!(waiting.status().is_none() && !has(&waiting, &Action::ReportLastResort));
    assert_eq!(waiting.next_look, Some(at(163)));
    observed.outage = false;
    assert!(has(&decide(&observed, at(163)), &Action::ReportLastResort));
}

#[test]
fn an_exit_handler_that_no_quota_allows_is_replaced_by_the_operator() {
    let mut observed = in_exit_stage(1);
    observed.refusal = Some(refused(Lasting::ForNow, Reason::Quota));
    observed.status = status(&decide(&observed, at(101))).clone();
    observed.refusal = None;
    let decision = decide(&observed, at(129));
    assert!(makes(&decision, Stage::Exit), "{decision:?}");
    let decision = decide(&observed, at(130));
    assert_eq!(status(&decision).phase, Phase::Failed);
    assert_eq!(decision.actions.last(), Some(&Action::ReportLastResort));
}

/// There is no log to be read, and the user who killed it waits.
#[test]
fn where_main_never_started_the_exit_handler_is_waited_for_three_seconds() {
    let mut observed = Observed { deleted: Some(at(100)), ..observed(&[]) };
    observed.status = status(&decide(&observed, at(100))).clone();
    assert_eq!(observed.status.phase, Phase::ExitHandlerRunning);
    observed.refusal = Some(refused(Lasting::ForNow, Reason::Quota));
    observed.status = status(&decide(&observed, at(101))).clone();
    observed.refusal = None;
    assert!(makes(&decide(&observed, at(102)), Stage::Exit));
    let decision = decide(&observed, at(103));
    assert_eq!(status(&decision).phase, Phase::Failed);
    assert_eq!(decision.actions.last(), Some(&Action::ReportLastResort));
}

/// Upstream's defect 7, a namespace on its way out, and a refused exit handler: the operator.
#[rstest]
#[case::none(false, None)]
#[case::namespace(true, Some(refused(Lasting::ForGood, Reason::NamespaceTerminating)))]
#[case::webhook(true, Some(refused(Lasting::ForGood, Reason::Admission)))]
fn an_exit_handler_that_cannot_be_made_is_replaced_by_the_operator(
    #[case] exit_handler: bool,
    #[case] refusal: Option<Refusal>,
) {
    let mut observed = in_exit_stage(0);
    observed.limits.exit_handler = exit_handler;
    observed.refusal = refusal;
    let decision = decide(&observed, at(101));
    assert_eq!(status(&decision).phase, Phase::Succeeded);
    assert_eq!(decision.actions.last(), Some(&Action::ReportLastResort));
}

#[test]
fn a_namespace_on_its_way_out_is_not_held_up() {
    let mut observed = in_exit_stage(0);
    observed.refusal = Some(refused(Lasting::ForGood, Reason::NamespaceTerminating));
    observed.status = status(&decide(&observed, at(101))).clone();
    (observed.deleted, observed.refusal) = (Some(at(100)), None);
    observed.report = Some(Report::Unavailable("no Secret".to_owned()));
    let decision = decide(&observed, at(102));
    assert_eq!(decision.actions.last(), Some(&Action::RemoveFinalizer));
}

/// Upstream's defect 6 and a kill before anything began.
#[test]
fn a_run_killed_before_it_started_is_reported_too() {
    let observed = Observed { deleted: Some(at(100)), ..observed(&[]) };
    let decision = decide(&observed, at(0));
    assert_eq!(status(&decision).main.end.as_ref().unwrap().reason, Reason::Killed);
    assert!(makes(&decision, Stage::Exit));
}

/// Upstream's defects 27, 32 to 34: the TTL deletes the `OMJob`, 0 means at once, none never.
#[rstest]
#[case::at_once(Some(0), true, None)]
#[case::later(Some(60), false, Some(at(190)))]
#[case::never(None, false, None)]
fn a_ttl_deletes_the_omjob(
    #[case] ttl: Option<i64>,
    #[case] at_once: bool,
    #[case] next: Option<Timestamp>,
) {
    let mut observed = in_exit_stage(0);
    observed.limits.ttl = ttl.map(SignedDuration::from_secs);
    observed.pods.push(seen(&on_node("run-exit", &ended(0, "Completed"))));
    let decision = decide(&observed, at(130));
    assert_eq!(has(&decision, &Action::DeleteOmJob), at_once);
    assert_eq!(decision.next_look, next);
    observed.status = status(&decision).clone();
    observed.finalizer = false;
    assert_eq!(has(&decide(&observed, at(190)), &Action::DeleteOmJob), ttl.is_some());
}

/// A sidecar keeps no run alive: its pod goes once the exit handler has read the log.
#[test]
fn a_pod_that_only_a_sidecar_keeps_is_deleted_after_the_exit_handler() {
    let mut observed = observed(&[on_node("run-main", &beside_a_sidecar(0))]);
    let delete = Action::DeletePod { name: "run-main".into(), uid: "uid-of-run-main".into() };
    let decision = decide(&observed, at(61));
    assert!(makes(&decision, Stage::Exit) && !has(&decision, &delete));
    observed.status = status(&decision).clone();
    observed.pods.push(seen(&on_node("run-exit", &ended(0, "Completed"))));
    assert!(has(&decide(&observed, at(70)), &delete));
}

/// Upstream's defects 1 and 4: a pod that is not in view is looked for, and its loss is an end.
#[test]
fn a_pod_that_vanished_is_an_end_once_the_api_server_says_so() {
    let mut observed = observed(&[on_node("run-main", &running())]);
    observed.status = status(&decide(&observed, at(5))).clone();
    observed.pods.clear();
    observed.source = Source::Cache;
    assert_eq!(decide(&observed, at(60)).actions, [Action::ReadFresh]);
    observed.source = Source::Api;
    let decision = decide(&observed, at(60));
    assert_eq!(status(&decision).main.end.as_ref().unwrap().reason, Reason::Deleted);
    assert!(makes(&decision, Stage::Exit));
}

#[test]
fn a_pod_on_a_silent_node_is_lost_and_not_made_again() {
    let pod = deleted(on_node("run-main", &running()), 100);
    let mut observed = observed(&[pod]);
    observed.limits.backoff_limit = Some(5);
    let decision = decide(&observed, at(110));
    assert_eq!(decision.next_look, Some(at(100 + 30 + 300)));
    let decision = decide(&observed, at(430));
    assert_eq!(status(&decision).main.end.as_ref().unwrap().reason, Reason::NodeLost);
    assert!(makes(&decision, Stage::Exit));
}

/// Upstream's pod: not tracked, in a phase that says little. It is adopted, never made again.
#[rstest]
#[case::seen(true)]
#[case::not_in_view(false)]
fn a_run_of_upstreams_operator_is_adopted(#[case] in_view: bool) {
    let mut pod = on_node("run-main", &running());
    pod.metadata.finalizers = None;
    let mut observed = observed(if in_view { std::slice::from_ref(&pod) } else { &[] });
    observed.finalizer = false;
    observed.status.phase = Phase::Running;
    observed.source = Source::Cache;
    let decision = decide(&observed, at(50));
    assert_eq!(decision.actions[0], Action::AddFinalizer);
    let next = if in_view {
        matches!(decision.actions[2], Action::TrackPod { .. })
    } else {
        has(&decision, &Action::ReadFresh)
    };
    assert!(next && !makes(&decision, Stage::Main), "{decision:?}");
}

#[test]
fn an_exit_stage_of_upstreams_operator_is_gone_on_with() {
    let mut observed = observed(&[on_node("run-main", &ended(0, "Completed"))]);
    (observed.finalizer, observed.status.phase) = (false, Phase::ExitHandlerRunning);
    observed.pods.push(seen(&on_node("run-exit", &ended(0, "Completed"))));
    let decision = decide(&observed, at(130));
    assert_eq!(status(&decision).phase, Phase::Succeeded);
}

/// What a kill ended is told as such, whoever recorded that the exit handler's turn has come.
#[test]
fn a_kill_under_upstreams_operator_is_known() {
    let main = deleted(on_node("run-main", &ended(143, "Error")), 50);
    let mut observed = observed(&[main]);
    (observed.deleted, observed.status.phase) = (Some(at(45)), Phase::ExitHandlerRunning);
    let decision = decide(&observed, at(130));
    assert_eq!(status(&decision).main.end.as_ref().unwrap().reason, Reason::Killed);
}

/// Upstream's defect 14 and long names of upstream's making.
#[rstest]
#[case::of_another_omjob("run-main", "another uid", "main", None)]
#[case::hashed_name("om-job-cut-1a2b3c", UID, "exit-handler", Some((Stage::Exit, 0)))]
#[case::foreign("om-job-cut-1a2b3c", UID, "sidecar", None)]
fn pods_belong_by_owner(
    #[case] name: &str,
    #[case] owner: &str,
    #[case] kind: &str,
    #[case] expected: Option<(Stage, u32)>,
) {
    let mut pod = on_node(name, &running());
    pod.metadata.owner_references.as_mut().unwrap()[0].uid = owner.to_owned();
    pod.metadata.labels = Some([(POD_TYPE.to_owned(), kind.to_owned())].into());
    let seen = PodSeen::read("run", UID, &pod);
    assert_eq!(seen.map(|pod| (pod.stage, pod.attempt)), expected);
}

const KIB: u64 = 1 << 10;

fn with_memory(mut pod: Pod, limit: &str) -> Pod {
    let main = json!({ "name": "main", "resources": { "limits": { "memory": limit } } });
    pod.spec.as_mut().unwrap().containers = vec![serde_json::from_value(main).unwrap()];
    pod
}

/// Lets each attempt of a run end as `ends` says, and returns what is recorded at its end, or when
/// `ends` is used up.
fn course(limits: Limits, ends: impl IntoIterator<Item = Value>) -> Status {
    let mut now = 0;
    let mut observed = Observed { limits, ..observed(&[]) };
    for (attempt, mut end) in ends.into_iter().enumerate() {
        let made = decide(&observed, at(now));
        observed.status = status(&made).clone();
        if observed.status.main.end.is_some() {
            break;
        }
        assert!(makes(&made, Stage::Main), "attempt {attempt} is due: {made:?}");
        let finished = text(now + 1);
        if let Some(state) = end.pointer_mut("/containerStatuses/0/state/terminated") {
            state["finishedAt"] = json!(finished);
        }
        let name = pod_name("run", Stage::Main, u32::try_from(attempt).unwrap());
        let limit = observed.status.main.memory_limit.unwrap_or(Bytes(16 * KIB));
        observed.pods = vec![seen(&with_memory(on_node(&name, &end), &limit.to_string()))];
        let decision = decide(&observed, at(now + 1));
        observed.status = status(&decision).clone();
        observed.pods.clear();
        if observed.status.main.end.is_some() {
            break;
        }
        now = decision.next_look.unwrap().as_second() - at(0).as_second() + 1;
    }
    observed.status
}

fn evicted() -> Value {
    with_condition(ended(143, "Error"), "DisruptionTarget", "PreemptionByScheduler")
}

fn growing(limit: u64, retries: u32) -> Limits {
    let more = MoreMemory { factor: 2, limit: Bytes(limit * KIB) };
    Limits { backoff_limit: Some(retries), more_memory: Some(more), ..Limits::default() }
}

/// Neither a spot node that is taken back again and again nor a priority that is always too low
/// keeps a run without a deadline from its end.
#[test]
fn a_run_is_not_disrupted_for_ever() {
    let limits = Limits { backoff_limit: Some(0), ..Limits::default() };
    let main = course(limits, std::iter::repeat_with(evicted).take(1000)).main;
    assert_eq!((main.ended, main.disruptions, main.failures), (20, MOST_DISRUPTIONS, 0));
    let end = main.end.unwrap();
    assert_eq!(end.reason, Reason::Evicted);
    assert!(end.message.ends_with("20 times, so no other attempt follows"), "{}", end.message);
}

#[test]
fn a_pod_that_every_node_turns_away_is_not_made_for_ever() {
    let rejected = || json!({ "phase": "Failed", "reason": "OutOfcpu" });
    let limits = Limits { backoff_limit: Some(0), ..Limits::default() };
    // It has run once, so that no limit of its start bounds it.
    let ends = std::iter::once(evicted()).chain(std::iter::repeat_with(rejected).take(1000));
    let main = course(limits, ends).main;
    assert_eq!((main.ended, main.end.unwrap().reason), (300, Reason::Rejected));
}

/// Each OOM kill doubles the limit, up to the largest; the last message says what it was.
#[rstest]
#[case::enough(64, 3, &["OOMKilled", "OOMKilled", "Completed"], Some(64), "raised after an OOM kill")]
#[case::not_enough(32, 3, &["OOMKilled"; 4], Some(32), "32Ki, and retryWithMoreMemory allows no more")]
#[case::no_retries(64, 0, &["OOMKilled"], None, "limits.memory allows")]
#[case::another_failure(64, 1, &["Error"], None, "")]
#[case::the_first_is_the_largest(16, 1, &["OOMKilled"; 2], None, "16Ki, and retryWithMoreMemory allows no more")]
#[case::disrupted_between(64, 1, &["OOMKilled", "Evicted", "Completed"], Some(32), "32Ki, raised after an OOM kill")]
fn an_oom_kill_raises_the_memory_limit(
    #[case] largest: u64,
    #[case] retries: u32,
    #[case] ends: &[&str],
    #[case] expected: Option<u64>,
    #[case] told: &str,
) {
    let ends = ends.iter().map(|reason| match *reason {
        "Completed" => ended(0, reason),
        "OOMKilled" => ended(137, reason),
        "Evicted" => evicted(),
        other => ended(1, other),
    });
    let record = course(growing(largest, retries), ends);
    assert_eq!(record.main.memory_limit, expected.map(|kib| Bytes(kib * KIB)));
    let message = record.message().unwrap_or_default();
    assert!(message.ends_with(told), "{message}");
}

/// A pod that Kueue has not admitted yet.
fn gated() -> Pod {
    let spec =
        json!({ "containers": [], "schedulingGates": [{ "name": "kueue.x-k8s.io/admission" }] });
    let mut pod = pod("run-main", &spec, &json!({ "phase": "Pending" }));
    let label = (crate::labels::KUEUE_QUEUE.to_owned(), "batch".to_owned());
    pod.metadata.labels = Some([label].into());
    pod
}

/// The deadline of ten minutes begins when Kueue admits the pod.
#[test]
fn a_run_that_waits_for_kueue_is_not_late() {
    let mut observed = observed(&[gated()]);
    let decision = decide(&observed, at(5));
    let record = status(&decision);
    assert_eq!((record.phase, record.reason()), (Phase::Pending, Some(Reason::Queued)));
    assert_eq!(record.message().unwrap(), "waits in Kueue's queue batch");
    observed.status = record.clone();
    assert!(decide(&observed, at(6_000)).actions.is_empty());
    observed.pods = vec![seen(&on_node("run-main", &running()))];
    let admitted = decide(&observed, at(7_000));
    assert_eq!(status(&admitted).main.started, Some(at(7_000)));
    observed.status = status(&admitted).clone();
    assert!(decide(&observed, at(7_599)).actions.is_empty());
    assert!(matches!(decide(&observed, at(7_600)).actions[..], [Action::DeletePod { .. }]));
}

/// A queue that admits nothing for a week holds no run for ever.
#[test]
fn a_run_does_not_wait_for_kueue_for_ever() {
    let mut observed = observed(&[gated()]);
    observed.status = status(&decide(&observed, at(5))).clone();
    let week = 7 * 24 * 3_600;
    assert!(matches!(decide(&observed, at(week)).actions[..], [Action::DeletePod { .. }]));
    observed.pods = vec![seen(&deleted(gated(), week))];
    let decision = decide(&observed, at(week + 1));
    assert_eq!(status(&decision).main.end.as_ref().unwrap().reason, Reason::Queued);
}

/// Kueue deletes what it preempts; that is no failure of the worker's.
#[test]
fn a_preemption_by_kueue_is_a_disruption() {
    let end =
        with_condition(ended(143, "Error"), "TerminationTarget", "WorkloadEvictedDueToPreempted");
    let mut observed = observed(&[deleted(on_node("run-main", &end), 30)]);
    observed.limits.backoff_limit = Some(0);
    let record = status(&decide(&observed, at(61))).clone();
    assert_eq!((record.main.disruptions, record.main.failures), (1, 0));
    assert_eq!(record.main.end, None);
}

/// The status of a run that goes on says what its next attempt has.
#[test]
fn a_raised_limit_stands_in_the_status_between_two_attempts() {
    let record = course(growing(64, 3), [ended(137, "OOMKilled")]);
    assert_eq!(record.main.end, None);
    assert_eq!(record.message().unwrap(), "the memory limit is 32Ki, raised after an OOM kill");
}

#[test]
fn a_first_pod_needs_two_writes() {
    let observed = Observed { finalizer: false, source: Source::Cache, ..observed(&[]) };
    let create = Action::CreatePod { stage: Stage::Main, attempt: 0 };
    assert_eq!(decide(&observed, at(0)).actions, [Action::AddFinalizer, create]);
}

fn any_observed() -> impl Strategy<Value = Observed> {
    let states = prop_oneof![
        Just(running()),
        Just(ended(0, "Completed")),
        Just(ended(1, "Error")),
        Just(json!({ "phase": "Failed", "reason": "Evicted" })),
        Just(json!({})),
    ];
    let names = prop::sample::select(vec!["run-main", "run-main-1", "run-exit", "run-exit-1"]);
    let pods = prop::collection::btree_map(names, (states, any::<bool>()), 0..4);
    (pods, any::<[bool; 5]>(), 0u32..3, prop::option::of(0u32..2)).prop_map(
        |(pods, flags, ended, limit)| {
            let pods: Vec<Pod> = pods
                .into_iter()
                .map(|(name, (status, gone))| {
                    let pod = on_node(name, &status);
                    if gone { deleted(pod, 40) } else { pod }
                })
                .collect();
            let mut observed = observed(&pods);
            let [deleted, finalizer, suspend, exit_handler, live] = flags;
            (observed.deleted, observed.finalizer) = (deleted.then(|| at(100)), finalizer);
            observed.limits =
                Limits { suspend, exit_handler, backoff_limit: limit, ..observed.limits };
            observed.status.main.ended = ended;
            observed.source = if live { Source::Api } else { Source::Cache };
            observed
        },
    )
}

proptest! {
    /// However its attempts end, a run has a bounded number of them, and its memory only grows, up to
    /// the largest limit.
    #[test]
    fn attempts_and_memory_are_bounded(
        kinds in prop::collection::vec(0_u8..4, 400),
        retries in 0_u32..6,
        largest in 1_u64..200,
    ) {
        let ends = kinds.iter().map(|kind| match kind {
            0 => ended(1, "Error"),
            1 => ended(137, "OOMKilled"),
            2 => evicted(),
            _ => with_condition(json!({ "phase": "Failed" }), "DisruptionTarget", "DeletionByPodGC"),
        });
        let main = course(growing(largest, retries), ends).main;
        prop_assert!(main.end.is_some() && main.ended <= retries + 1 + MOST_DISRUPTIONS);
        prop_assert!(main.failures <= retries + 1 && main.disruptions <= MOST_DISRUPTIONS);
        let grown = main.memory_limit;
        prop_assert!(grown.is_none_or(|limit| limit <= Bytes(largest * KIB)));
        prop_assert!(grown.is_none_or(|limit| limit > Bytes(16 * KIB)));
    }

    /// Whatever is seen, a creation is guarded, and never beside a main pod that lives.
    #[test]
    fn a_creation_follows_a_conditional_write(observed in any_observed(), second in 0i64..2_000) {
        let actions = decide(&observed, at(second)).actions;
        if let Some(index) = actions.iter().position(|a| matches!(a, Action::CreatePod { .. })) {
            let guards = |a: &Action| matches!(a, Action::AddFinalizer | Action::Record(_));
            prop_assert!(actions[..index].iter().any(guards));
            let lives = |pod: &PodSeen| pod.stage == Stage::Main && pod.is_alive();
            let kept = |pod: &&PodSeen| pod.deletion.is_none();
            prop_assert!(!observed.pods.iter().filter(kept).any(lives));
        }
    }

    /// A clock that is an hour before or after the API server's changes no end of a worker.
    #[test]
    fn an_end_does_not_depend_on_the_clock(code in 0i32..=255, skew in -3_600i64..=3_600) {
        let pod = on_node("run-main", &ended(code, "Error"));
        let decision = decide(&observed(&[pod]), at(90 + skew));
        let end = status(&decision).main.end.clone().unwrap();
        prop_assert_eq!(end.exit_code, Some(code));
        prop_assert_ne!(end.reason, Reason::DeadlineExceeded);
    }

    /// What was recorded is not recorded again: no write without news.
    #[test]
    fn a_record_repeats_nothing(observed in any_observed(), second in 0i64..2_000) {
        let mut observed = observed;
        let Some(status) = decide(&observed, at(second)).status().cloned() else { return Ok(()) };
        observed.status = status.clone();
        let again = decide(&observed, at(second));
        let creates = again.actions.iter().any(|a| matches!(a, Action::CreatePod { .. }));
        prop_assert!(creates || again.status() != Some(&status));
    }
}
