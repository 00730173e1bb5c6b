//! `ompipe serve` as a process of its own, and calls to it as an OpenMetadata server makes them.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::bed::bed;
use super::scene::Scene;

/// The credentials that every test's service accepts, as one line of its file. The password has what
/// a password may have.
pub(crate) const LOGIN: (&str, &str) = ("openmetadata", "p:ä ss");
/// Where newer servers find their pipeline service.
pub(crate) const PREFIX: &str = "/pluginsv2/api/v2/openmetadata";
/// A version that servers of the tests have.
pub(crate) const VERSION: &str = "1.12.14";

/// A running service. It ends with the test at the latest.
pub(crate) struct Serving {
    child: Child,
    /// Where OpenMetadata finds it.
    pub(crate) address: SocketAddr,
    /// Where the kubelet does.
    pub(crate) health: SocketAddr,
    /// The user's file of credentials.
    pub(crate) credentials: String,
    base_path: String,
    log: Arc<Mutex<String>>,
    _reader: JoinSet<()>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    /// The same, or a failed test when the status is another.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// What a refusal says.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }
}

impl Serving {
    /// Serves the scene's namespace with small pods and a version that was told.
    pub(crate) async fn start(scene: &Scene) -> Self {
        Self::with(scene, &json!({}), &json!({ "openMetadataVersion": VERSION })).await
    }

    /// The same with parameters of the client and a `server:` section of one's own.
    pub(crate) async fn with(scene: &Scene, parameters: &Value, section: &Value) -> Self {
        Self::with_access(scene, &scene.kubeconfig, parameters, section).await
    }

    /// As [`Self::start`], with another kubeconfig.
    pub(crate) async fn start_with_access(scene: &Scene, kubeconfig: &str) -> Self {
        let section = json!({ "openMetadataVersion": VERSION });
        Self::with_access(scene, kubeconfig, &json!({}), &section).await
    }

    pub(crate) async fn with_access(
        scene: &Scene,
        kubeconfig: &str,
        parameters: &Value,
        section: &Value,
    ) -> Self {
        let variables = [("KUBECONFIG", kubeconfig)];
        Self::with_environment(scene, &variables, parameters, section).await
    }

    /// As [`Self::with`], with these variables, of which `KUBECONFIG` is one.
    pub(crate) async fn with_environment(
        scene: &Scene,
        variables: &[(&str, &str)],
        parameters: &Value,
        section: &Value,
    ) -> Self {
        let credentials = scene.text_file("credentials", &format!("{}:{}\n", LOGIN.0, LOGIN.1));
        let mut server = json!({
            "listen": "127.0.0.1:0",
            "healthListen": "127.0.0.1:0",
            "credentials": { "file": credentials },
            "shutdown": { "drainSeconds": 0 },
        });
        merge(&mut server, section);
        let base_path = server["basePath"].as_str().unwrap_or_default().to_owned();
        let mut document = scene.config_document(parameters);
        document["server"] = server;
        let config = scene.file("serve.yaml", &document);
        let mut command = Command::new(&bed().ompipe);
        command.env_clear().envs(variables.iter().copied()).kill_on_drop(true);
        command.env("OPENMETADATA_JWT_TOKEN", scene.standin.token());
        command.args(["--config", &config, "serve"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let mut addresses = Vec::new();
        while addresses.len() < 2 {
            let line = lines.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended: {}", log.lock().unwrap()));
            addresses.extend(address_in(&line));
            note(&log, &line);
        }
        let (mut reader, kept) = (JoinSet::new(), Arc::clone(&log));
        reader.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                note(&kept, &line);
            }
        });
        let [address, health] = addresses[..] else { panic!("{addresses:?}") };
        Self { child, address, health, credentials, base_path, log, _reader: reader }
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// A request with the right credentials.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{}{path}", self.address, self.base_path);
        Client::new().request(method, url).basic_auth(LOGIN.0, Some(LOGIN.1))
    }

    /// GETs an operation of the contract.
    pub(crate) async fn get(&self, operation: &str, query: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::GET, &format!("{PREFIX}/{operation}")).query(query);
        answer(request).await
    }

    /// GETs an operation of the contract without credentials.
    pub(crate) async fn get_anonymously(&self, operation: &str) -> Answer {
        let url = format!("http://{}{}{PREFIX}/{operation}", self.address, self.base_path);
        answer(Client::new().get(url)).await
    }

    /// POSTs to an operation of the contract.
    pub(crate) async fn post(&self, operation: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, &format!("{PREFIX}/{operation}"));
        // As the Java client writes it, without a charset.
        answer(request.header("Content-Type", "application/json").body(body.to_string())).await
    }

    /// DELETEs a pipeline.
    pub(crate) async fn delete(&self, name: &str) -> Answer {
        let request = self.request(Method::DELETE, &format!("{PREFIX}/delete"));
        answer(request.query(&[("dag_id", name)])).await
    }

    /// GETs a page of the second port.
    pub(crate) async fn probe(&self, path: &str) -> Answer {
        answer(Client::new().get(format!("http://{}{path}", self.health))).await
    }

    /// Ends it as a crash does.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to end, as Kubernetes does.
    pub(crate) async fn ask_to_end(&self) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(sent.success());
    }

    /// Waits for its end, which has to be a good one.
    pub(crate) async fn ended(&mut self) {
        assert!(self.child.wait().await.unwrap().success(), "{}", self.log());
    }
}

/// Sends a request and reads its answer.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    Answer { status, text: response.text().await.unwrap() }
}

fn note(log: &Mutex<String>, line: &str) {
    let mut log = log.lock().unwrap();
    log.push_str(line);
    log.push('\n');
}

/// The address in a line such as `{"message":"listening","address":"127.0.0.1:8080"}`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str()?.parse().ok()).flatten()
}

fn merge(into: &mut Value, from: &Value) {
    let empty = Map::new();
    for (key, value) in from.as_object().unwrap_or(&empty) {
        if value.is_object() && into[key].is_object() {
            merge(&mut into[key], value);
        } else {
            into[key] = value.clone();
        }
    }
}
