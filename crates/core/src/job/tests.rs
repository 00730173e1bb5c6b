//! Each ending of a Job as one row; then what must hold, over every combination of what can be seen.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::PipelineState;
use crate::labels::{self, Pairs};
use crate::omjob::{End, PodState, Reason, Source, TRACKING_FINALIZER, Trouble};

const JOB: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";
/// When Kubernetes says that the Job is over, and when somebody deleted it.
const OVER: i64 = 100;
const DELETED: i64 = 80;

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_800_000_000 + seconds, 0).unwrap()
}

fn text(seconds: i64) -> String {
    at(seconds).to_string()
}

fn container(state: &Value) -> Value {
    json!({ "phase": "Running", "containerStatuses": [{
        "name": "main", "state": state, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
    }]})
}

fn ended(code: i32, reason: &str, seconds: i64) -> Value {
    container(&json!({ "terminated": {
        "exitCode": code, "reason": reason, "startedAt": text(10), "finishedAt": text(seconds),
    }}))
}

fn running() -> Value {
    container(&json!({ "running": {} }))
}

fn waiting(reason: &str) -> Value {
    container(&json!({ "waiting": { "reason": reason, "message": "as told" } }))
}

/// What the kubelet makes up for a container that a deletion found before it started.
fn never_started() -> Value {
    container(&json!({ "terminated": { "exitCode": 137, "reason": "ContainerStatusUnknown" } }))
}

/// A pod of the Job, which was made at that second, and deleted at another if at all.
fn pod(created: i64, status: &Value, deleted: Option<i64>) -> AttemptSeen {
    let mut pod = json!({
        "metadata": {
            "name": format!("p{created}"), "uid": format!("uid-{created}"),
            "creationTimestamp": text(created), "finalizers": [TRACKING_FINALIZER],
            "labels": { labels::JOB_UID: JOB },
        },
        "spec": { "nodeName": "n", "containers": [] }, "status": status,
    });
    if let Some(seconds) = deleted {
        pod["metadata"]["deletionTimestamp"] = text(seconds + 60).into();
        pod["metadata"]["deletionGracePeriodSeconds"] = 60.into();
    }
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let (job, seen) = AttemptSeen::read(&pod).unwrap();
    assert_eq!(job, JOB);
    seen
}

fn observed(condition: Option<&Value>, attempts: Vec<AttemptSeen>) -> Observed {
    let job: Job = serde_json::from_value(json!({
        "metadata": { "finalizers": [FINALIZER], "uid": JOB },
        "spec": { "ttlSecondsAfterFinished": 3600, "selector": {}, "template": {} },
        "status": { "conditions": condition.map(|c| vec![c]) },
    }))
    .unwrap();
    Observed::read(&job, attempts, Source::Api)
}

fn complete() -> Value {
    json!({ "type": "Complete", "status": "True", "lastTransitionTime": text(OVER) })
}

fn failed(reason: &str) -> Value {
    json!({
        "type": "Failed", "status": "True", "reason": reason, "message": "Kubernetes says so",
        "lastTransitionTime": text(OVER),
    })
}

fn backoff() -> Value {
    failed("BackoffLimitExceeded")
}

fn deadline() -> Value {
    failed("DeadlineExceeded")
}

/// A Job that reached its deadline, and whose Job controller then counted the pod that it had deleted.
fn counted_after_the_deadline(attempts: Vec<AttemptSeen>) -> Observed {
    let job: Job = serde_json::from_value(json!({
        "metadata": { "finalizers": [FINALIZER], "uid": JOB },
        "spec": { "activeDeadlineSeconds": 30, "selector": {}, "template": {} },
        "status": { "startTime": text(OVER - 30), "conditions": [backoff()] },
    }))
    .unwrap();
    Observed::read(&job, attempts, Source::Api)
}

#[rstest]
#[case::it_ran(pod(0, &ended(143, "Error", 60), Some(50)), None, Reason::DeadlineExceeded)]
#[case::it_waited(pod(0, &json!({ "phase": "Failed" }), Some(50)), Some(Reason::Unschedulable), Reason::Unschedulable)]
#[case::it_failed_before(pod(0, &ended(1, "Error", 40), Some(50)), None, Reason::Error)]
fn a_deadline_is_the_reason_though_the_job_names_another(
    #[case] attempt: AttemptSeen,
    #[case] trouble: Option<Reason>,
    #[case] reason: Reason,
) {
    let mut observed = counted_after_the_deadline(vec![attempt]);
    observed.record.trouble = trouble.map(|reason| Trouble::new(reason, "no node fits"));
    assert_eq!(told(&observed).reason, reason);
}

/// The end that is reported.
fn told(observed: &Observed) -> End {
    let decision = decide(observed, at(200));
    match decision.actions.last() {
        Some(Action::Report(end)) => End::clone(end),
        _ => panic!("{decision:?}"),
    }
}

#[rstest]
#[case::success(complete(), vec![pod(0, &ended(0, "Completed", 60), None)], Reason::Completed, Some(0))]
#[case::success_and_the_pod_is_gone(complete(), vec![], Reason::Completed, Some(0))]
#[case::success_of_the_second_try(complete(), vec![pod(0, &ended(1, "Error", 5), None), pod(20, &ended(0, "Completed", 60), None)], Reason::Completed, Some(0))]
#[case::error(backoff(), vec![pod(0, &ended(1, "Error", 60), None)], Reason::Error, Some(1))]
#[case::the_last_try_counts(backoff(), vec![pod(0, &ended(1, "Error", 5), None), pod(20, &ended(3, "Error", 60), None)], Reason::Error, Some(3))]
#[case::out_of_memory(backoff(), vec![pod(0, &ended(137, "OOMKilled", 60), None)], Reason::OomKilled, Some(137))]
#[case::signal(backoff(), vec![pod(0, &ended(139, "Error", 60), None)], Reason::Signal, Some(139))]
#[case::evicted(backoff(), vec![pod(0, &json!({ "phase": "Failed", "reason": "Evicted" }), None)], Reason::Evicted, None)]
#[case::pod_deleted(backoff(), vec![pod(0, &ended(143, "Error", 60), Some(50))], Reason::Deleted, Some(143))]
#[case::pod_deleted_after_its_end(backoff(), vec![pod(0, &ended(1, "Error", 60), Some(70))], Reason::Error, Some(1))]
#[case::pod_gone_without_a_trace(backoff(), vec![], Reason::JobFailed, None)]
#[case::node_lost(backoff(), vec![pod(0, &running(), Some(-600))], Reason::NodeLost, None)]
#[case::deadline(deadline(), vec![pod(0, &ended(143, "Error", 60), Some(50))], Reason::DeadlineExceeded, Some(143))]
#[case::deadline_and_a_polite_answer(deadline(), vec![pod(0, &ended(0, "Completed", 60), Some(50))], Reason::DeadlineExceeded, Some(0))]
#[case::deadline_between_two_tries(deadline(), vec![pod(0, &ended(1, "Error", 60), None)], Reason::Error, Some(1))]
#[case::deadline_without_a_pod(deadline(), vec![], Reason::DeadlineExceeded, None)]
fn how_a_job_ended(
    #[case] condition: Value,
    #[case] attempts: Vec<AttemptSeen>,
    #[case] reason: Reason,
    #[case] code: Option<i32>,
) {
    let end = told(&observed(Some(&condition), attempts));
    assert_eq!((end.reason, end.exit_code), (reason, code), "{end:?}");
    assert!(end.finished.is_some());
}

#[rstest]
#[case::while_it_ran(vec![pod(0, &ended(143, "Error", 90), Some(DELETED))], Reason::Killed)]
#[case::before_it_had_a_pod(vec![], Reason::Killed)]
#[case::between_two_tries(vec![pod(0, &ended(1, "Error", 60), None)], Reason::Killed)]
#[case::before_it_started(vec![pod(0, &never_started(), Some(DELETED))], Reason::Killed)]
#[case::when_it_was_through(vec![pod(0, &ended(0, "Completed", 79), Some(DELETED))], Reason::Completed)]
fn a_deleted_job_was_stopped(#[case] attempts: Vec<AttemptSeen>, #[case] reason: Reason) {
    let seen = Observed { deleted: Some(at(DELETED)), ..observed(None, attempts) };
    assert_eq!(told(&seen).reason, reason);
}

#[test]
fn a_job_that_was_over_before_its_deletion_ended_as_it_says() {
    let attempts = vec![pod(0, &ended(3, "Error", 60), Some(OVER + 5))];
    let seen = Observed { deleted: Some(at(OVER + 5)), ..observed(Some(&backoff()), attempts) };
    assert_eq!(told(&seen).reason, Reason::Error);
}

/// What kept a pod from starting is remembered while it can be seen, and told at the deadline.
#[rstest]
#[case("ErrImagePull", Reason::ImagePull)]
#[case("CreateContainerConfigError", Reason::ContainerConfig)]
fn a_pod_that_never_started(#[case] waits: &str, #[case] reason: Reason) {
    let attempts = vec![pod(0, &waiting(waits), None)];
    let mut seen = Observed { source: Source::Cache, ..observed(None, attempts) };
    let decision = decide(&seen, at(30));
    let [Action::Remember(record)] = &decision.actions[..] else { panic!("{decision:?}") };
    seen.record = Record::read(&Pairs::from([(RECORD.to_owned(), record.value())]));
    assert_eq!(decide(&seen, at(30)).actions, [], "once is enough");
    seen.attempts = vec![pod(0, &never_started(), Some(OVER - 1))];
    seen.end = observed(Some(&deadline()), vec![]).end;
    seen.source = Source::Api;
    let end = told(&seen);
    assert_eq!((end.reason, end.message.as_str()), (reason, "as told (given up at the deadline)"));
}

#[test]
fn a_job_that_could_make_no_pod_says_why() {
    let trouble = Trouble::new(Reason::Quota, "exceeded quota");
    let seen = Observed { refusal: Some(trouble), ..observed(Some(&deadline()), vec![]) };
    assert_eq!(told(&seen).reason, Reason::Quota);
}

#[test]
fn a_pod_that_is_deleted_before_the_job_is_over_is_recorded_and_let_go() {
    let attempts = vec![pod(0, &ended(137, "OOMKilled", 60), Some(70))];
    let seen = Observed { source: Source::Cache, ..observed(None, attempts) };
    let decision = decide(&seen, at(75));
    let [Action::Remember(record), Action::Release { .. }] = &decision.actions[..] else {
        panic!("{decision:?}")
    };
    let annotations = Pairs::from([(RECORD.to_owned(), record.value())]);
    let record = Record::read(&annotations);
    let end = told(&Observed { record, ..observed(Some(&backoff()), vec![]) });
    assert_eq!((end.reason, end.exit_code), (Reason::OomKilled, Some(137)));
}

#[test]
fn what_is_recorded_of_an_attempt_does_not_hide_the_next() {
    let first = pod(0, &ended(143, "Error", 60), Some(50));
    let decision = decide(&observed(None, vec![first]), at(75));
    let Action::Remember(record) = &decision.actions[0] else { panic!("{decision:?}") };
    let second = pod(70, &ended(1, "Error", 90), None);
    let record = Record::clone(record);
    let end = told(&Observed { record, ..observed(Some(&backoff()), vec![second]) });
    assert_eq!((end.reason, end.exit_code), (Reason::Error, Some(1)));
}

fn reported(report: Report, now: i64) -> Decision {
    let attempts = vec![pod(0, &ended(1, "Error", 60), None)];
    let seen = Observed { report: Some(report), ..observed(Some(&backoff()), attempts) };
    decide(&seen, at(now))
}

#[test]
fn what_was_reported_is_settled_and_let_go() {
    let state = Some(PipelineState::Failed);
    let decision = reported(Report::Done { by: Reporter::Operator, state }, 105);
    let settled = Reported { at: at(105), by: Reporter::Operator, state, message: None };
    let [Action::Release { .. }, Action::Settle(written)] = &decision.actions[..] else {
        panic!("{decision:?}")
    };
    assert_eq!(written, &settled);
    let annotations = Pairs::from([(REPORTED.to_owned(), written.value())]);
    assert_eq!(Reported::read(&annotations), Some(settled));
}

#[rstest]
#[case::at_first(OVER + 5, None, true)]
#[case::before_the_limit(OVER + 3590, None, true)]
#[case::at_the_limit(OVER + 3600, None, false)]
#[case::a_deletion_waits_less(OVER + 595, Some(OVER), true)]
#[case::but_not_for_ever(OVER + 600, Some(OVER), false)]
fn an_outage_is_waited_for(#[case] now: i64, #[case] deleted: Option<i64>, #[case] again: bool) {
    let unavailable = Some(Report::Unavailable("no answer".to_owned()));
    let seen = Observed {
        report: unavailable,
        deleted: deleted.map(at),
        ..observed(Some(&complete()), vec![])
    };
    let decision = decide(&seen, at(now));
    assert_eq!(decision.next_look.is_some(), again);
    let known = Observed { report: None, source: Source::Cache, outage: true, ..seen };
    assert_eq!(decide(&known, at(now)).actions.contains(&Action::ReadFresh), !again);
    if !again {
        let [Action::Settle(settled)] = &decision.actions[..] else { panic!("{decision:?}") };
        assert_eq!(settled.by, Reporter::Nobody);
        assert_eq!(settled.message.as_deref(), Some("no answer"));
    }
}

/// Every Job that can be seen, over all that a decision depends on.
fn worlds() -> impl Iterator<Item = Observed> {
    let pods = || {
        let states = [
            (running(), None),
            (running(), Some(DELETED)),
            (running(), Some(-600)),
            (waiting("ErrImagePull"), None),
            (ended(0, "Completed", 60), None),
            (ended(1, "Error", 60), Some(DELETED)),
            (ended(143, "Error", 90), Some(DELETED)),
        ];
        let pod = |created| {
            let of = states.clone().into_iter().flat_map(move |(status, deleted)| {
                let seen = pod(created, &status, deleted);
                [AttemptSeen { tracked: false, ..seen.clone() }, seen]
            });
            of.collect::<Vec<_>>()
        };
        let ones = pod(0).into_iter().map(|one| vec![one]);
        let twos = pod(0)
            .into_iter()
            .flat_map(move |one| pod(20).into_iter().map(move |other| vec![one.clone(), other]));
        std::iter::once(vec![]).chain(ones).chain(twos).collect::<Vec<_>>()
    };
    let ends = [None, Some(complete()), Some(backoff()), Some(deadline())];
    let last = LastAttempt {
        pod: "uid-0".to_owned(),
        created: at(0),
        end: End::adopted(Some(143)),
        stopped: Some(at(50)),
    };
    let settled = Reported { at: at(150), by: Reporter::Run, state: None, message: None };
    let records = [
        Record::default(),
        Record { last: Some(last), ..Record::default() },
        Record { reported: Some(settled), ..Record::default() },
    ];
    let reports = [
        None,
        Some(Report::Done { by: Reporter::Run, state: None }),
        Some(Report::Unavailable(String::new())),
        Some(Report::Impossible(String::new())),
    ];
    let seen = ends
        .into_iter()
        .flat_map(move |end| pods().into_iter().map(move |pods| observed(end.as_ref(), pods)));
    let seen = seen
        .flat_map(move |seen| records.clone().map(|record| Observed { record, ..seen.clone() }));
    let seen = seen.flat_map(|seen| {
        [None, Some(at(DELETED))].map(|deleted| Observed { deleted, ..seen.clone() })
    });
    let seen = seen.flat_map(|seen| [true, false].map(|held| Observed { held, ..seen.clone() }));
    let cached = |seen: &Observed| Observed { source: Source::Cache, ..seen.clone() };
    seen.flat_map(move |seen| {
        let live = reports.clone().map(|report| Observed { report, ..seen.clone() });
        live.into_iter().chain([cached(&seen)]).collect::<Vec<_>>()
    })
}

fn is_over(attempt: &AttemptSeen, now: Timestamp) -> bool {
    let lost = attempt.deletion.is_some_and(|d| d.due + SignedDuration::from_mins(5) <= now);
    lost || matches!(attempt.state, PodState::Ended { .. })
}

#[test]
fn what_must_hold_holds_whatever_is_seen() {
    let now = at(200);
    let mut count = 0;
    for seen in worlds() {
        let Decision { actions, next_look } = decide(&seen, now);
        let position = |wanted: fn(&Action) -> bool| actions.iter().position(wanted);
        let report = position(|action| matches!(action, Action::Report(_)));
        let settle = position(|action| matches!(action, Action::Settle(_)));
        let let_go = position(|action| matches!(action, Action::LetGo));
        let hold = position(|action| *action == Action::Hold);
        let context = || format!("{seen:#?}\n{actions:#?}");
        // Nothing is reported before the last attempt ended, or on what the caches say.
        if report.or(settle).is_some() {
            assert!(seen.end.is_some() || seen.deleted.is_some(), "{}", context());
            assert!(seen.attempts.iter().all(|attempt| is_over(attempt, now)), "{}", context());
            assert_eq!(seen.source, Source::Api, "{}", context());
        }
        // What was settled is never reported again, and lets go of everything.
        if seen.record.reported.is_some() {
            assert_eq!((report, settle, hold), (None, None, None), "{}", context());
            assert_eq!(let_go.is_some(), seen.held, "{}", context());
        } else {
            assert_eq!(let_go, None, "{}", context());
        }
        // A Job is held from the first look on; one that is being deleted takes no finalizer.
        let unheld = !seen.held && seen.deleted.is_none() && seen.record.reported.is_none();
        if unheld && seen.report.is_none() {
            assert_eq!(hold, Some(0), "{}", context());
        }
        assert!(hold.is_none() || unheld, "{}", context());
        // How the newest attempt ended is not let go before it is recorded, or all is settled.
        let newest = seen.attempts.last();
        let release = newest.and_then(|newest| {
            actions.iter().position(
                |action| matches!(action, Action::Release { uid, .. } if *uid == newest.uid),
            )
        });
        if let (Some(release), Some(newest)) = (release, newest) {
            let written = actions[..release].iter().find_map(|action| match action {
                Action::Remember(record) => record.last.as_ref(),
                _ => None,
            });
            let known = written.or(seen.record.last.as_ref()).map(|last| &last.pod);
            let settled = settle.is_some() || seen.record.reported.is_some();
            assert!(settled || known == Some(&newest.uid), "{}", context());
        }
        // Nobody is stopped whose Job stands.
        let stops = actions.iter().any(|action| matches!(action, Action::Delete { .. }));
        assert!(!stops || seen.deleted.is_some(), "{}", context());
        // It goes on: by itself, by a pod that will change, or it is done.
        let lives = seen.attempts.iter().any(|attempt| !is_over(attempt, now));
        let open = seen.end.is_none() && seen.deleted.is_none();
        let settled = seen.record.reported.is_some();
        assert!(
            open || lives || settled || !actions.is_empty() || next_look.is_some(),
            "{}",
            context()
        );
        count += 1;
    }
    assert!(count > 40_000, "{count} worlds");
}

#[rstest]
#[case(&[("app.kubernetes.io/name", "openmetadata"), ("app.kubernetes.io/component", "ingestion")], true)]
#[case(&[("app.kubernetes.io/name", "openmetadata"), ("app.kubernetes.io/component", "automation")], true)]
#[case(&[("app.kubernetes.io/name", "openmetadata"), ("app.kubernetes.io/component", "application")], false)]
#[case(&[("app.kubernetes.io/component", "ingestion")], false)]
fn whose_job_it_is(#[case] labels: &[(&str, &str)], #[case] ours: bool) {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    assert_eq!(is_ours(&labels.collect()), ours);
}
