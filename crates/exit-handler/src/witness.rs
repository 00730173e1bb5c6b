//! The cluster as a witness of the end: asked for no more than is needed, and for nothing twice.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use ompipe_core::omjob::{End, PodState};
use ompipe_core::run::{JobFate, another_attempt_follows};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use crate::cluster::Cluster;
use crate::input::{EndedSubject, Input};
use crate::known_end::KnownEnd;
use crate::supervise::Supervised;
use crate::{Error, clock};

/// Time that the cluster gets for each question: the end has to be reported without it too.
const PATIENCE: Duration = Duration::from_secs(5);
/// A worker that ends at once does so before the kubelet has told that it started, and until then
/// its log cannot be read: a supervisor looks this often.
const LOOKS: u32 = 6;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// What is said in place of an answer.
const NO_ANSWER: &str = "the API server did not answer in time";

/// What can be learned about a run from its cluster.
pub(crate) struct Witness<'i> {
    input: &'i Input,
    variable: &'i dyn Fn(&str) -> Option<String>,
    /// What the supervisor saw, if this is one.
    seen: Option<&'i Supervised>,
    found: OnceCell<Result<(Cluster, Pod), String>>,
    text: OnceCell<String>,
}

/// The Job that a pod belongs to.
struct Owner {
    fate: JobFate,
    /// As it was read; `None` when it is gone, or nobody knows.
    job: Option<Job>,
}

impl Owner {
    const UNKNOWN: Self = Self { fate: JobFate::Lives, job: None };
}

impl<'i> Witness<'i> {
    pub(crate) fn new(
        input: &'i Input,
        variable: &'i dyn Fn(&str) -> Option<String>,
        seen: Option<&'i Supervised>,
    ) -> Self {
        let (found, text) = (OnceCell::new(), OnceCell::new());
        Self { input, variable, seen, found, text }
    }

    /// The end that the supervisor saw, that the operator tells, or the pod, or `pipelineStatus`;
    /// `None` while another attempt of the run follows.
    pub(crate) async fn end(&self) -> Result<Option<KnownEnd>, Error> {
        let told = || self.input.told.clone();
        let certain = match self.seen {
            Some(seen) => Some(seen.end.clone()).filter(End::succeeded),
            None => told(),
        };
        if let Some(end) = certain {
            return Ok(Some(KnownEnd::told(end)));
        }
        match self.found().await {
            Ok((cluster, pod)) => Ok(self.end_of(pod, &self.owner(cluster, pod).await)),
            // Rather a status that a further attempt opens again than one that stays open for ever.
            Err(_) => self.end_alone().map(Some),
        }
    }

    fn end_of(&self, pod: &Pod, owner: &Owner) -> Option<KnownEnd> {
        let known = match self.seen {
            Some(seen) => KnownEnd::of_supervised(seen, pod, owner.fate),
            None => KnownEnd::of_pod(pod, owner.fate),
        };
        let follows = |job: &Job| another_attempt_follows(job, pod, &known.end, clock::now());
        let is_over = !owner.job.as_ref().is_some_and(follows);
        is_over.then_some(known)
    }

    fn end_alone(&self) -> Result<KnownEnd, Error> {
        match self.seen {
            Some(seen) => Ok(KnownEnd::told(seen.end.clone())),
            None => self.input.succeeded.map(KnownEnd::of_status).ok_or(Error::NoEnd),
        }
    }

    /// When the run's attempt began, as far as it is known by now.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        self.seen.map(|seen| seen.began).or_else(|| self.pod_began())
    }

    fn pod_began(&self) -> Option<Timestamp> {
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
        for looks_left in (0..LOOKS).rev() {
            let pod = cluster.main_pod(job.as_deref(), id).await;
            let pod = pod.map_err(|error| error.to_string())?.ok_or("no pod of the run is left")?;
            let is_behind = self.seen.is_some() && !PodState::of(&pod).has_started();
            if !is_behind || looks_left == 0 {
                return Ok((cluster, pod));
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Err(NO_ANSWER.to_owned())
    }

    /// The pod's Job. The pods of an `OMJob` have none, and its operator tells the end.
    async fn owner(&self, cluster: &Cluster, pod: &Pod) -> Owner {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        let Some(owner) = owners.find(|owner| owner.kind == "Job") else {
            return Owner::UNKNOWN;
        };
        let Ok(Ok(job)) = timeout(PATIENCE, cluster.job(&owner.name)).await else {
            return Owner::UNKNOWN;
        };
        let job = job.filter(|job| job.metadata.uid.as_ref() == Some(&owner.uid));
        Owner { fate: JobFate::of(job.as_ref()), job }
    }
}
