//! What is deployed and what runs, in one piece: what the API and the page show of all pipelines.
//!
//! The cluster is listed at most once at a time, however many look on: those who ask meanwhile get what
//! the listing after their question brings. The archive is listed once a minute.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ompipe_client::{DeployedPipeline, Error, Inventory, K8sPipelineClient};
use ompipe_core::PipelineState;
use ompipe_core::archive::RunRecord;
use ompipe_core::history::{Statistics, merged};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How old the archived runs may be.
const ARCHIVE_EVERY: Duration = Duration::from_mins(1);
/// How old the count of events may be: the API server reads all events of the namespace for it.
const EVENTS_EVERY: Duration = Duration::from_mins(1);
/// How far back archived runs are shown.
const ARCHIVED_DAYS: i64 = 30;
/// Archived runs that are held at most, about 1 kB each.
const MOST_ARCHIVED: usize = 20_000;
/// Runs of a pipeline that its strip shows.
pub(crate) const STRIP: usize = 25;

/// Everything that there was to see at a time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// When the cluster was asked.
    pub(crate) now: Timestamp,
    /// The deployed pipelines, by name.
    pub(crate) pipelines: Vec<DeployedPipeline>,
    /// All runs, newest first.
    pub(crate) runs: Vec<RunRecord>,
    /// Deleted pods of runs that are still there long after their grace period.
    pub(crate) stuck_pods: usize,
    /// Where the runs of a pipeline are in `runs`, by its fully qualified name.
    by_pipeline: HashMap<String, Vec<usize>>,
}

impl Snapshot {
    pub(crate) fn new(
        now: Timestamp,
        pipelines: Vec<DeployedPipeline>,
        runs: Vec<RunRecord>,
    ) -> Self {
        let mut by_pipeline: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, run) in runs.iter().enumerate() {
            if let Some(pipeline) = &run.pipeline {
                by_pipeline.entry(pipeline.clone()).or_default().push(index);
            }
        }
        Self { now, pipelines, runs, stuck_pods: 0, by_pipeline }
    }

    /// The runs of a pipeline, newest first.
    pub(crate) fn runs_of(&self, pipeline: &str) -> impl Iterator<Item = &RunRecord> {
        let indices = self.by_pipeline.get(pipeline).into_iter().flatten();
        indices.filter_map(|index| self.runs.get(*index))
    }

    /// When a pipeline last ended well, as far as its runs are known.
    pub(crate) fn last_success(&self, pipeline: &str) -> Option<Timestamp> {
        self.runs_of(pipeline).find(|run| ended_well(run)).and_then(|run| run.finished)
    }

    /// Since when a pipeline fails: the first of the failed runs since it last ended well. `None` where
    /// its last run that ended did not fail.
    pub(crate) fn failing_since(&self, pipeline: &str) -> Option<Timestamp> {
        let judged = self
            .runs_of(pipeline)
            .filter(|run| run.state.is_terminal() && run.state != PipelineState::Stopped);
        let failed = judged.take_while(|run| run.state == PipelineState::Failed);
        failed.last().and_then(|run| run.finished.or(run.created))
    }

    /// When a pipeline with a schedule has not ended well for two of its intervals. `None` where it is
    /// not known to have ended well before.
    pub(crate) fn stale_at(&self, pipeline: &DeployedPipeline) -> Option<Timestamp> {
        let schedule = pipeline.timetable.as_ref().filter(|_| !pipeline.suspended)?;
        let last = self.last_success(&pipeline.identity.fully_qualified_name)?;
        let first = schedule.next_after(last)?;
        schedule.next_after(schedule.next_after(first)?)
    }

    /// Whether that was in the past.
    pub(crate) fn is_stale(&self, pipeline: &DeployedPipeline) -> bool {
        self.stale_at(pipeline).is_some_and(|at| at < self.now)
    }

    /// Since when the oldest run of a pipeline waits or goes on.
    pub(crate) fn unfinished_since(&self, pipeline: &str) -> Option<Timestamp> {
        let unfinished = self.runs_of(pipeline).filter(|run| !run.state.is_terminal());
        unfinished.filter_map(|run| run.created).min()
    }

    /// How many seconds 95 of 100 runs of a pipeline took at most that ended well.
    pub(crate) fn usual_seconds(&self, pipeline: &str) -> Option<i64> {
        let good = self.runs_of(pipeline).filter(|run| ended_well(run));
        Statistics::of(good, &TimeZone::UTC).durations.map(|durations| durations.p95)
    }
}

const fn ended_well(run: &RunRecord) -> bool {
    matches!(run.state, PipelineState::Success | PipelineState::PartialSuccess)
}

/// The latest snapshot.
#[derive(Default)]
pub(crate) struct Board {
    latest: Mutex<Option<(Instant, Arc<Snapshot>)>>,
    archived: Mutex<Option<(Instant, Vec<RunRecord>)>>,
    failed_hooks: Mutex<Option<(Instant, usize)>>,
}

impl Board {
    /// A snapshot that is at most so old; with [`Duration::ZERO`] one that was begun after this call.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub(crate) async fn snapshot(
        &self,
        client: &K8sPipelineClient,
        max_age: Duration,
    ) -> Result<Arc<Snapshot>, Error> {
        let asked = Instant::now();
        let mut latest = self.latest.lock().await;
        if let Some((began, snapshot)) = &*latest
            && *began + max_age >= asked
        {
            return Ok(Arc::clone(snapshot));
        }
        let began = Instant::now();
        let now = now();
        let (found, archived) = tokio::join!(client.inventory(), self.archived(client, now));
        let Inventory { pipelines, runs, stuck_pods } = found?;
        let snapshot = Snapshot::new(now, pipelines, merged(runs, archived));
        let snapshot = Arc::new(Snapshot { stuck_pods, ..snapshot });
        *latest = Some((began, Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    /// Something was changed: who asks next sees it.
    pub(crate) async fn forget(&self) {
        *self.latest.lock().await = None;
    }

    /// Pods of runs whose preStop hook failed. Whoever may not read events knows of none.
    pub(crate) async fn failed_hooks(&self, client: &K8sPipelineClient) -> usize {
        let mut known = self.failed_hooks.lock().await;
        if let Some((at, count)) = &*known
            && at.elapsed() < EVENTS_EVERY
        {
            return *count;
        }
        let listed = client.failed_pre_stop_hooks().await;
        let listed = listed.inspect_err(|error| debug!(%error, "events could not be read"));
        let count = listed.unwrap_or_default();
        *known = Some((Instant::now(), count));
        count
    }

    /// An archive that does not answer hides no run of the cluster.
    async fn archived(&self, client: &K8sPipelineClient, now: Timestamp) -> Vec<RunRecord> {
        let mut archived = self.archived.lock().await;
        if let Some((at, runs)) = &*archived
            && at.elapsed() < ARCHIVE_EVERY
        {
            return runs.clone();
        }
        let since = now.checked_sub(SignedDuration::from_hours(24 * ARCHIVED_DAYS)).ok();
        match client.archived_runs(since, MOST_ARCHIVED).await {
            Ok(runs) => {
                *archived = Some((Instant::now(), runs.clone()));
                runs
            }
            Err(error) => {
                warn!(%error, "only the runs that were known before are listed");
                archived.as_ref().map(|(_, runs)| runs.clone()).unwrap_or_default()
            }
        }
    }
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "a request is the outermost caller")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
pub(crate) mod tests {
    use ompipe_core::{PipelineIdentity, Schedule};
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    pub(crate) fn record(number: u128, pipeline: &str, fields: &Value) -> RunRecord {
        let mut document = json!({
            "format": 1, "runId": uuid::Uuid::from_u128(number), "pipeline": pipeline,
            "namespace": "n", "kind": "Job", "object": "j", "trigger": "schedule",
            "state": "success", "attempts": [], "updated": at(0),
        });
        document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    pub(crate) fn deployed(number: u128, name: &str, cron: Option<&str>) -> DeployedPipeline {
        let schedule = cron.map(|cron| Schedule::new(cron, "UTC".parse().unwrap()).unwrap());
        let next_run = schedule.as_ref().and_then(|schedule| schedule.next_after(at(100_000)));
        DeployedPipeline {
            identity: PipelineIdentity {
                id: uuid::Uuid::from_u128(number),
                name: name.to_owned(),
                fully_qualified_name: format!("shop.{name}"),
            },
            namespace: "n".to_owned(),
            pipeline_type: "metadata".to_owned(),
            schedule: schedule.as_ref().map(|one| format!("{} {}", one.as_cron(), one.zone())),
            timetable: schedule,
            suspended: false,
            next_run,
            missed_slot: None,
            last_run: None,
        }
    }

    fn snapshot(now: i64, states: &[&str]) -> Snapshot {
        let runs = states.iter().enumerate().map(|(index, state)| {
            let second = 1000 - i64::try_from(index).unwrap();
            let fields = json!({ "state": state, "created": at(second), "finished": at(second) });
            record(index as u128, "shop.a", &fields)
        });
        Snapshot::new(at(now), vec![deployed(1, "a", Some("*/5 * * * *"))], runs.collect())
    }

    #[test]
    fn a_pipeline_fails_since_its_first_failure_after_it_last_ended_well() {
        let failing =
            snapshot(1000, &["running", "failed", "stopped", "failed", "success", "failed"]);
        assert_eq!(failing.failing_since("shop.a"), Some(at(997)));
        assert_eq!(failing.last_success("shop.a"), Some(at(996)));
        let well = snapshot(1000, &["stopped", "partialSuccess", "failed"]);
        assert_eq!(well.failing_since("shop.a"), None);
        assert_eq!(well.failing_since("shop.b"), None);
    }

    #[test]
    fn a_pipeline_is_stale_when_the_slots_of_two_intervals_brought_no_success() {
        let is_stale = |now| {
            let snapshot = snapshot(now, &["failed", "success"]);
            snapshot.is_stale(&snapshot.pipelines[0])
        };
        // It ended well at 16:39; slots are at 20:00, 25:00, 30:00 and so on.
        assert!(!is_stale(1800));
        assert!(is_stale(1801));
    }
}
