//! The operator's memory, with a thousand of the largest objects that a cluster takes: whoever may create
//! runs in one watched namespace must not stop the operator of all. An API server that has nothing but
//! such objects stands in for the cluster, whose etcd has no room for them.

use std::fs;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::{bed, eventually, is_nightly};

/// What an object may have at most, a little below etcd's limit.
const LARGE: usize = 1_240_000;
/// Objects of each kind. A thousand are the nightly tests': a program that is not optimised reads them for minutes.
fn count() -> usize {
    if is_nightly() { 1_000 } else { 60 }
}

/// What the operator may have of memory, in kilobytes; the chart's limit is 192 MiB.
const MOST: u64 = 128 << 10;

/// The four shapes of a large object: unknown fields, long values, many finalizers, many labels.
struct Objects {
    omjobs: Vec<String>,
    schedules: Vec<String>,
    jobs: Vec<String>,
}

fn specs() -> (Vec<Value>, Vec<Value>) {
    let unknown: serde_json::Map<String, Value> =
        (0..LARGE / 120).map(|n| (format!("unknown{n:06}"), "x".repeat(100).into())).collect();
    let env: Vec<Value> = (0..LARGE / 130_000)
        .map(|n| json!({ "name": format!("V{n}"), "value": "x".repeat(130_000) }))
        .collect();
    let names: Vec<String> =
        (0..LARGE / 120).map(|n| format!("x.example/{n:06}{}", "f".repeat(100))).collect();
    let labels: serde_json::Map<String, Value> =
        (0..LARGE / 120).map(|n| (format!("l.example/{n:06}"), "x".repeat(63).into())).collect();
    let plain = json!({ "image": "i" });
    let stages = vec![
        json!({ "image": "i", "podTemplate": { "spec": unknown } }),
        json!({ "image": "i", "env": env }),
        plain.clone(),
        plain,
    ];
    let metadata =
        vec![json!({}), json!({}), json!({ "finalizers": names }), json!({ "labels": labels })];
    (stages, metadata)
}

impl Objects {
    fn new() -> Self {
        let (stages, metadata) = specs();
        let with = |more: &Value, spec: &Value| {
            let mut metadata = more.clone();
            for (key, value) in [("name", "NAME"), ("namespace", "ns"), ("uid", "UID-NAME")] {
                metadata[key] = value.into();
            }
            metadata["resourceVersion"] = "1".into();
            metadata["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
            json!({ "metadata": metadata, "spec": spec }).to_string()
        };
        let all = || stages.iter().zip(&metadata);
        let omjobs = all().map(|(stage, more)| with(more, &json!({ "mainPodSpec": stage })));
        let schedules = all().map(|(stage, more)| {
            let spec = json!({ "schedule": "0 0 1 1 *", "omJobSpec": { "mainPodSpec": stage } });
            with(more, &spec)
        });
        let jobs = metadata.iter().map(|more| {
            let mut more = more.clone();
            more["annotations"] = json!({ "note": "x".repeat(250_000) });
            let pod = json!({ "containers": [{ "name": "main", "image": "x".repeat(LARGE / 2) }], "restartPolicy": "Never" });
            with(&more, &json!({ "suspend": true, "template": { "spec": pod } }))
        });
        Self { omjobs: omjobs.collect(), schedules: schedules.collect(), jobs: jobs.collect() }
    }

    fn of(&self, kind: &str) -> &[String] {
        match kind {
            "omjobs" => &self.omjobs,
            "cronomjobs" => &self.schedules,
            "jobs" => &self.jobs,
            _ => &[],
        }
    }
}

#[derive(Deserialize)]
struct Asked {
    limit: Option<usize>,
    #[serde(rename = "continue")]
    from: Option<usize>,
    watch: Option<String>,
}

/// Answers lists and watches, and refuses everything else.
async fn answer(
    State(objects): State<std::sync::Arc<Objects>>,
    Query(asked): Query<Asked>,
    method: Method,
    uri: Uri,
) -> Response {
    if method != Method::GET {
        return (StatusCode::FORBIDDEN, "no").into_response();
    }
    let kind = uri.path().rsplit('/').next().unwrap_or_default();
    if asked.watch.is_some() {
        return Body::from_stream(stream::pending::<Result<&str, std::io::Error>>())
            .into_response();
    }
    if uri.path() == "/version" {
        let version = json!({
            "major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "", "buildDate": "",
            "gitTreeState": "", "goVersion": "", "compiler": "", "platform": "",
        });
        return axum::Json(version).into_response();
    }
    let all = objects.of(kind);
    let length = if all.is_empty() { 0 } else { count() };
    let from = asked.from.unwrap_or_default();
    let end = length.min(from + asked.limit.unwrap_or_else(count));
    let items: Vec<String> =
        (from..end).map(|n| all[n % all.len()].replace("NAME", &format!("{kind}-{n}"))).collect();
    let more = if end < length { end.to_string() } else { String::new() };
    let text = format!(
        r#"{{"apiVersion":"v1","kind":"List","metadata":{{"resourceVersion":"1","continue":"{more}"}},"items":[{}]}}"#,
        items.join(",")
    );
    ([("content-type", "application/json")], text).into_response()
}

/// The most memory that a process had, in kilobytes.
fn high_water(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn many_of_the_largest_objects_do_not_exhaust_the_operator() {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", tcp.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(std::sync::Arc::new(Objects::new()));
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move { axum::serve(tcp, app).await });
    let kubeconfig = NamedTempFile::new().unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "users": [{ "name": "u", "user": {} }],
    });
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let port = 19_700 + u16::try_from(std::process::id() % 200).unwrap();
    let log = NamedTempFile::new().unwrap();
    let mut command = Command::new(&bed().ompipe);
    command.env_clear().env("KUBECONFIG", kubeconfig.path()).kill_on_drop(true);
    command.env("WATCH_NAMESPACES", "ns").env("OPERATOR_NAMESPACE", "ns");
    command.env("LEADER_ELECT", "false").env("LOG_LEVEL", "error");
    command.env("HEALTH_CHECK_PORT", port.to_string()).env("METRICS_PORT", port.to_string());
    command.arg("operator").stderr(log.reopen().unwrap());
    let mut operator = command.spawn().unwrap();
    let pid = operator.id().unwrap();
    let url = format!("http://127.0.0.1:{port}/readyz");
    let ready = async {
        eventually("an operator that has seen all objects", || async {
            let answer = reqwest::get(&url).await.map_err(|error| error.to_string())?;
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if text.contains(r#""ready":true"#) { Ok(()) } else { Err(text) }
        })
        .await;
    };
    ready.await;
    // It tries to carry them out, and is refused everything.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(operator.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&log).unwrap());
    let most = high_water(pid);
    println!("the operator had {} MiB at most", most >> 10);
    assert!(most < MOST, "{} MiB", most >> 10);
}
