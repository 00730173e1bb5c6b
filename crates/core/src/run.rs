//! The state of a run, read off its Job and pods (seed *Pipeline Status Mapping*).
//!
//! | Job | State |
//! |---|---|
//! | no pod has started | queued, with why it waits |
//! | a pod has started, none of the end conditions | running |
//! | condition `Complete` | success |
//! | condition `Failed` | failed, with why |

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerState, Pod};

use crate::{RunId, labels};

/// Name of the container that runs the ingestion.
pub const MAIN_CONTAINER: &str = "main";

/// A state of OpenMetadata's `PipelineStatus` (contract §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PipelineState {
    /// Asked for, not started.
    Queued,
    /// Started, not ended.
    Running,
    /// Ended well.
    Success,
    /// Ended, some of its steps with errors.
    PartialSuccess,
    /// Ended badly.
    Failed,
    /// Ended by a user.
    Stopped,
}

impl PipelineState {
    /// The name in OpenMetadata's schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::PartialSuccess => "partialSuccess",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// True when nothing follows.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::PartialSuccess | Self::Failed | Self::Stopped)
    }
}

impl fmt::Display for PipelineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a run waits or failed: a closed set, fit for labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Reason {
    /// No node takes the pod.
    Unschedulable,
    /// The image cannot be had.
    ImagePull,
    /// The container cannot be made: a Secret is missing, a volume is refused.
    ContainerConfig,
    /// The container's memory limit.
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// The node was short of something, or drained.
    Evicted,
    /// `activeDeadlineSeconds`.
    DeadlineExceeded,
    /// The process ended with a code other than 0.
    Error,
    /// The Job failed for another reason of Kubernetes'.
    JobFailed,
}

impl Reason {
    /// The name for people and scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::ImagePull => "ImagePull",
            Self::ContainerConfig => "ContainerConfig",
            Self::OomKilled => "OOMKilled",
            Self::Evicted => "Evicted",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Error => "Error",
            Self::JobFailed => "JobFailed",
        }
    }
}

/// One run, as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Under which OpenMetadata keeps its status.
    #[serde(serialize_with = "as_text")]
    pub run_id: RunId,
    /// The Job.
    pub job: String,
    /// Whether a schedule started it.
    pub scheduled: bool,
    /// What it does now, or how it ended.
    pub state: PipelineState,
    /// Why it waits or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Exit code of the last attempt that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Attempts so far.
    pub attempts: usize,
    /// When it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When its Job ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
}

impl Run {
    /// Reads a run off its Job and that Job's pods; `None` when the Job is not a run of a pipeline.
    #[must_use]
    pub fn observe(job: &Job, pods: &[Pod]) -> Option<Self> {
        let attempts = Attempt::of_job(job, pods);
        let end = End::of(job);
        let failure = attempts.iter().rev().find(|attempt| attempt.exit_code.is_some());
        let (reason, message) = explain(end.as_ref(), &attempts).unzip();
        Some(Self {
            run_id: run_id(job)?,
            job: job.metadata.name.clone()?,
            scheduled: !has_run_label(job),
            state: state(end.as_ref(), &attempts),
            reason,
            message,
            exit_code: failure.and_then(|attempt| attempt.exit_code),
            attempts: attempts.len(),
            created: job.metadata.creation_timestamp.as_ref().map(|time| time.0),
            finished: end.and_then(|end| end.time),
        })
    }
}

/// The pods of a Job, oldest first: one for each attempt of the run.
#[must_use]
pub fn attempts<'p>(job: &Job, pods: &'p [Pod]) -> Vec<&'p Pod> {
    let uid = job.metadata.uid.as_deref();
    let owned = |pod: &&Pod| {
        let owners = pod.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| Some(owner.uid.as_str()) == uid)
    };
    let mut attempts: Vec<&Pod> = pods.iter().filter(owned).collect();
    attempts
        .sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone()));
    attempts
}

/// True when a pod's main container has begun, so that it has a log.
#[must_use]
pub fn has_log(pod: &Pod) -> bool {
    Attempt::of_pod(pod).started
}

/// A run's id: its label, or the UID of a Job that a schedule made.
#[must_use]
pub fn run_id(job: &Job) -> Option<RunId> {
    let labels = job.metadata.labels.as_ref();
    let label = labels.and_then(|labels| labels.get(labels::RUN_ID));
    label.or(job.metadata.uid.as_ref())?.parse().ok()
}

fn has_run_label(job: &Job) -> bool {
    job.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(labels::RUN_ID))
}

fn as_text<S: serde::Serializer>(id: &RunId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn state(end: Option<&End>, attempts: &[Attempt]) -> PipelineState {
    match end {
        Some(End { failed: None, .. }) => PipelineState::Success,
        Some(End { failed: Some(_), .. }) => PipelineState::Failed,
        None if attempts.iter().any(|attempt| attempt.started) => PipelineState::Running,
        None => PipelineState::Queued,
    }
}

/// How a Job ended.
struct End {
    time: Option<Timestamp>,
    /// Reason and message of Kubernetes, when it failed.
    failed: Option<(String, String)>,
}

impl End {
    fn of(job: &Job) -> Option<Self> {
        let conditions = job.status.as_ref()?.conditions.as_ref()?;
        let holds = |kind: &str| conditions.iter().find(|c| c.type_ == kind && c.status == "True");
        if let Some(complete) = holds("Complete") {
            let time = complete.last_transition_time.as_ref().map(|time| time.0);
            return Some(Self { time, failed: None });
        }
        let failed = holds("Failed")?;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Some(Self {
            time: failed.last_transition_time.as_ref().map(|time| time.0),
            failed: Some((text(&failed.reason), text(&failed.message))),
        })
    }
}

/// Why a run failed or waits, if it does either.
fn explain(end: Option<&End>, attempts: &[Attempt]) -> Option<(Reason, String)> {
    let last_trouble = || attempts.iter().rev().find_map(|attempt| attempt.trouble.clone());
    match end {
        Some(End { failed: None, .. }) => None,
        Some(End { failed: Some((reason, message)), .. }) if reason == "DeadlineExceeded" => {
            Some((Reason::DeadlineExceeded, message.clone()))
        }
        Some(End { failed: Some((_, message)), .. }) => {
            last_trouble().or_else(|| Some((Reason::JobFailed, message.clone())))
        }
        None => last_trouble(),
    }
}

/// One pod of a run.
struct Attempt {
    /// The main container has run.
    started: bool,
    exit_code: Option<i32>,
    trouble: Option<(Reason, String)>,
}

impl Attempt {
    fn of_job(job: &Job, pods: &[Pod]) -> Vec<Self> {
        attempts(job, pods).into_iter().map(Self::of_pod).collect()
    }

    fn of_pod(pod: &Pod) -> Self {
        let state = main_state(pod);
        let terminated = state.and_then(|state| state.terminated.as_ref());
        Self {
            started: state.is_some_and(|state| state.running.is_some()) || terminated.is_some(),
            exit_code: terminated.map(|terminated| terminated.exit_code),
            trouble: trouble(pod, state),
        }
    }
}

fn main_state(pod: &Pod) -> Option<&ContainerState> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == MAIN_CONTAINER)?.state.as_ref()
}

/// What keeps a pod from starting, or ended it badly.
fn trouble(pod: &Pod, main: Option<&ContainerState>) -> Option<(Reason, String)> {
    let status = pod.status.as_ref()?;
    if let Some(reason @ ("Evicted" | "Terminated" | "NodeLost")) = status.reason.as_deref() {
        let message = status.message.clone().unwrap_or_else(|| reason.to_owned());
        return Some((Reason::Evicted, message));
    }
    if let Some(state) = main {
        return ended_badly(state).or_else(|| waits(state));
    }
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions
        .into_iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some((Reason::Unschedulable, unscheduled.message.clone().unwrap_or_default()))
}

fn ended_badly(state: &ContainerState) -> Option<(Reason, String)> {
    let terminated = state.terminated.as_ref().filter(|terminated| terminated.exit_code != 0)?;
    if terminated.reason.as_deref() == Some("OOMKilled") {
        let message = "the worker used more memory than resources.limits.memory allows".to_owned();
        return Some((Reason::OomKilled, message));
    }
    Some((Reason::Error, format!("the worker ended with {}", ExitCode(terminated.exit_code))))
}

fn waits(state: &ContainerState) -> Option<(Reason, String)> {
    let waiting = state.waiting.as_ref()?;
    let reason = match waiting.reason.as_deref()? {
        "ImagePullBackOff"
        | "ErrImagePull"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable" => Reason::ImagePull,
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Reason::ContainerConfig
        }
        _ => return None,
    };
    Some((reason, waiting.message.clone().unwrap_or_default()))
}

/// An exit code, with the signal that it stands for.
struct ExitCode(i32);

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            code @ 129..=192 => write!(f, "exit code {code} (signal {})", code - 128),
            code => write!(f, "exit code {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const UID: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

    fn job(conditions: &Value) -> Job {
        serde_json::from_value(json!({
            "metadata": { "name": "om-job-p-a1b2c3d4", "uid": UID },
            "status": { "conditions": conditions },
        }))
        .unwrap()
    }

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "p", "ownerReferences": [
                { "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": UID },
            ]},
            "status": status,
        }))
        .unwrap()
    }

    fn main_container(state: &Value) -> Value {
        json!({ "containerStatuses": [{
            "name": "main", "state": state, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        }]})
    }

    fn failed(reason: &str) -> Value {
        json!([{ "type": "Failed", "status": "True", "reason": reason, "message": "told by Kubernetes" }])
    }

    /// The seed's mapping table and what stands behind each state.
    #[rstest]
    #[case::created(json!([]), None, PipelineState::Queued, None)]
    #[case::starting(json!([]), Some(main_container(&json!({ "waiting": { "reason": "ContainerCreating" } }))), PipelineState::Queued, None)]
    #[case::no_image(json!([]), Some(main_container(&json!({ "waiting": { "reason": "ImagePullBackOff" } }))), PipelineState::Queued, Some(Reason::ImagePull))]
    #[case::no_secret(json!([]), Some(main_container(&json!({ "waiting": { "reason": "CreateContainerConfigError" } }))), PipelineState::Queued, Some(Reason::ContainerConfig))]
    #[case::no_node(json!([]), Some(json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] })), PipelineState::Queued, Some(Reason::Unschedulable))]
    #[case::running(json!([]), Some(main_container(&json!({ "running": {} }))), PipelineState::Running, None)]
    #[case::between_attempts(json!([]), Some(main_container(&json!({ "terminated": { "exitCode": 1 } }))), PipelineState::Running, Some(Reason::Error))]
    #[case::complete(json!([{ "type": "Complete", "status": "True" }]), Some(main_container(&json!({ "terminated": { "exitCode": 0 } }))), PipelineState::Success, None)]
    #[case::not_complete(json!([{ "type": "Complete", "status": "False" }]), None, PipelineState::Queued, None)]
    #[case::error(failed("BackoffLimitExceeded"), Some(main_container(&json!({ "terminated": { "exitCode": 1 } }))), PipelineState::Failed, Some(Reason::Error))]
    #[case::out_of_memory(failed("BackoffLimitExceeded"), Some(main_container(&json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }))), PipelineState::Failed, Some(Reason::OomKilled))]
    #[case::evicted(failed("BackoffLimitExceeded"), Some(json!({ "reason": "Evicted", "message": "low on disk" })), PipelineState::Failed, Some(Reason::Evicted))]
    #[case::deadline(
        failed("DeadlineExceeded"),
        None,
        PipelineState::Failed,
        Some(Reason::DeadlineExceeded)
    )]
    #[case::failed_before_any_pod(
        failed("BackoffLimitExceeded"),
        None,
        PipelineState::Failed,
        Some(Reason::JobFailed)
    )]
    fn states_and_reasons(
        #[case] conditions: Value,
        #[case] status: Option<Value>,
        #[case] state: PipelineState,
        #[case] reason: Option<Reason>,
    ) {
        let pods: Vec<Pod> = status.iter().map(pod).collect();
        let run = Run::observe(&job(&conditions), &pods).unwrap();
        assert_eq!((run.state, run.reason), (state, reason));
    }

    #[test]
    fn the_last_exit_code_counts_and_a_signal_is_named() {
        let killed = pod(&main_container(&json!({ "terminated": { "exitCode": 143 } })));
        let run = Run::observe(&job(&failed("BackoffLimitExceeded")), &[killed]).unwrap();
        assert_eq!(run.exit_code, Some(143));
        assert_eq!(run.message.unwrap(), "the worker ended with exit code 143 (signal 15)");
    }

    #[test]
    fn a_scheduled_run_goes_by_the_uid_of_its_job() {
        let run = Run::observe(&job(&json!([])), &[]).unwrap();
        assert_eq!((run.run_id.to_string(), run.scheduled), (UID.to_owned(), true));
    }

    #[test]
    fn pods_of_other_jobs_do_not_count() {
        let mut foreign = pod(&main_container(&json!({ "running": {} })));
        foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "other".to_owned();
        let run = Run::observe(&job(&json!([])), &[foreign]).unwrap();
        assert_eq!((run.state, run.attempts), (PipelineState::Queued, 0));
    }
}
