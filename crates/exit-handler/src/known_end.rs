//! How the run ended, by whoever knows best: the operator, the pod, at last `pipelineStatus`.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use ompipe_core::omjob::{Deletion, End, PodState, Reason};
use ompipe_core::report::Ending;

/// An end, and what it means for the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownEnd {
    pub(crate) end: End,
    pub(crate) ending: Ending,
}

/// What became of the Job that a pod belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobFate {
    /// It goes on, or nobody knows.
    Lives,
    /// It took longer than its deadline.
    Late,
    /// Somebody deleted it: that is how a run is stopped.
    Deleted,
}

impl JobFate {
    /// Reads the Job; `None` is one that is gone.
    pub(crate) fn of(job: Option<&Job>) -> Self {
        let Some(job) = job.filter(|job| job.metadata.deletion_timestamp.is_none()) else {
            return Self::Deleted;
        };
        let status = job.status.as_ref();
        let mut conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
        let late = conditions
            .any(|c| c.status == "True" && c.reason.as_deref() == Some("DeadlineExceeded"));
        if late { Self::Late } else { Self::Lives }
    }
}

impl KnownEnd {
    /// What somebody told who saw the end.
    pub(crate) fn told(end: End) -> Self {
        Self { ending: Ending::of(end.reason), end }
    }

    /// What the pod says. While the worker still runs, in a hook, a success in the row may be true:
    /// the worker has a part of the grace period left.
    pub(crate) fn of_pod(pod: &Pod, job: JobFate) -> Self {
        let deletion = Deletion::of(pod);
        match PodState::of(pod) {
            PodState::Ended { end, .. } => Self::told(explained(end, deletion, job)),
            PodState::Running | PodState::Waiting(_) => Self::of_stop(pod, job),
        }
    }

    fn of_stop(pod: &Pod, job: JobFate) -> Self {
        let end = match stop(job) {
            Some((reason, message)) => End::without_code(reason, message),
            None => disruption(pod)
                .unwrap_or_else(|| End::without_code(Reason::Deleted, "its pod is being deleted")),
        };
        let ending = match Ending::of(end.reason) {
            Ending::Stopped => Ending::Stopped,
            _ => Ending::Unknown,
        };
        Self { end, ending }
    }

    /// What `pipelineStatus` alone says.
    pub(crate) fn of_status(succeeded: bool) -> Self {
        Self::told(if succeeded {
            End { exit_code: Some(0), ..End::without_code(Reason::Completed, "it ended well") }
        } else {
            End::without_code(Reason::Unknown, "the run failed, and its pod is gone")
        })
    }
}

/// Why the worker ended, when it did because its pod was deleted.
fn explained(end: End, deletion: Option<Deletion>, job: JobFate) -> End {
    let Some(deletion) = deletion.filter(|_| !end.succeeded()) else {
        return end;
    };
    if end.finished.is_some_and(|finished| finished < deletion.requested) {
        return end;
    }
    let (reason, message) = match stop(job) {
        Some(stop) => stop,
        None if end.reason.is_disruption() => return end,
        None => (Reason::Deleted, "its pod was deleted"),
    };
    End { reason, message: message.to_owned(), ..end }
}

const fn stop(job: JobFate) -> Option<(Reason, &'static str)> {
    match job {
        JobFate::Lives => None,
        JobFate::Late => Some((Reason::DeadlineExceeded, "took longer than its deadline")),
        JobFate::Deleted => Some((Reason::Killed, "stopped because the Job was deleted")),
    }
}

fn disruption(pod: &Pod) -> Option<End> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let target = conditions.iter().find(|c| c.type_ == "DisruptionTarget" && c.status == "True")?;
    let reason = target.reason.clone().unwrap_or_default();
    let message = target.message.as_deref().unwrap_or_default();
    Some(End::without_code(Reason::Evicted, format!("{reason}: {message}")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const DELETED: &str = "2026-01-01T12:00:00Z";

    fn pod(deleted: bool, state: &Value, conditions: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "p",
                "deletionTimestamp": deleted.then_some("2026-01-01T12:01:00Z"),
                "deletionGracePeriodSeconds": deleted.then_some(60),
            },
            "spec": { "nodeName": "n", "containers": [] },
            "status": { "phase": "Running", "conditions": conditions, "containerStatuses": [{
                "name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": state,
            }]},
        }))
        .unwrap()
    }

    fn running() -> Value {
        json!({ "running": {} })
    }

    fn ended(code: i32, at: &str) -> Value {
        json!({ "terminated": { "exitCode": code, "finishedAt": at } })
    }

    fn evicted() -> Value {
        json!([{ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI" }])
    }

    #[rstest]
    #[case::ended_well(false, ended(0, DELETED), json!([]), JobFate::Lives, Reason::Completed, Ending::Completed)]
    #[case::failed(false, ended(1, DELETED), json!([]), JobFate::Lives, Reason::Error, Ending::Failed)]
    #[case::failed_before_the_deletion(true, ended(1, "2026-01-01T11:59:59Z"), json!([]), JobFate::Deleted, Reason::Error, Ending::Failed)]
    #[case::ended_by_the_deletion(true, ended(143, "2026-01-01T12:00:09Z"), json!([]), JobFate::Lives, Reason::Deleted, Ending::Killed)]
    #[case::ended_by_a_kill(true, ended(143, "2026-01-01T12:00:09Z"), json!([]), JobFate::Deleted, Reason::Killed, Ending::Stopped)]
    #[case::ended_by_an_eviction(
        true,
        ended(143, "2026-01-01T12:00:09Z"),
        evicted(),
        JobFate::Lives,
        Reason::Evicted,
        Ending::Killed
    )]
    #[case::hook_of_a_deletion(true, running(), json!([]), JobFate::Lives, Reason::Deleted, Ending::Unknown)]
    #[case::hook_of_an_eviction(
        true,
        running(),
        evicted(),
        JobFate::Lives,
        Reason::Evicted,
        Ending::Unknown
    )]
    #[case::hook_of_a_deadline(true, running(), json!([]), JobFate::Late, Reason::DeadlineExceeded, Ending::Unknown)]
    #[case::hook_of_a_kill(true, running(), json!([]), JobFate::Deleted, Reason::Killed, Ending::Stopped)]
    fn by_the_pod(
        #[case] deleted: bool,
        #[case] state: Value,
        #[case] conditions: Value,
        #[case] job: JobFate,
        #[case] reason: Reason,
        #[case] ending: Ending,
    ) {
        let known = KnownEnd::of_pod(&pod(deleted, &state, &conditions), job);
        assert_eq!((known.end.reason, known.ending), (reason, ending));
    }

    #[rstest]
    #[case::gone(None, JobFate::Deleted)]
    #[case::lives(Some(json!({ "metadata": {} })), JobFate::Lives)]
    #[case::leaves(Some(json!({ "metadata": { "deletionTimestamp": DELETED } })), JobFate::Deleted)]
    #[case::late(
        Some(json!({ "metadata": {}, "status": { "conditions": [
            { "type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded" },
        ]}})),
        JobFate::Late
    )]
    fn by_the_job(#[case] job: Option<Value>, #[case] expected: JobFate) {
        let job: Option<Job> = job.map(|job| serde_json::from_value(job).unwrap());
        assert_eq!(JobFate::of(job.as_ref()), expected);
    }

    #[test]
    fn by_the_status_alone_a_success_in_the_row_is_not_denied() {
        assert_eq!(KnownEnd::of_status(false).ending, Ending::Unknown);
        assert_eq!(KnownEnd::of_status(true).ending, Ending::Completed);
    }
}
