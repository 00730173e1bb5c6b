//! The stand-in as its clients see it: over HTTP.
#![expect(clippy::unwrap_used, reason = "a broken set-up should fail the test at once")]

use std::error::Error as _;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ompipe_tests::standin::{
    DEFAULT_TOKEN, Error, Fault, Options, PipelineState, PostgresConnection, Standin,
};
use reqwest::{Client, Method, RequestBuilder, Response};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

const FQN: &str = "\"shop.pg\".nightly";
const RUN: Uuid = Uuid::from_u128(0x9d2c_3c3e_52ce_4d02_a2a5_28de_7c9b_8d9a);

/// Longer than anything here takes; a test that needs it has failed.
const SOON: Duration = Duration::from_secs(10);

/// A stand-in with the pipeline [`FQN`], and a client of it.
struct Fixture {
    standin: Standin,
    client: Client,
}

impl Fixture {
    fn new() -> Self {
        let standin = Standin::start(loopback()).unwrap();
        let connection = PostgresConnection {
            host_port: "127.0.0.1:5432".to_owned(),
            database: "shop".to_owned(),
            username: "ingest".to_owned(),
            password: "pw".to_owned(),
        };
        let service = standin.add_postgres_service("shop.pg", &connection).unwrap();
        let pipeline = json!({
            "name": "nightly", "pipelineType": "metadata",
            "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
        });
        standin.add_pipeline("databaseService", &service, &pipeline).unwrap();
        Self { standin, client: Client::new() }
    }

    /// A request with the right token.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/v1/{path}", self.standin.url());
        self.client.request(method, url).bearer_auth(self.standin.token())
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn put(&self, path: &str, body: &Value) -> Response {
        self.request(Method::PUT, path).json(body).send().await.unwrap()
    }

    async fn put_state(&self, state: &str) -> reqwest::Result<Response> {
        self.request(Method::PUT, &status_path()).json(&row(state)).send().await
    }

    /// `/standin/…`
    fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}/standin/{path}", self.standin.address());
        self.client.request(method, url)
    }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn status_path() -> String {
    "services/ingestionPipelines/%22shop.pg%22.nightly/pipelineStatus".to_owned()
}

fn row(state: &str) -> Value {
    json!({"runId": RUN, "pipelineState": state, "timestamp": 1_700_000_000_000_i64})
}

async fn json_of(response: Response) -> Value {
    response.json().await.unwrap()
}

fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == ErrorKind::ConnectionReset) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn the_version_needs_no_token() {
    let options = Options { version: "1.13.0".to_owned(), ..Options::new(loopback()) };
    let standin = Standin::start_with(options).unwrap();
    let url = format!("{}/v1/system/version", standin.url());
    assert_eq!(json_of(reqwest::get(url).await.unwrap()).await["version"], "1.13.0");
}

#[rstest]
#[case(None)]
#[case(Some("Bearer wrong"))]
#[case(Some(DEFAULT_TOKEN))]
#[tokio::test]
async fn everything_else_needs_the_token(#[case] header: Option<&str>) {
    let fixture = Fixture::new();
    let url = format!("{}/v1/tables", fixture.standin.url());
    let request = fixture.client.get(url);
    let request = header.into_iter().fold(request, |r, header| r.header("Authorization", header));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(json_of(response).await["code"], 401);
}

#[rstest]
#[case("0.0.0.0:0")]
#[case("192.0.2.2:0")]
fn outer_addresses_are_refused(#[case] bind: &str) {
    let refused = Standin::start(bind.parse().unwrap()).unwrap_err();
    assert!(matches!(refused, Error::NotLocal(_)));
}

#[test]
fn a_taken_port_is_named_in_the_error() {
    let standin = Standin::start(loopback()).unwrap();
    let error = Standin::start(standin.address()).unwrap_err().to_string();
    assert!(error.contains(&standin.address().to_string()), "{error}");
}

#[tokio::test]
async fn services_and_pipelines_are_found_by_name() {
    let fixture = Fixture::new();
    let service = fixture.get("services/databaseServices/name/%22shop.pg%22").await;
    let service = json_of(service).await;
    assert_eq!(service["connection"]["config"]["authType"]["password"], "pw");
    let path = "services/ingestionPipelines/name/%22shop.pg%22.nightly?fields=*";
    let pipeline = json_of(fixture.get(path).await).await;
    assert_eq!(pipeline["service"]["id"], service["id"]);
    let by_id = format!("services/ingestionPipelines/{}", pipeline["id"].as_str().unwrap());
    assert_eq!(json_of(fixture.get(&by_id).await).await, pipeline);
}

#[tokio::test]
async fn the_server_connection_goes_to_the_orchestrator_only() {
    let fixture = Fixture::new();
    let path = "services/ingestionPipelines/name/%22shop.pg%22.nightly";
    let pipeline = json_of(fixture.get(path).await).await;
    let deployable = fixture.standin.deployable(&pipeline);
    let connection = &deployable["openMetadataServerConnection"];
    assert_eq!(connection["securityConfig"]["jwtToken"], fixture.standin.token());
    let stored = fixture.put("services/ingestionPipelines", &deployable).await;
    assert_eq!(json_of(stored).await.get("openMetadataServerConnection"), None);
    let read = json_of(fixture.get(path).await).await;
    assert_eq!(read.get("openMetadataServerConnection"), None);
}

#[tokio::test]
async fn status_writes_are_upserts_by_run_and_stay_on_record() {
    let fixture = Fixture::new();
    let unknown = fixture.get(&format!("{}/{RUN}", status_path())).await;
    assert_eq!(unknown.status(), 204);
    for state in ["queued", "running", "success"] {
        assert_eq!(fixture.put_state(state).await.unwrap().status(), 201);
    }
    let stored = json_of(fixture.get(&format!("{}/{RUN}", status_path())).await).await;
    assert_eq!(stored, row("success"));
    assert_eq!(fixture.standin.rows(FQN), [row("success")]);
    let history = fixture.standin.status_history(FQN, RUN);
    let seen: Vec<_> = history.iter().map(|write| (write.state, write.created)).collect();
    let (queued, running) = (PipelineState::Queued, PipelineState::Running);
    assert_eq!(seen, [(queued, true), (running, false), (PipelineState::Success, false)]);
}

#[tokio::test]
async fn status_rows_are_listed_by_time() {
    let fixture = Fixture::new();
    for (number, timestamp) in [(1, 100), (2, 200), (3, 300)] {
        let run_id = Uuid::from_u128(number);
        let body = json!({"runId": run_id, "pipelineState": "success", "timestamp": timestamp});
        fixture.put(&status_path(), &body).await;
    }
    let path = format!("{}?startTs=150&endTs=300&limit=1", status_path());
    let listed = json_of(fixture.get(&path).await).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert_eq!(listed["data"][0]["timestamp"], 300);
}

#[tokio::test]
async fn a_wrong_status_row_is_refused_and_changes_nothing() {
    let fixture = Fixture::new();
    let response = fixture.put_state("succeeded").await.unwrap();
    assert_eq!(response.status(), 400);
    let message = json_of(response).await["message"].to_string();
    assert!(message.contains("unknown variant `succeeded`"), "{message}");
    assert!(fixture.standin.rows(FQN).is_empty());
    let request = fixture.standin.requests().pop().unwrap();
    assert!(request.error.unwrap().contains("succeeded"));
}

#[rstest]
#[case(Method::PUT, "")]
#[case(Method::GET, "")]
#[case(Method::GET, "/9d2c3c3e-52ce-4d02-a2a5-28de7c9b8d9a")]
#[tokio::test]
async fn an_unknown_pipeline_has_no_status(#[case] method: Method, #[case] run: &str) {
    let fixture = Fixture::new();
    let path = format!("services/ingestionPipelines/nobody.nightly/pipelineStatus{run}");
    let response = fixture.request(method, &path).json(&row("running")).send().await.unwrap();
    assert_eq!(response.status(), 404);
    let message = json_of(response).await["message"].to_string();
    assert!(message.contains("nobody.nightly not found"), "{message}");
}

#[tokio::test]
async fn a_bulk_write_tells_what_it_stored_and_what_not() {
    let fixture = Fixture::new();
    let bodies = json!([{"name": "shop", "service": "\"shop.pg\""}, {"name": "x", "service": "y"}]);
    let result = json_of(fixture.put("databases/bulk?async=false", &bodies).await).await;
    assert_eq!(result["status"], "partialSuccess");
    assert_eq!(result["numberOfRowsFailed"], 1);
    assert_eq!(result["successRequest"][0]["request"], "\"shop.pg\".shop");
}

#[tokio::test]
async fn a_listing_has_pages_and_filters() {
    let fixture = Fixture::new();
    let bodies: Value =
        (1..=3).map(|n| json!({"name": format!("db{n}"), "service": "\"shop.pg\""})).collect();
    fixture.put("databases/bulk", &bodies).await;
    let first = json_of(fixture.get("databases?service=%22shop.pg%22&limit=2").await).await;
    assert_eq!(first["paging"], json!({"total": 3, "after": "2"}));
    let rest = json_of(fixture.get("databases?limit=2&after=2").await).await;
    assert_eq!(rest["data"][0]["name"], "db3");
    assert_eq!(rest["paging"], json!({"total": 3}));
    let none = json_of(fixture.get("databases?service=other").await).await;
    assert_eq!(none["data"], json!([]));
}

#[tokio::test]
async fn a_deleted_entity_is_gone_unless_asked_for() {
    let fixture = Fixture::new();
    let body = json!({"name": "shop", "service": "\"shop.pg\""});
    let database = json_of(fixture.put("databases", &body).await).await;
    let path = format!("databases/{}?hardDelete=false", database["id"].as_str().unwrap());
    assert_eq!(fixture.request(Method::DELETE, &path).send().await.unwrap().status(), 200);
    let by_name = "databases/name/%22shop.pg%22.shop";
    assert_eq!(fixture.get(by_name).await.status(), 404);
    let found = json_of(fixture.get(&format!("{by_name}?include=all")).await).await;
    assert_eq!(found["deleted"], true);
}

#[tokio::test]
async fn an_automation_workflow_takes_its_result_by_patch() {
    let fixture = Fixture::new();
    let workflow = json!({"name": "test-1", "workflowType": "TEST_CONNECTION", "request": {}});
    let created = fixture.request(Method::POST, "automations/workflows").json(&workflow);
    let created = created.send().await.unwrap();
    assert_eq!(created.status(), 201);
    let id = json_of(created).await["id"].as_str().unwrap().to_owned();
    let patch = json!([
        {"op": "add", "path": "/response", "value": {"status": "Successful", "steps": []}},
        {"op": "add", "path": "/status", "value": "Successful"},
    ]);
    let path = format!("automations/workflows/{id}");
    let patched = fixture.request(Method::PATCH, &path).body(patch.to_string()).send().await;
    assert_eq!(patched.unwrap().status(), 200);
    let stored = json_of(fixture.get("automations/workflows/name/test-1").await).await;
    assert_eq!(stored["status"], "Successful");
    assert_eq!(stored["response"]["steps"], json!([]));
}

#[tokio::test]
async fn a_streamed_log_is_appended_and_closed() {
    let fixture = Fixture::new();
    let path = format!("services/ingestionPipelines/logs/%22shop.pg%22.nightly/{RUN}");
    for logs in ["one\n", "two\n"] {
        let batch = json!({"logs": logs, "connectorId": "pod-1", "compressed": false});
        let response = fixture.request(Method::POST, &path).json(&batch).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let close = fixture.request(Method::POST, &format!("{path}/close")).json(&json!({}));
    assert_eq!(close.send().await.unwrap().status(), 200);
    let log = fixture.standin.log(FQN, RUN).unwrap();
    assert_eq!((log.text.as_str(), log.appends, log.closed), ("one\ntwo\n", 2, true));
    let page = json_of(fixture.get(&format!("{path}?limit=1")).await).await;
    assert_eq!(page, json!({"logs": "one", "after": "1", "total": 2}));
}

#[tokio::test]
async fn tables_are_found_by_search() {
    let fixture = Fixture::new();
    for (path, body) in [
        ("databases", json!({"name": "shop", "service": "\"shop.pg\""})),
        ("databaseSchemas", json!({"name": "sales", "database": "\"shop.pg\".shop"})),
        ("tables", json!({"name": "orders", "databaseSchema": "\"shop.pg\".shop.sales"})),
    ] {
        assert_eq!(fixture.put(path, &body).await.status(), 201);
    }
    let by_field = "search/fieldQuery?index=table_search_index&from=0&size=10&deleted=false\
                    &fieldName=fullyQualifiedName&fieldValue=*.sales.orders";
    let found = json_of(fixture.get(by_field).await).await;
    assert_eq!(found["hits"]["total"]["value"], 1);
    let filter = "%7B%22term%22%3A%7B%22service.name.keyword%22%3A%22other%22%7D%7D";
    let by_filter = format!("search/query?q=&index=table_search_index&query_filter={filter}");
    let found = json_of(fixture.get(&by_filter).await).await;
    assert_eq!(found["hits"]["hits"], json!([]));
    assert_eq!(fixture.standin.tables(), ["\"shop.pg\".shop.sales.orders"]);
}

#[tokio::test]
async fn a_status_fault_answers_instead_of_the_server() {
    let fixture = Fixture::new();
    fixture.standin.inject(Fault::status(503).on("PUT", "*/\"shop.pg\".nightly/pipelineStatus"));
    let refused = fixture.put_state("running").await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(json_of(refused).await["code"], 503);
    assert_eq!(fixture.get(&status_path()).await.status(), 200);
    assert!(fixture.standin.rows(FQN).is_empty());
    fixture.standin.clear_faults();
    assert_eq!(fixture.put_state("running").await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_delay_fault_answers_late() {
    let fixture = Fixture::new();
    let delay = Duration::from_millis(150);
    fixture.standin.inject(Fault::delay(delay).times(1));
    let start = Instant::now();
    assert_eq!(fixture.put_state("running").await.unwrap().status(), 201);
    assert!(start.elapsed() >= delay);
}

#[tokio::test]
async fn a_reset_fault_cuts_the_connection_before_anything_happened() {
    let fixture = Fixture::new();
    fixture.standin.inject(Fault::reset().with("pipelineState", "success").times(1));
    assert_eq!(fixture.put_state("running").await.unwrap().status(), 201);
    let error = fixture.put_state("success").await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert_eq!(fixture.standin.states(FQN, RUN), [PipelineState::Running]);
    let last = fixture.standin.requests().pop().unwrap();
    assert_eq!((last.status, last.fault), (None, Some("reset")));
}

#[tokio::test]
async fn a_lost_answer_leaves_the_change() {
    let fixture = Fixture::new();
    fixture.standin.inject(Fault::reset().on("PUT", "*/pipelineStatus").after_change().times(1));
    let error = fixture.put_state("success").await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert_eq!(fixture.standin.rows(FQN), [row("success")]);
    fixture.put_state("success").await.unwrap();
    let history = fixture.standin.status_history(FQN, RUN);
    assert_eq!(history.iter().map(|write| write.created).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_hang_fault_never_answers_and_is_on_record_at_once() {
    let fixture = Fixture::new();
    fixture.standin.inject(Fault::hang().on("PUT", "*"));
    let hanging = tokio::time::timeout(SOON, fixture.put_state("running"));
    let seen = fixture.standin.until("a request that hangs", SOON, |world| {
        world.requests().find(|request| request.fault == Some("hang")).cloned()
    });
    tokio::select! {
        answer = hanging => panic!("answered: {answer:?}"),
        seen = seen => assert_eq!(seen.unwrap().status, None),
    }
}

#[tokio::test]
async fn a_hanging_request_does_not_keep_the_standin_from_stopping() {
    let Fixture { standin, client } = Fixture::new();
    standin.inject(Fault::hang());
    let url = format!("{}/v1/system/version", standin.url());
    let (answer, ()) = tokio::join!(client.get(url).send(), async {
        let hanging = |world: &ompipe_tests::standin::World| world.requests().next().map(|_| ());
        standin.until("the request", SOON, hanging).await.unwrap();
        drop(standin);
    });
    assert!(answer.is_err());
}

#[tokio::test]
async fn faults_are_controlled_over_http() {
    let fixture = Fixture::new();
    let fault = json!({"method": "PUT", "path": "*/pipelineStatus", "afterChange": true,
                       "effect": {"status": {"code": 502, "body": "bad gateway"}}, "times": 2});
    let injected = fixture.admin(Method::POST, "faults").json(&fault).send().await.unwrap();
    assert_eq!(injected.status(), 201);
    let refused = fixture.put_state("running").await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), refused.text().await.unwrap().as_str()),
        (502, "bad gateway")
    );
    let armed = json_of(fixture.admin(Method::GET, "faults").send().await.unwrap()).await;
    assert_eq!(armed, json!([fault]));
    assert_eq!(fixture.admin(Method::DELETE, "faults").send().await.unwrap().status(), 204);
    assert_eq!(fixture.put_state("success").await.unwrap().status(), 201);
}

#[tokio::test]
async fn the_record_is_served_over_http() {
    let fixture = Fixture::new();
    fixture.put_state("running").await.unwrap();
    let path = format!("statuses?fqn=%22shop.pg%22.nightly&runId={RUN}");
    let statuses = json_of(fixture.admin(Method::GET, &path).send().await.unwrap()).await;
    assert_eq!(statuses[0]["state"], "running");
    assert_eq!(statuses[0]["body"], row("running"));
    let requests = json_of(fixture.admin(Method::GET, "requests").send().await.unwrap()).await;
    assert_eq!(requests.as_array().unwrap().len(), 1);
    assert_eq!(requests[0]["status"], 201);
    let entities = json_of(fixture.admin(Method::GET, "entities").send().await.unwrap()).await;
    assert_eq!(entities["services/ingestionPipelines"], json!([FQN]));
}

#[tokio::test]
async fn waiting_ends_with_the_change_that_was_waited_for() {
    let fixture = Fixture::new();
    let waiting = fixture.standin.until_state(FQN, RUN, PipelineState::Success, SOON);
    let writing = async {
        fixture.put_state("running").await.unwrap();
        fixture.put_state("success").await.unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, writing);
    waited.unwrap();
}

#[tokio::test]
async fn waiting_in_vain_tells_what_was_seen_instead() {
    let fixture = Fixture::new();
    fixture.put_state("running").await.unwrap();
    let limit = Duration::from_millis(20);
    let waited = fixture.standin.until_state(FQN, RUN, PipelineState::Failed, limit).await;
    let error = waited.unwrap_err().to_string();
    assert!(error.starts_with(&format!("the state failed of run {RUN} of {FQN} was not seen")));
    assert!(error.contains(&format!("{FQN} {RUN} created running")), "{error}");
    assert!(error.contains("pipelineStatus -> 201"), "{error}");
}

#[test]
fn the_standin_outlives_the_runtime_of_a_test() {
    let standin = Standin::start(loopback()).unwrap();
    let url = format!("{}/v1/system/version", standin.url());
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(reqwest::get(&url)).unwrap().status(), 200);
    }
    let address = standin.address();
    drop(standin);
    assert!(TcpStream::connect(address).is_err());
}
