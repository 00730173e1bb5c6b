//! Metrics about pipelines and their runs, for plain Jobs and `OMJob`s alike, read off the same
//! [`Snapshot`] as the page.
//!
//! Every replica counts every run, so that sums over replicas count twice: take the greatest of them. A run
//! that had ended before this replica first looked is not counted.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use ompipe_client::DeployedPipeline;
use ompipe_core::RunId;
use ompipe_core::archive::RunRecord;
use ompipe_core::history::{Phase, timeline};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::board::Snapshot;

/// Pipelines that have series of their own; further ones have none, so that the number is bounded.
const MOST_PIPELINES: usize = 5_000;
/// Upper bounds in seconds: from a test of a connection to a day of profiling.
const DURATIONS: [f64; 9] = [10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 10_800.0, 43_200.0, 86_400.0];
/// Upper bounds in seconds: from a free node to a queue of hours.
const QUEUES: [f64; 7] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPipeline {
    pipeline: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LastRun {
    pipeline: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    mode: &'static str,
    r#type: String,
    state: &'static str,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfType {
    mode: &'static str,
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unfinished {
    mode: &'static str,
    state: &'static str,
}

type Seconds = Family<OfType, Histogram, fn() -> Histogram>;

/// What was counted since this replica began.
pub(crate) struct PipelineMetrics {
    /// Ended runs that are counted; `None` before the first look.
    counted: Mutex<Option<HashSet<RunId>>>,
    ended: Family<Ended, Counter>,
    duration: Seconds,
    queue: Seconds,
}

impl PipelineMetrics {
    pub(crate) fn new() -> Self {
        Self {
            counted: Mutex::default(),
            ended: Family::default(),
            duration: Family::new_with_constructor(
                (|| Histogram::new(DURATIONS)) as fn() -> Histogram,
            ),
            queue: Family::new_with_constructor((|| Histogram::new(QUEUES)) as fn() -> Histogram),
        }
    }

    /// The metrics of a snapshot, and of so many pods with failed hooks, as text in the format `OpenMetrics`.
    ///
    /// # Errors
    /// None in practice: a `String` takes every text.
    pub(crate) fn encode(
        &self,
        snapshot: &Snapshot,
        failed_hooks: usize,
    ) -> Result<String, fmt::Error> {
        self.count(snapshot);
        let mut registry = Registry::with_prefix("ompipe");
        let help = "Runs that ended";
        registry.register("runs_ended", help, self.ended.clone());
        let help = "Time from the request for a run to its end";
        registry.register_with_unit("run_duration", help, Unit::Seconds, self.duration.clone());
        let help = "Time from the request for a run to the start of its process";
        registry.register_with_unit("run_queue", help, Unit::Seconds, self.queue.clone());
        register_runs(&mut registry, snapshot);
        register_pods(&mut registry, snapshot, failed_hooks);
        register_pipelines(&mut registry, snapshot);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn count(&self, snapshot: &Snapshot) {
        let ended = || snapshot.runs.iter().filter(|run| run.state.is_terminal());
        let now: HashSet<RunId> = ended().map(|run| run.run_id).collect();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = counted.replace(now) {
            let types = types(snapshot);
            ended()
                .filter(|run| !known.contains(&run.run_id))
                .for_each(|run| self.add(run, &types));
        }
    }

    fn add(&self, run: &RunRecord, types: &HashMap<&str, &str>) {
        let kind = run.pipeline.as_deref().and_then(|pipeline| types.get(pipeline));
        let (mode, r#type) = (mode(run), (*kind.unwrap_or(&"unknown")).to_owned());
        let of_type = OfType { mode, r#type: r#type.clone() };
        if let Some((created, finished)) = run.created.zip(run.finished) {
            let took = finished.duration_since(created).as_secs_f64();
            self.duration.get_or_create(&of_type).observe(took.max(0.0));
        }
        if let Some(waited) = waited(run) {
            self.queue.get_or_create(&of_type).observe(waited);
        }
        let reason = reason(run);
        self.ended.get_or_create(&Ended { mode, r#type, state: run.state.as_str(), reason }).inc();
    }
}

/// Reasons are a closed set; what an archive of another version has is one to the metric.
fn reason(run: &RunRecord) -> String {
    let known = ompipe_core::Reason::ALL.iter().map(|reason| reason.as_str());
    let reason = run.reason.as_deref().unwrap_or_default();
    let known = known.into_iter().find(|known| *known == reason);
    known.unwrap_or(if reason.is_empty() { "" } else { "other" }).to_owned()
}

fn mode(run: &RunRecord) -> &'static str {
    if run.kind == "OMJob" { "operator" } else { "job" }
}

fn waited(run: &RunRecord) -> Option<f64> {
    let began = timeline(run).into_iter().find(|span| span.phase == Phase::Running)?.from;
    Some(began.duration_since(run.created?).as_secs_f64().max(0.0))
}

fn types(snapshot: &Snapshot) -> HashMap<&str, &str> {
    snapshot.pipelines.iter().map(type_of).collect()
}

fn type_of(pipeline: &DeployedPipeline) -> (&str, &str) {
    (fqn(pipeline), pipeline.pipeline_type.as_str())
}

/// A number that each pipeline has, or has not now: a name, a help text, and where it is read from.
type OfEach = (&'static str, &'static str, fn(&Snapshot, &DeployedPipeline) -> Option<i64>);

const OF_EACH: [OfEach; 7] = [
    ("last_success_timestamp_seconds", "When a pipeline last ended well", |snapshot, pipeline| {
        snapshot.last_success(fqn(pipeline)).map(Timestamp::as_second)
    }),
    ("next_run_timestamp_seconds", "When a pipeline runs next by its schedule", |_, pipeline| {
        pipeline.next_run.map(Timestamp::as_second)
    }),
    (
        "failing_since_timestamp_seconds",
        "When the first of a pipeline's failed runs since its last good one ended",
        |snapshot, pipeline| snapshot.failing_since(fqn(pipeline)).map(Timestamp::as_second),
    ),
    (
        "stale_timestamp_seconds",
        "When a pipeline has not ended well for two intervals of its schedule",
        |snapshot, pipeline| snapshot.stale_at(pipeline).map(Timestamp::as_second),
    ),
    (
        "missed_slot_timestamp_seconds",
        "The first scheduled time since a pipeline's last run at which it should have run",
        |_, pipeline| pipeline.missed_slot.map(Timestamp::as_second),
    ),
    (
        "unfinished_since_timestamp_seconds",
        "When the oldest run of a pipeline that waits or goes on was asked for",
        |snapshot, pipeline| snapshot.unfinished_since(fqn(pipeline)).map(Timestamp::as_second),
    ),
    (
        "usual_duration_seconds",
        "Time that 95 of 100 good runs of a pipeline took at most",
        |snapshot, pipeline| snapshot.usual_seconds(fqn(pipeline)),
    ),
];

fn fqn(pipeline: &DeployedPipeline) -> &str {
    &pipeline.identity.fully_qualified_name
}

fn register_pipelines(registry: &mut Registry, snapshot: &Snapshot) {
    let pipelines = || snapshot.pipelines.iter().take(MOST_PIPELINES);
    let registry = registry.sub_registry_with_prefix("pipeline");
    let state: Family<LastRun, Gauge> = Family::default();
    for name in pipelines().map(fqn) {
        if let Some(run) = snapshot.runs_of(name).next() {
            let labels = LastRun { pipeline: name.to_owned(), state: run.state.as_str() };
            state.get_or_create(&labels).set(1);
        }
    }
    registry.register("last_run_state", "1 for the state of a pipeline's last run", state);
    for (name, help, read) in OF_EACH {
        let family: Family<OfPipeline, Gauge> = Family::default();
        for pipeline in pipelines() {
            if let Some(value) = read(snapshot, pipeline) {
                let labels = OfPipeline { pipeline: fqn(pipeline).to_owned() };
                family.get_or_create(&labels).set(value);
            }
        }
        registry.register(name, help, family);
    }
}

fn register_runs(registry: &mut Registry, snapshot: &Snapshot) {
    let unfinished: Family<Unfinished, Gauge> = Family::default();
    for (mode, state) in
        [("job", "queued"), ("job", "running"), ("operator", "queued"), ("operator", "running")]
    {
        unfinished.get_or_create(&Unfinished { mode, state }).set(0);
    }
    for run in snapshot.runs.iter().filter(|run| !run.state.is_terminal()) {
        unfinished.get_or_create(&Unfinished { mode: mode(run), state: run.state.as_str() }).inc();
    }
    registry.register("runs_unfinished", "Runs that wait or go on", unfinished);
}

fn register_pods(registry: &mut Registry, snapshot: &Snapshot, failed_hooks: usize) {
    let gauge = |count: usize| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        gauge
    };
    let help = "Deleted pods of runs that are still there five minutes after their grace period";
    registry.register("pods_stuck_terminating", help, gauge(snapshot.stuck_pods));
    let help = "Pods of runs whose preStop hook failed, of which Kubernetes still has the event";
    registry.register("pods_failed_pre_stop_hook", help, gauge(failed_hooks));
}

impl fmt::Debug for PipelineMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineMetrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::board::tests::{at, deployed, record};

    fn snapshot(states: &[(&str, &str)]) -> Snapshot {
        let runs = states.iter().enumerate().map(|(number, (kind, state))| {
            let reason = (*state == "failed").then_some("OOMKilled");
            let began =
                json!([{ "pod": "p", "created": at(2), "started": at(7), "finished": at(40) }]);
            record(
                number as u128,
                "shop.a",
                &json!({
                    "kind": kind, "state": state, "reason": reason, "created": at(1),
                    "finished": at(41), "attempts": began,
                }),
            )
        });
        Snapshot::new(at(100_000), vec![deployed(1, "a", Some("0 * * * *"))], runs.collect())
    }

    #[test]
    fn a_run_is_counted_once_and_only_if_it_ended_while_this_replica_looked() {
        let metrics = PipelineMetrics::new();
        metrics.encode(&snapshot(&[("Job", "success"), ("Job", "running")]), 0).unwrap();
        let later = snapshot(&[("Job", "success"), ("Job", "failed"), ("OMJob", "success")]);
        metrics.encode(&later, 0).unwrap();
        let text = metrics.encode(&later, 0).unwrap();
        for line in [
            r#"ompipe_runs_ended_total{mode="job",type="metadata",state="failed",reason="OOMKilled"} 1"#,
            r#"ompipe_runs_ended_total{mode="operator",type="metadata",state="success",reason=""} 1"#,
            r#"ompipe_run_duration_seconds_sum{mode="job",type="metadata"} 40.0"#,
            r#"ompipe_run_queue_seconds_sum{mode="job",type="metadata"} 6.0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains(r#"mode="job",type="metadata",state="success""#), "{text}");
    }

    #[rstest]
    #[case(&[("Job", "success")], "last_run_state{pipeline=\"shop.a\",state=\"success\"} 1")]
    #[case(&[("Job", "success")], "last_success_timestamp_seconds{pipeline=\"shop.a\"} 41")]
    #[case(&[("Job", "success")], "next_run_timestamp_seconds{pipeline=\"shop.a\"} 100800")]
    #[case(&[("Job", "success")], "stale_timestamp_seconds{pipeline=\"shop.a\"} 10800")]
    #[case(&[("Job", "success")], "usual_duration_seconds{pipeline=\"shop.a\"} 40")]
    #[case(&[("Job", "success")], "missed_slot_timestamp_seconds{pipeline=\"shop.a\"} 3600")]
    #[case(&[("OMJob", "failed")], "failing_since_timestamp_seconds{pipeline=\"shop.a\"} 41")]
    #[case(&[("OMJob", "running")], "unfinished_since_timestamp_seconds{pipeline=\"shop.a\"} 1")]
    fn a_pipeline_has_its_own_series(#[case] runs: &[(&str, &str)], #[case] line: &str) {
        let mut snapshot = snapshot(runs);
        snapshot.pipelines[0].missed_slot = Some(at(3600));
        let text = PipelineMetrics::new().encode(&snapshot, 0).unwrap();
        let line = format!("ompipe_pipeline_{line}");
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }

    #[test]
    fn a_pipeline_that_is_well_has_no_series_that_an_alert_would_take_for_trouble() {
        let text = PipelineMetrics::new().encode(&snapshot(&[("Job", "success")]), 0).unwrap();
        for name in ["failing_since", "missed_slot", "unfinished_since"] {
            let series = format!("ompipe_pipeline_{name}_timestamp_seconds{{");
            assert!(!text.contains(&series), "{text}");
        }
    }

    #[test]
    fn runs_and_pods_in_trouble_are_counted_in_both_modes() {
        let mut runs = snapshot(&[("Job", "queued"), ("Job", "queued"), ("OMJob", "running")]);
        runs.stuck_pods = 2;
        let text = PipelineMetrics::new().encode(&runs, 3).unwrap();
        for line in [
            r#"ompipe_runs_unfinished{mode="job",state="queued"} 2"#,
            r#"ompipe_runs_unfinished{mode="job",state="running"} 0"#,
            r#"ompipe_runs_unfinished{mode="operator",state="running"} 1"#,
            "ompipe_pods_stuck_terminating 2",
            "ompipe_pods_failed_pre_stop_hook 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_name_ends_no_label() {
        let pipelines = vec![deployed(1, "a\"} 1\nb \\", Some("0 * * * *"))];
        let snapshot = Snapshot::new(at(0), pipelines, vec![]);
        let text = PipelineMetrics::new().encode(&snapshot, 0).unwrap();
        assert!(text.contains(r#"{pipeline="shop.a\"} 1\nb \\"} 100800"#), "{text}");
    }
}
