//! What can go wrong with an operation, in words that name the remedy.

use std::fmt;

use kube::core::Status;
use ompipe_core::fields::nearest;
use ompipe_core::{PipelineIdentity, Problems, RunId, workflow};

/// Result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A pipeline or service with problems.
    #[error(transparent)]
    Invalid(#[from] Problems),
    /// No workflow config can be made of the pipeline.
    #[error("pipeline {pipeline:?} cannot run: {source}")]
    Workflow {
        /// The pipeline's FQN.
        pipeline: String,
        /// Why.
        #[source]
        source: workflow::Error,
    },
    /// The OpenMetadata server was asked in vain.
    #[error("{doing}: {source}")]
    OpenMetadata {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: ompipe_openmetadata::Error,
    },
    /// The way to the Kubernetes API is not configured right.
    #[error(
        "no Kubernetes cluster to talk to: {0}. Set KUBECONFIG, or kubeconfigPath in the configuration"
    )]
    NoCluster(String),
    /// A call to the Kubernetes API failed.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// A deploy was refused half-way and could not be undone.
    #[error("{source}\nand this could not be undone: {}", left.join("; "))]
    NotUndone {
        /// What was refused.
        #[source]
        source: Box<Self>,
        /// What is left.
        left: Vec<String>,
    },
    /// Another deploy took the pipeline's names in the same moment.
    #[error("another deploy has just created Secret {0}: try again")]
    ConcurrentDeploy(String),
    /// Another deploy of the pipeline wrote its objects in the same moment.
    #[error("another deploy has changed Secret {0} at the same time: try again")]
    Overtaken(String),
    /// An earlier deletion has not come to its end.
    #[error("{0} is still being deleted: try again in a moment")]
    StillGoing(String),
    /// Something else of the pipeline changed in every try.
    #[error("pipeline {0:?} is changed by others at the same time again and again: try later")]
    Contended(String),
    /// A delete could not remove everything.
    #[error("{source}\nthis is left, delete it again: {}", left.join(", "))]
    NotDeleted {
        /// What was refused first.
        #[source]
        source: Box<Self>,
        /// What is left.
        left: Vec<String>,
    },
    /// A run that was to be replaced has not ended in time.
    #[error("run {0} was stopped but its pod is still there: try again when it is gone")]
    NotReplaced(RunId),
    /// Two configs have one short name.
    #[error(
        "Secret {0} holds another config; change the pipeline's config in any way to get another name"
    )]
    RevisionNameTaken(String),
    /// Every name for the pipeline belongs to another one.
    #[error(
        "every object name for pipeline {0:?} is taken by another pipeline in this namespace; rename it"
    )]
    NoFreeName(String),
    /// No deployed pipeline is called so.
    #[error(
        "no deployed pipeline is called {name:?} in namespace {namespace}{}; `ompipe list` shows what is deployed",
        .similar.as_ref().map(|similar| format!("; did you mean {similar}?")).unwrap_or_default()
    )]
    NotDeployed {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// A pipeline with a name like it.
        similar: Option<String>,
    },
    /// Several pipelines have the name.
    #[error("several pipelines are called {name:?}; use the fully qualified name: {}", fqns.join(", "))]
    Ambiguous {
        /// The name asked for.
        name: String,
        /// Whose it is.
        fqns: Vec<String>,
    },
    /// A run of the pipeline has not ended.
    #[error(
        "pipeline {pipeline:?} is running already: run {run} has not ended. Wait for it, stop it \
         with `ompipe kill`, or set concurrencyPolicy"
    )]
    AlreadyRunning {
        /// The pipeline's FQN.
        pipeline: String,
        /// The run.
        run: RunId,
    },
    /// Another run has the name that a run id leads to.
    #[error("{job} belongs to another run; run ids must differ in their first 8 digits")]
    JobNameTaken {
        /// Kind and name of the object.
        job: String,
    },
    /// The pipeline never ran, or its runs are gone.
    #[error("pipeline {0:?} has no runs")]
    NoRuns(String),
    /// There is one attempt, or none.
    #[error("{} has no attempt before the last one", .0.map_or_else(|| "the run".to_owned(), |run| format!("run {run}")))]
    NoPreviousAttempt(Option<RunId>),
    /// There is no such run.
    #[error(
        "pipeline {pipeline:?} has no run {run}; finished runs are kept for ttlSecondsAfterFinished"
    )]
    NoSuchRun {
        /// The pipeline's FQN.
        pipeline: String,
        /// The run asked for.
        run: RunId,
    },
    /// An object that should have a configuration has none.
    #[error("{0} has no key config.yaml with a configuration")]
    NoConfig(String),
    /// The config of a run is gone.
    #[error(
        "the config of run {0} is no longer kept: the three latest configs of a pipeline are, and \
         those of runs that have not ended. `ompipe run` starts a run with the config of now"
    )]
    ConfigGone(RunId),
    /// The run's Job went away while it was followed.
    #[error("run {0} was deleted")]
    RunDeleted(RunId),
    /// There is no log yet.
    #[error("run {run} has no log{}: {why}", if *ended { "" } else { " yet" })]
    NoLog {
        /// The run.
        run: RunId,
        /// What it waits for.
        why: String,
        /// Whether it has ended, so that there will be none.
        ended: bool,
    },
    /// The archive of logs cannot be read.
    #[error(transparent)]
    Archive(ompipe_archive::Error),
    /// A Job's exit handler has no pod.
    #[error(
        "run {0} is a Job, which has no pod for its exit handler: that runs inside the pod of the \
         ingestion, without a log of its own"
    )]
    NoExitHandlerPod(RunId),
    /// There is no such attempt.
    #[error("run {run} has {attempts} attempts; there is no attempt {wanted}")]
    NoSuchAttempt {
        /// The run.
        run: RunId,
        /// How many it has.
        attempts: usize,
        /// The one asked for.
        wanted: usize,
    },
    /// There is no such page of the log.
    #[error(transparent)]
    Page(#[from] ompipe_core::logs::PageError),
    /// The log could not be read to its end.
    #[error("the log of pod {pod} broke off: {source}")]
    LogBrokeOff {
        /// The pod.
        pod: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Too many logs are being read, or reading this one took too long.
    #[error("too many logs are being read at the same time, or their nodes do not answer")]
    LogsBusy,
    /// Where the log was being written to failed.
    #[error("the log could not be written: {0}")]
    LogSink(#[source] std::io::Error),
}

impl From<ompipe_archive::Error> for Error {
    fn from(error: ompipe_archive::Error) -> Self {
        match error {
            ompipe_archive::Error::Page(error) => Self::Page(error),
            error => Self::Archive(error),
        }
    }
}

impl Error {
    /// The run that was asked for, or any run, is not there.
    #[must_use]
    pub fn no_run(pipeline: &PipelineIdentity, wanted: Option<RunId>) -> Self {
        let pipeline = pipeline.fully_qualified_name.clone();
        match wanted {
            Some(run) => Self::NoSuchRun { pipeline, run },
            None => Self::NoRuns(pipeline),
        }
    }

    /// The same with the name among `known` that may have been meant.
    pub(crate) fn suggesting(self, known: &[String]) -> Self {
        let Self::NotDeployed { name, namespace, .. } = self else { return self };
        let plain = |fqn: &str| fqn.rsplit('.').next().unwrap_or(fqn).to_owned();
        let names: Vec<String> = known.iter().map(|fqn| plain(fqn)).collect();
        let by_fqn = nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
        let similar = by_fqn.or_else(|| {
            let like = nearest(&name, names.iter().map(String::as_str))?;
            known.iter().find(|fqn| plain(fqn) == like).cloned()
        });
        Self::NotDeployed { name, namespace, similar }
    }

    /// True when somebody else changed the same objects at the same time, so that a new try may
    /// succeed.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::ConcurrentDeploy(_) | Self::Overtaken(_) | Self::StillGoing(_) => true,
            Self::Kubernetes(error) => error.status().is_some_and(Status::is_conflict),
            _ => false,
        }
    }

    /// True when the caller may not see, or the cluster does not have, a kind of object.
    pub(crate) fn is_no_such_kind(&self) -> bool {
        let status = |error: &KubernetesError| error.status().map(|status| status.code);
        matches!(self, Self::Kubernetes(error) if matches!(status(error), Some(403 | 404)))
    }

    /// True when the input or the configuration is at fault, false when a cluster or server is.
    #[must_use]
    pub const fn is_input(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_)
                | Self::Workflow { .. }
                | Self::Page(_)
                | Self::NoSuchAttempt { .. }
                | Self::NoPreviousAttempt(_)
                | Self::NoExitHandlerPod(_)
                | Self::NotDeployed { .. }
                | Self::Ambiguous { .. }
                | Self::ConfigGone(_)
                | Self::NoConfig(_)
                | Self::JobNameTaken { .. }
        )
    }
}

/// A failed call to the Kubernetes API: what was being done, the API's whole message and code, and
/// what to do about it.
#[derive(Debug)]
pub struct KubernetesError {
    doing: String,
    source: kube::Error,
}

impl KubernetesError {
    /// Says what `source` kept from happening: `"applying CronJob om-cronjob-shop"`.
    pub(crate) fn new(doing: impl Into<String>, source: kube::Error) -> Self {
        Self { doing: doing.into(), source }
    }

    /// True when the same call may go well a moment later: the API did not answer, was busy, or met
    /// another change.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.status().is_none_or(|status| matches!(status.code, 409 | 429 | 500..))
    }

    /// True when the API says that what was asked for is not there, or not yet: an object that went
    /// meanwhile, the log of a container that is about to start.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        self.status().is_some_and(|status| matches!(status.code, 400 | 404))
    }

    /// The API's answer, if it gave one.
    pub(crate) fn status(&self) -> Option<&Status> {
        match &self.source {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }
}

impl fmt::Display for KubernetesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status() {
            Some(status) => {
                write!(f, "{}: {} ({})", self.doing, status.message, status.code)?;
                hint(status).map_or(Ok(()), |hint| write!(f, ". {hint}"))
            }
            None => write!(
                f,
                "{}: the Kubernetes API does not answer: {}",
                self.doing,
                innermost(&self.source)
            ),
        }
    }
}

impl std::error::Error for KubernetesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// What to do about an answer of the API.
fn hint(status: &Status) -> Option<&'static str> {
    let namespace_missing = status.message.starts_with("namespaces \"");
    match status.code {
        401 => Some("The kubeconfig's credentials are not accepted: renew them"),
        403 if status.message.contains("is being terminated") => {
            Some("The namespace is being deleted: wait until it is gone, then create it again")
        }
        403 if status.message.contains("exceeded quota") => {
            Some("Raise the namespace's ResourceQuota, or delete what is not needed")
        }
        403 => {
            Some("Grant that right in the namespace's Role: `ompipe rbac` prints one that suffices")
        }
        404 if namespace_missing => {
            Some("Create the namespace, or set parameters.namespace to one that exists")
        }
        409 => Some("Somebody else changed it at the same time: try again"),
        _ => None,
    }
}

/// The last cause says most: `Connection refused`, `certificate has expired`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
