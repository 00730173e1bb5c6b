//! Why a run, or one of its pods, ended or waits.

use std::fmt;

/// Defines the reasons together with their names, so that none can be forgotten.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// Why a run, an attempt or a stage ended or waits: a closed set, fit for labels and metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
        pub enum Reason { $($(#[$doc])* #[serde(rename = $name)] $variant,)+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name for people and scripts.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

reasons! {
    /// Exit code 0.
    Completed = "Completed",
    /// The process ended with another code.
    Error = "Error",
    /// The process was ended by a signal of nobody we know.
    Signal = "Signal",
    /// The container's memory limit.
    OomKilled = "OOMKilled",
    /// The node was drained, short of something, or wanted by a more important pod.
    Evicted = "Evicted",
    /// The node went away, and the pod with it.
    NodeLost = "NodeLost",
    /// Somebody deleted the pod.
    Deleted = "Deleted",
    /// A user stopped the run.
    Killed = "Killed",
    /// `activeDeadlineSeconds`, or the exit handler's own.
    DeadlineExceeded = "DeadlineExceeded",
    /// `suspend` was set while it ran; it runs again after a resume.
    Suspended = "Suspended",
    /// The image cannot be had.
    ImagePull = "ImagePull",
    /// The container cannot be made: a Secret is missing, a volume is refused.
    ContainerConfig = "ContainerConfig",
    /// A container that has to end before the worker starts failed.
    InitContainer = "InitContainerFailed",
    /// A container that has to run beside the worker crashes again and again.
    Sidecar = "SidecarFailed",
    /// A volume of the pod cannot be mounted.
    Mount = "FailedMount",
    /// The node cannot set up the pod, its network for instance.
    Sandbox = "FailedCreatePodSandBox",
    /// The node turned the pod away before it ran.
    Rejected = "NodeRejected",
    /// The worker cannot do anything with its config or its command, so that no retry can help.
    BadConfig = "BadConfig",
    /// The source refuses the worker's credentials.
    SourceAuth = "SourceAuth",
    /// The worker cannot reach its source.
    SourceUnreachable = "SourceUnreachable",
    /// The worker cannot work with OpenMetadata: the server does not answer, or refuses it.
    OpenMetadataUnreachable = "OpenMetadataUnreachable",
    /// No node takes the pod.
    Unschedulable = "Unschedulable",
    /// It waits in a queue of the cluster, such as Kueue's.
    Queued = "Queued",
    /// The namespace's quota is used up.
    Quota = "Quota",
    /// The API server, a policy or a webhook refuses the pod.
    Admission = "Admission",
    /// The API server cannot take the pod at the moment.
    ApiUnavailable = "ApiUnavailable",
    /// The namespace is being deleted, so that no pod can be made in it.
    NamespaceTerminating = "NamespaceTerminating",
    /// The pod waits, or was over before it began, for a reason that nobody gave.
    NotStarted = "NotStarted",
    /// There is no exit handler.
    NotConfigured = "NotConfigured",
    /// The Job failed for another reason of Kubernetes'.
    JobFailed = "JobFailed",
    /// It ended under another operator, which did not write down how.
    Unknown = "Unknown",
}

impl Reason {
    /// The reason with a name; `None` for names of others.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
    }

    /// True for what keeps a container from starting on a node that took its pod.
    #[must_use]
    pub const fn is_of_container(self) -> bool {
        matches!(
            self,
            Self::ImagePull
                | Self::ContainerConfig
                | Self::InitContainer
                | Self::Sidecar
                | Self::Mount
                | Self::Sandbox
        )
    }

    /// True for what happened to the worker rather than in it: `backoffLimit` does not count it.
    #[must_use]
    pub const fn is_disruption(self) -> bool {
        matches!(self, Self::Evicted | Self::NodeLost | Self::Suspended | Self::Rejected)
    }

    /// True for a disruption of a worker that may have run: a drain, a preemption, the loss of its
    /// node.
    #[must_use]
    pub const fn took_the_worker_away(self) -> bool {
        matches!(self, Self::Evicted | Self::NodeLost)
    }

    /// True for an end of the worker's own making, with an exit code other than 0.
    #[must_use]
    pub const fn is_of_worker(self) -> bool {
        matches!(
            self,
            Self::Error
                | Self::BadConfig
                | Self::SourceAuth
                | Self::SourceUnreachable
                | Self::OpenMetadataUnreachable
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
