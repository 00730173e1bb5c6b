//! The requests of the real Java client (`tests/vectors/airflow-client.json`, three revisions of it),
//! sent byte for byte: request line, headers in their order, body, on one connection as it does. Only
//! host, password, and where the OpenMetadata server is are those of the test.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{PATIENT, fqn, shop};
use crate::support::{LOGIN, Scene, Serving, VERSION};

#[derive(Deserialize)]
struct Case {
    title: String,
    revision: String,
    #[serde(default)]
    requests: Vec<Recorded>,
}

/// A request as it was seen; of some only the target was kept.
#[derive(Clone, Deserialize)]
struct Recorded {
    method: String,
    target: String,
    #[serde(default)]
    connection: u32,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
}

/// The path below which one of the recorded clients looked for its service.
const BASE_PATH: &str = "/base/path";

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../vectors/airflow-client.json")).unwrap()
}

impl Recorded {
    /// The operation: the last part of the path.
    fn operation(&self) -> &str {
        let path = self.target.split('?').next().unwrap();
        path.rsplit('/').next().unwrap()
    }

    /// The pipeline that it names, in its body or in its query.
    fn dag_id(&self) -> Option<String> {
        if let Some((_, query)) = self.target.split_once('?') {
            let url = reqwest::Url::parse(&format!("http://x/?{query}")).unwrap();
            let dag_id = url.query_pairs().find(|(key, _)| key == "dag_id")?;
            return Some(dag_id.1.into_owned());
        }
        let body: Value = serde_json::from_str(&self.body).ok()?;
        Some(body["dag_id"].as_str()?.to_owned())
    }

    /// The request as the client would send it to this service.
    fn bytes(&self, scene: &Scene, serving: &Serving) -> Vec<u8> {
        let body = self.body.replace("http://om:8585/api", scene.standin.url());
        let body = body.replace("made.up.token", scene.standin.token());
        let mut lines = vec![format!("{} {} HTTP/1.1", self.method, self.target)];
        for (name, value) in &self.headers {
            let value = match name.as_str() {
                "Host" => serving.address.to_string(),
                "Authorization" => {
                    format!("Basic {}", STANDARD.encode(format!("{}:{}", LOGIN.0, LOGIN.1)))
                }
                "Content-Length" => body.len().to_string(),
                _ => value.clone(),
            };
            lines.push(format!("{name}: {value}"));
        }
        [lines.join("\r\n").as_bytes(), b"\r\n\r\n", body.as_bytes()].concat()
    }
}

/// The connections of one client, by the number that they had when it was recorded.
struct Connections<'s> {
    serving: &'s Serving,
    open: BTreeMap<u32, BufReader<TcpStream>>,
}

impl Connections<'_> {
    async fn send(&mut self, connection: u32, request: &[u8]) -> (u16, String) {
        if !self.open.contains_key(&connection) {
            let stream = TcpStream::connect(self.serving.address).await.unwrap();
            self.open.insert(connection, BufReader::new(stream));
        }
        let stream = self.open.get_mut(&connection).unwrap();
        stream.get_mut().write_all(request).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = stream.read_line(&mut head).await.unwrap();
            assert!(read > 0, "the connection was closed after {head:?}");
        }
        let head = head.to_lowercase();
        assert!(!head.contains("connection: close") && !head.contains("location:"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, String::from_utf8(body).unwrap())
    }
}

/// What the client makes of an answer to an operation that went well
/// (docs/contracts/openmetadata-http.md#routes).
fn read(request: &Recorded, body: &str) -> Result<(), String> {
    let json: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let ok = match request.operation() {
        "health-auth" => json["version"] == VERSION,
        "csrf-token" => json["csrf_token"]
            .as_str()
            .is_some_and(|token| !token.is_empty() && token.bytes().all(|c| c.is_ascii_graphic())),
        "status" => json.as_array().is_some_and(|items| items.iter().all(is_status)),
        "last_dag_logs" => is_log(&json, request),
        "ip" => json["ip"].is_string(),
        _ => json["message"].is_string() || request.operation() == "health",
    };
    if ok { Ok(()) } else { Err(body.to_owned()) }
}

/// One more field, or an unknown state, loses the whole list.
fn is_status(item: &Value) -> bool {
    let known = ["runId", "pipelineState", "startDate", "timestamp", "endDate"];
    let states = ["queued", "running", "success", "partialSuccess", "failed"];
    let fields = item.as_object().unwrap();
    fields.keys().all(|key| known.contains(&key.as_str()))
        && states.contains(&item["pipelineState"].as_str().unwrap())
        && item["runId"].as_str().unwrap().parse::<uuid::Uuid>().is_ok()
        && ["startDate", "timestamp"].iter().all(|key| item[key].is_i64())
}

/// A flat object with the text under the task that was asked for.
fn is_log(json: &Value, request: &Recorded) -> bool {
    let fields = json.as_object().unwrap();
    let task = request.target.rsplit("task_id=").next().unwrap();
    let is_flat = fields.values().all(|value| !value.is_object() && !value.is_array());
    is_flat && json[task].is_string() && json["total"].is_number()
}

#[tokio::test]
async fn every_recorded_request_is_answered_as_the_client_reads_answers() {
    let scene = shop("recorded").await;
    scene.standin.add_service("databaseService", "mysql_prod", "Mysql", &json!({})).unwrap();
    let parameters = json!({ "extraEnvVars": [PATIENT] });
    let version = json!({ "openMetadataVersion": VERSION });
    let plain = Serving::with(&scene, &parameters, &version).await;
    let mut section = version.clone();
    section["basePath"] = BASE_PATH.into();
    let below = Serving::with(&scene, &parameters, &section).await;
    let deployments = Deployments::recorded(&scene);
    for name in &deployments.names {
        deployments.deploy(&plain, name).await;
    }
    let mut replayed = BTreeSet::new();
    for case in cases() {
        for (serving, is_below) in [(&plain, false), (&below, true)] {
            let mut connections = Connections { serving, open: BTreeMap::new() };
            let own = case.requests.iter().filter(|request| {
                !request.headers.is_empty() && request.target.starts_with(BASE_PATH) == is_below
            });
            for request in own {
                let bytes = request.bytes(&scene, serving);
                let (status, body) = connections.send(request.connection, &bytes).await;
                let what = format!("{} {}: {}", case.revision, case.title, request.target);
                // A page behind the end of a log that is a line long is refused, as Airflow does.
                if request.target.contains("after=1") || request.target.contains("after=%C3") {
                    assert!([200, 400].contains(&status), "{what}: {status} {body}");
                    continue;
                }
                assert_eq!(status, 200, "{what}: {body}");
                read(request, &body).unwrap_or_else(|body| panic!("{what}: {body}"));
                if request.method == "DELETE" {
                    deployments.deploy(serving, &request.dag_id().unwrap()).await;
                }
                replayed.insert((case.revision.clone(), request.operation().to_owned()));
            }
        }
    }
    assert!(replayed.len() >= 39, "13 operations of 3 revisions: {replayed:?}");
    scene.end().await;
}

/// What the recorded servers had deployed: the pipeline of each name that a request is about.
struct Deployments {
    /// The recorded deploy of `nightly`.
    nightly: String,
    names: BTreeSet<String>,
}

impl Deployments {
    fn recorded(scene: &Scene) -> Self {
        let requests: Vec<Recorded> = cases().into_iter().flat_map(|case| case.requests).collect();
        let deploy = requests.iter().find(|request| request.operation() == "deploy").unwrap();
        let nightly = deploy.body.replace("http://om:8585/api", scene.standin.url());
        let nightly = nightly.replace("made.up.token", scene.standin.token());
        let names: BTreeSet<String> = requests.iter().filter_map(Recorded::dag_id).collect();
        assert!(names.len() > 10, "{names:?}");
        Self { nightly, names }
    }

    async fn deploy(&self, serving: &Serving, name: &str) {
        let mut body: Value = serde_json::from_str(&self.nightly).unwrap();
        if name != "nightly" {
            body["name"] = name.into();
            body["id"] = uuid::Uuid::new_v4().to_string().into();
            body["fullyQualifiedName"] = fqn("mysql_prod", name).into();
        }
        serving.post("deploy", &body).await.is(200);
    }
}
