//! Whether another attempt of main follows the one that ended, when, and with how much memory.

use jiff::SignedDuration;

use super::backoff::Backoff;
use super::{Bytes, End, Limits, Reason, StageStatus};

/// How often a run may lose its worker to drains, preemptions and nodes that go away. They are no
/// failures of the worker, so that `backoffLimit` does not bound them.
pub const MOST_DISRUPTIONS: u32 = 20;
/// How many attempts a run may have whose pods the nodes turn away: with the waits between them,
/// more than a day.
const MOST_ATTEMPTS: u32 = 300;
/// First and longest wait between two attempts, as for a Job.
const RETRY: Backoff = Backoff { first: 10, most: 360 };

/// A run whose main pod has just ended, which is counted already.
pub(super) struct Retry<'o> {
    /// UID of the `OMJob`.
    pub(super) uid: &'o str,
    pub(super) limits: &'o Limits,
    /// What is recorded of main.
    pub(super) main: &'o StageStatus,
    /// How the attempt ended.
    pub(super) end: &'o End,
    /// The memory limit that its pod had.
    pub(super) memory_limit: Option<Bytes>,
}

impl Retry<'_> {
    /// True when another attempt may follow, as far as their number and the end of this one decide.
    pub(super) fn is_allowed(&self) -> bool {
        let Self { end, main, limits, .. } = self;
        if end.succeeded() || end.is_final() {
            return false;
        }
        match limits.backoff_limit {
            // Nothing of it has run, so that it is safe to try again.
            _ if end.reason == Reason::Rejected => main.ended < MOST_ATTEMPTS,
            None => false,
            Some(_) if end.reason.took_the_worker_away() => main.disruptions < MOST_DISRUPTIONS,
            Some(limit) => main.failures <= limit,
        }
    }

    /// How long the next attempt waits.
    pub(super) fn wait(&self) -> SignedDuration {
        RETRY.spread(self.main.ended.saturating_sub(1), self.uid)
    }

    /// The memory limit of the next attempt, where an OOM kill has raised it.
    pub(super) fn next_memory_limit(&self) -> Option<Bytes> {
        let is_oom = self.end.reason == Reason::OomKilled;
        let more = self.limits.more_memory.filter(|_| is_oom);
        let raised = more.zip(self.memory_limit).and_then(|(more, limit)| more.after(limit));
        raised.or(self.main.memory_limit)
    }

    /// The end of the run, with what the retries came to.
    pub(super) fn conclusion(&self) -> End {
        let notes = [self.note_of_memory(), self.note_of_disruptions()];
        let message = notes
            .into_iter()
            .flatten()
            .fold(self.end.message.clone(), |message, note| format!("{message}; {note}"));
        End { message, ..self.end.clone() }
    }

    fn note_of_memory(&self) -> Option<String> {
        let is_oom = self.end.reason == Reason::OomKilled;
        let more = self.limits.more_memory.zip(self.memory_limit);
        if let Some((more, limit)) = more.filter(|_| is_oom)
            && more.after(limit).is_none()
        {
            return Some(format!(
                "its memory limit was {limit}, and retryWithMoreMemory allows no more"
            ));
        }
        let raised = self.main.memory_limit?;
        Some(format!("its memory limit was {raised}, raised after an OOM kill"))
    }

    fn note_of_disruptions(&self) -> Option<String> {
        let disruptions = self.main.disruptions;
        let is_last = self.end.reason.took_the_worker_away() && disruptions >= MOST_DISRUPTIONS;
        is_last.then(|| {
            format!("its worker was taken away {disruptions} times, so no other attempt follows")
        })
    }
}
