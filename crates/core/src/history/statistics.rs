//! What many runs have in common.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::PipelineState;
use crate::archive::RunRecord;

/// What the runs of some time have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// All of them.
    pub runs: usize,
    /// Those that ended.
    pub ended: usize,
    /// Share of successful runs among those that no user stopped, from 0 to 1; `None` without such a run.
    pub success_rate: Option<f64>,
    /// How long those took that ended; `None` without any.
    pub durations: Option<Durations>,
    /// Why they failed, the most frequent first.
    pub reasons: Vec<ReasonCount>,
    /// Each day on which one was created, the oldest first.
    pub days: Vec<Day>,
}

/// How long runs took from their creation to their end, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durations {
    /// Half of them took at most so long.
    pub p50: i64,
    /// 95 of 100 took at most so long.
    pub p95: i64,
    /// The longest.
    pub max: i64,
}

/// How many runs failed for a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// The reason; `Unknown` where none is known.
    pub reason: String,
    /// How many.
    pub runs: usize,
}

/// The runs of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// The day.
    pub date: Date,
    /// Runs that ended well, some with errors in their steps among them.
    pub succeeded: usize,
    /// Runs that failed.
    pub failed: usize,
    /// Runs that somebody stopped.
    pub stopped: usize,
    /// Runs that wait or go on.
    pub unfinished: usize,
}

impl Statistics {
    /// Counts runs; days are those of a time zone.
    #[must_use]
    pub fn of<'r>(runs: impl IntoIterator<Item = &'r RunRecord>, zone: &TimeZone) -> Self {
        let mut count = Count::default();
        runs.into_iter().for_each(|run| count.add(run, zone));
        count.finish()
    }
}

#[derive(Default)]
struct Count {
    runs: usize,
    succeeded: usize,
    failed: usize,
    stopped: usize,
    seconds: Vec<i64>,
    reasons: BTreeMap<String, usize>,
    days: BTreeMap<Date, Day>,
}

impl Count {
    fn add(&mut self, run: &RunRecord, zone: &TimeZone) {
        self.runs += 1;
        if run.state.is_terminal() {
            self.seconds.extend(seconds(run));
        }
        match run.state {
            PipelineState::Success | PipelineState::PartialSuccess => self.succeeded += 1,
            PipelineState::Stopped => self.stopped += 1,
            PipelineState::Queued | PipelineState::Running => {}
            PipelineState::Failed => {
                self.failed += 1;
                let reason = run.reason.clone().unwrap_or_else(|| "Unknown".to_owned());
                *self.reasons.entry(reason).or_default() += 1;
            }
        }
        if let Some(created) = run.created {
            let date = zone.to_datetime(created).date();
            self.days.entry(date).or_insert_with(|| Day::of(date)).add(run.state);
        }
    }

    fn finish(mut self) -> Statistics {
        let judged = self.succeeded + self.failed;
        let mut reasons: Vec<ReasonCount> =
            self.reasons.into_iter().map(|(reason, runs)| ReasonCount { reason, runs }).collect();
        reasons.sort_by_key(|one| Reverse(one.runs));
        Statistics {
            runs: self.runs,
            ended: judged + self.stopped,
            success_rate: (judged > 0).then(|| ratio(self.succeeded, judged)),
            durations: Durations::of(&mut self.seconds),
            reasons,
            days: self.days.into_values().collect(),
        }
    }
}

fn seconds(run: &RunRecord) -> Option<i64> {
    let (created, finished) = run.created.zip(run.finished)?;
    Some(finished.duration_since(created).as_secs().max(0))
}

#[expect(clippy::cast_precision_loss, reason = "counts of runs are far below 2^52")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

impl Day {
    const fn of(date: Date) -> Self {
        Self { date, succeeded: 0, failed: 0, stopped: 0, unfinished: 0 }
    }

    const fn add(&mut self, state: PipelineState) {
        match state {
            PipelineState::Success | PipelineState::PartialSuccess => self.succeeded += 1,
            PipelineState::Failed => self.failed += 1,
            PipelineState::Stopped => self.stopped += 1,
            PipelineState::Queued | PipelineState::Running => self.unfinished += 1,
        }
    }
}

impl Durations {
    /// By the nearest rank, so that each is the duration of a run that there was.
    fn of(seconds: &mut [i64]) -> Option<Self> {
        seconds.sort_unstable();
        let max = *seconds.last()?;
        let at = |percent: usize| seconds[(seconds.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self { p50: at(50), p95: at(95), max })
    }
}
