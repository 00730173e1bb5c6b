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

    /// Whether it is what ended the process.
    ///
    /// Times of Kubernetes are whole seconds. Within one, a deletion without grace is taken for that
    /// of a pod which had ended by itself, as garbage collectors make it: the API server gives such
    /// pods none. Only a signal speaks for the deletion then.
    #[must_use]
    pub fn ended(self, end: &End) -> bool {
        let Some(finished) = end.finished else { return true };
        let decides = self.due > self.requested || end.reason == Reason::Signal;
        finished > self.requested || (finished == self.requested && decides)
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
        if !deletion.ended(&self) || (self.reason.is_disruption() && !is_kill) {
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

    #[rstest]
    #[case::before(end(Reason::Error, 1, 9), 60, false)]
    #[case::after(end(Reason::Error, 1, 11), 60, true)]
    #[case::polite_within_the_second(end(Reason::Error, 1, 10), 60, true)]
    #[case::collected_within_the_second(end(Reason::Error, 1, 10), 0, false)]
    #[case::memory_within_the_second(end(Reason::OomKilled, 137, 10), 0, false)]
    #[case::forced_within_the_second(end(Reason::Signal, 137, 10), 0, true)]
    fn a_deletion_ended_what_it_came_before(
        #[case] end: End,
        #[case] grace: i64,
        #[case] expected: bool,
    ) {
        assert_eq!(Deletion { requested: at(10), due: at(10 + grace) }.ended(&end), expected);
    }
}
