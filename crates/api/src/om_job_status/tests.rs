//! Whatever is recorded is read back, and people see what they need.

use jiff::SignedDuration;
use ompipe_core::omjob::{Bytes, Trouble};
use proptest::option;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::status_patch;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn omjob(status: &Value) -> OMJob {
    serde_json::from_value(json!({
        "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob",
        "metadata": { "name": "run", "uid": "u", "generation": 2, "resourceVersion": "7" },
        "spec": { "mainPodSpec": { "image": "i" } }, "status": status,
    }))
    .unwrap()
}

fn pod(stage: Stage, attempt: u32, state: PodState) -> PodSeen {
    PodSeen {
        name: pod_name("run", stage, attempt),
        uid: String::new(),
        stage,
        attempt,
        created: at(0),
        tracked: true,
        deletion: None,
        memory_limit: None,
        state,
    }
}

fn ended(reason: Reason, code: i32) -> PodState {
    let end =
        End { exit_code: Some(code), finished: Some(at(60)), ..End::without_code(reason, "m") };
    PodState::Ended { end, lingers: false }
}

/// A time with the precision of our own fields.
fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_000i64).prop_map(|micro| Timestamp::from_microsecond(micro).unwrap())
}

fn second() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000i64).prop_map(at)
}

fn reason() -> impl Strategy<Value = Reason> {
    prop::sample::select(Reason::ALL)
}

prop_compose! {
    fn end()(
        reason in reason(), exit_code in option::of(any::<i32>()), signal in option::of(any::<i32>()),
        message in ".{0,40}", finished in option::of(time()),
    ) -> End {
        End { reason, exit_code, signal, message, finished }
    }
}

prop_compose! {
    fn stage()(
        (started, ended, failures, refusals) in
            (option::of(time()), any::<u32>(), any::<u32>(), any::<u32>()),
        pod in option::of((any::<u32>(), "[a-z]{1,9}")),
        not_before in option::of(time()),
        trouble in option::of((reason(), ".{0,40}")),
        end in option::of(end()),
        disruptions in any::<u32>(), memory in option::of(0..i64::MAX.unsigned_abs()),
    ) -> StageStatus {
        StageStatus {
            started, ended, failures, refusals, not_before, end, disruptions,
            memory_limit: memory.map(Bytes),
            pod: pod.map(|(attempt, name)| PodRef { attempt, name }),
            trouble: trouble.map(|(reason, message)| Trouble { reason, message }),
        }
    }
}

fn reporting() -> impl Strategy<Value = Reporting> {
    let outstanding = (any::<u32>(), option::of(time()), option::of(".{0,40}"));
    prop_oneof![
        Just(Reporting::NotDue),
        Just(Reporting::ByExitHandler),
        Just(Reporting::ByOperator),
        ".{0,40}".prop_map(Reporting::GivenUp),
        outstanding.prop_map(|(tries, not_before, message)| Reporting::Outstanding {
            tries,
            not_before,
            message
        }),
    ]
}

prop_compose! {
    fn record()(
        phase in prop::sample::select(&Phase::ALL[..]), main in stage(), exit in stage(),
        suspended in any::<bool>(), reporting in reporting(), completed in option::of(second()),
    ) -> Status {
        // Attempts are listed one by one.
        let main = StageStatus { ended: main.ended % 50, ..main };
        Status { phase, main, exit, suspended, reporting, completed }
    }
}

/// What the API server holds after a patch.
fn patched(seen: &OMJob, status: &OMJobStatus) -> OMJob {
    let mut object = serde_json::to_value(seen).unwrap();
    merge(&mut object, &status_patch(seen, status).unwrap());
    serde_json::from_value(object).unwrap()
}

/// RFC 7386, as the API server does it.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (key, change) in patch {
        match change {
            Value::Null => drop(target.remove(key)),
            change => merge(target.entry(key).or_insert(Value::Null), change),
        }
    }
}

proptest! {
    /// Through JSON, and over whatever stood there before.
    #[test]
    fn a_record_is_read_back(first in record(), second in record()) {
        let mut omjob = omjob(&json!({}));
        for record in [first, second] {
            let status = OMJobStatus::of(&record, &omjob, &[], at(0));
            omjob = patched(&omjob, &status);
            let read = omjob.status.as_ref().unwrap();
            prop_assert_eq!(read.recorded(), record);
            // A second look at the same writes nothing.
            prop_assert_eq!(patched(&omjob, read), omjob.clone());
        }
    }

    #[test]
    fn sentences_are_cut_once(text in ".{0,1500}") {
        let once = capped(&text);
        prop_assert!(once.chars().count() <= 1024);
        prop_assert_eq!(capped(&once), once.clone());
        prop_assert!(text.chars().count() > 1024 || once == text);
    }
}

#[test]
fn nothing_recorded_is_read_as_nothing() {
    assert_eq!(OMJobStatus::default().recorded(), Status::default());
}

#[test]
fn a_reason_of_a_later_version_is_unknown() {
    let status =
        omjob(&json!({ "phase": "Failed", "main": { "end": { "reason": "Fire" } } })).status;
    let end = status.unwrap().recorded().main.end.unwrap();
    assert_eq!((end.reason, end.exit_code), (Reason::Unknown, None));
}

/// What upstream's operator leaves behind in mid-run.
#[rstest]
#[case::new(json!({}), false, None, None)]
#[case::old_versions_stay_pending(json!({ "phase": "Pending", "mainPodName": "m" }), true, None, None)]
#[case::runs(json!({ "phase": "Running", "mainPodName": "m" }), true, None, None)]
#[case::reports(json!({ "phase": "ExitHandlerRunning", "mainPodName": "m", "mainPodExitCode": 3 }), true, Some((Reason::Error, Some(3))), None)]
#[case::reports_a_signal(json!({ "phase": "ExitHandlerRunning", "mainPodName": "m", "mainPodExitCode": 143 }), true, Some((Reason::Signal, Some(143))), None)]
#[case::nobody_saw_the_exit_code(json!({ "phase": "ExitHandlerRunning", "mainPodName": "m" }), true, None, None)]
#[case::succeeded(json!({ "phase": "Succeeded", "mainPodName": "m", "mainPodExitCode": 0 }), true, Some((Reason::Completed, Some(0))), Some(true))]
#[case::never_started(json!({ "phase": "Failed" }), false, Some((Reason::Unknown, None)), Some(false))]
fn a_run_of_another_operator(
    #[case] status: Value,
    #[case] has_pod: bool,
    #[case] end: Option<(Reason, Option<i32>)>,
    #[case] reported: Option<bool>,
) {
    let status = omjob(&status).status.unwrap();
    let record = status.recorded();
    assert_eq!(record.phase, status.phase.unwrap_or_default());
    assert_eq!(record.main.pod.is_some(), has_pod);
    assert_eq!(record.main.end.as_ref().map(|end| (end.reason, end.exit_code)), end);
    assert_eq!(record.exit.end.as_ref().map(End::succeeded), reported);
    assert_eq!(record.main.ended, u32::from(has_pod && end.is_some()));
}

#[test]
fn what_another_operator_said_of_the_end_stays() {
    let status = json!({ "phase": "Failed", "message": "Failed to create main pod: quota" });
    let omjob = omjob(&status);
    let record = omjob.status.as_ref().unwrap().recorded();
    let status = OMJobStatus::of(&record, &omjob, &[], at(0));
    assert_eq!(status.message.as_deref(), Some("Failed to create main pod: quota"));
    assert_eq!(status.main_reason.as_deref(), Some("Unknown"));
}

fn one_attempt(end: Option<End>) -> Status {
    let main = StageStatus { ended: 1, failures: 1, end, ..StageStatus::default() };
    Status { phase: Phase::Running, main, ..Status::default() }
}

#[test]
fn an_attempt_is_listed_when_it_is_counted_and_stays_without_its_pod() {
    let pods = [pod(Stage::Main, 0, ended(Reason::OomKilled, 137))];
    let mut omjob = omjob(&json!({}));
    omjob.status = Some(OMJobStatus::of(&one_attempt(None), &omjob, &pods, at(61)));
    let mut record = one_attempt(None);
    record.main.ended = 2;
    record.main.end = Some(End { exit_code: Some(1), ..End::without_code(Reason::Error, "m") });
    record.main.pod = Some(PodRef { attempt: 1, name: "run-main-1".to_owned() });
    let status = OMJobStatus::of(&record, &omjob, &[], at(90));
    let listed: Vec<_> = status
        .attempts
        .iter()
        .map(|attempt| (attempt.pod_name.as_str(), attempt.reason.as_deref(), attempt.exit_code))
        .collect();
    let expected =
        [("run-main", Some("OOMKilled"), Some(137)), ("run-main-1", Some("Error"), Some(1))];
    assert_eq!(listed, expected);
}

#[test]
fn the_record_knows_better_than_the_pod_why_an_attempt_ended() {
    let pods = [pod(Stage::Main, 0, ended(Reason::Signal, 143))];
    let killed = End { exit_code: Some(143), ..End::without_code(Reason::Killed, "m") };
    let mut suspended = one_attempt(None);
    suspended.suspended = true;
    for (record, reason) in [(one_attempt(Some(killed)), "Killed"), (suspended, "Suspended")] {
        let status = OMJobStatus::of(&record, &omjob(&json!({})), &pods, at(61));
        assert_eq!(status.attempts[0].reason.as_deref(), Some(reason));
    }
}

#[test]
fn the_oldest_attempts_are_forgotten() {
    let pods: Vec<_> =
        (0..25).map(|attempt| pod(Stage::Main, attempt, ended(Reason::Error, 1))).collect();
    let record =
        Status { main: StageStatus { ended: 25, ..StageStatus::default() }, ..Status::default() };
    let status = OMJobStatus::of(&record, &omjob(&json!({})), &pods, at(0));
    assert_eq!(status.attempts.len(), MOST_ATTEMPTS);
    assert_eq!(status.attempts[0].pod_name, "run-main-5");
}

/// Which pod of main is shown: none that was never made.
#[rstest]
#[case::nothing_yet(StageStatus::default(), &[], None)]
#[case::made_right_after(StageStatus { started: Some(at(0)), ..StageStatus::default() }, &[], Some("run-main"))]
#[case::refused(StageStatus { started: Some(at(0)), refusals: 1, ..StageStatus::default() }, &[], None)]
#[case::never_made(StageStatus { started: Some(at(0)), end: Some(End::adopted(None)), ..StageStatus::default() }, &[], None)]
#[case::newest(StageStatus::default(), &[0, 1], Some("run-main-1"))]
#[case::gone(StageStatus { pod: Some(PodRef { attempt: 2, name: "m".to_owned() }), ..StageStatus::default() }, &[], Some("m"))]
fn the_pod_that_is_shown(
    #[case] main: StageStatus,
    #[case] pods: &[u32],
    #[case] shown: Option<&str>,
) {
    let pods: Vec<_> =
        pods.iter().map(|attempt| pod(Stage::Main, *attempt, PodState::Running)).collect();
    let record = Status { main, ..Status::default() };
    let status = OMJobStatus::of(&record, &omjob(&json!({})), &pods, at(0));
    assert_eq!(status.main_pod_name.as_deref(), shown);
}

#[test]
fn the_start_is_when_the_run_was_first_seen() {
    let mut omjob = omjob(&json!({}));
    for second in [5, 9] {
        omjob.status = Some(OMJobStatus::of(&Status::default(), &omjob, &[], at(second)));
    }
    assert_eq!(omjob.status.unwrap().start_time, Some(Time(at(5))));
}

fn stalled(reason: Reason, message: &str) -> Status {
    let trouble = Some(Trouble::new(reason, message));
    Status { main: StageStatus { trouble, ..StageStatus::default() }, ..Status::default() }
}

#[test]
fn a_condition_keeps_its_time_while_it_holds() {
    let mut omjob = omjob(&json!({ "conditions": [{
        "type": "Mine", "status": "True", "reason": "R", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }] }));
    let mut times = Vec::new();
    for (minute, record) in [
        stalled(Reason::Quota, "first"),
        stalled(Reason::ImagePull, "second"),
        Status::default(),
        stalled(Reason::Quota, "third"),
    ]
    .iter()
    .enumerate()
    {
        let now = at(0) + SignedDuration::from_mins(i64::try_from(minute).unwrap());
        omjob.status = Some(OMJobStatus::of(record, &omjob, &[], now));
        let conditions = &omjob.status.as_ref().unwrap().conditions;
        assert!(conditions.iter().any(|condition| condition.type_ == "Mine"));
        let stalled = conditions.iter().find(|condition| condition.type_ == "Stalled");
        times.push(stalled.map(|c| (c.reason.clone(), c.last_transition_time.0.as_second())));
    }
    let told = |reason: &str, second| Some((reason.to_owned(), second));
    assert_eq!(times, [told("Quota", 0), told("ImagePull", 0), None, told("Quota", 180)]);
}

#[test]
fn a_patch_says_only_what_changes() {
    let mut omjob = omjob(&json!({}));
    let record = stalled(Reason::Quota, "m");
    omjob.status = Some(OMJobStatus::of(&record, &omjob, &[], at(0)));
    let same = status_patch(&omjob, omjob.status.as_ref().unwrap()).unwrap();
    assert_eq!(same, json!({ "metadata": { "resourceVersion": "7" } }));
    let status = OMJobStatus::of(&Status::default(), &omjob, &[], at(9));
    let expected = json!({
        "metadata": { "resourceVersion": "7" },
        "status": {
            "conditions": null, "mainReason": null, "message": null, "main": { "trouble": null },
        },
    });
    assert_eq!(status_patch(&omjob, &status).unwrap(), expected);
}
