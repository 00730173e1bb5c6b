//! Why a run waits or failed.

/// Why a run waits or failed: a closed set, fit for labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub enum Reason {
    /// No node takes the pod.
    Unschedulable,
    /// The image cannot be had.
    ImagePull,
    /// The container cannot be made: a Secret is missing, a volume is refused.
    ContainerConfig,
    /// A `ResourceQuota` does not allow the pod.
    Quota,
    /// An admission check does not allow the pod.
    Admission,
    /// The container's memory limit.
    #[serde(rename = "OOMKilled")]
    OomKilled,
    /// The node was short of something, or drained, or somebody more important needed it.
    Evicted,
    /// The node went away.
    NodeLost,
    /// `activeDeadlineSeconds`.
    DeadlineExceeded,
    /// A user stopped the run.
    Killed,
    /// The process ended with a code other than 0.
    Error,
    /// The Job failed for another reason of Kubernetes'.
    JobFailed,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Unschedulable,
        Self::ImagePull,
        Self::ContainerConfig,
        Self::Quota,
        Self::Admission,
        Self::OomKilled,
        Self::Evicted,
        Self::NodeLost,
        Self::DeadlineExceeded,
        Self::Killed,
        Self::Error,
        Self::JobFailed,
    ];

    /// The name for people and scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::ImagePull => "ImagePull",
            Self::ContainerConfig => "ContainerConfig",
            Self::Quota => "Quota",
            Self::Admission => "Admission",
            Self::OomKilled => "OOMKilled",
            Self::Evicted => "Evicted",
            Self::NodeLost => "NodeLost",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Killed => "Killed",
            Self::Error => "Error",
            Self::JobFailed => "JobFailed",
        }
    }

    /// The reason with a name; `None` for names of others.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// Why the API server refuses a pod, by its message.
    #[must_use]
    pub fn of_refusal(message: &str) -> Self {
        if message.contains("exceeded quota") { Self::Quota } else { Self::Admission }
    }
}
