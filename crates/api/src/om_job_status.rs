//! An `OMJob`'s status, to and from what the pure core records.
//!
//! ```text
//! omjob::Status ── OMJobStatus::of ──► phase, mainPodName, message, ...   upstream's, for people
//!       ▲                              mainReason, attempts, conditions   ours, for people
//!       └───────── recorded ◄───────── phase, main, exitHandler, reporting, completionTime
//! ```
//! Nothing is lost on the way there and back but fractions of seconds of the completion, and the
//! ends of very long sentences.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use ompipe_core::omjob::{
    ConditionKind, End, Phase, PodRef, PodSeen, PodState, Reason, Reporting, Stage, StageStatus,
    Status, pod_name,
};

use crate::conditions;
use crate::record::{ReportingRecord, StageRecord, capped};
use crate::{Attempt, OMJob, OMJobStatus};

/// Attempts that are listed.
const MOST_ATTEMPTS: usize = 20;

impl OMJobStatus {
    /// What was recorded of the run. Of a run that another operator began, it is what the fields
    /// that operators share tell.
    #[must_use]
    pub fn recorded(&self) -> Status {
        let record = |record: &Option<StageRecord>, adopted: fn(&Self) -> StageStatus| match record
        {
            Some(record) => record.recorded(),
            None if self.main.is_some() => StageStatus::default(),
            None => adopted(self),
        };
        Status {
            phase: self.phase.unwrap_or_default(),
            main: record(&self.main, Self::adopted_main),
            exit: record(&self.exit_handler, Self::adopted_exit_handler),
            suspended: conditions::holds(&self.conditions, ConditionKind::Suspended),
            reporting: self.reporting.as_ref().map_or(Reporting::NotDue, ReportingRecord::recorded),
            completed: self.completion_time.as_ref().map(|time| time.0),
        }
    }

    /// The status of `omjob` that says `record`, from what it said before and the pods in view.
    #[must_use]
    pub fn of(record: &Status, omjob: &OMJob, pods: &[PodSeen], now: Timestamp) -> Self {
        let previous = omjob.status.clone().unwrap_or_default();
        let generation = omjob.metadata.generation;
        let attempts = previous.attempts_until(record, pods);
        let end = record.main.end.as_ref();
        Self {
            phase: Some(record.phase),
            main_pod_name: shown_pod(record, Stage::Main, omjob, pods),
            exit_handler_pod_name: shown_pod(record, Stage::Exit, omjob, pods),
            start_time: previous.start_time.or(Some(Time(now))),
            completion_time: record.completed.map(Time),
            message: record.message().map(|message| capped(&message)),
            main_pod_exit_code: match end {
                Some(end) => end.exit_code,
                None => attempts.last().and_then(|attempt| attempt.exit_code),
            },
            main_reason: record.reason().map(|reason| reason.to_string()),
            main_signal: end.and_then(|end| end.signal),
            attempts,
            conditions: conditions::of(record, &previous.conditions, generation, now),
            observed_generation: generation,
            main: Some(StageRecord::of(&record.main)),
            exit_handler: Some(&record.exit)
                .filter(|exit| **exit != StageStatus::default())
                .map(StageRecord::of),
            reporting: ReportingRecord::of(&record.reporting),
        }
    }

    /// The ingestion of another operator: one attempt, over since the exit handler's phase.
    fn adopted_main(&self) -> StageStatus {
        let name = self.main_pod_name.clone();
        let pod = name.map(|name| PodRef { attempt: 0, name });
        let end = self.main_is_over().then(|| self.adopted_end());
        StageStatus {
            ended: u32::from(pod.is_some() && end.is_some()),
            failures: u32::from(end.as_ref().is_some_and(|end| !end.succeeded())),
            pod,
            end,
            ..StageStatus::default()
        }
    }

    fn main_is_over(&self) -> bool {
        match self.phase.unwrap_or_default() {
            Phase::Pending | Phase::Running => false,
            // Where no exit code was written down, the pod may still tell.
            Phase::ExitHandlerRunning => self.main_pod_exit_code.is_some(),
            Phase::Succeeded | Phase::Failed => true,
        }
    }

    fn adopted_end(&self) -> End {
        let end = End::adopted(self.main_pod_exit_code);
        match &self.message {
            Some(message) => End { message: message.clone(), ..end },
            None => end,
        }
    }

    /// Upstream's phase at the end is the exit handler's result.
    fn adopted_exit_handler(&self) -> StageStatus {
        let name = self.exit_handler_pod_name.clone();
        let end = match self.phase.unwrap_or_default() {
            Phase::Pending | Phase::Running | Phase::ExitHandlerRunning => None,
            Phase::Succeeded => Some(End::adopted(Some(0))),
            Phase::Failed => Some(End::adopted(None)),
        };
        StageStatus {
            ended: u32::from(name.is_some() && end.is_some()),
            pod: name.map(|name| PodRef { attempt: 0, name }),
            end,
            ..StageStatus::default()
        }
    }

    /// The attempts that were listed, and those that have ended since.
    fn attempts_until(&self, record: &Status, pods: &[PodSeen]) -> Vec<Attempt> {
        let listed = self.main.as_ref().map_or(0, |main| main.ended);
        let new =
            (listed..record.main.ended).filter_map(|attempt| ended_attempt(record, attempt, pods));
        let mut attempts: Vec<Attempt> = self.attempts.iter().cloned().chain(new).collect();
        attempts.drain(..attempts.len().saturating_sub(MOST_ATTEMPTS));
        attempts
    }
}

/// An attempt of main that has just been counted. The last one may have a better reason in the
/// record than its pod knows; of one that vanished only the record tells.
fn ended_attempt(record: &Status, attempt: u32, pods: &[PodSeen]) -> Option<Attempt> {
    let main = &record.main;
    let pod = pods.iter().find(|pod| pod.stage == Stage::Main && pod.attempt == attempt);
    let of_pod = || match &pod?.state {
        PodState::Ended { end, .. } => Some(end),
        PodState::Waiting(_) | PodState::Running => None,
    };
    let of_record = main.end.as_ref().filter(|_| attempt + 1 == main.ended);
    let end = of_record.or_else(of_pod)?;
    let reason = if record.suspended { Reason::Suspended } else { end.reason };
    let seen = pod.map(|pod| &pod.name);
    Some(Attempt {
        pod_name: seen.or_else(|| Some(&main.pod.as_ref()?.name))?.clone(),
        exit_code: end.exit_code,
        reason: Some(reason.to_string()),
        finished_at: end.finished.map(Time),
    })
}

/// The newest pod of a stage: one that is in view, that was, or that is made right after this is
/// written.
fn shown_pod(record: &Status, stage: Stage, omjob: &OMJob, pods: &[PodSeen]) -> Option<String> {
    let known = record.stage(stage);
    let in_view = pods.iter().filter(|pod| pod.stage == stage).max_by_key(|pod| pod.attempt);
    let is_made = known.started.is_some() && known.refusals == 0 && known.end.is_none();
    let made = || is_made.then(|| pod_name(&omjob.name_any(), stage, known.ended));
    let name = in_view.map(|pod| pod.name.clone());
    name.or_else(|| known.pod.as_ref().map(|pod| pod.name.clone())).or_else(made)
}

#[cfg(test)]
mod tests;
