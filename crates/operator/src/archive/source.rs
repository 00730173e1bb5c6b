//! The pods whose logs are archived, as the caches know them.

use std::collections::HashSet;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use ompipe_core::WorkloadKind;
use ompipe_core::archive::Stage;
use ompipe_core::job::AttemptSeen;
use ompipe_core::omjob::{self, PodSeen};

use super::Work;
use crate::queue::Lane;
use crate::view::Attempt;

/// The log of a pod.
#[derive(Clone, Debug)]
pub(super) struct LogOf {
    pub(super) kind: WorkloadKind,
    pub(super) namespace: String,
    /// Name of the run's object.
    pub(super) object: String,
    /// Its UID.
    pub(super) owner: String,
    pub(super) stage: Stage,
    /// Number of the attempt, from 1, as far as the caches know.
    pub(super) number: usize,
    pub(super) pod: String,
    pub(super) uid: String,
    pub(super) created: Timestamp,
    pub(super) place: Place,
}

/// Whether there is a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not yet.
    Waits,
    /// Yes.
    Begun,
    /// The pod will never have one.
    NeverBegins,
}

impl LogOf {
    /// What is written by one follower at a time.
    pub(super) fn key(&self) -> (String, Stage) {
        (self.owner.clone(), self.stage)
    }
}

fn place(state: &omjob::PodState, is_deleted: bool) -> Place {
    match state {
        state if state.has_started() => Place::Begun,
        omjob::PodState::Ended { .. } => Place::NeverBegins,
        _ if is_deleted => Place::NeverBegins,
        _ => Place::Waits,
    }
}

fn of_omjob(attempt: Attempt<PodSeen>) -> LogOf {
    let seen = attempt.seen;
    let stage = match seen.stage {
        omjob::Stage::Main => Stage::Main,
        omjob::Stage::Exit => Stage::ExitHandler,
    };
    LogOf {
        kind: WorkloadKind::OmJob,
        place: place(&seen.state, seen.deletion.is_some()),
        namespace: attempt.namespace,
        object: attempt.object,
        owner: attempt.owner,
        stage,
        number: seen.attempt as usize + 1,
        pod: seen.name,
        uid: seen.uid,
        created: seen.created,
    }
}

fn of_job(attempt: Attempt<AttemptSeen>) -> LogOf {
    let seen = attempt.seen;
    LogOf {
        kind: WorkloadKind::Job,
        place: place(&seen.state, seen.deletion.is_some()),
        namespace: attempt.namespace,
        object: attempt.object,
        owner: attempt.owner,
        stage: Stage::Main,
        number: 1,
        pod: seen.name,
        uid: seen.uid,
        created: seen.created,
    }
}

impl Work {
    /// The logs of the pods whose UIDs pass.
    pub(super) fn logs(&self, passes: impl Fn(&str) -> bool) -> Vec<LogOf> {
        let of_omjobs = self.context.pods.filter(|attempt| passes(&attempt.seen.uid));
        let mut logs: Vec<LogOf> = of_omjobs.into_iter().map(of_omjob).collect();
        if let Some(reporter) = &self.reporter {
            let of_jobs = reporter.pods().filter(|attempt| passes(&attempt.seen.uid));
            logs.extend(of_jobs.into_iter().map(of_job));
        }
        logs
    }

    /// UIDs of every pod in the caches.
    pub(super) fn uids(&self) -> HashSet<String> {
        self.logs(|_| true).into_iter().map(|log| log.uid).collect()
    }

    /// Whether the log of a pod grows no more: its process is over, or the pod is gone.
    pub(super) fn has_ended(&self, log: &LogOf) -> bool {
        let ended = |state: &omjob::PodState| matches!(state, omjob::PodState::Ended { .. });
        if let (WorkloadKind::Job, Some(reporter)) = (log.kind, &self.reporter) {
            let pods = reporter.pods().of(&log.owner);
            let mut same = pods.iter().filter(|pod| pod.seen.uid == log.uid);
            return same.next().is_none_or(|pod| ended(&pod.seen.state));
        }
        let pods = self.context.pods.of(&log.owner);
        let mut same = pods.iter().filter(|pod| pod.seen.uid == log.uid);
        same.next().is_none_or(|pod| ended(&pod.seen.state))
    }

    /// Number of an attempt of a Job: its pods in order, as far as they are there.
    pub(super) fn number(&self, log: &LogOf) -> usize {
        let (WorkloadKind::Job, Some(reporter)) = (log.kind, &self.reporter) else {
            return log.number;
        };
        let pods = reporter.pods().of(&log.owner);
        let earlier =
            pods.iter().filter(|pod| (pod.seen.created, &pod.seen.name) < (log.created, &log.pod));
        earlier.count() + 1
    }

    /// Has the run's object looked at again.
    pub(super) fn requeue(&self, log: &LogOf) {
        if let (WorkloadKind::Job, Some(reporter)) = (log.kind, &self.reporter) {
            return reporter.look_at(&log.object, &log.namespace);
        }
        let key = ObjectRef::new(&log.object).within(&log.namespace);
        self.context.jobs.add(key, Lane::GoesOn);
    }
}
