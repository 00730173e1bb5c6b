//! What came of an automation (contract §7.4, §3.8).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

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

#[cfg(test)]
mod tests {
    use serde_json::json;

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
}
