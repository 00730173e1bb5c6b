//! Our own API of `ompipe serve`, on a real cluster, as scripts call it (docs/api.md).

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use futures::future::join_all;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use ompipe_core::RunId;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::logs::let_go;
use crate::support::{Answer, BARRIER, Scene, Serving, VERSION, answer, eventually, from};

/// A worker that goes on until it is told to end.
const PATIENT: &str = "WORKER_MAIN:echo working; trap 'exit 1' TERM; sleep 600 & wait";
/// Where the runs of the scenes' pipeline are.
pub(crate) const RUNS: &str = "/pipelines/shop.nightly/runs";

fn request(serving: &Serving, method: Method, path: &str) -> RequestBuilder {
    serving.request(method, &format!("/api/v1{path}"))
}

async fn get(serving: &Serving, path: &str) -> Answer {
    answer(request(serving, Method::GET, path)).await
}

async fn start(serving: &Serving, body: &Value) -> Answer {
    answer(request(serving, Method::POST, RUNS).json(body)).await
}

/// The fields that a refusal tells of.
#[track_caller]
fn wrong_fields(refusal: &Answer) -> BTreeSet<String> {
    let problem = refusal.json();
    assert_eq!(problem["type"], "urn:ompipe:problem:invalid-input", "{problem}");
    let faults = problem["problems"].as_array().unwrap();
    assert!(faults.iter().all(|fault| !fault["remedy"].as_str().unwrap().is_empty()), "{problem}");
    faults.iter().map(|fault| fault["field"].as_str().unwrap().to_owned()).collect()
}

/// Deploys `shop.{name}`; `fields` override.
async fn deploy(scene: &Scene, parameters: &Value, name: &str, fields: &Value) {
    let (config, service) = (scene.config(parameters), scene.service());
    let pipeline = scene.pipeline(name, fields);
    let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service];
    scene.ompipe(&deploy).await.good();
}

/// A scene whose pipeline `shop.nightly` is deployed and served.
async fn served(name: &str, parameters: &Value, fields: &Value) -> (Scene, Serving) {
    let scene = Scene::new(name).await;
    scene.standin.add_service("databaseService", "shop", "Postgres", &json!({})).unwrap();
    deploy(&scene, parameters, "nightly", fields).await;
    let version = json!({ "openMetadataVersion": VERSION });
    let serving = Serving::with(&scene, parameters, &version).await;
    (scene, serving)
}

async fn until_state(serving: &Serving, run: &str, state: &str) -> Value {
    eventually("the state of a run", || async {
        let runs = get(serving, RUNS).await.is(200).json();
        let runs = runs["runs"].as_array().unwrap().clone();
        let found = runs.into_iter().find(|found| found["runId"] == run);
        match found {
            Some(found) if found["state"] == state => Ok(found),
            found => Err(format!("{found:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn pipelines_are_seen_with_what_they_do_next() {
    let nightly = json!({ "airflowConfig": {
        "scheduleInterval": "30 2 * * *", "pipelineTimezone": "Europe/Berlin", "maxActiveRuns": 3,
    }});
    let (scene, serving) = served("api-list", &json!({}), &nightly).await;
    deploy(&scene, &json!({}), "on.demand ü?", &json!({})).await;
    let pipelines = get(&serving, "/pipelines").await.is(200).json()["pipelines"].clone();
    let names: Vec<&str> = pipelines.as_array().unwrap().iter().map(name_of).collect();
    assert_eq!(names, ["shop.\"on.demand ü?\"", "shop.nightly"]);
    assert_eq!(pipelines[0].get("schedule"), None);
    for name in ["nightly", "shop.nightly"] {
        let detail = get(&serving, &format!("/pipelines/{name}")).await.is(200).json();
        let schedule =
            json!({ "cron": "30 2 * * *", "timeZone": "Europe/Berlin", "suspended": false });
        let service =
            json!({ "name": "shop", "kind": "databaseService", "serviceType": "Postgres" });
        assert_eq!((&detail["schedule"], &detail["service"]), (&schedule, &service), "{detail}");
        assert_eq!((name_of(&detail), &detail["maxActiveRuns"]), ("shop.nightly", &json!(3)));
    }
    let encoded = "/pipelines/shop%2E%22on.demand%20%C3%BC%3F%22";
    assert_eq!(name_of(&get(&serving, encoded).await.is(200).json()), "shop.\"on.demand ü?\"");
    let on_demand = get(&serving, &format!("{encoded}/schedule")).await.is(200).json();
    assert_eq!(on_demand, json!({ "next": [] }));

    let schedule = "/pipelines/shop.nightly/schedule";
    let times = get(&serving, &format!("{schedule}?count=3")).await.is(200).json();
    let next = times["next"].as_array().unwrap();
    let listed = &pipelines[1]["nextRun"];
    assert_eq!((next.len(), &next[0]), (3, listed));
    assert_eq!(get(&serving, schedule).await.json()["next"].as_array().unwrap().len(), 5);
    let config = scene.config(&json!({}));
    scene.ompipe(&["toggle", "-c", &config, "nightly", "--disable"]).await.good();
    let off = get(&serving, schedule).await.is(200).json();
    assert_eq!((&off["schedule"]["suspended"], &off["next"]), (&json!(true), &json!([])));

    for (query, field) in [("count=0", "count"), ("count=x", "count"), ("coumt=3", "coumt")] {
        let refused = get(&serving, &format!("{schedule}?{query}")).await.is(400);
        assert!(wrong_fields(&refused).contains(field), "{refused:?}");
    }
    let unknown = get(&serving, "/pipelines/other").await.is(404).json();
    assert_eq!(unknown["type"], "urn:ompipe:problem:no-such-pipeline");
    scene.end().await;
}

fn name_of(pipeline: &Value) -> &str {
    pipeline["fullyQualifiedName"].as_str().unwrap()
}

#[tokio::test]
async fn one_key_is_one_run_and_one_run_is_stopped_beside_another() {
    let parameters = json!({ "extraEnvVars": [PATIENT] });
    let two = json!({ "airflowConfig": { "maxActiveRuns": 2 } });
    let (scene, serving) = served("api-key", &parameters, &two).await;
    let keyed = |key: &'static str| {
        let request = request(&serving, Method::POST, RUNS).header("Idempotency-Key", key);
        async move { request.send().await.unwrap() }
    };
    let answers: Vec<Response> = join_all((0..4).map(|_| keyed("2026-11-26"))).await;
    let mut started = Vec::new();
    for response in answers {
        assert_eq!(response.status(), 202);
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        started.push((location, response.json::<Value>().await.unwrap()));
    }
    let (location, first) = &started[0];
    assert!(started.iter().all(|again| again == &started[0]), "{started:?}");
    let first = first["runId"].as_str().unwrap();
    assert_eq!(scene.ours::<Job>().await.len(), 1);
    let other = keyed("2026-11-27").await.json::<Value>().await.unwrap();
    let other = other["runId"].as_str().unwrap();
    let third = start(&serving, &json!({})).await.is(202).json();
    assert_eq!(third["queued"], true, "two at a time");
    for run in [first, other] {
        until_state(&serving, run, "running").await;
    }
    // The way that the answer showed leads to the run, and to what is to be said about it.
    let detail = answer(serving.request(Method::GET, location)).await.is(200).json();
    let checks: Vec<&str> = detail["findings"].as_array().unwrap().iter().map(check_of).collect();
    assert!(checks.contains(&"cluster") && checks.contains(&"schedule"), "{detail}");
    assert_eq!((&detail["runId"], &detail["attempts"]), (&json!(first), &json!(1)));

    let path = format!("{RUNS}/{first}");
    let stopped = answer(request(&serving, Method::DELETE, &path)).await.is(200).json();
    assert_eq!((&stopped["runId"], &stopped["reason"]), (&json!(first), &json!("Killed")));
    eventually("the end of the run", || async {
        let gone = get(&serving, &path).await;
        if gone.status == 404 { Ok(gone.json()) } else { Err(gone.text) }
    })
    .await;
    until_state(&serving, other, "running").await;
    // Its place is free for the one that waits.
    until_state(&serving, third["runId"].as_str().unwrap(), "running").await;
    let again = answer(request(&serving, Method::DELETE, &path)).await.is(404).json();
    assert_eq!(again["type"], "urn:ompipe:problem:no-such-run");
    scene.end().await;
}

fn check_of(finding: &Value) -> &str {
    finding["check"].as_str().unwrap()
}

#[tokio::test]
async fn what_is_wrong_with_a_run_is_told_by_field_and_starts_nothing() {
    let (scene, serving) = served("api-wrong", &json!({}), &json!({})).await;
    let wrong = [
        (json!({ "pipelineRunId": "manual__2024" }), "pipelineRunId"),
        (json!({ "pipelineRunID": RunId::random().to_string() }), "pipelineRunID"),
        (json!({ "sourceConfigOverride": ["hunter2"] }), "sourceConfigOverride"),
        (json!({ "appConfigOverride": { "a": 1 } }), "appConfigOverride"),
        (json!(["hunter2"]), "body"),
    ];
    for (body, field) in wrong {
        let refused = start(&serving, &body).await.is(400);
        assert_eq!(wrong_fields(&refused), BTreeSet::from([field.to_owned()]), "{refused:?}");
        assert!(!refused.text.contains("hunter2"), "{refused:?}");
    }
    let post = || request(&serving, Method::POST, RUNS);
    let broken = answer(post().body("{\"pipelineRunId\": ")).await.is(400);
    assert!(broken.json()["detail"].as_str().unwrap().contains("no JSON"), "{broken:?}");
    let key = answer(post().header("Idempotency-Key", "")).await.is(400);
    assert_eq!(wrong_fields(&key), BTreeSet::from(["Idempotency-Key".to_owned()]));
    let elsewhere = answer(post().header("Origin", "http://elsewhere")).await.is(403);
    assert_eq!(elsewhere.json()["status"], 403);
    for run in ["latest", "5f1c0b1e6a5b4a579d580a8a2a4fbb01"] {
        let refused = get(&serving, &format!("{RUNS}/{run}")).await.is(400);
        assert_eq!(wrong_fields(&refused), BTreeSet::from(["runId".to_owned()]));
    }
    let unknown = get(&serving, &format!("{RUNS}/{}", RunId::random())).await.is(404).json();
    assert_eq!(unknown["type"], "urn:ompipe:problem:no-such-run");
    assert!(scene.ours::<Job>().await.is_empty());
    scene.end().await;
}

/// Headers of a request.
type Headers = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn a_log_is_read_whole_in_part_compressed_and_in_pages() {
    const LINES: usize = 25_000;
    let worker =
        format!("WORKER_MAIN:seq 1 {LINES} | while read n; do printf '%-99s\\n' \"line $n\"; done");
    let lines: Vec<String> =
        (1..=LINES).map(|n| format!("{:<99}\n", format!("line {n}"))).collect();
    let expected = lines.concat();
    let parameters = json!({ "extraEnvVars": [worker] });
    let (scene, serving) = served("api-log", &parameters, &json!({})).await;
    let run = RunId::random().to_string();
    let started = start(&serving, &json!({ "pipelineRunId": run })).await.is(202).json();
    assert_eq!(started["runId"], run.as_str());
    until_state(&serving, &run, "success").await;
    let logs = format!("{RUNS}/{run}/logs");
    let read = |headers: &'static [(&str, &str)]| {
        let mut request = request(&serving, Method::GET, &logs);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        async move { request.send().await.unwrap() }
    };
    let whole = read(&[]).await;
    assert_eq!(whole.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(whole.text().await.unwrap() == expected);

    let packed = read(&[("Accept-Encoding", "gzip")]).await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.bytes().await.unwrap();
    assert!(packed.len() * 10 < expected.len(), "{} bytes", packed.len());
    let mut unpacked = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
    assert!(unpacked == expected);

    let length = expected.len();
    let parts: [(Headers, (usize, usize)); 3] = [
        (&[("Range", "bytes=150-249")], (150, 249)),
        (&[("Range", "bytes=2499990-"), ("Accept-Encoding", "gzip")], (2_499_990, length - 1)),
        (&[("Range", "bytes=-1200000")], (length - 1_200_000, length - 1)),
    ];
    for (headers, (first, last)) in parts {
        let part = read(headers).await;
        assert_eq!(part.status(), 206);
        assert_eq!(
            part.headers()["content-range"],
            format!("bytes {first}-{last}/{length}").as_str()
        );
        assert!(part.text().await.unwrap() == expected[first..=last], "{headers:?}");
    }
    let behind = read(&[("Range", "bytes=2500000-")]).await;
    assert_eq!(behind.status(), 416);
    assert_eq!(behind.headers()["content-range"], "bytes */2500000");

    let mut joined = String::new();
    let mut next = Some(0);
    while let Some(page) = next {
        let page = get(&serving, &format!("{logs}/pages/{page}")).await.is(200).json();
        assert_eq!(page["total"], 3);
        joined.push_str(page["text"].as_str().unwrap());
        next = page["next"].as_u64();
    }
    assert!(joined == expected, "{} bytes", joined.len());
    for nothing in ["/pages/3", "?attempt=2", "?stage=exit-handler"] {
        let refused = get(&serving, &format!("{logs}{nothing}")).await.is(404).json();
        assert_eq!(refused["type"], "urn:ompipe:problem:no-such-log", "{nothing}");
    }
    for wrong in ["/pages/-1", "?attempt=0", "?stage=init"] {
        assert_eq!(wrong_fields(&get(&serving, &format!("{logs}{wrong}")).await.is(400)).len(), 1);
    }
    scene.end().await;
}

/// Events as they come.
struct Events {
    response: Response,
    rest: String,
}

/// One event: its name, its id and its data.
#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Events {
    async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, rest: String::new() }
    }

    /// The next event; `None` when the stream has ended. Signs of life are none.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.rest = rest;
                if !event.starts_with(':') {
                    return Some(Event::read(&event));
                }
            } else {
                let chunk = self.response.chunk().await.unwrap()?;
                self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        }
    }

    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            let is_wanted = wanted(&event);
            seen.push(event);
            if is_wanted {
                return seen;
            }
        }
        panic!("it ended: {seen:?}");
    }
}

impl Event {
    fn read(event: &str) -> Self {
        let field = |name: &str| {
            let line = event.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim_start().to_owned()
        };
        let data = serde_json::from_str(&field("data:")).unwrap();
        Self { name: field("event:"), id: field("id:"), data }
    }

    fn text(&self) -> &str {
        self.data["text"].as_str().unwrap_or_default()
    }
}

fn text_of(events: &[Event]) -> String {
    events.iter().map(Event::text).collect()
}

#[tokio::test]
async fn a_running_worker_is_followed_to_its_end() {
    let worker = format!("WORKER_MAIN:echo erste Zeile: ä; {BARRIER}; echo last");
    let parameters = json!({ "extraEnvVars": [worker] });
    let (scene, serving) = served("api-follow", &parameters, &json!({})).await;
    let run =
        start(&serving, &json!({})).await.is(202).json()["runId"].as_str().unwrap().to_owned();
    let logs = format!("{RUNS}/{run}/logs");
    let follow = || request(&serving, Method::GET, &format!("{logs}/follow"));
    let mut events = Events::of(follow()).await;
    let mut seen = events.until(|event| event.text().contains('\n')).await;
    assert_eq!(text_of(&seen), "erste Zeile: ä\n");
    // A log that goes on is read as it is now.
    assert_eq!(get(&serving, &logs).await.is(200).text, "erste Zeile: ä\n");
    let had = request(&serving, Method::GET, &logs).header("Range", "bytes=16-");
    answer(had).await.is(416);
    let_go(&scene).await;
    seen.extend(events.until(|event| event.name == "end").await);
    assert!(events.next().await.is_none(), "nothing follows the end");
    assert_eq!(text_of(&seen), "erste Zeile: ä\nlast\n");
    let states: Vec<&Value> = seen
        .iter()
        .filter(|event| event.name == "state")
        .map(|event| &event.data["state"])
        .collect();
    assert!(states.contains(&&json!("running")), "{states:?}");
    let end = &seen.last().unwrap().data["run"];
    assert_eq!((&end["state"], &end["runId"]), (&json!("success"), &json!(run)), "{seen:?}");

    // Whoever lost the connection after the first line gets what follows it.
    let first = seen.iter().find(|event| event.name == "log").unwrap();
    assert_eq!(first.id, "1.16");
    let mut again = Events::of(follow().header("Last-Event-ID", &first.id)).await;
    let rest = again.until(|event| event.name == "end").await;
    assert_eq!(text_of(&rest), "last\n");
    scene.end().await;
}

#[tokio::test]
async fn the_end_of_a_run_that_is_stopped_is_told_and_a_service_that_ends_tells_none() {
    let parameters = json!({ "extraEnvVars": [PATIENT] });
    let two = json!({ "airflowConfig": { "maxActiveRuns": 2 } });
    let (scene, mut serving) = served("api-ends", &parameters, &two).await;
    let mut followed = Vec::new();
    for _ in 0..2 {
        let run =
            start(&serving, &json!({})).await.is(202).json()["runId"].as_str().unwrap().to_owned();
        let path = format!("{RUNS}/{run}/logs/follow");
        let mut events = Events::of(request(&serving, Method::GET, &path)).await;
        events.until(|event| event.text() == "working\n").await;
        followed.push((run, events));
    }
    let (_, mut goes_on) = followed.pop().unwrap();
    let (run, mut stopped) = followed.pop().unwrap();
    answer(request(&serving, Method::DELETE, &format!("{RUNS}/{run}"))).await.is(200);
    let end = stopped.until(|event| event.name == "end").await.pop().unwrap();
    assert!(
        end.data["run"]["state"] == "stopped" || end.data["problem"]["status"] == 404,
        "{end:?}"
    );
    serving.ask_to_end().await;
    serving.ended().await;
    while let Some(event) = goes_on.next().await {
        assert_ne!(event.name, "end", "callers take it up again elsewhere");
    }
    scene.end().await;
}

/// The most memory that the process of a service has had, in KiB.
fn peak_memory(serving: &Serving) -> usize {
    let directory = Path::new(&serving.credentials).parent().unwrap().to_str().unwrap();
    let is_its = |process: &PathBuf| {
        let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        command.contains(directory) && command.contains("serve")
    };
    let mut processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let status = fs::read_to_string(processes.find(is_its).unwrap().join("status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn many_slow_readers_of_a_long_log_cost_little_memory() {
    const BYTES: usize = 4_000_000;
    const READERS: usize = 16;
    // Lines that gzip makes little smaller.
    let worker = format!("WORKER_MAIN:base64 /dev/urandom | head -c {BYTES}; echo");
    let parameters = json!({ "extraEnvVars": [worker] });
    let (scene, serving) = served("api-slow", &parameters, &json!({})).await;
    let run =
        start(&serving, &json!({})).await.is(202).json()["runId"].as_str().unwrap().to_owned();
    until_state(&serving, &run, "success").await;
    let before = peak_memory(&serving);
    let logs = format!("{RUNS}/{run}/logs");
    let open = |reader: usize| match reader % 3 {
        0 => request(&serving, Method::GET, &logs),
        1 => request(&serving, Method::GET, &logs).header("Accept-Encoding", "gzip"),
        _ => request(&serving, Method::GET, &format!("{logs}/follow")),
    };
    let opened = join_all((0..READERS).map(|reader| open(reader).send())).await;
    let opened = opened.into_iter().map(|response| response.unwrap().error_for_status().unwrap());
    let mut readers: Vec<_> = opened.map(|response| (response, 0, false)).collect();
    // Each takes a piece while all the others wait. Who takes nothing for half a minute is cut off.
    while readers.iter().any(|(_, _, is_over)| !is_over) {
        for (response, read, is_over) in readers.iter_mut().filter(|(_, _, is_over)| !is_over) {
            match response.chunk().await.unwrap() {
                Some(piece) => *read += piece.len(),
                None => *is_over = true,
            }
        }
    }
    for (reader, (_, read, _)) in readers.into_iter().enumerate() {
        let least = if reader % 3 == 1 { BYTES / 2 } else { BYTES };
        assert!(read > least, "reader {reader} got {read} bytes");
    }
    let grown = peak_memory(&serving) - before;
    assert!(grown < 32 << 10, "{READERS} readers of {BYTES} bytes took {grown} KiB");
    scene.end().await;
}

/// A token of a new service account with these rights on our resources.
pub(crate) async fn token(scene: &Scene, account: &str, verbs: &[&str]) -> String {
    token_for(scene, account, verbs, &["ompipe"]).await
}

/// The same for other audiences; none is the API server.
async fn token_for(scene: &Scene, account: &str, verbs: &[&str], audiences: &[&str]) -> String {
    let entity: ServiceAccount = from(json!({ "metadata": { "name": account } }));
    scene.api().create(&PostParams::default(), &entity).await.unwrap();
    let rule = json!({
        "apiGroups": ["pipelines.openmetadata.org"], "resources": ["pipelines", "runs"], "verbs": verbs,
    });
    if !verbs.is_empty() {
        scene.grant(account, &json!([rule])).await;
    }
    let request: TokenRequest = from(json!({ "spec": { "audiences": audiences } }));
    let accounts: Api<ServiceAccount> = scene.api();
    let token = accounts.create_token_request(account, &PostParams::default(), &request).await;
    token.unwrap().status.unwrap().token
}

#[tokio::test]
async fn tokens_of_kubernetes_may_do_what_kubernetes_says() {
    let (scene, without) = served("api-token", &json!({}), &json!({})).await;
    let section = json!({ "kubernetesAuthentication": true, "openMetadataVersion": VERSION });
    let serving = Serving::with(&scene, &json!({}), &section).await;
    let [reader, starter, nobody] = [
        token(&scene, "reader", &["get"]).await,
        token(&scene, "starter", &["create"]).await,
        token(&scene, "nobody", &[]).await,
    ];
    let call = |to: &Serving, method: Method, path: &str, token: &str| {
        let url = format!("http://{}/api/v1{path}", to.address);
        answer(Client::new().request(method, url).bearer_auth(token))
    };
    for path in ["/pipelines", "/pipelines/nightly", RUNS, "/health", "/openapi.json", "/"] {
        call(&serving, Method::GET, path, &reader).await.is(200);
    }
    let refused = call(&serving, Method::POST, RUNS, &reader).await.is(403).json();
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("create runs.pipelines.openmetadata.org"), "{detail}");
    assert_eq!(refused["type"], "urn:ompipe:problem:not-allowed");
    for token in [&starter, &nobody] {
        call(&serving, Method::GET, "/pipelines", token).await.is(403);
    }
    let run = call(&serving, Method::POST, RUNS, &starter).await.is(202).json();
    let run = format!("{RUNS}/{}", run["runId"].as_str().unwrap());
    call(&serving, Method::DELETE, &run, &starter).await.is(403);
    call(&serving, Method::GET, "/pipelines", "made.up.token").await.is(401);
    let of_the_api_server = token_for(&scene, "careless", &["get"], &[]).await;
    call(&serving, Method::GET, "/pipelines", &of_the_api_server).await.is(401);
    get(&serving, "/pipelines").await.is(200);
    // Neither where they are switched off, nor for what OpenMetadata asks.
    call(&without, Method::GET, "/pipelines", &reader).await.is(401);
    call(&serving, Method::GET, "/openmetadata/health-auth", &reader).await.is(401);
    for secret in [&reader, &starter, &nobody] {
        assert!(!serving.log().contains(secret.as_str()));
    }
    scene.end().await;
}

#[tokio::test]
async fn health_tells_what_is_there_and_what_fits() {
    let scene = Scene::new("api-health").await;
    let cases = [("1.12.14", Some(true)), ("1.11.0", Some(false))];
    for (version, fits) in cases {
        let parameters = json!({ "ingestionImage": "registry.example/ingestion:1.12.14" });
        let section = json!({ "openMetadataVersion": version, "basePath": "/below" });
        let serving = Serving::with(&scene, &parameters, &section).await;
        let health = get(&serving, "/health").await.is(200).json();
        assert_eq!((&health["healthy"], &health["missingRights"]), (&json!(true), &json!([])));
        assert_eq!(health["namespace"], scene.namespace.as_str());
        assert!(health["kubernetesVersion"].as_str().unwrap().starts_with("v1."), "{health}");
        assert_eq!(
            (&health["openMetadata"]["version"], health["openMetadata"]["fits"].as_bool()),
            (&json!(version), fits)
        );
        let document = get(&serving, "/openapi.json").await.is(200).json();
        assert_eq!(document["servers"][0]["url"], "/below/api/v1");
        let page = get(&serving, "/").await.is(200).text;
        assert!(page.contains("href=\"/below/api/v1/pipelines\""), "{page}");
    }
    scene.end().await;
}
