//! Why a worker ended, when it did because its pod was stopped.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{End, Reason, Trouble};

/// The signal with which the kubelet stops containers; other senders rarely use it.
const SIGTERM: i32 = 15;

/// That a pod is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deletion {
    /// When it was asked for. When the kubelet lets go of a pod that a finalizer holds, the API
    /// server moves this to that time, which is after the end, and takes the grace period away.
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

    /// The same when its owner wanted the pod gone since `time`: that is when it was asked for, where
    /// the pod itself does not say so any more.
    #[must_use]
    pub fn wanted_since(self, time: Timestamp) -> Self {
        let requested = if self.has_grace() { self.requested } else { self.requested.min(time) };
        Self { requested, ..self }
    }

    fn has_grace(self) -> bool {
        self.due > self.requested
    }

    /// Whether it is what ended the process.
    ///
    /// Times of Kubernetes are whole seconds. Within one, a deletion without grace is taken for that
    /// of a pod which had ended by itself, as garbage collectors make it: the API server gives such
    /// pods none. Only a signal speaks for the deletion then, and SIGTERM whenever that was: by now
    /// the kubelet may have let go of the pod.
    #[must_use]
    pub fn ended(self, end: &End) -> bool {
        let Some(finished) = end.finished else { return true };
        if self.has_grace() {
            return finished >= self.requested;
        }
        let by_signal = finished == self.requested && end.reason == Reason::Signal;
        finished > self.requested || by_signal || end.signal == Some(SIGTERM)
    }
}

impl End {
    /// The end with its cause, when that is the deletion of the pod; `stop` is what the pod's owner
    /// stopped it for. The pod itself names a disruption, and only a user's kill takes precedence over it.
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
    use crate::pod::end::signal_of;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn end(reason: Reason, exit_code: i32, finished: i64) -> End {
        let (finished, signal) = (Some(at(finished)), signal_of(exit_code));
        End {
            exit_code: Some(exit_code),
            finished,
            signal,
            ..End::without_code(reason, "as it was")
        }
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
    #[case::let_go_after_the_grace_period(end(Reason::Signal, 143, 9), 0, true)]
    #[case::asked_to_end_before(end(Reason::Signal, 143, 9), 60, false)]
    #[case::collected_after_it_died(end(Reason::Signal, 137, 9), 0, false)]
    fn a_deletion_ended_what_it_came_before(
        #[case] end: End,
        #[case] grace: i64,
        #[case] expected: bool,
    ) {
        assert_eq!(Deletion { requested: at(10), due: at(10 + grace) }.ended(&end), expected);
    }

    /// A worker that answers SIGTERM with exit code 1, after the kubelet let go of it.
    #[rstest]
    #[case::wanted_before(0, 8, true)]
    #[case::wanted_afterwards(0, 10, false)]
    #[case::the_pod_says_when(60, 8, false)]
    fn what_the_owner_wanted_counts_where_the_pod_does_not_say(
        #[case] grace: i64,
        #[case] wanted: i64,
        #[case] expected: bool,
    ) {
        let deletion = Deletion { requested: at(12), due: at(12 + grace) };
        let end = end(Reason::Error, 1, 9);
        assert_eq!(deletion.wanted_since(at(wanted)).ended(&end), expected);
    }
}
