//! How one pod of a run stands: its container `main` decides, whatever runs beside it. The one
//! place that reads the words of Kubernetes about it, for Jobs and `OMJob`s alike.

mod end;
mod log_error;
mod reason;
mod refusal;
mod stop;
mod warning;

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus,
};

use crate::{labels, redaction};

pub(crate) use end::signal_of;
pub use end::{End, FINAL_EXIT_CODES, Trouble};
pub(crate) use log_error::last_error;
pub use reason::Reason;
pub use refusal::{Lasting, Refusal};
pub use stop::Deletion;
pub use warning::trouble_in_events;

/// Name of the container that runs the ingestion, in pods of every kind.
pub const MAIN_CONTAINER: &str = "main";

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

impl PodState {
    /// Reads a pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let unknown = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&unknown);
        let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let main = main_state(status);
        if let Some(terminated) = main.and_then(|main| main.terminated.as_ref()) {
            if pod.metadata.deletion_timestamp.is_some() && never_ran(terminated) {
                let end = End::without_code(Reason::Deleted, "deleted before it started");
                return Self::Ended { end, lingers: false };
            }
            let end = end_of_container(status, terminated);
            return Self::Ended { end, lingers: !over && has_sidecar(status) };
        }
        if over {
            return Self::Ended { end: end_of_pod(pod, status), lingers: false };
        }
        if pod.metadata.deletion_timestamp.is_some() && !has_node(pod) {
            // No kubelet knows it, so nobody else will ever call it ended.
            let end = End::without_code(Reason::Deleted, "deleted before a node took it");
            return Self::Ended { end, lingers: false };
        }
        if main.is_some_and(|main| main.running.is_some()) {
            return Self::Running;
        }
        Self::Waiting(trouble(pod, status))
    }

    /// True when the main container has begun, so that it has a log.
    #[must_use]
    pub fn has_started(&self) -> bool {
        *self == Self::Running || self.exit_code().is_some()
    }

    /// Exit code of the main container, when it has ended.
    #[must_use]
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Ended { end, .. } => end.exit_code,
            Self::Waiting(_) | Self::Running => None,
        }
    }

    /// What keeps the main container from starting, or ended it badly.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Waiting(trouble) => trouble.clone(),
            Self::Running => None,
            Self::Ended { end, .. } => {
                (!end.succeeded()).then(|| Trouble::new(end.reason, end.message.clone()))
            }
        }
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

/// True for the end that the kubelet makes up for a container that it never started, exit code 137
/// included. Of one that ran it says so, with the same reason and no time of its start either.
fn never_ran(terminated: &ContainerStateTerminated) -> bool {
    let told = terminated.message.as_deref().unwrap_or_default();
    let made_up = terminated.reason.as_deref() == Some("ContainerStatusUnknown");
    made_up && terminated.started_at.is_none() && !told.contains("used to be Running")
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
    let finished = terminated.finished_at.as_ref().map(|time| time.0);
    let out_of_memory = terminated.reason.as_deref() == Some("OOMKilled");
    let end = End { signal, ..End::of_process(code, out_of_memory, finished) };
    let outside = outside(status, terminated).or_else(|| not_startable(terminated));
    match outside.filter(|_| !end.succeeded()) {
        Some(Trouble { reason, message }) => End { reason, message, ..end },
        // A container that leaves no message of its own has the end of its log there.
        None => end.with_log(terminated.message.as_deref().unwrap_or_default()),
    }
}

/// That the container runtime could not start the program, which it says in words of its own.
fn not_startable(terminated: &ContainerStateTerminated) -> Option<Trouble> {
    let reason = terminated.reason.as_deref();
    let is_start = matches!(reason, Some("StartError" | "ContainerCannotRun"));
    let message = terminated.message.as_deref().filter(|_| is_start)?;
    Some(Trouble::new(Reason::ContainerConfig, format!("cannot be started: {message}")))
}

/// What ended the container rather than its process.
fn outside(status: &PodStatus, terminated: &ContainerStateTerminated) -> Option<Trouble> {
    let lost = || {
        let told = terminated.message.clone();
        Trouble::new(Reason::NodeLost, told.unwrap_or_else(|| "its node lost track of it".into()))
    };
    let is_lost = terminated.reason.as_deref() == Some("ContainerStatusUnknown");
    disruption(status).or_else(|| is_lost.then(lost))
}

/// A pod that is over without its main container having run to an end.
fn end_of_pod(pod: &Pod, status: &PodStatus) -> End {
    let failed = || failed_init(pod, status).or_else(|| trouble(pod, status));
    let known = disruption(status).or_else(failed);
    let trouble = known.unwrap_or_else(|| {
        let message = status.message.clone().or_else(|| status.reason.clone());
        Trouble::new(Reason::NotStarted, message.unwrap_or_else(|| "never started".to_owned()))
    });
    End::of_trouble(&trouble)
}

/// What happened to the pod from outside.
#[must_use]
pub fn disruption(status: &PodStatus) -> Option<Trouble> {
    let told = || status.message.clone();
    let of_pod = match status.reason.as_deref() {
        Some("Evicted" | "Terminated" | "Preempting" | "Shutdown" | "NodeShutdown") => {
            Some(Reason::Evicted)
        }
        Some(reason) if is_rejection(reason, status) => Some(Reason::Rejected),
        Some("NodeLost") => Some(Reason::NodeLost),
        Some("DeadlineExceeded") => Some(Reason::DeadlineExceeded),
        _ => None,
    };
    if let Some(reason) = of_pod {
        return Some(Trouble::new(reason, told().unwrap_or_else(|| reason.as_str().to_owned())));
    }
    let mut conditions = status.conditions.iter().flatten();
    // Kueue deletes a pod that it preempts, and says so in a condition of its own.
    let is_target = |kind: &str| ["DisruptionTarget", "TerminationTarget"].contains(&kind);
    let target = conditions.find(|c| is_target(&c.type_) && c.status == "True")?;
    let reason = match target.reason.as_deref() {
        Some("DeletionByTaintManager" | "DeletionByPodGC") => Reason::NodeLost,
        _ => Reason::Evicted,
    };
    let told = target.message.clone().or_else(|| target.reason.clone());
    Some(Trouble::new(reason, told.unwrap_or_default()))
}

/// True when the kubelet turned the pod away before it ran: the node has too little of something
/// (`OutOfcpu`, `OutOfexample.com/gpu`), or what the scheduler was told does not hold any more.
fn is_rejection(reason: &str, status: &PodStatus) -> bool {
    const REASONS: [&str; 13] = [
        "NodeAffinity",
        "NodeName",
        "NodePorts",
        "NodeUnschedulable",
        "TaintToleration",
        "PodOSNotSupported",
        "PodOSSelectorNodeLabelDoesNotMatch",
        "TopologyAffinityError",
        "SysctlForbidden",
        "AppArmor",
        "SupplementalGroupsPolicyNotSupported",
        "InitContainerRestartPolicyForbidden",
        "UnexpectedAdmissionError",
    ];
    // The kubelet begins so whatever its reason is, those of later versions included.
    let told = status.message.as_deref().is_some_and(|text| text.starts_with("Pod was rejected"));
    told || reason.starts_with("OutOf") || REASONS.contains(&reason)
}

/// What keeps a pod from starting.
fn trouble(pod: &Pod, status: &PodStatus) -> Option<Trouble> {
    let init = status.init_container_statuses.iter().flatten();
    let main = status.container_statuses.iter().flatten();
    let held = init.chain(main).find_map(held_by);
    let failing = || failed_init(pod, status).or_else(|| crashing_sidecar(status));
    held.or_else(failing).or_else(|| gated(pod)).or_else(|| unscheduled(status))
}

/// That a queue of the cluster has not admitted the pod: it has a scheduling gate.
fn gated(pod: &Pod) -> Option<Trouble> {
    let gate = pod.spec.as_ref()?.scheduling_gates.as_ref()?.first()?;
    let queue = pod.metadata.labels.as_ref().and_then(|labels| labels.get(labels::KUEUE_QUEUE));
    let message = queue.map_or_else(
        || format!("waits for its scheduling gate {}", gate.name),
        |queue| in_queue(queue),
    );
    Some(Trouble::new(Reason::Queued, message))
}

/// That a run waits for Kueue.
pub(crate) fn in_queue(queue: &str) -> String {
    format!("waits in Kueue's queue {queue}")
}

/// The init container that failed, so that the main container cannot start. A sidecar is none: the
/// kubelet starts it again, and stops it with the pod.
fn failed_init(pod: &Pod, status: &PodStatus) -> Option<Trouble> {
    let init = status.init_container_statuses.iter().flatten();
    let mut init = init.filter(|container| !is_sidecar(pod, &container.name));
    let failed = |container: &ContainerStatus| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        (ended.exit_code != 0).then(|| of_container("init container", container, ended))
    };
    let message = init.find_map(failed)?;
    Some(Trouble::new(Reason::InitContainer, message))
}

/// True for an init container that runs beside the main container, which `restartPolicy: Always` says.
fn is_sidecar(pod: &Pod, name: &str) -> bool {
    let mut init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    init.any(|c| c.name == name && c.restart_policy.as_deref() == Some("Always"))
}

/// The sidecar that started before the main container should, and crashed.
fn crashing_sidecar(status: &PodStatus) -> Option<Trouble> {
    let mut init = status.init_container_statuses.iter().flatten();
    let crashed = |container: &ContainerStatus| {
        let last = container.last_state.as_ref()?.terminated.as_ref()?;
        let is_up = container.started == Some(true);
        (container.restart_count > 0 && !is_up).then(|| of_container("sidecar", container, last))
    };
    init.find_map(crashed).map(|message| Trouble::new(Reason::Sidecar, message))
}

/// How a container beside the main one ended, with what it says about it.
fn of_container(
    kind: &str,
    container: &ContainerStatus,
    ended: &ContainerStateTerminated,
) -> String {
    let (name, code) = (&container.name, ended.exit_code);
    let memory = if ended.reason.as_deref() == Some("OOMKilled") {
        ", because it used more memory than its limit allows"
    } else {
        ""
    };
    let text = ended.message.as_deref().unwrap_or_default();
    let words = last_error(text).map_or_else(|| last_line(text), |error| error.message);
    let words = if words.is_empty() { words } else { format!(": {words}") };
    format!("{kind} {name} ended with exit code {code}{memory}{words}")
}

fn last_line(text: &str) -> String {
    const MOST: usize = 400;
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    redaction::mask_text(last).chars().take(MOST).collect()
}

fn held_by(container: &ContainerStatus) -> Option<Trouble> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    if waiting.reason.as_deref() == Some("CrashLoopBackOff") {
        let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        // Containers of our pods are never restarted, only native sidecars are.
        let ended = last.map(|last| of_container("sidecar", container, last));
        let ended = ended.unwrap_or_else(|| format!("sidecar {} crashes", container.name));
        return Some(Trouble::new(Reason::Sidecar, format!("{ended} (CrashLoopBackOff)")));
    }
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

#[cfg(test)]
mod tests;
