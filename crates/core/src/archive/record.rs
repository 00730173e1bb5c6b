//! The record of a run: what is known of it after its objects are gone.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::names::pipeline_key;
use crate::pod::{MAIN_CONTAINER, PodState, Reason};
use crate::run::EndReporter;
use crate::{PipelineState, Run, RunId, Workload, WorkloadKind, labels};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

/// Version of what is stored.
const FORMAT: u32 = 1;

/// Who asked for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trigger {
    /// Its schedule.
    Schedule,
    /// A person or the server.
    OnDemand,
}

/// The record of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    format: u32,
    /// The run.
    pub run_id: RunId,
    /// Fully qualified name of its pipeline, where its objects say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Under which name the runs of the pipeline are archived: its id, where its objects say that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_key: Option<String>,
    /// Namespace of its objects.
    pub namespace: String,
    /// Kind of its object.
    pub kind: String,
    /// Name of its object.
    pub object: String,
    /// Who asked for it.
    pub trigger: Trigger,
    /// What it did when this was stored, or how it ended.
    pub state: PipelineState,
    /// Why it waited or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Exit code of the last attempt that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// First digits of the digest of its config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_revision: Option<String>,
    /// When it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Who reported its end to OpenMetadata, if the operator tracks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_by: Option<String>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<Timestamp>,
    /// Its attempts, in order, as far as their pods were seen.
    #[serde(default)]
    pub attempts: Vec<AttemptRecord>,
    /// When this was stored.
    pub updated: Timestamp,
}

/// One attempt of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRecord {
    /// Name of its pod.
    pub pod: String,
    /// The pod's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The image that ran, by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When the pod was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When the pod got its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Timestamp>,
    /// When its process began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When its process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Exit code of its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RunRecord {
    /// What the objects of a run say.
    #[must_use]
    pub fn observe(workload: &Workload, namespace: &str, pods: &[Pod], now: Timestamp) -> Self {
        let mut run = Run::observe(workload, pods);
        // Where the end is reported, what OpenMetadata has is the state of the run.
        let reported = run.reported.as_ref().and_then(|reported| reported.state);
        let is_killed = run.state == PipelineState::Failed && run.reason == Some(Reason::Killed);
        run.state = reported.unwrap_or(if is_killed { PipelineState::Stopped } else { run.state });
        let attempts = crate::run::attempts(workload, pods).into_iter();
        let of = |key: &str| workload.annotations.get(key).cloned();
        Self {
            format: FORMAT,
            run_id: run.run_id,
            pipeline: of(labels::PIPELINE_FQN).or_else(|| workload.pipeline_fqn.clone()),
            pipeline_key: pipeline_key(&workload.labels),
            namespace: namespace.to_owned(),
            kind: workload.kind.as_str().to_owned(),
            object: workload.name.clone(),
            trigger: if workload.scheduled { Trigger::Schedule } else { Trigger::OnDemand },
            state: run.state,
            reason: run.reason.map(|reason| reason.as_str().to_owned()),
            message: run.message,
            exit_code: run.exit_code,
            config_revision: workload.labels.get(labels::CONFIG_REVISION).cloned(),
            created: run.created,
            finished: run.finished.or_else(|| run.state.is_terminal().then_some(now)),
            reported_at: run.reported.as_ref().map(|reported| reported.at),
            reported_by: run.reported.map(|reported| reported.by.as_str().to_owned()),
            attempts: attempts.map(AttemptRecord::observe).collect(),
            updated: now,
        }
    }

    /// Version of what is stored.
    #[must_use]
    pub const fn format(&self) -> u32 {
        self.format
    }

    /// The same in the terms of the cluster, for lists that show both.
    #[must_use]
    pub fn to_run(&self) -> Run {
        let is_it = |reason: &&Reason| Some(reason.as_str()) == self.reason.as_deref();
        let om_job = WorkloadKind::OmJob;
        Run {
            run_id: self.run_id,
            kind: if self.kind == om_job.as_str() { om_job } else { WorkloadKind::Job },
            job: self.object.clone(),
            scheduled: self.trigger == Trigger::Schedule,
            state: self.state,
            reason: Reason::ALL.iter().find(is_it).copied(),
            message: self.message.clone(),
            exit_code: self.exit_code,
            attempts: self.attempts.len(),
            retrying: None,
            recorded: true,
            created: self.created,
            finished: self.finished,
            reported: None,
            end_reporter: EndReporter::Operator,
        }
    }

    /// The same with what an earlier record knows and this one does not: pods that are gone since.
    #[must_use]
    pub fn after(mut self, earlier: Self) -> Self {
        if earlier.state.is_terminal() && !self.state.is_terminal() {
            return earlier;
        }
        let is_known = |pod: &str| self.attempts.iter().any(|attempt| attempt.pod == pod);
        let gone: Vec<_> =
            earlier.attempts.into_iter().filter(|attempt| !is_known(&attempt.pod)).collect();
        self.attempts.splice(0..0, gone);
        self.exit_code = self.exit_code.or(earlier.exit_code);
        if earlier.state.is_terminal() {
            self.finished = earlier.finished.or(self.finished);
        }
        self
    }

    /// True when the two say the same, whenever they were stored.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        Self { updated: other.updated, ..self.clone() } == *other
    }
}

impl AttemptRecord {
    fn observe(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let statuses = status.and_then(|status| status.container_statuses.as_ref());
        let main = statuses.into_iter().flatten().find(|one| one.name == MAIN_CONTAINER);
        let end = match PodState::of(pod) {
            PodState::Ended { end, .. } => Some(end),
            PodState::Waiting(_) | PodState::Running => None,
        };
        Self {
            pod: pod.metadata.name.clone().unwrap_or_default(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            image: main.map(|main| main.image_id.clone()).filter(|image| !image.is_empty()),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            scheduled: status.and_then(scheduled_at),
            started: main.and_then(started_at),
            finished: end.as_ref().and_then(|end| end.finished),
            exit_code: end.as_ref().and_then(|end| end.exit_code),
            reason: end.map(|end| end.reason.as_str().to_owned()),
        }
    }
}

fn scheduled_at(status: &PodStatus) -> Option<Timestamp> {
    let mut conditions = status.conditions.iter().flatten();
    let scheduled = conditions.find(|one| one.type_ == "PodScheduled" && one.status == "True")?;
    scheduled.last_transition_time.as_ref().map(|time| time.0)
}

fn started_at(main: &ContainerStatus) -> Option<Timestamp> {
    let state = main.state.as_ref()?;
    let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
    let ended = || state.terminated.as_ref().and_then(|ended| ended.started_at.as_ref());
    running.or_else(ended).map(|time| time.0)
}

/// Whether what belongs to a run may be deleted: the run began and ended longer ago than it is to be
/// kept. A run without an end counts from when its record was last stored.
#[must_use]
pub fn is_expired(
    started: Timestamp,
    record: Option<&RunRecord>,
    keep: SignedDuration,
    now: Timestamp,
) -> bool {
    let last = record.map(|record| record.finished.unwrap_or(record.updated).max(record.updated));
    let youngest = last.map_or(started, |last| last.max(started));
    now.duration_since(youngest) > keep
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn record(state: &str, pods: &[&str]) -> RunRecord {
        let attempts: Vec<_> = pods.iter().map(|pod| json!({ "pod": pod })).collect();
        serde_json::from_value(json!({
            "format": 1, "runId": "a1b2c3d4-e5f6-7890-abcd-ef1234567890", "namespace": "n",
            "kind": "Job", "object": "j", "trigger": "schedule", "state": state,
            "attempts": attempts, "updated": "2026-11-28T23:17:06Z",
        }))
        .unwrap()
    }

    #[test]
    fn attempts_whose_pods_are_gone_stay_on_record() {
        let after = record("failed", &["b"]).after(record("running", &["a", "b"]));
        let pods: Vec<_> = after.attempts.iter().map(|attempt| attempt.pod.as_str()).collect();
        assert_eq!((after.state, pods), (PipelineState::Failed, vec!["a", "b"]));
    }

    #[test]
    fn an_end_is_not_taken_back() {
        let after = record("running", &["a"]).after(record("stopped", &["a"]));
        assert_eq!(after.state, PipelineState::Stopped);
    }

    proptest! {
        #[test]
        fn nothing_younger_than_it_is_kept_for_is_deleted(
            started in 0i64..10_000_000, took in 0i64..10_000_000, stored in 0i64..1000,
            keep in 0i64..10_000_000, now in 0i64..30_000_000, ended in any::<bool>(),
        ) {
            let at = |second| Timestamp::from_second(second).unwrap();
            let mut record = record("running", &[]);
            record.finished = ended.then(|| at(started + took));
            record.updated = at(started + took + stored);
            let age = now - (started + took);
            let keep_for = SignedDuration::from_secs(keep);
            if is_expired(at(started), Some(&record), keep_for, at(now)) {
                prop_assert!(age > keep, "{age} is not more than {keep}");
            }
            if is_expired(at(started), None, keep_for, at(now)) {
                prop_assert!(now - started > keep);
            }
        }
    }
}
