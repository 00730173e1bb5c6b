//! What can be told without a cluster: routes, logins, refusals.

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method};
use ompipe_client::K8sPipelineClient;
use ompipe_core::config::K8sPipelineClientConfig;
use rstest::rstest;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::settings::ServeArgs;

const LOGIN: &str = "user:pass";
const RUN: &str = "/api/v1/pipelines/shop.nightly/runs/5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb01";

/// The application of a cluster that nobody reaches.
async fn application() -> Shared {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": "http://127.0.0.1:1" } }],
        "users": [{ "name": "u", "user": {} }],
    });
    let parameters = json!({ "kubeConfigContent": kubeconfig.to_string() });
    let directory = tempfile::tempdir().unwrap();
    let credentials = directory.path().join("credentials");
    std::fs::write(&credentials, LOGIN).unwrap();
    let document = json!({
        "pipelineServiceClientConfiguration": { "parameters": parameters },
        "server": { "credentials": { "file": credentials }, "basePath": "/base" },
    });
    let config = K8sPipelineClientConfig::read(&document, &std::iter::empty().collect()).unwrap();
    let client = K8sPipelineClient::connect(config.config, None).await.unwrap();
    let settings = Settings::read(&document, &ServeArgs::default()).unwrap();
    crate::application(&settings, client, CancellationToken::new()).unwrap()
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The same as a problem, which every refusal has to be.
    #[track_caller]
    fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers[CONTENT_TYPE], problem::MEDIA_TYPE);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["type"].is_string() && problem["title"].is_string(), "{problem}");
        problem
    }
}

async fn send(app: &Shared, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(axum::body::Body::empty()).unwrap();
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = crate::routes(app).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answer { status: head.status, headers: head.headers, body }
}

async fn send_logged_in(
    app: &Shared,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let login = format!("Basic {}", STANDARD.encode(LOGIN));
    send(app, method, path, &[headers, &[(AUTHORIZATION.as_str(), login.as_str())]].concat()).await
}

#[tokio::test]
async fn everything_that_is_documented_is_there_and_needs_a_login() {
    let app = application().await;
    let document = openapi::document(&BasePath::default());
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
            if item[method.as_str().to_lowercase()].is_object() {
                let path = format!("{PREFIX}{}", path.replace(['{', '}'], ""));
                let answer = send(&app, method, &path, &[]).await;
                answer.problem(401);
                assert!(answer.headers[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic"));
                operations += 1;
            }
        }
    }
    assert_eq!(operations, 17);
    for path in ["/api/v1", "/api/v1/", "/", "/pipelines", "/assets/page.js"] {
        send(&app, Method::GET, path, &[]).await.problem(401);
    }
}

#[tokio::test]
async fn the_page_and_the_document_are_for_whoever_may_log_in() {
    let app = application().await;
    for path in ["/api/v1", "/api/v1/"] {
        let page = send_logged_in(&app, Method::GET, path, &[]).await;
        assert_eq!(
            (page.status, &page.headers[CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static("text/html; charset=utf-8"))
        );
        assert!(page.headers.contains_key("content-security-policy"));
        assert_eq!(page.headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
    let document = send_logged_in(&app, Method::GET, "/api/v1/openapi.json", &[]).await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "/base/api/v1");
}

#[tokio::test]
async fn refusals_are_as_the_callers_of_a_path_read_them() {
    let app = application().await;
    let to_old_servers = "/api/v1/openmetadata";
    let healthy = send(&app, Method::GET, &format!("{to_old_servers}/health"), &[]).await;
    assert_eq!(healthy.json(), json!({ "status": "healthy" }));
    for path in [format!("{to_old_servers}/nothing"), "/nothing".to_owned()] {
        let answer = send(&app, Method::GET, &path, &[]).await;
        assert_eq!(
            (answer.status, answer.json()["error"].is_string()),
            (StatusCode::NOT_FOUND, true)
        );
    }
    send(&app, Method::GET, "/api/v1/nothing", &[]).await.problem(404);
    send_logged_in(&app, Method::PUT, "/api/v1/pipelines", &[]).await.problem(405);
}

#[rstest]
#[case("/api/v1", true)]
#[case("/api/v1/pipelines", true)]
#[case("/api/v1/openmetadata", false)]
#[case("/api/v1/openmetadata/deploy", false)]
#[case("/api/v1/openmetadata-of-ours", true)]
#[case("/api/v10", false)]
#[case("/pluginsv2/api/v2/openmetadata/deploy", false)]
fn its_paths(#[case] path: &str, #[case] expected: bool) {
    assert_eq!(has_path(path), expected);
}

#[rstest]
#[case("/api/v1/pipelines/shop.nightly/runs/latest", "runId")]
#[case("/api/v1/pipelines/shop.nightly/runs/latest/logs", "runId")]
#[case("/api/v1/pipelines/shop.nightly/runs/5f1c0b1e6a5b4a579d580a8a2a4fbb01/logs/follow", "runId")]
#[case("/api/v1/pipelines/%ff", "path")]
#[tokio::test]
async fn what_is_wrong_with_a_path_is_told(#[case] path: &str, #[case] field: &str) {
    let answer = send_logged_in(&application().await, Method::GET, path, &[]).await;
    assert_eq!(answer.problem(400)["problems"][0]["field"], field);
}

#[tokio::test]
async fn a_page_number_is_one() {
    let app = application().await;
    for page in ["-1", "x", "1.5"] {
        let path = format!("{RUN}/logs/pages/{page}");
        let answer = send_logged_in(&app, Method::GET, &path, &[]).await;
        assert_eq!(answer.problem(400)["problems"][0]["field"], "page");
    }
}

#[tokio::test]
async fn a_page_of_another_site_starts_nothing() {
    let app = application().await;
    let runs = "/api/v1/pipelines/shop.nightly/runs";
    let other = [("sec-fetch-site", "cross-site")];
    send_logged_in(&app, Method::POST, runs, &other).await.problem(403);
    let deploy = "/api/v1/openmetadata/deploy";
    let refused = send_logged_in(&app, Method::POST, deploy, &other).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.json()["error"].is_string());
}

#[tokio::test]
async fn failed_logins_are_too_many_at_some_point() {
    let app = application().await;
    let wrong = [("authorization", "Bearer token")];
    for _ in 0..60 {
        send(&app, Method::GET, "/api/v1/health", &wrong).await.problem(401);
    }
    let refused = send(&app, Method::GET, "/api/v1/health", &wrong).await;
    refused.problem(429);
    // Whoever guesses cannot learn that a guess is right.
    let right = format!("Basic {}", STANDARD.encode(LOGIN));
    let right = [("authorization", right.as_str())];
    send(&app, Method::GET, "/api/v1/health", &right).await.problem(429);
    assert_eq!(refused.headers[RETRY_AFTER], "60");
}

#[tokio::test]
async fn only_so_many_logs_are_read_at_once() {
    let app = application().await;
    let places: Vec<_> = (0..LOG_READERS).map(|_| app.api.place().unwrap()).collect();
    assert_eq!(app.api.place().unwrap_err().into_response().status(), 503);
    drop(places);
    assert!(app.api.place().is_ok());
}

/// Requests that nobody would make: each is answered, none with a fault of the server's own.
#[tokio::test(start_paused = true)]
async fn every_request_is_answered() {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let paths = prop_oneof![
        "/api/v1(/[a-zA-Z0-9%._~!$&'()*+,;=:@-]{0,12}){0,6}",
        "(/pluginsv2/api/v2|/api/v2|/api/v1)/openmetadata/(health|health-auth|trigger|kill|deploy|delete|status|last_dag_logs|run_automation)(\\?[a-z_=&%0-9]{0,30})?",
        "/[a-zA-Z0-9%._~-]{0,200}",
    ];
    let methods =
        prop::sample::select(vec!["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "X"]);
    let bodies =
        prop_oneof![any::<Vec<u8>>(), "[\\[\\]{}:,\"0-9a-z]{0,60}".prop_map(String::into_bytes),];
    let headers = prop::collection::vec(
        (
            prop::sample::select(vec![
                "authorization",
                "content-type",
                "range",
                "accept-encoding",
                "last-event-id",
                "idempotency-key",
                "x-request-id",
                "origin",
                "host",
                "sec-fetch-site",
            ]),
            "[ -~]{0,40}",
        ),
        0..4,
    );
    let (app, mut runner) = (application().await, TestRunner::deterministic());
    let login = format!("Basic {}", STANDARD.encode(LOGIN));
    for _ in 0..300 {
        let strategy = (&methods, &paths, &headers, &bodies, any::<bool>());
        let (method, path, headers, body, logs_in) =
            strategy.new_tree(&mut runner).unwrap().current();
        let mut request = Request::builder().method(method).uri(&path);
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        if logs_in {
            request = request.header(AUTHORIZATION, &login);
        }
        // What is no request at all does not get here.
        let Ok(mut request) = request.body(axum::body::Body::from(body)) else { continue };
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = crate::routes(&app).oneshot(request).await.unwrap();
        assert_ne!(answer.status(), 500, "{method} {path} {headers:?}");
    }
}
