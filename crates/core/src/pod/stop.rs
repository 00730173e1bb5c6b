//! Why a worker ended, when it did because its pod was stopped.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{End, Reason, Trouble};

/// That a pod is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deletion {
    /// When it was asked for.
    pub requested: Timestamp,
    /// When the grace period ends.
    pub due: Timestamp,
}

impl Deletion {
    /// Reads it off a pod. A deletion timestamp is the end of the grace period.
    #[must_use]
    pub fn of(pod: &Pod) -> Option<Self> {
        let due = pod.metadata.deletion_timestamp.as_ref()?.0;
        let grace =
            SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
        Some(Self { requested: due.checked_sub(grace).unwrap_or(due), due })
    }
}

impl End {
    /// The end with its cause, when that is the deletion of the pod; `stop` is what the pod's owner
    /// stopped it for. A disruption is told by the pod itself, and only a user's kill outdoes it.
    /// Exit code 0, and an end from before the deletion, need no other cause.
    #[must_use]
    pub fn explained(self, deletion: Option<Deletion>, stop: Option<Trouble>) -> Self {
        let Some(deletion) = deletion.filter(|_| !self.succeeded()) else {
            return self;
        };
        let is_kill = stop.as_ref().is_some_and(|stop| stop.reason == Reason::Killed);
        let was_over = self.finished.is_some_and(|finished| finished < deletion.requested);
        if was_over || (self.reason.is_disruption() && !is_kill) {
            return self;
        }
        let deleted = || Trouble::new(Reason::Deleted, "its pod was deleted");
        let Trouble { reason, message } = stop.unwrap_or_else(deleted);
        Self { reason, message, ..self }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn end(reason: Reason, exit_code: i32, finished: i64) -> End {
        let finished = Some(at(finished));
        End { exit_code: Some(exit_code), finished, ..End::without_code(reason, "as it was") }
    }

    #[rstest]
    #[case::ended_well(end(Reason::Completed, 0, 11), true, None, Reason::Completed)]
    #[case::not_deleted(end(Reason::Error, 1, 11), false, Some(Reason::Killed), Reason::Error)]
    #[case::before(end(Reason::Error, 1, 9), true, Some(Reason::Killed), Reason::Error)]
    #[case::deleted(end(Reason::Signal, 143, 11), true, None, Reason::Deleted)]
    #[case::evicted(end(Reason::Evicted, 143, 11), true, None, Reason::Evicted)]
    #[case::node_lost(
        end(Reason::NodeLost, 143, 11),
        true,
        Some(Reason::DeadlineExceeded),
        Reason::NodeLost
    )]
    #[case::killed_while_evicted(
        end(Reason::Evicted, 143, 11),
        true,
        Some(Reason::Killed),
        Reason::Killed
    )]
    #[case::late(
        end(Reason::Signal, 143, 11),
        true,
        Some(Reason::DeadlineExceeded),
        Reason::DeadlineExceeded
    )]
    fn an_end_has_the_cause_of_the_deletion(
        #[case] end: End,
        #[case] deleted: bool,
        #[case] stop: Option<Reason>,
        #[case] expected: Reason,
    ) {
        let deletion = deleted.then(|| Deletion { requested: at(10), due: at(70) });
        let explained = end.clone().explained(deletion, stop.map(|why| Trouble::new(why, "why")));
        assert_eq!(explained.reason, expected);
        assert_eq!((explained.exit_code, explained.finished), (end.exit_code, end.finished));
    }
}
