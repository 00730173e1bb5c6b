//! The cluster as a witness of the end: asked for no more than is needed, and for nothing twice.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::Error;
use crate::cluster::Cluster;
use crate::input::{EndedSubject, Input};
use crate::known_end::KnownEnd;
use ompipe_core::run::JobFate;

/// Time that the cluster gets for each question: the end has to be reported without it too.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is said in place of an answer.
const NO_ANSWER: &str = "the API server did not answer in time";

/// What can be learned about a run from its cluster.
pub(crate) struct Witness<'i> {
    input: &'i Input,
    variable: &'i dyn Fn(&str) -> Option<String>,
    found: OnceCell<Result<(Cluster, Pod), String>>,
    text: OnceCell<String>,
}

impl<'i> Witness<'i> {
    pub(crate) const fn new(
        input: &'i Input,
        variable: &'i dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self { input, variable, found: OnceCell::const_new(), text: OnceCell::const_new() }
    }

    /// The end that the operator tells, or the pod, or `pipelineStatus`.
    pub(crate) async fn end(&self) -> Result<KnownEnd, Error> {
        if let Some(end) = self.input.told.clone() {
            return Ok(KnownEnd::told(end));
        }
        match self.found().await {
            Ok((cluster, pod)) => {
                let fate = timeout(PATIENCE, self.fate(cluster, pod)).await;
                Ok(KnownEnd::of_pod(pod, fate.unwrap_or(JobFate::Lives)))
            }
            Err(_) => self.input.succeeded.map(KnownEnd::of_status).ok_or(Error::NoEnd),
        }
    }

    /// When the pod began, if it was asked for.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        let (_, pod) = self.found.get()?.as_ref().ok()?;
        pod.status.as_ref()?.start_time.as_ref().map(|time| time.0)
    }

    /// What the cluster knows about the pod, or why that is nothing; without the config's secrets.
    pub(crate) async fn diagnostics(&self) -> &str {
        self.text.get_or_init(async || self.input.recipient.scrub(&self.describe().await)).await
    }

    async fn describe(&self) -> String {
        match self.found().await {
            Ok((cluster, pod)) => {
                let text = timeout(PATIENCE, cluster.describe(pod)).await;
                text.unwrap_or_else(|_| NO_ANSWER.to_owned())
            }
            Err(why) => format!("Nothing is known about the pod: {why}."),
        }
    }

    async fn found(&self) -> Result<&(Cluster, Pod), &String> {
        let find = async || {
            let found = timeout(PATIENCE, self.find()).await;
            found.unwrap_or_else(|_| Err(NO_ANSWER.to_owned()))
        };
        self.found.get_or_init(find).await.as_ref()
    }

    async fn find(&self) -> Result<(Cluster, Pod), String> {
        let Input { run, job, namespace, .. } = self.input;
        let id = match run {
            EndedSubject::Run { id, .. } => Some(*id),
            EndedSubject::Automation { .. } => None,
        };
        let cluster = Cluster::of_pod(self.variable, namespace.as_deref());
        let cluster = cluster.map_err(|error| error.to_string())?;
        let pod = cluster.main_pod(job.as_deref(), id).await;
        let pod = pod.map_err(|error| error.to_string())?;
        Ok((cluster, pod.ok_or("no pod of the run is left")?))
    }

    /// What became of the pod's Job. The pods of an `OMJob` have none, and its operator tells the
    /// end.
    async fn fate(&self, cluster: &Cluster, pod: &Pod) -> JobFate {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        let Some(job) = owners.find(|owner| owner.kind == "Job") else {
            return JobFate::Lives;
        };
        let job = cluster.job(&job.name).await;
        job.map_or(JobFate::Lives, |job| JobFate::of(job.as_ref()))
    }
}
