//! What the cluster knows about a run: its pod, the pod's events and log, the Job.
//!
//! Four GETs from inside a pod need none of what kube's client brings along (kubeconfig, exec
//! plugins, `JSONPath`), which would be a fifth of the program.

use std::fs;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::List;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use ompipe_core::logs::LogTail;
use ompipe_core::run::MAIN_CONTAINER;
use ompipe_core::{RunId, labels, report};
use reqwest::{Certificate, Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

/// Time for the first whole answer, the connection included. Each further one gets twice as long, since a pod
/// that the node starves of CPU needs seconds for the handshake alone.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// Pause before a question is repeated.
const PAUSE: Duration = Duration::from_millis(500);
/// Where the kubelet puts what a pod needs to speak to the API server.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A namespace of the cluster that this process runs in.
pub(crate) struct Cluster {
    client: Client,
    /// Of the API server: `https://host:port`.
    base: String,
    token: SecretString,
    namespace: String,
    first_answer: Duration,
}

/// Why something is not known of the cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("this is no pod with a service account's token: {0}")]
    NotInPod(&'static str),
    #[error("{SERVICE_ACCOUNT}/{name} cannot be read: {source}")]
    Unreadable { name: &'static str, source: std::io::Error },
    #[error("the API server does not answer: {0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("the API server answers {0}")]
    Refused(StatusCode),
}

impl Error {
    /// True when the same question may have an answer in a moment.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(status) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::NotInPod(_) | Self::Unreadable { .. } => false,
        }
    }
}

impl Cluster {
    /// The cluster of this pod.
    pub(crate) fn of_pod(
        variable: impl Fn(&str) -> Option<String>,
        namespace: Option<&str>,
    ) -> Result<Self, Error> {
        let address = |name| variable(name).ok_or(Error::NotInPod(name));
        let host = bracketed(address("KUBERNETES_SERVICE_HOST")?);
        let port = address("KUBERNETES_SERVICE_PORT")?;
        let namespace = namespace.map_or_else(|| file("namespace"), |name| Ok(name.to_owned()))?;
        let authorities = Certificate::from_pem_bundle(file("ca.crt")?.as_bytes())?;
        let client = Client::builder()
            // So that a question that is repeated has a connection of its own.
            .http1_only()
            // The worker's proxy is not for the API server of its own cluster.
            .no_proxy()
            .tls_certs_only(authorities)
            .build()?;
        let base = format!("https://{host}:{port}");
        let token = file("token")?.trim().into();
        Ok(Self { client, base, token, namespace, first_answer: FIRST_ANSWER })
    }

    /// The main pod of a run's newest attempt, found by the labels of its object or of the run.
    pub(crate) async fn main_pod(
        &self,
        job: Option<&str>,
        run: Option<RunId>,
        until: Instant,
    ) -> Result<Option<Pod>, Error> {
        for selector in selectors(job, run) {
            let query = [("labelSelector", selector.as_str())];
            let pods = self.ask("api/v1", "pods", &query, until, read::<List<Pod>>).await?;
            let newest = newest_main(pods.map(|pods| pods.items).unwrap_or_default(), job);
            if newest.is_some() {
                return Ok(newest);
            }
        }
        Ok(None)
    }

    /// The Job of that name; `None` if it no longer exists.
    pub(crate) async fn job(&self, name: &str, until: Instant) -> Result<Option<Job>, Error> {
        self.ask("apis/batch/v1", &format!("jobs/{name}"), &[], until, read).await
    }

    /// The pod, its events and the end of its log, as text. What cannot be read is left out; of the
    /// log, the reason takes its place.
    pub(crate) async fn describe(&self, pod: &Pod, until: Instant) -> String {
        let (events, log) = tokio::join!(self.events(pod, until), self.log(pod, until));
        let log = log.unwrap_or_else(|error| format!("(cannot be read: {error})"));
        report::describe(pod, &events.unwrap_or_default(), &log)
    }

    async fn events(&self, pod: &Pod, until: Instant) -> Result<Vec<Event>, Error> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let about = format!("involvedObject.uid={uid}");
        let query = [("fieldSelector", about.as_str())];
        let events = self.ask("api/v1", "events", &query, until, read::<List<Event>>).await?;
        Ok(events.map(|events| events.items).unwrap_or_default())
    }

    async fn log(&self, pod: &Pod, until: Instant) -> Result<String, Error> {
        let path = format!("pods/{}/log", pod.metadata.name.as_deref().unwrap_or_default());
        let lines = report::LOG_LINES.to_string();
        let query = [("container", MAIN_CONTAINER), ("tailLines", lines.as_str())];
        self.ask("api/v1", &path, &query, until, tail).await
    }

    /// Asks, and asks again until then while no whole answer comes.
    async fn ask<T>(
        &self,
        group: &str,
        path: &str,
        query: &[(&str, &str)],
        until: Instant,
        read: impl AsyncFn(Response) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut limit = self.first_answer;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = match self.get(group, path, query, limit.min(left)).await {
                Ok(response) => read(response).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.may_pass() && Instant::now() + PAUSE < until => {}
                answer => return answer,
            }
            sleep(PAUSE).await;
            limit = limit.saturating_mul(2);
        }
    }

    async fn get(
        &self,
        group: &str,
        path: &str,
        query: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Response, Error> {
        let url = format!("{}/{group}/namespaces/{}/{path}", self.base, self.namespace);
        let request = self.client.get(url).query(query).timeout(limit);
        Ok(request.bearer_auth(self.token.expose_secret()).send().await?)
    }
}

fn file(name: &'static str) -> Result<String, Error> {
    fs::read_to_string(Path::new(SERVICE_ACCOUNT).join(name))
        .map_err(|source| Error::Unreadable { name, source })
}

/// A URL has an IPv6 address in brackets.
fn bracketed(host: String) -> String {
    if host.contains(':') { format!("[{host}]") } else { host }
}

fn ok(answer: Response) -> Result<Response, Error> {
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status => Err(Error::Refused(status)),
    }
}

async fn read<T: DeserializeOwned>(answer: Response) -> Result<Option<T>, Error> {
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    Ok(Some(ok(answer)?.json().await?))
}

/// The end of a log.
async fn tail(answer: Response) -> Result<String, Error> {
    let mut answer = ok(answer)?;
    let mut tail = LogTail::new(report::LOG_BYTES);
    while let Some(piece) = answer.chunk().await? {
        tail.push(&piece);
    }
    Ok(tail.finish())
}

/// Where the main pod may be found, best first.
fn selectors(job: Option<&str>, run: Option<RunId>) -> Vec<String> {
    let of_job =
        [labels::JOB_NAME, labels::OMJOB_NAME].map(|label| Some(format!("{label}={}", job?)));
    let of_run = run.map(|run| format!("{}={run}", labels::RUN_ID));
    of_job.into_iter().chain([of_run]).flatten().collect()
}

/// The newest pod that is no exit handler and belongs to the object of that name.
fn newest_main(pods: Vec<Pod>, job: Option<&str>) -> Option<Pod> {
    let is_main = |pod: &Pod| {
        let kind = pod.metadata.labels.as_ref().and_then(|labels| labels.get(labels::POD_TYPE));
        kind.is_none_or(|kind| kind == "main")
    };
    let belongs = |pod: &Pod| {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        job.is_none_or(|job| owners.any(|owner| owner.name == job))
    };
    let mains = pods.into_iter().filter(|pod| is_main(pod) && belongs(pod));
    mains.max_by_key(|pod| pod.metadata.creation_timestamp.clone())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;

    use super::*;

    /// An API server that leaves its first questions without an answer.
    pub(crate) struct Standin {
        pub(crate) cluster: Cluster,
        asked: Arc<AtomicUsize>,
        _tasks: JoinSet<()>,
    }

    impl Standin {
        /// Answers the `answers` by the last part of a path, everything else with 404.
        pub(crate) async fn start(stalls: usize, answers: BTreeMap<String, Value>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let asked = Arc::new(AtomicUsize::new(0));
            let (counted, mut tasks) = (Arc::clone(&asked), JoinSet::new());
            tasks.spawn(async move {
                let mut stalled = Vec::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    if counted.fetch_add(1, Ordering::Relaxed) < stalls {
                        stalled.push(stream);
                    } else {
                        answer(stream, &answers).await;
                    }
                }
            });
            let cluster = Cluster {
                client: Client::builder().no_proxy().http1_only().build().unwrap(),
                base,
                token: "t".into(),
                namespace: "n".to_owned(),
                first_answer: Duration::from_millis(100),
            };
            Self { cluster, asked, _tasks: tasks }
        }

        pub(crate) fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    async fn answer(stream: TcpStream, answers: &BTreeMap<String, Value>) {
        let (mut lines, mut path) = (BufReader::new(stream), String::new());
        lines.read_line(&mut path).await.unwrap();
        let mut line = path.clone();
        while !line.trim().is_empty() {
            line.clear();
            lines.read_line(&mut line).await.unwrap();
        }
        let path = path.split([' ', '?']).nth(1).unwrap_or_default();
        let found = answers.get(path.rsplit('/').next().unwrap_or_default());
        let code = if found.is_some() { 200 } else { 404 };
        let body = found.map(Value::to_string).unwrap_or_default();
        let head = format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\n", body.len());
        let whole = format!("{head}Connection: close\r\n\r\n{body}");
        lines.write_all(whole.as_bytes()).await.unwrap();
    }

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_question_without_an_answer_is_repeated() {
        let answers = BTreeMap::from([("j".to_owned(), json!({ "metadata": { "name": "j" } }))]);
        let standin = Standin::start(2, answers).await;
        let job = standin.cluster.job("j", in_seconds(30)).await.unwrap().unwrap();
        assert_eq!((job.metadata.name.as_deref(), standin.asked()), (Some("j"), 3));
    }

    #[tokio::test]
    async fn an_api_server_that_never_answers_is_left_alone_in_time() {
        let standin = Standin::start(usize::MAX, BTreeMap::new()).await;
        let (began, until) = (Instant::now(), in_seconds(1));
        let error = standin.cluster.job("j", until).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
        assert!(standin.asked() > 1 && began.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn what_is_not_there_is_asked_for_once() {
        let standin = Standin::start(0, BTreeMap::new()).await;
        assert_eq!(standin.cluster.job("j", in_seconds(30)).await.unwrap(), None);
        assert_eq!(standin.asked(), 1);
    }

    fn pod(name: &str, minute: u8, kind: Option<&str>, owner: &str) -> Pod {
        let mut labels = json!({});
        if let Some(kind) = kind {
            labels[labels::POD_TYPE] = kind.into();
        }
        let owner = json!({ "apiVersion": "v1", "kind": "Job", "name": owner, "uid": "u" });
        let created: Value = format!("2026-01-01T12:{minute:02}:00Z").into();
        serde_json::from_value(json!({ "metadata": {
            "name": name, "creationTimestamp": created, "labels": labels, "ownerReferences": [owner],
        }}))
        .unwrap()
    }

    #[test]
    fn the_newest_attempt_of_the_run_is_the_one() {
        let pods = vec![
            pod("first", 0, Some("main"), "j"),
            pod("second", 1, Some("main"), "j"),
            pod("exit", 2, Some("exit-handler"), "j"),
            pod("other", 3, None, "j2"),
        ];
        let newest = newest_main(pods, Some("j")).unwrap();
        assert_eq!(newest.metadata.name.as_deref(), Some("second"));
    }

    #[test]
    fn pods_are_looked_for_by_object_and_by_run() {
        let run: RunId = "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap();
        assert_eq!(
            selectors(Some("j"), Some(run)),
            [
                "batch.kubernetes.io/job-name=j",
                "omjob.pipelines.openmetadata.org/name=j",
                "app.kubernetes.io/run-id=a1b2c3d4-e5f6-7890-abcd-ef1234567890",
            ]
        );
        assert!(selectors(None, None).is_empty());
    }
}
