//! Against a server of a few routes on loopback. The real Python client and the stand-in hold the
//! contract itself (crate `ompipe-tests`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use ompipe_core::PipelineState;
use rstest::rstest;
use serde_json::json;

use super::*;

const TOKEN: &str = "t0ps3cret-of-the-bot";

/// Serves `router` below `/api/v1` for as long as the test runs.
pub(crate) async fn serve(router: Router) -> OpenMetadata {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, Router::new().nest("/api/v1", router)).await });
    std::mem::forget(tasks);
    client(&format!("http://{address}/api"))
}

fn client(host_port: &str) -> OpenMetadata {
    let connection = ServerConnection::new(host_port, TOKEN, ompipe_core::VerifySsl::NoSsl);
    OpenMetadata::new(&connection).unwrap()
}

/// OpenMetadata's own error document.
pub(crate) fn own_words(code: u16, message: &str) -> String {
    json!({ "code": code, "message": message }).to_string()
}

fn reference(kind: &str, name: &str) -> ServiceReference {
    ServiceReference { kind: kind.into(), name: name.into(), fully_qualified_name: None }
}

#[tokio::test]
async fn a_service_is_found_by_its_encoded_name_with_the_token() {
    let find = async |Path(name): Path<String>, headers: HeaderMap| {
        assert_eq!(headers["authorization"], format!("Bearer {TOKEN}"));
        json!({ "name": name }).to_string()
    };
    let router = Router::new().route("/services/databaseServices/name/{name}", get(find));
    let name = "Läden/1.0 \"x\"";
    let service = serve(router).await.service(&reference("databaseService", name)).await.unwrap();
    assert_eq!(service["name"], ompipe_core::quote_fqn_part(name));
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let missing = async || (StatusCode::NOT_FOUND, own_words(404, "no such instance"));
    let openmetadata = serve(Router::new().fallback(missing)).await;
    let error = openmetadata.pipeline("shop.metadata").await.unwrap_err();
    assert_eq!(error.to_string(), "OpenMetadata has no ingestion pipeline \"shop.metadata\"");
}

#[rstest]
#[case(StatusCode::UNAUTHORIZED, "refuses the bot's token (401 Unauthorized)")]
#[case(StatusCode::FORBIDDEN, "refuses the bot's token (403 Forbidden)")]
#[case(StatusCode::BAD_REQUEST, "what answers 400 Bad Request")]
#[case(StatusCode::FOUND, "what answers 302 Found")]
#[tokio::test]
async fn refusals_are_told_without_the_body(#[case] status: StatusCode, #[case] message: &str) {
    let router =
        Router::new().route("/system/version", get(move || async move { (status, TOKEN) }));
    let error = serve(router).await.version().await.unwrap_err().to_string();
    assert!(error.contains(message) && !error.contains(TOKEN), "{error}");
}

#[tokio::test]
async fn a_passing_fault_is_ridden_out() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let flaky = async move || match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Err(StatusCode::SERVICE_UNAVAILABLE),
        _ => Ok(r#"{"version":"1.12.14"}"#),
    };
    let openmetadata = serve(Router::new().route("/system/version", get(flaky))).await;
    assert_eq!(openmetadata.version().await.unwrap(), "1.12.14");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn nobody_there_is_told_with_the_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(&format!("http://{address}/api")).version().await.unwrap_err();
    let expected = format!("does not answer at http://{address}/api/v1/system/version");
    assert!(error.to_string().contains(&expected), "{error}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn rows_of_runs() {
    let run: RunId = "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap();
    let row = json!({ "runId": run.to_string(), "pipelineState": "partialSuccess", "startDate": 5, "new": [] });
    let listed = row.clone();
    let list = async move |Query(query): Query<Vec<(String, String)>>| {
        assert_eq!(query, [("startTs".into(), "1".into()), ("endTs".into(), "9".into())]);
        json!({ "data": [listed] }).to_string()
    };
    let one = async move |Path((_, id)): Path<(String, String)>| {
        if id.starts_with('a') { Ok(row.to_string()) } else { Err(StatusCode::NO_CONTENT) }
    };
    let router = Router::new()
        .route("/services/ingestionPipelines/{fqn}/pipelineStatus", get(list))
        .route("/services/ingestionPipelines/{fqn}/pipelineStatus/{id}", get(one));
    let openmetadata = serve(router).await;
    let found = openmetadata.status("shop.p", run).await.unwrap().unwrap();
    assert_eq!(found.pipeline_state, PipelineState::PartialSuccess);
    assert_eq!(openmetadata.statuses("shop.p", 1, 9).await.unwrap(), [found]);
    let unknown = "b1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap();
    assert_eq!(openmetadata.status("shop.p", unknown).await.unwrap(), None);
}

#[tokio::test]
async fn an_unknown_kind_of_service_is_not_looked_up() {
    let error = client("http://127.0.0.1:1/api").service(&reference("x", "y")).await.unwrap_err();
    assert!(error.to_string().contains("service.type \"x\""), "{error}");
}

#[test]
fn debug_hides_the_token() {
    assert!(!format!("{:?}", client("http://om/api")).contains(TOKEN));
}

/// A server, or what a proxy leaves of it: which routes it knows.
fn pipelines(by_name: bool, by_id: bool, version: bool) -> Router {
    let entity = async || json!({ "name": "p" }).to_string();
    let mut router = Router::new();
    if by_name {
        router = router.route("/services/ingestionPipelines/name/{name}", get(entity));
    }
    if by_id {
        router = router.route("/services/ingestionPipelines/{id}", get(entity));
    }
    if version {
        let version = async || json!({ "version": "1.12.14" }).to_string();
        let missing = async || (StatusCode::NOT_FOUND, own_words(404, "no such instance"));
        router = router.route("/system/version", get(version)).fallback(missing);
    }
    router
}

#[rstest]
#[case::by_its_name(pipelines(true, false, true), Some(true))]
#[case::behind_a_proxy_that_decodes_slashes(pipelines(false, true, true), Some(true))]
#[case::gone(pipelines(false, false, true), Some(false))]
#[case::a_proxy_alone(pipelines(false, false, false), None)]
#[tokio::test]
async fn a_pipeline_is_gone_when_the_server_itself_has_neither_name_nor_id(
    #[case] router: Router,
    #[case] expected: Option<bool>,
) {
    let id = "5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb02";
    let found = serve(router).await.has_pipeline("shop.a/b", id).await;
    assert_eq!(found.ok(), expected);
}

#[tokio::test]
async fn the_words_of_a_refusal_are_kept_without_secrets_and_not_endlessly() {
    let said = format!(
        "Unrecognized field \"status\" {TOKEN} eyJhbGciOi.eyJzdWIi.c2ln {}",
        "x ".repeat(900)
    );
    let answer = (StatusCode::BAD_REQUEST, own_words(400, &said));
    let router = Router::new().route("/system/version", get(move || async move { answer }));
    let error = serve(router).await.version().await.unwrap_err().to_string();
    assert!(error.contains("Unrecognized field \"status\""), "{error}");
    assert!(!error.contains("eyJ") && !error.contains(TOKEN) && error.len() < 700, "{error}");
}

#[tokio::test]
async fn a_redirect_is_told_with_its_target() {
    let headers = [("location", "https://user:pw@om.example.com/api?code=s3cret")];
    let answer = (StatusCode::PERMANENT_REDIRECT, headers);
    let router = Router::new().route("/system/version", get(move || async move { answer }));
    let error = serve(router).await.version().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("redirects to https://om.example.com/api;"), "{text}");
    assert!(!text.contains("pw") && !text.contains("s3cret") && !error.is_final(), "{text}");
}

#[tokio::test]
async fn a_metadata_service_is_not_called() {
    let connection =
        ServerConnection::new("http://169.254.169.254/api", TOKEN, ompipe_core::VerifySsl::NoSsl);
    let error = OpenMetadata::new(&connection).unwrap_err();
    assert!(matches!(error, Error::OffLimits(_)) && error.is_final(), "{error}");
}

#[tokio::test]
async fn the_brief_form_of_an_error_has_nothing_of_the_answer() {
    let foreign = async || {
        let headers = [("location", "http://inner.example.com/secret-path")];
        (StatusCode::FOUND, headers, "s3cret-answer")
    };
    let refusing = async || (StatusCode::BAD_REQUEST, own_words(400, "s3cret-answer"));
    for router in [Router::new().fallback(foreign), Router::new().fallback(refusing)] {
        let error = serve(router).await.version().await.unwrap_err();
        let brief = error.brief();
        assert!(brief.contains("http://127.0.0.1:"), "{brief}");
        assert!(!brief.contains("s3cret") && !brief.contains("inner"), "{brief}");
    }
    let error = client("http://127.0.0.1:1/api").version().await.unwrap_err();
    assert_eq!(error.brief(), "OpenMetadata does not answer at http://127.0.0.1:1");
}
