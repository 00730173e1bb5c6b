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

/// Time to connect, and for a whole answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Where the kubelet puts what a pod needs to speak to the API server.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A namespace of the cluster that this process runs in.
pub(crate) struct Cluster {
    client: Client,
    /// Of the API server: `https://host:port`.
    base: String,
    token: SecretString,
    namespace: String,
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
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            // The worker's proxy is not for the API server of its own cluster.
            .no_proxy()
            .tls_certs_only(authorities)
            .build()?;
        let base = format!("https://{host}:{port}");
        Ok(Self { client, base, token: file("token")?.trim().into(), namespace })
    }

    /// The main pod of a run's newest attempt, found by the labels of its object or of the run.
    pub(crate) async fn main_pod(
        &self,
        job: Option<&str>,
        run: Option<RunId>,
    ) -> Result<Option<Pod>, Error> {
        for selector in selectors(job, run) {
            let listed = self.get("api/v1", "pods", &[("labelSelector", &selector)]).await?;
            let pods: Option<List<Pod>> = read(listed).await?;
            let newest = newest_main(pods.map(|pods| pods.items).unwrap_or_default(), job);
            if newest.is_some() {
                return Ok(newest);
            }
        }
        Ok(None)
    }

    /// The Job of that name; `None` when there is none any more.
    pub(crate) async fn job(&self, name: &str) -> Result<Option<Job>, Error> {
        read(self.get("apis/batch/v1", &format!("jobs/{name}"), &[]).await?).await
    }

    /// The pod, its events and the end of its log, as text. What cannot be read is left out; of the
    /// log the reason stands in its place.
    pub(crate) async fn describe(&self, pod: &Pod) -> String {
        let (events, log) = tokio::join!(self.events(pod), self.log(pod));
        let log = log.unwrap_or_else(|error| format!("(cannot be read: {error})"));
        report::describe(pod, &events.unwrap_or_default(), &log)
    }

    async fn events(&self, pod: &Pod) -> Result<Vec<Event>, Error> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let about = format!("involvedObject.uid={uid}");
        let listed = self.get("api/v1", "events", &[("fieldSelector", &about)]).await?;
        let events: Option<List<Event>> = read(listed).await?;
        Ok(events.map(|events| events.items).unwrap_or_default())
    }

    async fn log(&self, pod: &Pod) -> Result<String, Error> {
        let path = format!("pods/{}/log", pod.metadata.name.as_deref().unwrap_or_default());
        let lines = report::LOG_LINES.to_string();
        let query = [("container", MAIN_CONTAINER), ("tailLines", lines.as_str())];
        let mut answer = ok(self.get("api/v1", &path, &query).await?)?;
        let mut tail = LogTail::new(report::LOG_BYTES);
        while let Some(piece) = answer.chunk().await? {
            tail.push(&piece);
        }
        Ok(tail.finish())
    }

    async fn get(
        &self,
        group: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Response, Error> {
        let url = format!("{}/{group}/namespaces/{}/{path}", self.base, self.namespace);
        let request = self.client.get(url).query(query).bearer_auth(self.token.expose_secret());
        Ok(request.send().await?)
    }
}

fn file(name: &'static str) -> Result<String, Error> {
    fs::read_to_string(Path::new(SERVICE_ACCOUNT).join(name))
        .map_err(|source| Error::Unreadable { name, source })
}

/// An IPv6 address stands in brackets in a URL.
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
mod tests {
    use serde_json::{Value, json};

    use super::*;

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
