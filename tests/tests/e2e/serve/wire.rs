//! HTTP itself: logins, TLS, limits, bad input, an orderly end.

use std::fs;
use std::time::Duration;

use ompipe_tests::tls;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use reqwest::{Certificate, Client, Method, Version};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{deployable, shop};
use crate::support::{Answer, LOGIN, PREFIX, Serving, VERSION, answer, eventually};

async fn with_password(serving: &Serving, user: &str, password: &str) -> Answer {
    let url = format!("http://{}{PREFIX}/csrf-token", serving.address);
    answer(Client::new().get(url).basic_auth(user, Some(password))).await
}

#[tokio::test]
async fn only_the_right_credentials_pass_and_they_may_be_rotated() {
    let scene = shop("wire-login").await;
    let limits = json!({ "limits": { "failedLoginsPerMinute": 8 } });
    let serving = Serving::with(&scene, &json!({}), &limits).await;
    let url = format!("http://{}{PREFIX}", serving.address);
    answer(Client::new().get(format!("{url}/health"))).await.is(200);
    for operation in ["health-auth", "csrf-token", "ip", "status", "last_dag_logs"] {
        let refused = answer(Client::new().get(format!("{url}/{operation}"))).await.is(401);
        assert!(refused.text.len() < 200 && refused.error().contains("password"), "{refused:?}");
    }
    for (user, password) in [(LOGIN.0, "wrong"), ("", ""), (LOGIN.1, LOGIN.0)] {
        with_password(&serving, user, password).await.is(401);
    }
    with_password(&serving, LOGIN.0, LOGIN.1).await.is(200);
    for guess in 0..20 {
        let status = with_password(&serving, LOGIN.0, &guess.to_string()).await.status;
        assert_eq!(status, if guess < 5 { 401 } else { 429 }, "guess {guess}");
    }
    // The caller has logged in before the guesses began.
    with_password(&serving, LOGIN.0, LOGIN.1).await.is(200);
    let log = serving.log();
    assert_eq!(log.matches("too many failed logins").count(), 1, "{log}");
    // Both while callers change over, then the new one alone.
    let (old, new) = (format!("{}:{}", LOGIN.0, LOGIN.1), "second:new");
    for (content, old_passes) in [(format!("{old}\n{new}\n"), 200), (format!("{new}\n"), 429)] {
        fs::write(&serving.credentials, content).unwrap();
        eventually("the new credentials", || async {
            let (first, second) = (
                with_password(&serving, LOGIN.0, LOGIN.1).await.status,
                with_password(&serving, "second", "new").await.status,
            );
            if (first, second) == (old_passes, 200) {
                Ok(())
            } else {
                Err(format!("{first} {second}"))
            }
        })
        .await;
    }
    // A file that is broken leaves what was.
    fs::write(&serving.credentials, "no pair").unwrap();
    eventually("a line about the broken file", || async {
        with_password(&serving, "second", "new").await.is(200);
        let log = serving.log();
        if log.contains("stays in use") { Ok(()) } else { Err(log) }
    })
    .await;
    assert!(!serving.log().contains("p:ä ss") && !serving.log().contains("no pair"));
    scene.end().await;
}

#[tokio::test]
async fn tls_with_a_certificate_that_is_renewed_and_both_versions_of_http() {
    let scene = shop("wire-tls").await;
    let write = || {
        let made = tls::self_signed("127.0.0.1").unwrap();
        let certificate = scene.text_file("tls.crt", &made.certificate);
        let key = scene.text_file("tls.key", &made.key);
        let trusted = Certificate::from_pem(made.certificate.as_bytes()).unwrap();
        (trusted, json!({ "certificateFile": certificate, "privateKeyFile": key }))
    };
    let (first, files) = write();
    let section = json!({ "tls": files, "openMetadataVersion": VERSION });
    let serving = Serving::with(&scene, &json!({}), &section).await;
    let url = format!("https://{}{PREFIX}/csrf-token", serving.address);
    let get = |trusted: Certificate, only_http1: bool| {
        let url = url.clone();
        async move {
            let client = Client::builder().tls_certs_only([trusted]);
            let client = if only_http1 { client.http1_only() } else { client };
            let request = client.build().unwrap().get(url).basic_auth(LOGIN.0, Some(LOGIN.1));
            request.send().await.map(|answer| (answer.status().as_u16(), answer.version()))
        }
    };
    assert_eq!(get(first.clone(), true).await.unwrap(), (200, Version::HTTP_11));
    assert_eq!(get(first.clone(), false).await.unwrap(), (200, Version::HTTP_2));
    let (second, _) = write();
    eventually("the new certificate", || async {
        let (old, new) = (get(first.clone(), true).await, get(second.clone(), true).await);
        if old.is_err() && new.is_ok() { Ok(()) } else { Err(format!("{old:?} {new:?}")) }
    })
    .await;
    // Plain HTTP is not for this port, and does no harm.
    assert!(Client::new().get(format!("http://{}/", serving.address)).send().await.is_err());
    scene.end().await;
}

#[rstest]
#[case::no_json("POST", "deploy", "{", 400)]
#[case::no_text("POST", "deploy", "\u{0}\u{1}", 400)]
#[case::too_deep("POST", "deploy", &"[".repeat(100_000), 400)]
#[case::no_name("POST", "trigger", "{}", 400)]
#[case::name_of_another_type("POST", "kill", r#"{"dag_id":["x"]}"#, 400)]
#[case::empty_name("POST", "enable", r#"{"dag_id":""}"#, 400)]
#[case::no_body("POST", "disable", "", 400)]
#[case::no_run_id("POST", "trigger", r#"{"dag_id":"x","conf":{"pipelineRunId":"../../x"}}"#, 400)]
#[case::no_map("POST", "run_automation", "[1]", 400)]
#[case::wrong_method("GET", "deploy", "", 405)]
#[case::no_route("POST", "nothing", "", 404)]
#[case::path_trick("GET", "../../../etc/passwd", "", 404)]
#[case::query_without_a_name("DELETE", "delete", "", 400)]
#[case::logs_without_a_name("GET", "last_dag_logs?dag_id=", "", 400)]
#[case::wrong_encoding("GET", "status?dag_id=%ff%fe", "", 200)]
#[case::two_names("GET", "status?dag_id=a&dag_id=b", "", 400)]
#[case::path_in_a_name("DELETE", "delete?dag_id=..%2F..%2Fsecrets", "", 200)]
#[tokio::test]
async fn what_cannot_be_done_is_refused_with_a_reason(
    #[case] method: &str,
    #[case] operation: &str,
    #[case] body: &str,
    #[case] status: u16,
) {
    let scene = shop("wire-bad").await;
    let serving = Serving::start(&scene).await;
    let method: Method = method.parse().unwrap();
    let request = serving.request(method, &format!("{PREFIX}/{operation}")).body(body.to_owned());
    let refused = answer(request).await.is(status);
    assert!(refused.text.len() < 1_200, "{}", refused.text);
    if status != 200 {
        assert!(!refused.error().is_empty());
    }
    scene.end().await;
}

#[tokio::test]
async fn too_much_is_refused_and_too_slow_is_not_waited_for() {
    let scene = shop("wire-limits").await;
    let limits = json!({ "connections": 4, "headerTimeoutSeconds": 2 });
    let section = json!({ "limits": limits, "openMetadataVersion": VERSION });
    let serving = Serving::with(&scene, &json!({}), &section).await;
    let long = "x".repeat(3 << 20);
    let request = serving.request(Method::POST, &format!("{PREFIX}/deploy")).body(long);
    // A server may close before it has read what it refuses; then the client sees that instead.
    if let Ok(refused) = request.send().await {
        assert_eq!(refused.status().as_u16(), 413);
    }
    let header = serving.request(Method::GET, "/").header("X-Long", "x".repeat(100_000));
    assert!(header.send().await.map_or(true, |refused| refused.status().as_u16() == 431));
    slow_header_is_given_up(&serving).await;
    // Connections that only wait give way to one that asks.
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(serving.address).await.unwrap());
    }
    for _ in 0..5 {
        let request = serving.request(Method::GET, &format!("{PREFIX}/csrf-token"));
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    scene.end().await;
}

#[tokio::test]
async fn a_request_has_an_id_and_a_line_without_its_body() {
    let scene = shop("wire-log").await;
    let serving = Serving::start(&scene).await;
    let body = deployable(&scene, "nightly", &json!({}));
    let deploy = serving.request(Method::POST, &format!("{PREFIX}/deploy"));
    let response = deploy.header("X-Request-Id", "mine-1").body(body.to_string()).send().await;
    assert_eq!(response.unwrap().headers()["x-request-id"], "mine-1");
    let made_up = serving.request(Method::GET, "/").send().await.unwrap();
    assert_eq!(made_up.headers()["x-request-id"].len(), 36);
    let token = scene.standin.token().to_owned();
    let line = eventually("a line about the request", || async {
        let log = serving.log();
        log.lines().find(|line| line.contains("mine-1")).map(str::to_owned).ok_or(log)
    })
    .await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["status"], &line["method"]), (&json!(200), &json!("POST")), "{line}");
    assert_eq!(line["route"], format!("{PREFIX}/deploy"));
    assert!(!serving.log().contains(&token) && !serving.log().contains(LOGIN.1));
    let metrics = serving.probe("/metrics").await.is(200).text;
    assert!(metrics.contains(r#"code="200""#) && !metrics.contains("nightly"), "{metrics}");
    scene.end().await;
}

/// Reads one answer off a connection.
async fn exchange(stream: &mut TcpStream, serving: &Serving) -> String {
    let head = format!("GET {PREFIX}/health HTTP/1.1\r\nHost: {}\r\n\r\n", serving.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = vec![0; 4096];
    let length = stream.read(&mut text).await.unwrap();
    String::from_utf8_lossy(&text[..length]).into_owned()
}

/// Begins a request, never completes its header, and waits until the service closes the connection,
/// without an answer that anybody would read.
async fn slow_header_is_given_up(serving: &Serving) {
    let mut slow = TcpStream::connect(serving.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_mins(2), slow.read(&mut [0; 64])).await;
    assert!(matches!(given_up, Ok(Ok(0) | Err(_))), "{given_up:?}");
}

#[tokio::test]
async fn connections_are_kept_and_at_the_end_given_up_in_good_order() {
    let scene = shop("wire-end").await;
    let section = json!({
        "limits": { "headerTimeoutSeconds": 1 }, "shutdown": { "drainSeconds": 3 },
        "openMetadataVersion": VERSION,
    });
    let mut serving = Serving::with(&scene, &json!({}), &section).await;
    eventually("a ready service", || async {
        let answer = serving.probe("/readyz").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text) }
    })
    .await;
    let mut kept = TcpStream::connect(serving.address).await.unwrap();
    let answer = exchange(&mut kept, &serving).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && !answer.contains("connection: close"),
        "{answer}"
    );
    // A request that begins now is given up, so this connection has been idle for longer than the limit
    // that applies to a header.
    slow_header_is_given_up(&serving).await;
    let answer = exchange(&mut kept, &serving).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "an idle connection is kept: {answer:?}");
    serving.ask_to_end().await;
    eventually("a service that is not ready any more", || async {
        let answer = serving.probe("/readyz").await;
        if answer.status == 503 { Ok(()) } else { Err(answer.text) }
    })
    .await;
    let answer = exchange(&mut kept, &serving).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
    serving.ended().await;
    scene.end().await;
}

/// JSON of any shape, with the names that the service looks for.
fn documents() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("dag_id".to_owned()),
        Just("conf".to_owned()),
        Just("name".to_owned()),
        Just("pipelineType".to_owned()),
        Just("sourceConfig".to_owned()),
        Just("config".to_owned()),
        Just("airflowConfig".to_owned()),
        Just("service".to_owned()),
        Just("openMetadataServerConnection".to_owned()),
        Just("request".to_owned()),
        Just("pipelineRunId".to_owned()),
        "[a-zA-Z]{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("metadata")),
        Just(json!("0 0 * * *")),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..6).prop_map(Value::from_iter),
        ]
    })
}

#[tokio::test]
async fn no_document_makes_it_fail() {
    let scene = shop("wire-fuzz").await;
    let serving = Serving::start(&scene).await;
    let operations = ["deploy", "trigger", "kill", "enable", "disable", "run_automation"];
    let bodies = (proptest::sample::select(operations.to_vec()), documents());
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    let cases: Vec<_> = (0..400)
        .map(|_| bodies.new_tree(&mut runner).unwrap().current())
        .filter(|(operation, body)| is_harmless(operation, body))
        .collect();
    for (operation, body) in cases {
        let status = serving.post(operation, &body).await.status;
        assert!([200, 400, 404].contains(&status), "{operation} {body}: {status}");
    }
    scene.end().await;
}

/// False for an automation that would really run.
fn is_harmless(operation: &str, body: &Value) -> bool {
    operation != "run_automation" || !body["name"].is_string()
}
