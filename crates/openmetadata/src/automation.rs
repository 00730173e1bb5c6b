//! What came of an automation (docs/contracts/openmetadata-http.md#automation-workflow).

use jiff::Timestamp;
use ompipe_core::omjob::End;
use ompipe_core::report::Account;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Error, OpenMetadata, segment};

/// Status of an automation, and the steps of a test of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AutomationResult {
    /// `Pending`, `Running`, `Successful`, `Failed`.
    pub status: String,
    /// Steps of the test; none of other automations, or before the test began.
    pub steps: Vec<TestStep>,
}

/// One step of a test of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestStep {
    /// What was tried.
    pub name: String,
    /// Whether it worked.
    pub passed: bool,
    /// What the worker says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl AutomationResult {
    /// The workflow is successful as soon as it was carried out; what was tested may have failed
    /// all the same, which only the response says.
    pub(crate) fn read(workflow: &Value) -> Result<Self, Error> {
        let unreadable = || Error::Unreadable("the result of an automation");
        let of_response = workflow.pointer("/response/status");
        let status = of_response.or_else(|| workflow.get("status")).and_then(Value::as_str);
        let steps = workflow.pointer("/response/steps").cloned();
        let steps = steps.unwrap_or_else(|| Value::Array(Vec::new()));
        Ok(Self {
            status: status.ok_or_else(unreadable)?.to_owned(),
            steps: serde_json::from_value(steps).map_err(|_| unreadable())?,
        })
    }
}

impl OpenMetadata {
    /// Says of an automation whose worker is over that it failed, unless the worker has left a
    /// result: who waits for it would wait for ever. A worker that ended well but left none failed
    /// too.
    ///
    /// # Errors
    /// When there is no such automation, or the server does not answer or refuses.
    pub async fn fail_automation(&self, fqn: &str, end: &End, now: Timestamp) -> Result<(), Error> {
        let missing = || Error::NotFound { what: "automation", name: fqn.to_owned() };
        let path = ["automations", "workflows", "name", &segment(fqn)];
        let workflow = self.transport.get(&path, &[]).await?.ok_or_else(missing)?;
        let status = workflow.get("status").and_then(Value::as_str);
        if matches!(status, Some("Successful" | "Failed")) {
            return Ok(());
        }
        let id = workflow.get("id").and_then(Value::as_str);
        let id = id.ok_or(Error::Unreadable("an automation with an id"))?;
        let path = ["automations", "workflows", &segment(id)];
        let is_there = self.transport.patch(&path, &failure(&workflow, end, now)).await?;
        is_there.then_some(()).ok_or_else(missing)
    }
}

/// What turns a workflow into one that failed. A test of a connection gives the reason in a step of its
/// response; other automations have no place for it.
fn failure(workflow: &Value, end: &End, now: Timestamp) -> Value {
    let status = json!({ "op": "add", "path": "/status", "value": "Failed" });
    if workflow.get("workflowType").and_then(Value::as_str) != Some("TEST_CONNECTION") {
        return json!([status]);
    }
    let steps = workflow.pointer("/response/steps").and_then(Value::as_array);
    let mut steps = steps.cloned().unwrap_or_default();
    steps.push(json!({
        "name": "Worker", "mandatory": true, "passed": false,
        "message": Account::Diagnostics.sentence(end),
    }));
    let response =
        json!({ "status": "Failed", "lastUpdatedAt": now.as_millisecond(), "steps": steps });
    json!([status, { "op": "add", "path": "/response", "value": response }])
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::routing::get;
    use ompipe_core::omjob::Reason;
    use rstest::rstest;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    #[test]
    fn steps_are_those_of_the_response() {
        let workflow = json!({
            "name": "t", "status": "Successful",
            "response": { "status": "Failed", "steps": [
                { "name": "CheckAccess", "mandatory": true, "passed": false, "message": "no route" },
            ]},
        });
        let result = AutomationResult::read(&workflow).unwrap();
        assert_eq!(result.status, "Failed");
        assert_eq!(
            (result.steps[0].passed, result.steps[0].message.as_deref()),
            (false, Some("no route"))
        );
    }

    #[test]
    fn before_the_test_there_are_no_steps() {
        let result = AutomationResult::read(&json!({ "status": "Pending" })).unwrap();
        assert_eq!(result, AutomationResult { status: "Pending".to_owned(), steps: Vec::new() });
        assert!(AutomationResult::read(&json!({})).is_err());
    }

    /// A server with one automation; what it is patched with is sent to the receiver.
    async fn serve(workflow: Value) -> (OpenMetadata, UnboundedReceiver<Value>) {
        let (sender, patches) = unbounded_channel();
        let patch = async move |headers: HeaderMap, body: String| {
            assert_eq!(headers["content-type"], "application/json-patch+json");
            sender.send(serde_json::from_str(&body).unwrap()).unwrap();
            "{}"
        };
        let router = Router::new()
            .route("/automations/workflows/name/{name}", get(async move || workflow.to_string()))
            .route("/automations/workflows/{id}", axum::routing::patch(patch));
        (crate::tests::serve(router).await, patches)
    }

    fn end() -> End {
        End::without_code(Reason::OomKilled, "too much memory")
    }

    #[tokio::test]
    async fn a_test_of_a_connection_without_a_result_fails_with_why() {
        let workflow = json!({
            "id": "1", "workflowType": "TEST_CONNECTION", "status": "Running",
            "response": { "steps": [{ "name": "CheckAccess", "passed": true }] },
        });
        let (server, mut patches) = serve(workflow).await;
        server.fail_automation("t", &end(), Timestamp::UNIX_EPOCH).await.unwrap();
        let patch = patches.recv().await.unwrap();
        assert_eq!(patch[0], json!({ "op": "add", "path": "/status", "value": "Failed" }));
        let response = &patch[1]["value"];
        assert_eq!(response["steps"][0]["name"], "CheckAccess");
        assert_eq!(response["steps"][1]["message"], "OOMKilled: too much memory");
        assert!(AutomationResult::read(&json!({ "response": response })).is_ok());
    }

    #[rstest]
    #[case("Successful", 0)]
    #[case("Failed", 0)]
    #[case("Pending", 1)]
    #[tokio::test]
    async fn a_result_stands(#[case] status: &str, #[case] count: usize) {
        let workflow = json!({ "id": "1", "workflowType": "REVERSE_INGESTION", "status": status });
        let (server, patches) = serve(workflow).await;
        server.fail_automation("t", &end(), Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(patches.len(), count);
    }
}
