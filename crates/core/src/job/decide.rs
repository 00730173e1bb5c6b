//! The decision itself: first which state a run is in, then what that state asks for.

use jiff::{SignedDuration, Timestamp};

use super::{
    AttemptSeen, JobEnd, JobFailure, LastAttempt, Observed, Record, Report, Reported, Reporter,
};
use crate::omjob::{Deletion, End, PodState, REPORT_EVERY, Reason, Source, Trouble};

/// How long after its grace period a deleted pod without a terminal state counts as lost.
const LOST_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// How long the operator goes on reporting where no longer TTL says.
const REPORT_LIMIT: SignedDuration = SignedDuration::from_mins(10);
/// How long for a Job without a TTL.
const REPORT_LIMIT_WITHOUT_TTL: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The phase of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its last attempt has not ended, or it is not yet known whether it was the last.
    Open,
    /// Somebody deleted its Job, and a pod of it lives: that has to go first.
    Stopping,
    /// It ended, as far as the caches know. What is reported rests on a live read.
    Over,
    /// It ended like this, and OpenMetadata may not know.
    Ended(End),
    /// OpenMetadata knows, or never will: the Job and its pods are let go.
    Settled,
}

/// One thing to do. Doing any of them twice leads to the same objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Put [`super::FINALIZER`] on the Job.
    Hold,
    /// Write the record on the Job.
    Remember(Box<Record>),
    /// Put [`crate::omjob::TRACKING_FINALIZER`] on a pod.
    Track {
        /// Its name.
        name: String,
        /// Its UID, so that no other pod of that name is meant.
        uid: String,
    },
    /// Delete a pod with its grace period.
    Delete {
        /// Its name.
        name: String,
        /// Its UID, so that no other pod of that name is meant.
        uid: String,
    },
    /// Take [`crate::omjob::TRACKING_FINALIZER`] off a pod. That the pod is gone is success.
    Release {
        /// Its name.
        name: String,
        /// Its UID, so that no other pod of that name is meant.
        uid: String,
    },
    /// Decide again on a live read, the Job first and then its pods.
    ReadFresh,
    /// Tell OpenMetadata that the run ended like this, unless it knows; then decide again.
    Report(Box<End>),
    /// Write on the Job that its end is settled, and take [`super::FINALIZER`] off.
    Settle(Reported),
    /// Take [`super::FINALIZER`] off.
    LetGo,
}

/// What to do, in order, and when to look again if nothing happens until then.
///
/// The first action that fails ends the list; what is left is decided anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub actions: Vec<Action>,
    /// When time alone changes the decision.
    pub next_look: Option<Timestamp>,
}

/// What to do about a Job that looks like this at this time.
#[must_use]
pub fn decide(observed: &Observed, now: Timestamp) -> Decision {
    let run = Run { observed, now };
    match run.state() {
        State::Open => run.watch(Vec::new()),
        State::Stopping => run.watch(run.stop()),
        State::Over => run.look(),
        State::Ended(end) => run.report(end),
        State::Settled => run.let_go(),
    }
}

impl Observed {
    /// Since when OpenMetadata does not know the end of the run; `None` while it goes on, and once
    /// the end is settled.
    #[must_use]
    pub fn unreported_since(&self) -> Option<Timestamp> {
        if self.record.reported.is_some() {
            return None;
        }
        self.end.as_ref().and_then(|end| end.time).or(self.deleted)
    }
}

/// A run, to be decided upon.
struct Run<'o> {
    observed: &'o Observed,
    now: Timestamp,
}

impl Run<'_> {
    fn state(&self) -> State {
        let Observed { deleted, end, record, attempts, source, .. } = self.observed;
        if record.reported.is_some() {
            return State::Settled;
        }
        if end.is_none() && deleted.is_none() {
            return State::Open;
        }
        if attempts.iter().any(|attempt| self.lives(attempt)) {
            return if deleted.is_some() { State::Stopping } else { State::Open };
        }
        match source {
            Source::Cache => State::Over,
            Source::Api => State::Ended(self.end()),
        }
    }

    fn lives(&self, attempt: &AttemptSeen) -> bool {
        is_alive(attempt) && lost_at(attempt).is_none_or(|time| time > self.now)
    }

    fn newest(&self) -> Option<&AttemptSeen> {
        self.observed.attempts.last()
    }
}

/// What each state asks for.
impl Run<'_> {
    /// Holds on to the Job and to what its pods tell; `then` follows.
    fn watch(&self, then: Vec<Action>) -> Decision {
        let hold = !self.observed.held && self.observed.deleted.is_none();
        let record = self.record();
        let remember = record != self.observed.record;
        let mut actions: Vec<Action> = hold.then_some(Action::Hold).into_iter().collect();
        actions.extend(remember.then(|| Action::Remember(Box::new(record.clone()))));
        actions.extend(self.track());
        actions.extend(self.release(&record));
        actions.extend(then);
        let attempts = self.observed.attempts.iter().filter(|attempt| self.lives(attempt));
        Decision { actions, next_look: attempts.filter_map(lost_at).min() }
    }

    /// Reads live, unless nothing could come of it yet.
    fn look(&self) -> Decision {
        let later = after(self.now, REPORT_EVERY);
        if self.observed.outage && later < self.report_limit() {
            return Decision { next_look: Some(later), ..self.watch(Vec::new()) };
        }
        self.watch(vec![Action::ReadFresh])
    }

    /// What is known of the run, including what its newest pod says, since that pod may be gone later.
    fn record(&self) -> Record {
        let mut record = self.observed.record.clone();
        let Some(newest) = self.newest() else { return record };
        match (&newest.state, newest.deletion) {
            (PodState::Waiting(Some(trouble)), _) => {
                // The words of one reason change often; only another reason is worth a write.
                let known = record.trouble.as_ref().map(|known| known.reason);
                if known != Some(trouble.reason) {
                    record.trouble = Some(trouble.clone());
                }
            }
            (PodState::Ended { end, .. }, Some(deletion)) if !is_newer(&record, newest) => {
                record.last = Some(last_attempt(newest, end, deletion));
            }
            (PodState::Waiting(None) | PodState::Running | PodState::Ended { .. }, _) => {}
        }
        record
    }

    /// The pods that may tell how the run ended. One that is being deleted takes no finalizer.
    fn track(&self) -> impl Iterator<Item = Action> {
        let newest = self.newest().map(|newest| &newest.uid);
        let attempts = self.observed.attempts.iter().filter(move |attempt| {
            let tells = is_alive(attempt) || Some(&attempt.uid) == newest;
            tells && !attempt.tracked && attempt.deletion.is_none()
        });
        attempts.map(|AttemptSeen { name, uid, .. }| Action::Track {
            name: name.clone(),
            uid: uid.clone(),
        })
    }

    /// Pods of which nothing more is to be learnt: of attempts that were followed by another, and
    /// of the newest once it is recorded. A node's drain waits for them.
    fn release(&self, record: &Record) -> impl Iterator<Item = Action> {
        let newest = self.newest().map(|newest| &newest.uid);
        let recorded = record.last.as_ref().map(|last| &last.pod);
        let attempts = self.observed.attempts.iter().filter(move |attempt| {
            let uid = Some(&attempt.uid);
            let known = uid != newest || uid == recorded;
            attempt.tracked && !is_alive(attempt) && known
        });
        attempts.map(release)
    }

    /// Deletes the pods that live: a deletion in the background leaves them until the Job is gone,
    /// and upstream's kill leaves them for good.
    fn stop(&self) -> Vec<Action> {
        let attempts = self.observed.attempts.iter();
        let unasked = attempts.filter(|attempt| is_alive(attempt) && attempt.deletion.is_none());
        unasked.map(delete).collect()
    }

    fn report(&self, end: End) -> Decision {
        let now = self.now;
        let reported = |by, state, message| Reported { at: now, by, state, message };
        match &self.observed.report {
            None => {
                let mut decision = self.watch(Vec::new());
                decision.actions.push(Action::Report(Box::new(end)));
                decision
            }
            Some(Report::Done { by, state }) => self.settle(reported(*by, *state, None)),
            Some(Report::Unavailable(_)) if after(now, REPORT_EVERY) < self.report_limit() => {
                Decision { actions: Vec::new(), next_look: Some(after(now, REPORT_EVERY)) }
            }
            Some(Report::Unavailable(why) | Report::Impossible(why)) => {
                self.settle(reported(Reporter::Nobody, None, Some(why.clone())))
            }
        }
    }

    /// Pods first: the Job's finalizer is what brings us back to them after a crash.
    fn settle(&self, reported: Reported) -> Decision {
        let mut actions = self.release_all();
        actions.push(Action::Settle(reported));
        Decision { actions, next_look: None }
    }

    fn let_go(&self) -> Decision {
        let mut actions = self.release_all();
        actions.extend(self.observed.held.then_some(Action::LetGo));
        Decision { actions, next_look: None }
    }

    fn release_all(&self) -> Vec<Action> {
        self.observed.attempts.iter().filter(|attempt| attempt.tracked).map(release).collect()
    }

    /// Until when the operator reports. A deletion does not wait for the TTL.
    fn report_limit(&self) -> Timestamp {
        let Observed { deleted, end, ttl, .. } = self.observed;
        if let Some(deleted) = deleted {
            return after(*deleted, REPORT_LIMIT);
        }
        let limit = ttl.map_or(REPORT_LIMIT_WITHOUT_TTL, |ttl| ttl.max(REPORT_LIMIT));
        after(end.as_ref().and_then(|end| end.time).unwrap_or(self.now), limit)
    }
}

/// How the run ended.
impl Run<'_> {
    fn end(&self) -> End {
        let last = self.last_attempt();
        match &self.observed.end {
            Some(JobEnd { time, failure: None }) => completed(last, *time),
            Some(JobEnd { time, failure: Some(failure) }) => {
                let end = self.failed(last, failure);
                End { finished: end.finished.or(*time), ..end }
            }
            None => {
                let end = killed(last);
                End { finished: end.finished.or(self.observed.deleted), ..end }
            }
        }
    }

    /// The newest attempt that ended: the end, and when its pod was deleted, if that ended it.
    fn last_attempt(&self) -> Option<(End, Option<Timestamp>)> {
        let recorded = || {
            let last = self.observed.record.last.as_ref()?;
            Some((last.end.clone(), last.stopped))
        };
        let newest = self.newest().filter(|newest| !is_newer(&self.observed.record, newest));
        newest.map_or_else(recorded, |newest| Some(end_of(newest)))
    }

    fn failed(&self, last: Option<(End, Option<Timestamp>)>, failure: &JobFailure) -> End {
        let JobFailure { late, message } = failure;
        let late = *late;
        let Some((end, stopped)) = last else {
            let why = self.observed.record.trouble.as_ref().or(self.observed.refusal.as_ref());
            let reason = if late { Reason::DeadlineExceeded } else { Reason::JobFailed };
            return why
                .map_or_else(|| End::without_code(reason, message), |why| given_up(why, late));
        };
        // Even with exit code 0: the Job failed, so that is a worker's polite answer to the stop.
        if stopped.is_none() || end.reason.is_disruption() {
            return end;
        }
        match self.observed.record.trouble.as_ref().filter(|_| late && end.exit_code.is_none()) {
            Some(trouble) => given_up(trouble, late),
            None if late => {
                let message = "took longer than activeDeadlineSeconds".to_owned();
                End { reason: Reason::DeadlineExceeded, message, ..end }
            }
            None => {
                End { reason: Reason::Deleted, message: "its pod was deleted".to_owned(), ..end }
            }
        }
    }
}

/// When a deleted pod without a terminal state counts as lost with its node.
fn lost_at(attempt: &AttemptSeen) -> Option<Timestamp> {
    attempt.deletion.map(|deletion| after(deletion.due, LOST_AFTER))
}

fn end_of(attempt: &AttemptSeen) -> (End, Option<Timestamp>) {
    let end = match &attempt.state {
        PodState::Ended { end, .. } => end.clone(),
        PodState::Waiting(_) | PodState::Running => {
            let message = "deleted, and its node never said that it ended";
            End::without_code(Reason::NodeLost, message)
        }
    };
    let stopped = attempt.deletion.filter(|deletion| deletion.ended(&end));
    (end, stopped.map(|deletion| deletion.requested))
}

fn completed(last: Option<(End, Option<Timestamp>)>, time: Option<Timestamp>) -> End {
    let seen = last.map(|(end, _)| end).filter(End::succeeded);
    seen.unwrap_or_else(|| End {
        exit_code: Some(0),
        finished: time,
        ..End::without_code(Reason::Completed, "its Job is complete")
    })
}

/// A deletion of the Job is a user's kill; exit code 0 needs no other reason.
fn killed(last: Option<(End, Option<Timestamp>)>) -> End {
    const MESSAGE: &str = "stopped because its Job was deleted";
    match last {
        Some((end, _)) if end.succeeded() => end,
        Some((end, _)) => End { reason: Reason::Killed, message: MESSAGE.to_owned(), ..end },
        None => End::without_code(Reason::Killed, MESSAGE),
    }
}

fn given_up(Trouble { reason, message }: &Trouble, late: bool) -> End {
    let at = if late { " (given up at the deadline)" } else { "" };
    End::without_code(*reason, format!("{message}{at}"))
}

const fn is_alive(attempt: &AttemptSeen) -> bool {
    !matches!(attempt.state, PodState::Ended { .. })
}

/// True when the recorded attempt came after that one.
fn is_newer(record: &Record, attempt: &AttemptSeen) -> bool {
    record
        .last
        .as_ref()
        .is_some_and(|last| last.pod == attempt.uid || last.created > attempt.created)
}

fn last_attempt(attempt: &AttemptSeen, end: &End, deletion: Deletion) -> LastAttempt {
    LastAttempt {
        pod: attempt.uid.clone(),
        created: attempt.created,
        end: end.clone(),
        stopped: deletion.ended(end).then_some(deletion.requested),
    }
}

fn delete(AttemptSeen { name, uid, .. }: &AttemptSeen) -> Action {
    Action::Delete { name: name.clone(), uid: uid.clone() }
}

fn release(AttemptSeen { name, uid, .. }: &AttemptSeen) -> Action {
    Action::Release { name: name.clone(), uid: uid.clone() }
}

fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
