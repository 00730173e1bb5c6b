//! The pods of a run: one for each attempt.

use std::fmt;

use k8s_openapi::api::core::v1::{ContainerState, Pod, PodStatus};

use super::{MAIN_CONTAINER, Reason, Workload};
use crate::labels;

/// The pods of a run's attempts, oldest first.
#[must_use]
pub fn attempts<'p>(workload: &Workload, pods: &'p [Pod]) -> Vec<&'p Pod> {
    owned(workload, pods, |pod| !is_exit_handler(pod))
}

/// The pods of a run's exit handler, oldest first; a Job has none.
#[must_use]
pub fn exit_handlers<'p>(workload: &Workload, pods: &'p [Pod]) -> Vec<&'p Pod> {
    owned(workload, pods, is_exit_handler)
}

/// True when a pod's main container has begun, so that it has a log.
#[must_use]
pub fn has_log(pod: &Pod) -> bool {
    Attempt::of_pod(pod).started
}

fn owned<'p>(workload: &Workload, pods: &'p [Pod], wanted: impl Fn(&Pod) -> bool) -> Vec<&'p Pod> {
    let is_owned = |pod: &&Pod| {
        let owners = pod.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.uid == workload.uid)
    };
    let mut pods: Vec<&Pod> = pods.iter().filter(is_owned).filter(|pod| wanted(pod)).collect();
    pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone()));
    pods
}

fn is_exit_handler(pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(labels::POD_TYPE)).is_some_and(|kind| kind != "main")
}

/// One pod of a run.
pub(super) struct Attempt {
    /// The main container has run.
    pub(super) started: bool,
    /// The main container runs now.
    pub(super) runs: bool,
    pub(super) exit_code: Option<i32>,
    pub(super) trouble: Option<(Reason, String)>,
}

impl Attempt {
    pub(super) fn all(workload: &Workload, pods: &[Pod]) -> Vec<Self> {
        attempts(workload, pods).into_iter().map(Self::of_pod).collect()
    }

    fn of_pod(pod: &Pod) -> Self {
        let state = main_state(pod);
        let terminated = state.and_then(|state| state.terminated.as_ref());
        let runs = state.is_some_and(|state| state.running.is_some());
        Self {
            started: runs || terminated.is_some(),
            runs,
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
    if let Some(disrupted) = disrupted(status) {
        return Some(disrupted);
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

/// A pod that the cluster took away (Kubernetes: *Pod disruption conditions*, *Node status*).
fn disrupted(status: &PodStatus) -> Option<(Reason, String)> {
    let say = |reason: Reason, kubernetes: &str, message: Option<&String>| {
        (reason, message.map_or_else(|| kubernetes.to_owned(), String::clone))
    };
    if let Some(kubernetes) = status.reason.as_deref() {
        let reason = match kubernetes {
            "NodeLost" => Some(Reason::NodeLost),
            "DeadlineExceeded" => Some(Reason::DeadlineExceeded),
            "Evicted" | "Terminated" | "Preempting" | "NodeShutdown" => Some(Reason::Evicted),
            other if other.starts_with("OutOf") || other == "NodeAffinity" => {
                Some(Reason::Unschedulable)
            }
            _ => None,
        };
        if let Some(reason) = reason {
            return Some(say(reason, kubernetes, status.message.as_ref()));
        }
    }
    let conditions = status.conditions.iter().flatten();
    let disruption =
        conditions.into_iter().find(|c| c.type_ == "DisruptionTarget" && c.status == "True")?;
    let kubernetes = disruption.reason.as_deref().unwrap_or_default();
    let reason = match kubernetes {
        "DeletionByTaintManager" | "DeletionByPodGC" => Reason::NodeLost,
        _ => Reason::Evicted,
    };
    Some(say(reason, kubernetes, disruption.message.as_ref()))
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
