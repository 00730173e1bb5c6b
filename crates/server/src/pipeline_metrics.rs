//! Metrics about pipelines and their runs, for plain Jobs and `OMJob`s alike, read off the same
//! [`Snapshot`] as the page.
//!
//! Every replica counts every run, so that sums over replicas count twice: take the greatest of them. A run
//! that had ended before this replica first looked is not counted.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
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

    /// The metrics of a snapshot as text in the format `OpenMetrics`.
    ///
    /// # Errors
    /// None in practice: a `String` takes every text.
    pub(crate) fn encode(&self, snapshot: &Snapshot) -> Result<String, fmt::Error> {
        self.count(snapshot);
        let mut registry = Registry::with_prefix("ompipe");
        let help = "Runs that ended";
        registry.register("runs_ended", help, self.ended.clone());
        let help = "Time from the request for a run to its end";
        registry.register_with_unit("run_duration", help, Unit::Seconds, self.duration.clone());
        let help = "Time from the request for a run to the start of its process";
        registry.register_with_unit("run_queue", help, Unit::Seconds, self.queue.clone());
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

fn type_of(pipeline: &ompipe_client::DeployedPipeline) -> (&str, &str) {
    (pipeline.identity.fully_qualified_name.as_str(), pipeline.pipeline_type.as_str())
}

fn register_pipelines(registry: &mut Registry, snapshot: &Snapshot) {
    let state: Family<LastRun, Gauge> = Family::default();
    let (success, next): (Family<OfPipeline, Gauge>, Family<OfPipeline, Gauge>) =
        Default::default();
    for pipeline in snapshot.pipelines.iter().take(MOST_PIPELINES) {
        let name = &pipeline.identity.fully_qualified_name;
        let of = || OfPipeline { pipeline: name.clone() };
        if let Some(run) = snapshot.runs_of(name).next() {
            let labels = LastRun { pipeline: name.clone(), state: run.state.as_str() };
            state.get_or_create(&labels).set(1);
        }
        if let Some(last) = snapshot.last_success(name) {
            success.get_or_create(&of()).set(seconds(last));
        }
        if let Some(at) = pipeline.next_run {
            next.get_or_create(&of()).set(seconds(at));
        }
    }
    let help = "1 for the state of a pipeline's last run";
    registry.register("pipeline_last_run_state", help, state);
    let help = "When a pipeline last ended well";
    registry.register("pipeline_last_success_timestamp_seconds", help, success);
    let help = "When a pipeline runs next by its schedule";
    registry.register("pipeline_next_run_timestamp_seconds", help, next);
}

fn seconds(time: Timestamp) -> i64 {
    time.as_second()
}

impl fmt::Debug for PipelineMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineMetrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
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
        metrics.encode(&snapshot(&[("Job", "success"), ("Job", "running")])).unwrap();
        let later = snapshot(&[("Job", "success"), ("Job", "failed"), ("OMJob", "success")]);
        metrics.encode(&later).unwrap();
        let text = metrics.encode(&later).unwrap();
        for line in [
            r#"ompipe_runs_ended_total{mode="job",type="metadata",state="failed",reason="OOMKilled"} 1"#,
            r#"ompipe_runs_ended_total{mode="operator",type="metadata",state="success",reason=""} 1"#,
            r#"ompipe_run_duration_seconds_sum{mode="job",type="metadata"} 40.0"#,
            r#"ompipe_run_queue_seconds_sum{mode="job",type="metadata"} 6.0"#,
            r#"ompipe_pipeline_last_run_state{pipeline="shop.a",state="success"} 1"#,
            r#"ompipe_pipeline_last_success_timestamp_seconds{pipeline="shop.a"} 41"#,
            r#"ompipe_pipeline_next_run_timestamp_seconds{pipeline="shop.a"} 100800"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains(r#"mode="job",type="metadata",state="success""#), "{text}");
    }

    #[test]
    fn a_name_ends_no_label() {
        let pipelines = vec![deployed(1, "a\"} 1\nb \\", Some("0 * * * *"))];
        let text = PipelineMetrics::new().encode(&Snapshot::new(at(0), pipelines, vec![])).unwrap();
        assert!(text.contains(r#"{pipeline="shop.a\"} 1\nb \\"} 100800"#), "{text}");
    }
}
