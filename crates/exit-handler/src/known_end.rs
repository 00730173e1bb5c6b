//! How the run ended, from the best source: the operator, the supervisor, the pod, at last
//! `pipelineStatus`.

use k8s_openapi::api::core::v1::Pod;
use ompipe_core::omjob::{Deletion, End, PodState, Reason, Trouble, disruption};
use ompipe_core::report::{Ending, memory_limit};
use ompipe_core::run::JobFate;

use crate::supervise::Supervised;

/// An end, and what it means for the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownEnd {
    pub(crate) end: End,
    pub(crate) ending: Ending,
}

impl KnownEnd {
    /// What a witness of the end said.
    pub(crate) fn told(end: End) -> Self {
        Self { ending: Ending::of(end.reason), end }
    }

    /// What the pod says. While the worker still runs, in a hook, a success in the row may be true:
    /// the worker has a part of the grace period left.
    pub(crate) fn of_pod(pod: &Pod, job: JobFate) -> Self {
        match PodState::of(pod) {
            PodState::Ended { end, .. } => Self::told(end.explained(Deletion::of(pod), job.stop())),
            PodState::Running | PodState::Waiting(_) => Self::of_stop(pod, job),
        }
    }

    /// What the supervisor saw, and for a worker that was asked to end, why that was: by the pod.
    pub(crate) fn of_supervised(seen: &Supervised, pod: &Pod, job: JobFate) -> Self {
        let end = seen.end.clone();
        if !seen.was_stopped() || end.succeeded() {
            return Self::told(with_limit(end, pod));
        }
        let end = match pod.status.as_ref().and_then(disruption) {
            Some(Trouble { reason, message }) => End { reason, message, ..end },
            None => end,
        };
        Self::told(end.explained(Deletion::of(pod), job.stop()))
    }

    /// What the supervisor saw, where nothing is known of the pod.
    pub(crate) fn of_supervised_alone(seen: &Supervised, why: &str) -> Self {
        let mut end = seen.end.clone();
        if seen.was_stopped() && !end.succeeded() {
            let said = end.message;
            end.message = format!("{said}; it was asked to end, and why is not known: {why}");
        }
        Self::told(end)
    }

    fn of_stop(pod: &Pod, job: JobFate) -> Self {
        let stopped = job.stop().or_else(|| disruption(pod.status.as_ref()?));
        let end = stopped.map_or_else(
            || End::without_code(Reason::Deleted, "its pod is being deleted"),
            |why| End::of_trouble(&why),
        );
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

/// The limit is on no container that still runs, so the sentence has to say it.
fn with_limit(mut end: End, pod: &Pod) -> End {
    if let Some(limit) = memory_limit(pod).filter(|_| end.reason == Reason::OomKilled) {
        end.message = format!("{}: {limit}", end.message);
    }
    end
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
        disrupted("EvictionByEvictionAPI")
    }

    fn disrupted(reason: &str) -> Value {
        json!([{ "type": "DisruptionTarget", "status": "True", "reason": reason }])
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
    #[case::hook_of_a_lost_node(
        true,
        running(),
        disrupted("DeletionByTaintManager"),
        JobFate::Lives,
        Reason::NodeLost,
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
    #[case::failed(false, 1, false, json!([]), JobFate::Lives, Reason::Error)]
    #[case::failed_beside_a_deletion(false, 1, true, json!([]), JobFate::Deleted, Reason::Error)]
    #[case::deleted(true, 143, true, json!([]), JobFate::Lives, Reason::Deleted)]
    #[case::killed(true, 143, true, json!([]), JobFate::Deleted, Reason::Killed)]
    #[case::late(true, 143, true, json!([]), JobFate::Late, Reason::DeadlineExceeded)]
    #[case::evicted(true, 143, true, evicted(), JobFate::Lives, Reason::Evicted)]
    #[case::killed_while_evicted(true, 143, true, evicted(), JobFate::Deleted, Reason::Killed)]
    #[case::evicted_by_the_kubelet(true, 143, false, evicted(), JobFate::Lives, Reason::Evicted)]
    #[case::by_somebody_in_the_container(true, 143, false, json!([]), JobFate::Lives, Reason::Signal)]
    #[case::ended_well_all_the_same(true, 0, true, json!([]), JobFate::Deleted, Reason::Completed)]
    fn by_the_supervisor(
        #[case] stopped: bool,
        #[case] code: u8,
        #[case] deleted: bool,
        #[case] conditions: Value,
        #[case] job: JobFate,
        #[case] expected: Reason,
    ) {
        let finished = "2026-01-01T12:00:01Z".parse().unwrap();
        let end = End::of_process(code.into(), false, Some(finished));
        let killed_at = stopped.then(tokio::time::Instant::now);
        let seen = Supervised { began: finished, end, killed_at, code };
        let known = KnownEnd::of_supervised(&seen, &pod(deleted, &running(), &conditions), job);
        assert_eq!((known.end.reason, known.ending), (expected, Ending::of(expected)));
        assert_eq!(known.end.exit_code, Some(code.into()));
    }

    #[test]
    fn by_the_status_alone_a_success_in_the_row_is_not_denied() {
        assert_eq!(KnownEnd::of_status(false).ending, Ending::Unknown);
        assert_eq!(KnownEnd::of_status(true).ending, Ending::Completed);
    }
}
