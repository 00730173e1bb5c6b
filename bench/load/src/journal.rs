//! When everything about every run was seen.

use std::collections::BTreeMap;

use clap::ValueEnum;
use ompipe_api::Phase;
use serde::Serialize;

/// What a run goes through, as this program can see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Milestone {
    /// Its creation was asked for.
    Asked,
    /// The API server answered.
    Created,
    /// The watch showed it.
    Seen,
    /// The watch showed its main pod.
    MainPod,
    /// Its main container runs.
    MainRunning,
    /// Its main container is over.
    MainEnd,
    /// The watch showed the pod of its exit handler.
    ExitPod,
    /// The exit handler's container runs.
    ExitRunning,
    /// The exit handler's container is over.
    ExitEnd,
    /// Its phase is terminal.
    Terminal,
    /// The watch showed its deletion.
    Gone,
}

/// Something about one run.
#[derive(Debug)]
pub(crate) struct Happening {
    /// Which run.
    pub(crate) run: String,
    /// What it reached.
    pub(crate) milestone: Milestone,
    /// When, in microseconds since 1970.
    pub(crate) at: i64,
    /// Its terminal phase, if that is what it reached.
    pub(crate) phase: Option<Phase>,
}

/// When one run reached what, and how it ended.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Times {
    #[serde(flatten)]
    reached: BTreeMap<Milestone, i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
}

/// The times of all runs, and how many are where they should be.
#[derive(Debug)]
pub(crate) struct Journal {
    until: Milestone,
    wanted: usize,
    reached: usize,
    runs: BTreeMap<String, Times>,
}

impl Journal {
    /// Complete when `wanted` runs have reached `until`.
    pub(crate) const fn new(until: Milestone, wanted: usize) -> Self {
        Self { until, wanted, reached: 0, runs: BTreeMap::new() }
    }

    /// Keeps the first time of everything: watches repeat themselves.
    pub(crate) fn note(&mut self, happening: Happening) {
        let Happening { run, milestone, at, phase } = happening;
        let times = self.runs.entry(run).or_default();
        times.phase = times.phase.or(phase);
        if times.reached.insert_first(milestone, at) && milestone == self.until {
            self.reached += 1;
        }
    }

    /// True when every run is where it should be.
    pub(crate) const fn complete(&self) -> bool {
        self.reached >= self.wanted
    }

    /// Runs that were made and are not where they should be.
    pub(crate) fn unfinished(&self) -> usize {
        self.runs.len().saturating_sub(self.reached)
    }

    /// The times of every run, by its name.
    pub(crate) const fn runs(&self) -> &BTreeMap<String, Times> {
        &self.runs
    }
}

/// Insertion that keeps what is there.
trait InsertFirst {
    /// True when nothing was there.
    fn insert_first(&mut self, milestone: Milestone, at: i64) -> bool;
}

impl InsertFirst for BTreeMap<Milestone, i64> {
    fn insert_first(&mut self, milestone: Milestone, at: i64) -> bool {
        let before = self.len();
        self.entry(milestone).or_insert(at);
        self.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happening(run: &str, milestone: Milestone, at: i64) -> Happening {
        Happening { run: run.to_owned(), milestone, at, phase: None }
    }

    #[test]
    fn what_was_seen_twice_counts_once_at_its_first_time() {
        let mut journal = Journal::new(Milestone::Terminal, 2);
        for at in [5, 6] {
            journal.note(happening("a", Milestone::Terminal, at));
        }
        journal.note(happening("b", Milestone::MainPod, 7));
        assert!(!journal.complete());
        assert_eq!(journal.unfinished(), 1);
        journal.note(happening("b", Milestone::Terminal, 8));
        assert!(journal.complete());
        assert_eq!(journal.runs()["a"].reached[&Milestone::Terminal], 5);
    }
}
