//! Lists of runs, a page at a time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::RunFilter;
use crate::RunId;
use crate::archive::RunRecord;

/// The place in a list of runs behind which the next page begins. It names a run and not a number, so
/// that runs which begin meanwhile neither repeat nor hide others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    created: Option<Timestamp>,
    run: RunId,
}

impl Cursor {
    /// The place of a run.
    #[must_use]
    pub const fn of(run: &RunRecord) -> Self {
        Self { created: run.created, run: run.run_id }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.created {
            Some(created) => write!(f, "{}~{}", created.as_nanosecond(), self.run),
            None => write!(f, "~{}", self.run),
        }
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const REMEDY: &str = "must be the nextCursor of the page before";
        let (created, run) = text.split_once('~').ok_or(REMEDY)?;
        let run = run.parse().map_err(|_| REMEDY)?;
        if created.is_empty() {
            return Ok(Self { created: None, run });
        }
        let created: i128 = created.parse().map_err(|_| REMEDY)?;
        let created = Timestamp::from_nanosecond(created).map_err(|_| REMEDY)?;
        Ok(Self { created: Some(created), run })
    }
}

/// Some runs of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<'r> {
    /// The runs, newest first.
    pub runs: Vec<&'r RunRecord>,
    /// Where the next page begins; `None` behind the last.
    pub next: Option<Cursor>,
}

/// Puts runs into the order of every list.
pub fn newest_first(runs: &mut [RunRecord]) {
    runs.sort_by_key(|run| Reverse(Cursor::of(run)));
}

/// Runs of the cluster and archived ones as one list, newest first: a run that is in both is one.
#[must_use]
pub fn merged(live: Vec<RunRecord>, archived: Vec<RunRecord>) -> Vec<RunRecord> {
    let by_id = |record: RunRecord| (record.run_id, record);
    let mut runs: BTreeMap<RunId, RunRecord> = archived.into_iter().map(by_id).collect();
    for run in live {
        let run = match runs.remove(&run.run_id) {
            Some(earlier) => run.after(earlier),
            None => run,
        };
        runs.insert(run.run_id, run);
    }
    let mut all: Vec<RunRecord> = runs.into_values().collect();
    newest_first(&mut all);
    all
}

/// At most `limit` of the matching runs, after a cursor. `runs` are sorted, newest first.
#[must_use]
pub fn page<'r>(
    runs: &'r [RunRecord],
    filter: &RunFilter,
    after: Option<Cursor>,
    limit: usize,
) -> Page<'r> {
    let begin = after.map_or(0, |after| runs.partition_point(|run| Cursor::of(run) >= after));
    let mut meant = runs[begin..].iter().filter(|run| filter.accepts(run));
    let taken: Vec<&RunRecord> = meant.by_ref().take(limit).collect();
    let next = meant.next().and_then(|_| taken.last()).map(|last| Cursor::of(last));
    Page { runs: taken, next }
}
