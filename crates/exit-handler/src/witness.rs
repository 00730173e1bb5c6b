//! The cluster as a witness of the end: asked for no more than is needed, and for nothing twice.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use ompipe_core::omjob::{End, PodState};
use ompipe_core::run::{JobFate, another_attempt_follows};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout_at};

use crate::cluster::{self, Cluster};
use crate::input::{EndedSubject, Input};
use crate::known_end::KnownEnd;
use crate::supervise::Supervised;
use crate::{Error, clock};

/// Time that the cluster gets for each question, however little there is: the end has to be reported
/// without it too.
const PATIENCE: Duration = Duration::from_secs(5);
/// A worker that ends at once does so before the kubelet has reported that it started, and until then
/// its log cannot be read: a supervisor looks this often.
const LOOKS: u32 = 6;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// What is said in place of an answer.
const NO_ANSWER: &str = "the API server did not answer in time";

/// What can be learned about a run from its cluster.
pub(crate) struct Witness<'i> {
    input: &'i Input,
    connect: &'i dyn Fn() -> Result<Cluster, cluster::Error>,
    /// What the supervisor saw, if this is one.
    seen: Option<&'i Supervised>,
    /// Until then the cluster is asked again; the report needs the time after it.
    until: Instant,
    found: OnceCell<Result<(Cluster, Pod), String>>,
    text: OnceCell<String>,
}

/// The Job that a pod belongs to.
struct Owner {
    fate: JobFate,
    /// As it was read; `None` if it is gone or its state is unknown.
    job: Option<Job>,
}

impl Owner {
    const UNKNOWN: Self = Self { fate: JobFate::Lives, job: None };
}

impl<'i> Witness<'i> {
    pub(crate) fn new(
        input: &'i Input,
        connect: &'i dyn Fn() -> Result<Cluster, cluster::Error>,
        seen: Option<&'i Supervised>,
        until: Instant,
    ) -> Self {
        let (found, text) = (OnceCell::new(), OnceCell::new());
        Self { input, connect, seen, until, found, text }
    }

    /// The end that the supervisor saw, that the operator gives, or the pod has, or `pipelineStatus`;
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
            Err(why) => self.end_alone(why).map(Some),
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

    fn end_alone(&self, why: &str) -> Result<KnownEnd, Error> {
        match self.seen {
            Some(seen) => Ok(KnownEnd::of_supervised_alone(seen, why)),
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
                let until = self.until();
                let text = timeout_at(until, cluster.describe(pod, until)).await;
                text.unwrap_or_else(|_| NO_ANSWER.to_owned())
            }
            Err(why) => format!("Nothing is known about the pod: {why}."),
        }
    }

    async fn found(&self) -> Result<&(Cluster, Pod), &String> {
        let find = async || {
            let until = self.until();
            let found = timeout_at(until, self.find(until)).await;
            found.unwrap_or_else(|_| Err(NO_ANSWER.to_owned()))
        };
        self.found.get_or_init(find).await.as_ref()
    }

    fn until(&self) -> Instant {
        self.until.max(Instant::now() + PATIENCE)
    }

    async fn find(&self, until: Instant) -> Result<(Cluster, Pod), String> {
        let Input { run, job, .. } = self.input;
        let id = match run {
            EndedSubject::Run { id, .. } => Some(*id),
            EndedSubject::Automation { .. } => None,
        };
        let cluster = (self.connect)().map_err(|error| error.to_string())?;
        for looks_left in (0..LOOKS).rev() {
            let pod = cluster.main_pod(job.as_deref(), id, until).await;
            let pod = pod.map_err(|error| error.to_string())?.ok_or("no pod of the run is left")?;
            let is_behind = self.seen.is_some() && !PodState::of(&pod).has_started();
            if !is_behind || looks_left == 0 {
                return Ok((cluster, pod));
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Err(NO_ANSWER.to_owned())
    }

    /// The pod's Job. The pods of an `OMJob` have none, and its operator gives the end.
    async fn owner(&self, cluster: &Cluster, pod: &Pod) -> Owner {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        let Some(owner) = owners.find(|owner| owner.kind == "Job") else {
            return Owner::UNKNOWN;
        };
        let until = self.until();
        let Ok(Ok(job)) = timeout_at(until, cluster.job(&owner.name, until)).await else {
            return Owner::UNKNOWN;
        };
        let job = job.filter(|job| job.metadata.uid.as_ref() == Some(&owner.uid));
        Owner { fate: JobFate::of(job.as_ref()), job }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use ompipe_core::omjob::Reason;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::tests::Standin;

    const RUN: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

    fn input() -> Input {
        let config = "{ingestionPipelineFQN: a.b, workflowConfig: {openMetadataServerConfig: \
            {hostPort: 'http://om/api', securityConfig: {jwtToken: t}}}}";
        let variable = |name: &str| match name {
            "config" => Some(config.to_owned()),
            "pipelineRunId" => Some(RUN.to_owned()),
            "jobName" => Some("j".to_owned()),
            _ => None,
        };
        Input::read(variable, Duration::from_secs(40)).unwrap()
    }

    /// The pod of a worker that is being stopped, and its Job.
    fn answers(job: &Value) -> BTreeMap<String, Value> {
        let pod = json!({
            "metadata": { "name": "p", "deletionTimestamp": "2026-01-01T12:01:00Z",
                "deletionGracePeriodSeconds": 60, "labels": {},
                "ownerReferences": [
                    { "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u" },
                ] },
            "spec": { "nodeName": "n", "containers": [] },
            "status": { "phase": "Running", "containerStatuses": [{ "name": "main", "image": "",
                "imageID": "", "ready": true, "restartCount": 0, "state": { "running": {} } }] },
        });
        let pods = json!({ "metadata": {}, "items": [pod] });
        BTreeMap::from([("pods".to_owned(), pods), ("j".to_owned(), job.clone())])
    }

    fn job(more: &Value) -> Value {
        let mut job = json!({ "metadata": { "name": "j", "uid": "u" }, "spec": {
            "backoffLimit": 0, "template": {} }, "status": {} });
        for (part, fields) in more.as_object().unwrap() {
            job[part].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        }
        job
    }

    fn stopped() -> Supervised {
        let at = "2026-01-01T12:00:01Z".parse().unwrap();
        let end = End::of_process(143, false, Some(at));
        Supervised { began: at, end, killed_at: Some(Instant::now()), code: 143 }
    }

    async fn told(stalls: usize, job: &Value, budget: Duration) -> KnownEnd {
        let standin = Standin::start(stalls, answers(job)).await;
        let cluster = RefCell::new(Some(standin.cluster));
        let connect = || cluster.take().ok_or(cluster::Error::NotInPod("a second connection"));
        let (input, seen) = (input(), stopped());
        let witness = Witness::new(&input, &connect, Some(&seen), Instant::now() + budget);
        witness.end().await.unwrap().unwrap()
    }

    #[rstest]
    #[case::killed(json!({ "metadata": { "deletionTimestamp": "2026-01-01T12:00:00Z" } }), Reason::Killed)]
    #[case::late(
        json!({ "status": { "conditions": [
            { "type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded" },
        ] } }),
        Reason::DeadlineExceeded
    )]
    #[case::deleted(json!({}), Reason::Deleted)]
    #[tokio::test]
    async fn an_api_server_that_stalls_at_first_still_tells_why_the_worker_was_stopped(
        #[case] more: Value,
        #[case] expected: Reason,
        #[values(0, 1, 3)] stalls: usize,
    ) {
        let known = told(stalls, &job(&more), Duration::from_secs(25)).await;
        assert_eq!((known.end.reason, known.end.exit_code), (expected, Some(143)));
    }

    #[tokio::test]
    async fn without_the_cluster_the_end_says_that_the_worker_was_asked_to_end() {
        let (input, seen) = (input(), stopped());
        let connect = || Err(cluster::Error::NotInPod("KUBERNETES_SERVICE_HOST"));
        let witness = Witness::new(&input, &connect, Some(&seen), Instant::now());
        let known = witness.end().await.unwrap().unwrap();
        assert_eq!(known.end.reason, Reason::Signal);
        assert!(known.end.message.contains("asked to end, and why is not known: "));
        assert!(known.end.message.ends_with("KUBERNETES_SERVICE_HOST"), "{}", known.end.message);
    }
}
