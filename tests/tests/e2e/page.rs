//! The page at `/` in a real browser, with real runs in each state (docs/page.md).

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Answer, Browser, LOGIN, Scene, Serving, VERSION, answer, eventually};

/// A worker whose name decides how it ends.
const WORKER: &str = "WORKER_MAIN:echo begun; case \"$config\" in *patient*) trap 'exit 1' TERM; \
    sleep 600 & wait ;; *bad*) printf '<script>alert(1)</script> \\342\\200\\256gpj \\033[31mred\\n'; \
    echo 'RuntimeError: FATAL password authentication failed for user \"ingest\"'; exit 2 ;; esac; echo done";
/// A name that would be a script if a page took it for markup, and that reads backwards.
const HOSTILE: &str = "bad <script>alert(1)</script>\u{202e}gpj";
const FORM: &str = "application/x-www-form-urlencoded";
const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (360, 740);

async fn deploy(scene: &Scene, parameters: &Value, name: &str, fields: &Value) {
    let (config, service) = (scene.config(parameters), scene.service());
    // Not every name is one of a file.
    let file: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut fields = fields.clone();
    fields["name"] = name.into();
    let pipeline = scene.pipeline(&file, &fields);
    let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service];
    scene.ompipe(&deploy).await.good();
}

async fn api(serving: &Serving, method: Method, path: &str) -> Answer {
    answer(serving.request(method, &format!("/api/v1{path}"))).await
}

fn encoded(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Starts a run and waits for its state; returns its id.
async fn run_to(serving: &Serving, pipeline: &str, state: &str) -> String {
    let runs = format!("/pipelines/{}/runs", encoded(pipeline));
    let started = api(serving, Method::POST, &runs).await.is(202).json();
    let run = started["runId"].as_str().unwrap().to_owned();
    eventually("the state of a run", || async {
        let listed = api(serving, Method::GET, "/runs").await.is(200).json();
        let listed = listed["runs"].as_array().unwrap().clone();
        let found = listed.into_iter().find(|found| found["runId"] == *run);
        if found.as_ref().is_some_and(|found| found["state"] == state) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    run
}

/// An address that logs in.
fn url(serving: &Serving, path: &str) -> String {
    format!("http://{}:{}@{}{path}", LOGIN.0, encoded(LOGIN.1), serving.address)
}

async fn served(name: &str, ui: &Value) -> (Scene, Serving) {
    let scene = Scene::new(name).await;
    scene.standin.add_service("databaseService", "shop", "Postgres", &json!({})).unwrap();
    let parameters = json!({ "extraEnvVars": [WORKER], "failedJobsHistoryLimit": 3 });
    let scheduled = json!({ "airflowConfig": { "scheduleInterval": "0 3 * * *", "retries": 0 } });
    for name in ["nightly", "patient", HOSTILE] {
        deploy(&scene, &parameters, name, &scheduled).await;
    }
    let section = json!({ "openMetadataVersion": VERSION, "ui": ui });
    let serving = Serving::with(&scene, &parameters, &section).await;
    (scene, serving)
}

fn fqn(name: &str) -> String {
    format!("shop.{name}")
}

#[tokio::test]
async fn a_person_sees_what_fails_runs_and_comes_next() {
    let (scene, serving) = served("page", &json!({})).await;
    let good = run_to(&serving, &fqn("nightly"), "success").await;
    let bad = run_to(&serving, &fqn(HOSTILE), "failed").await;
    let patient = run_to(&serving, &fqn("patient"), "running").await;
    let run_of = |name: &str, run: &str| format!("/pipelines/{}/runs/{run}", encoded(&fqn(name)));
    let pages = [
        ("overview", "/".to_owned(), "Failing now"),
        ("pipelines", "/pipelines".to_owned(), "3 of 3 pipelines"),
        ("filtered", "/pipelines?q=night&state=success".to_owned(), "1 of 3 pipelines"),
        ("pipeline", format!("/pipelines/{}", encoded(&fqn("nightly"))), "Next runs"),
        ("hostile", format!("/pipelines/{}", encoded(&fqn(HOSTILE))), "[U+202E]"),
        ("run-success", run_of("nightly", &good), "Where the time went"),
        ("run-failed", run_of(HOSTILE, &bad), "What to do"),
        ("run-running", run_of("patient", &patient), "Following the log"),
    ];
    for (view, size, dark) in
        [("light", DESKTOP, false), ("dark", DESKTOP, true), ("narrow", PHONE, false)]
    {
        let browser = Browser::start(size, dark).await;
        for (name, path, words) in &pages {
            browser.open(&url(&serving, path)).await;
            if name.starts_with("run-") {
                eventually("the log", || async {
                    let text = browser.text().await;
                    if text.contains("begun") { Ok(()) } else { Err(text) }
                })
                .await;
            }
            browser.screenshot(&format!("{view}-{name}")).await;
            let text = browser.text().await;
            assert!(text.contains(words), "{view} {name}: {text}");
            assert!(!text.contains(['\u{202e}', '\u{1b}']), "{view} {name}: {text}");
            assert_eq!(browser.run("return document.scripts.length").await, 1, "{view} {name}");
            let wide =
                browser.run("return document.documentElement.scrollWidth - innerWidth").await;
            assert!(wide.as_i64().unwrap() <= 0, "{view} {name}: {wide} pixels too wide");
            assert_eq!(browser.accessibility_faults().await, [""; 0], "{view} {name}");
        }
        let complaints = browser.complaints().await;
        let own = complaints.iter().filter(|one| !one.contains("favicon")).collect::<Vec<_>>();
        assert_eq!(own, [""; 0], "{view}");
    }
    nothing_can_be_changed(&serving).await;
    scene.end().await;
}

async fn nothing_can_be_changed(serving: &Serving) {
    let path = format!("/pipelines/{}/pause", encoded(&fqn("nightly")));
    for method in [Method::GET, Method::POST] {
        answer(serving.request(method, &path)).await.is(404);
    }
}

#[tokio::test]
async fn a_person_acts_after_a_confirmation_and_nobody_else_does() {
    let (scene, serving) = served("page-acts", &json!({ "actions": true })).await;
    let pipeline = format!("/pipelines/{}", encoded(&fqn("patient")));
    let suspended = || async {
        let found = api(&serving, Method::GET, &pipeline).await.is(200).json();
        found["schedule"]["suspended"].as_bool().unwrap()
    };
    // Without the token of the form, or with somebody else's, nothing happens.
    for cookie in ["", "ompipe_csrf=other"] {
        let forged = serving.request(Method::POST, &format!("{pipeline}/pause"));
        answer(forged.header("Cookie", cookie).header("Content-Type", FORM).body("token=mine"))
            .await
            .is(403);
    }
    assert!(!suspended().await);
    let browser = Browser::start(DESKTOP, false).await;
    browser.open(&url(&serving, &pipeline)).await;
    for (link, expected) in [("a[href$='/pause']", true), ("a[href$='/resume']", false)] {
        browser.click(link).await;
        browser.screenshot("confirm").await;
        assert_eq!(suspended().await, !expected, "a question changes nothing");
        browser.click("form[method=post] button").await;
        eventually("the schedule as the person wants it", || async {
            if suspended().await == expected { Ok(()) } else { Err((!expected).to_string()) }
        })
        .await;
    }
    browser.click("a[href$='/runs']").await;
    browser.click("form[method=post] button").await;
    eventually("a run of the page", || async {
        let runs = api(&serving, Method::GET, "/runs?state=running").await.is(200).json();
        if runs["runs"].as_array().unwrap().len() == 1 { Ok(()) } else { Err(runs.to_string()) }
    })
    .await;
    browser.run("location.reload()").await;
    browser.click("a[href$='/kill']").await;
    browser.click("form[method=post] button").await;
    eventually("the end of the run", || async {
        let runs = api(&serving, Method::GET, "/runs?state=running,queued").await.is(200).json();
        if runs["runs"].as_array().unwrap().is_empty() { Ok(()) } else { Err(runs.to_string()) }
    })
    .await;
    let log = serving.log();
    for action in ["pause", "resume", "run", "kill"] {
        let is_noted = |line: &str| {
            line.contains("ompipe::audit")
                && line.contains(&format!("\"{action}\""))
                && line.contains(LOGIN.0)
        };
        assert!(log.lines().any(is_noted), "{action}: {log}");
    }
    scene.end().await;
}

/// Reads a stream of changes until it has told the ends of these runs; the id of its last event.
async fn told_of(mut changes: Response, runs: &[&str]) -> String {
    assert_eq!(changes.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let has_ended = |text: &str, run: &str| {
        let mut events = text.split("\n\n").filter(|event| event.contains(run));
        events.any(|event| {
            event.contains(r#""state":"success""#) || event.contains(r#""state":"failed""#)
        })
    };
    let is_whole = |text: &str| {
        text.ends_with("\n\n")
            && text.contains("id:")
            && runs.iter().all(|run| has_ended(text, run))
    };
    while !is_whole(&text) {
        let piece = timeout(Duration::from_mins(2), changes.chunk()).await;
        let piece = piece.unwrap_or_else(|_| panic!("nothing follows on {text}"));
        text.push_str(&String::from_utf8_lossy(&piece.unwrap().unwrap()));
    }
    let mut ids = text.lines().filter_map(|line| line.strip_prefix("id:"));
    ids.next_back().unwrap().trim().to_owned()
}

#[tokio::test]
async fn runs_of_all_pipelines_are_listed_counted_and_timed() {
    let (scene, serving) = served("page-api", &json!({ "enabled": false })).await;
    answer(serving.request(Method::GET, "/")).await.is(404);
    let follow = || serving.request(Method::GET, "/api/v1/runs/changes");
    let changes = follow().send().await.unwrap();
    let good = run_to(&serving, &fqn("nightly"), "success").await;
    let bad = run_to(&serving, &fqn(HOSTILE), "failed").await;
    let last = told_of(changes, &[&good, &bad]).await;
    // Whoever comes back, to any replica, hears of what ended a moment before.
    told_of(follow().header("Last-Event-ID", last).send().await.unwrap(), &[&good, &bad]).await;
    let ids = |page: &Value| -> Vec<String> {
        let runs = page["runs"].as_array().unwrap().iter();
        runs.map(|run| run["runId"].as_str().unwrap().to_owned()).collect()
    };
    let first = api(&serving, Method::GET, "/runs?limit=1").await.is(200).json();
    assert_eq!(ids(&first), [bad.as_str()]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second =
        api(&serving, Method::GET, &format!("/runs?limit=1&cursor={cursor}")).await.is(200).json();
    assert_eq!((ids(&second), &second["nextCursor"]), (vec![good.clone()], &Value::Null));
    let failed = api(&serving, Method::GET, "/runs?state=failed&service=shop").await.is(200).json();
    assert_eq!(ids(&failed), [bad]);
    let none = api(&serving, Method::GET, "/runs?until=2020-01-01T00:00:00Z").await.is(200).json();
    assert_eq!(ids(&none), [""; 0]);
    for wrong in ["state=bad", "limit=0", "cursor=x", "since=yesterday", "sate=failed"] {
        api(&serving, Method::GET, &format!("/runs?{wrong}")).await.is(400);
    }
    let list = || serving.request(Method::GET, "/api/v1/runs");
    let tag = list().send().await.unwrap().headers()["etag"].clone();
    assert_eq!(list().header("If-None-Match", tag).send().await.unwrap().status(), 304);

    let found = api(&serving, Method::GET, "/runs/statistics").await.is(200).json();
    assert_eq!((&found["ended"], &found["successRate"]), (&json!(2), &json!(0.5)), "{found}");
    let timeline = format!("/pipelines/shop.nightly/runs/{good}/timeline");
    let timeline = api(&serving, Method::GET, &timeline).await.is(200).json();
    let spans = timeline["spans"].as_array().unwrap();
    let phases: Vec<&str> = spans.iter().map(|span| span["phase"].as_str().unwrap()).collect();
    assert_eq!(phases[..4], ["queued", "scheduling", "starting", "running"], "{timeline}");

    let change = |body: Value| {
        answer(serving.request(Method::PATCH, "/api/v1/pipelines/shop.nightly").json(&body))
    };
    let paused = change(json!({ "suspended": true })).await.is(200).json();
    assert_eq!(paused["schedule"]["suspended"], true);
    change(json!({})).await.is(400);
    change(json!({ "suspendet": true })).await.is(400);
    let listed = api(&serving, Method::GET, "/pipelines").await.is(200).json();
    let listed = listed["pipelines"].as_array().unwrap();
    let nightly = listed.iter().find(|one| one["name"] == "nightly").unwrap();
    assert_eq!(nightly["lastRuns"][0]["runId"], json!(good));
    assert!(nightly["lastSuccess"].is_string(), "{nightly}");
    scene.end().await;
}
