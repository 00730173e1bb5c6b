//! What a pod of an `OMJob` says about its attempt: the container `main` decides, whatever runs
//! beside it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
    PodStatus,
};

use super::end::signal_of;
use super::{End, POD_TYPE, Reason, Stage, TRACKING_FINALIZER, Trouble, attempt_of};
use crate::run::MAIN_CONTAINER;

/// One pod of an `OMJob`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Whose attempt it is.
    pub stage: Stage,
    /// Number of the attempt, from 0.
    pub attempt: u32,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it carries [`TRACKING_FINALIZER`].
    pub tracked: bool,
    /// Set when somebody deleted it.
    pub deletion: Option<Deletion>,
    /// How its main container stands.
    pub state: PodState,
}

/// That a pod is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deletion {
    /// When it was asked for.
    pub requested: Timestamp,
    /// When the grace period ends.
    pub due: Timestamp,
}

/// How a pod's main container stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PodState {
    /// It has not started, perhaps for a reason.
    Waiting(Option<Trouble>),
    /// It runs.
    Running,
    /// Its process is over, or will never be.
    Ended {
        /// How.
        end: End,
        /// Something beside it still runs in the pod: a sidecar.
        lingers: bool,
    },
}

impl PodSeen {
    /// Reads a pod; `None` when it is no attempt of the `OMJob` of that name and UID.
    #[must_use]
    pub fn read(omjob: &str, uid: &str, pod: &Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let mut owners = metadata.owner_references.iter().flatten();
        owners.find(|owner| owner.uid == uid)?;
        let name = metadata.name.clone()?;
        let (stage, attempt) = attempt_of(omjob, &name).or_else(|| upstreams_attempt(pod))?;
        let finalizers = metadata.finalizers.iter().flatten();
        Some(Self {
            uid: metadata.uid.clone()?,
            created: metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0),
            tracked: finalizers.into_iter().any(|finalizer| finalizer == TRACKING_FINALIZER),
            deletion: Deletion::of(pod),
            state: PodState::of(pod),
            name,
            stage,
            attempt,
        })
    }

    /// True until its main container is over.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        !matches!(self.state, PodState::Ended { .. })
    }
}

/// Upstream's operator makes one pod of each type, and hashes the names of some.
fn upstreams_attempt(pod: &Pod) -> Option<(Stage, u32)> {
    let kind = pod.metadata.labels.as_ref()?.get(POD_TYPE)?;
    let stages = [Stage::Main, Stage::Exit];
    stages.into_iter().find(|stage| stage.pod_type() == kind).map(|stage| (stage, 0))
}

impl Deletion {
    /// A deletion timestamp is the end of the grace period.
    fn of(pod: &Pod) -> Option<Self> {
        let due = pod.metadata.deletion_timestamp.as_ref()?.0;
        let grace =
            SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
        Some(Self { requested: due.checked_sub(grace).unwrap_or(due), due })
    }
}

impl PodState {
    fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let main = main_state(&status);
        if let Some(terminated) = main.and_then(|main| main.terminated.as_ref()) {
            let end = end_of_container(&status, terminated);
            return Self::Ended { end, lingers: !over && has_sidecar(&status) };
        }
        if over {
            return Self::Ended { end: end_of_pod(&status), lingers: false };
        }
        if pod.metadata.deletion_timestamp.is_some() && !has_node(pod) {
            // No kubelet knows it, so nobody else will ever call it ended.
            let end = End::without_code(Reason::Deleted, "deleted before a node took it");
            return Self::Ended { end, lingers: false };
        }
        if main.is_some_and(|main| main.running.is_some()) {
            return Self::Running;
        }
        Self::Waiting(trouble(&status))
    }
}

/// True while something beside the main container runs. That the phase is not terminal yet says
/// nothing: the kubelet sets it a while after the last container has ended.
fn has_sidecar(status: &PodStatus) -> bool {
    let runs = |container: &ContainerStatus| {
        let state = container.state.as_ref();
        container.name != MAIN_CONTAINER && state.is_some_and(|state| state.running.is_some())
    };
    status.container_statuses.iter().flatten().any(runs)
}

fn has_node(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

fn main_state(status: &PodStatus) -> Option<&ContainerState> {
    let mut containers = status.container_statuses.iter().flatten();
    containers.find(|container| container.name == MAIN_CONTAINER)?.state.as_ref()
}

fn end_of_container(status: &PodStatus, terminated: &ContainerStateTerminated) -> End {
    let code = terminated.exit_code;
    let signal = terminated.signal.or_else(|| signal_of(code));
    let (reason, message) = explain(status, terminated, signal);
    End {
        reason,
        exit_code: Some(code),
        signal,
        message,
        finished: terminated.finished_at.as_ref().map(|time| time.0),
    }
}

fn explain(
    status: &PodStatus,
    terminated: &ContainerStateTerminated,
    signal: Option<i32>,
) -> (Reason, String) {
    if terminated.exit_code == 0 {
        return (Reason::Completed, "ended with exit code 0".to_owned());
    }
    if let Some(Trouble { reason, message }) = disruption(status) {
        return (reason, message);
    }
    match (terminated.reason.as_deref(), signal) {
        (Some("OOMKilled"), _) => {
            (Reason::OomKilled, "used more memory than resources.limits.memory allows".to_owned())
        }
        (Some("ContainerStatusUnknown"), _) => (
            Reason::NodeLost,
            terminated.message.clone().unwrap_or_else(|| "its node lost track of it".to_owned()),
        ),
        (_, Some(signal)) => (
            Reason::Signal,
            format!("ended by signal {signal} (exit code {})", terminated.exit_code),
        ),
        (_, None) => (Reason::Error, format!("ended with exit code {}", terminated.exit_code)),
    }
}

/// A pod that is over without its main container having run to an end.
fn end_of_pod(status: &PodStatus) -> End {
    let trouble = disruption(status).or_else(|| trouble(status)).unwrap_or_else(|| {
        let message = status.message.clone().or_else(|| status.reason.clone());
        Trouble::new(Reason::NotStarted, message.unwrap_or_else(|| "never started".to_owned()))
    });
    End::of_trouble(&trouble)
}

/// What happened to the pod from outside.
fn disruption(status: &PodStatus) -> Option<Trouble> {
    let told = || status.message.clone();
    let of_pod = match status.reason.as_deref() {
        Some(
            "Evicted"
            | "Terminated"
            | "Preempting"
            | "Shutdown"
            | "NodeShutdown"
            | "OutOfcpu"
            | "OutOfmemory"
            | "OutOfpods"
            | "UnexpectedAdmissionError",
        ) => Some(Reason::Evicted),
        Some("NodeLost" | "NodeAffinity") => Some(Reason::NodeLost),
        Some("DeadlineExceeded") => Some(Reason::DeadlineExceeded),
        _ => None,
    };
    if let Some(reason) = of_pod {
        return Some(Trouble::new(reason, told().unwrap_or_else(|| reason.as_str().to_owned())));
    }
    let mut conditions = status.conditions.iter().flatten();
    let target = conditions.find(|c| c.type_ == "DisruptionTarget" && c.status == "True")?;
    let reason = match target.reason.as_deref() {
        Some("DeletionByTaintManager" | "DeletionByPodGC") => Reason::NodeLost,
        _ => Reason::Evicted,
    };
    Some(Trouble::new(reason, target.message.clone().unwrap_or_default()))
}

/// What keeps a pod from starting.
fn trouble(status: &PodStatus) -> Option<Trouble> {
    let init = status.init_container_statuses.iter().flatten();
    let main = status.container_statuses.iter().flatten();
    let waiting = |container: &ContainerStatus| container.state.as_ref()?.waiting.clone();
    let held = init.chain(main).filter_map(waiting).find_map(|waiting| held_by(&waiting));
    held.or_else(|| unscheduled(status))
}

fn held_by(waiting: &ContainerStateWaiting) -> Option<Trouble> {
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
    Some(Trouble::new(reason, waiting.message.clone().unwrap_or_default()))
}

fn unscheduled(status: &PodStatus) -> Option<Trouble> {
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions.find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    Some(Trouble::new(Reason::Unschedulable, condition.message.clone().unwrap_or_default()))
}
