//! What the Job controller makes of the end of a pod: why it stopped it, and whether another
//! attempt follows, before which nothing terminal is said about the run.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::Pod;

use crate::pod::{End, MAIN_CONTAINER, Reason, Trouble};

/// The Job controller counts a pod with this finalizer when it lets go of it.
const TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Kubernetes' default `backoffLimit` of a Job.
pub(super) const DEFAULT_BACKOFF_LIMIT: i32 = 6;
/// Pause before the first repeat, and the longest one; each is twice the one before.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// What became of the Job that a pod belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFate {
    /// It goes on, or its state is unknown.
    Lives,
    /// It is suspended, and makes another attempt when it is resumed.
    Suspended,
    /// It took longer than its deadline.
    Late,
    /// Somebody deleted it: that is how a run is stopped.
    Deleted,
}

impl JobFate {
    /// Reads the Job; `None` is one that is gone.
    #[must_use]
    pub fn of(job: Option<&Job>) -> Self {
        let Some(job) = job.filter(|job| job.metadata.deletion_timestamp.is_none()) else {
            return Self::Deleted;
        };
        if has_condition(job, |_, reason| reason == "DeadlineExceeded") {
            return Self::Late;
        }
        let suspended = job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false);
        if suspended { Self::Suspended } else { Self::Lives }
    }

    /// Why the Job controller stops the pods of such a Job.
    #[must_use]
    pub fn stop(self) -> Option<Trouble> {
        let (reason, message) = match self {
            Self::Lives => return None,
            Self::Suspended => (Reason::Suspended, "stopped because the Job is suspended"),
            Self::Late => (Reason::DeadlineExceeded, "took longer than its deadline"),
            Self::Deleted => (Reason::Killed, "stopped because the Job was deleted"),
        };
        Some(Trouble::new(reason, message))
    }
}

/// True when the Job makes another attempt after this pod, which ended so. The same count and rules
/// as the Job controller's, which may be a moment behind what was read of the Job.
#[must_use]
pub fn another_attempt_follows(job: &Job, pod: &Pod, end: &End, now: Timestamp) -> bool {
    match JobFate::of(Some(job)) {
        JobFate::Suspended => return true,
        JobFate::Late | JobFate::Deleted => return false,
        JobFate::Lives => {}
    }
    if end.succeeded() || has_condition(job, |kind, _| is_final(kind)) {
        return false;
    }
    let spec = job.spec.clone().unwrap_or_default();
    let failed = failed_before(job, pod);
    if is_late(job, &spec, failed, now) {
        return false;
    }
    match action(&spec, pod, end) {
        Some("Ignore") => true,
        Some("FailJob") => false,
        Some(_) | None => failed < spec.backoff_limit.unwrap_or(DEFAULT_BACKOFF_LIMIT),
    }
}

fn is_final(kind: &str) -> bool {
    matches!(kind, "Failed" | "FailureTarget" | "Complete" | "SuccessCriteriaMet")
}

fn has_condition(job: &Job, holds: impl Fn(&str, &str) -> bool) -> bool {
    let status = job.status.as_ref();
    let mut conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|c| c.status == "True" && holds(&c.type_, c.reason.as_deref().unwrap_or("")))
}

/// The failures of the Job without that of this pod.
fn failed_before(job: &Job, pod: &Pod) -> i32 {
    let status = job.status.clone().unwrap_or_default();
    let uid = pod.metadata.uid.as_ref();
    let waiting = status.uncounted_terminated_pods.and_then(|pods| pods.failed).unwrap_or_default();
    let others = waiting.iter().filter(|waiting| Some(*waiting) != uid).count();
    let mut finalizers = pod.metadata.finalizers.iter().flatten();
    let is_counted = !finalizers.any(|finalizer| finalizer == TRACKING_FINALIZER);
    let counted = status.failed.unwrap_or(0) - i32::from(is_counted);
    counted.saturating_add(i32::try_from(others).unwrap_or(i32::MAX)).max(0)
}

/// True when the Job's deadline comes before its next attempt: then there will be none.
fn is_late(job: &Job, spec: &JobSpec, failed: i32, now: Timestamp) -> bool {
    let started = job.status.as_ref().and_then(|status| status.start_time.as_ref());
    let Some((started, seconds)) = started.zip(spec.active_deadline_seconds) else {
        return false;
    };
    let factor = 1_i32.checked_shl(failed.unsigned_abs()).unwrap_or(i32::MAX);
    let pause = FIRST_PAUSE.checked_mul(factor).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
    let next = now.checked_add(pause).unwrap_or(Timestamp::MAX);
    let deadline = started.0.checked_add(SignedDuration::from_secs(seconds));
    deadline.is_ok_and(|deadline| deadline <= next)
}

/// What the first rule of `podFailurePolicy` that applies says.
fn action<'s>(spec: &'s JobSpec, pod: &Pod, end: &End) -> Option<&'s str> {
    let mut rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    rules.find(|rule| applies(rule, pod, end)).map(|rule| rule.action.as_str())
}

fn applies(rule: &PodFailurePolicyRule, pod: &Pod, end: &End) -> bool {
    if let Some(codes) = &rule.on_exit_codes {
        let is_main = codes.container_name.as_deref().is_none_or(|name| name == MAIN_CONTAINER);
        let wanted = codes.operator == "In";
        let fits = |code| codes.values.contains(&code) == wanted;
        return is_main && end.exit_code.is_some_and(fits);
    }
    let conditions = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let patterns = rule.on_pod_conditions.iter().flatten();
    patterns
        .into_iter()
        .any(|pattern| conditions().any(|c| c.type_ == pattern.type_ && c.status == pattern.status))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const STARTED: &str = "2026-01-01T12:00:00Z";

    fn now() -> Timestamp {
        "2026-01-01T12:05:00Z".parse().unwrap()
    }

    fn job(spec: &Value, status: &Value) -> Job {
        let mut all = json!({ "backoffLimit": 2, "template": {}, "podFailurePolicy": { "rules": [
            { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
            { "action": "FailJob", "onExitCodes": {
                "containerName": "main", "operator": "In", "values": [2, 127],
            }},
        ]}});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({ "metadata": {}, "spec": all, "status": status })).unwrap()
    }

    fn pod(tracked: bool, conditions: &Value) -> Pod {
        let finalizers = if tracked { json!([TRACKING_FINALIZER]) } else { json!([]) };
        serde_json::from_value(json!({
            "metadata": { "uid": "own", "finalizers": finalizers },
            "status": { "conditions": conditions },
        }))
        .unwrap()
    }

    fn ended(code: i32) -> End {
        End { exit_code: Some(code), ..End::without_code(Reason::Error, "") }
    }

    #[rstest]
    #[case::gone(None, JobFate::Deleted)]
    #[case::lives(Some(json!({ "metadata": {} })), JobFate::Lives)]
    #[case::leaves(Some(json!({ "metadata": { "deletionTimestamp": STARTED } })), JobFate::Deleted)]
    #[case::suspended(
        Some(json!({ "metadata": {}, "spec": { "suspend": true, "template": {} } })),
        JobFate::Suspended
    )]
    #[case::late(
        Some(json!({ "metadata": {}, "status": { "conditions": [
            { "type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded" },
        ]}})),
        JobFate::Late
    )]
    fn fates(#[case] job: Option<Value>, #[case] expected: JobFate) {
        let job: Option<Job> = job.map(|job| serde_json::from_value(job).unwrap());
        assert_eq!(JobFate::of(job.as_ref()), expected);
        assert_eq!(expected.stop().is_none(), expected == JobFate::Lives);
    }

    #[rstest]
    #[case::first(json!({}), json!({}), 1, true)]
    #[case::last_but_one(json!({}), json!({ "failed": 1 }), 1, true)]
    #[case::last(json!({}), json!({ "failed": 2 }), 1, false)]
    #[case::no_retries(json!({ "backoffLimit": 0 }), json!({}), 1, false)]
    #[case::default_limit(json!({ "backoffLimit": null }), json!({ "failed": 5 }), 1, true)]
    #[case::others_wait(
        json!({}),
        json!({ "failed": 1, "uncountedTerminatedPods": { "failed": ["other"] } }),
        1,
        false
    )]
    #[case::own_waits(
        json!({}),
        json!({ "failed": 1, "uncountedTerminatedPods": { "failed": ["own"] } }),
        1,
        true
    )]
    #[case::succeeded(json!({}), json!({}), 0, false)]
    #[case::cannot_start(json!({}), json!({}), 127, false)]
    #[case::suspended(json!({ "suspend": true, "backoffLimit": 0 }), json!({}), 1, true)]
    #[case::given_up(
        json!({}),
        json!({ "conditions": [{ "type": "FailureTarget", "status": "True" }] }),
        1,
        false
    )]
    #[case::time_for_another(
        json!({ "activeDeadlineSeconds": 330 }),
        json!({ "startTime": STARTED, "failed": 1 }),
        1,
        true
    )]
    #[case::deadline_before_the_next(
        json!({ "activeDeadlineSeconds": 320 }),
        json!({ "startTime": STARTED, "failed": 1 }),
        1,
        false
    )]
    fn attempts(
        #[case] spec: Value,
        #[case] status: Value,
        #[case] code: i32,
        #[case] expected: bool,
    ) {
        let (job, pod) = (job(&spec, &status), pod(true, &json!([])));
        assert_eq!(another_attempt_follows(&job, &pod, &ended(code), now()), expected);
    }

    #[test]
    fn a_failure_that_the_job_has_counted_is_not_counted_twice() {
        let (job, pod) = (job(&json!({}), &json!({ "failed": 2 })), pod(false, &json!([])));
        assert!(another_attempt_follows(&job, &pod, &ended(1), now()));
    }

    #[test]
    fn a_disruption_is_not_counted() {
        let disrupted = json!([{ "type": "DisruptionTarget", "status": "True" }]);
        let none_left = job(&json!({ "backoffLimit": 0 }), &json!({}));
        let follows = |pod: &Pod| another_attempt_follows(&none_left, pod, &ended(143), now());
        assert!(follows(&pod(true, &disrupted)) && !follows(&pod(true, &json!([]))));
    }
}
