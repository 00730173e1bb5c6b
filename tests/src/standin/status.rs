//! Status rows of pipeline runs: what a row may look like, and the rows of each pipeline.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::entity::{Object, text};

/// Where a run stands, in OpenMetadata's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PipelineState {
    /// Asked for, not started.
    Queued,
    /// Started.
    Running,
    /// Ended, nothing went wrong.
    Success,
    /// Ended; some records failed, fewer than the run tolerates.
    PartialSuccess,
    /// Ended by an error.
    Failed,
    /// Ended because somebody asked for it.
    Stopped,
}

impl fmt::Display for PipelineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::PartialSuccess => "partialSuccess",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        })
    }
}

/// A row that passed the checks of [`StatusRow::parse`].
#[derive(Clone, Debug)]
pub(crate) struct StatusRow {
    pub(crate) run_id: Uuid,
    pub(crate) state: PipelineState,
    pub(crate) timestamp: i64,
    /// The row as the server keeps it: without nulls.
    pub(crate) json: Value,
}

impl StatusRow {
    /// Reads a row as strictly as the models of OpenMetadata allow, so that a wrong client is caught
    /// here and not by its users.
    pub(crate) fn parse(body: &Value) -> Result<Self, String> {
        let fields = StatusFields::deserialize(body).map_err(|error| error.to_string())?;
        Ok(Self {
            run_id: fields.run_id,
            state: fields.pipeline_state,
            timestamp: fields.timestamp,
            json: without_nulls(body),
        })
    }
}

fn without_nulls(body: &Value) -> Value {
    let kept = body.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    kept.map(|(key, value)| (key.clone(), value.clone())).collect::<Object>().into()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "most fields are there only to have their names and types checked")]
struct StatusFields {
    run_id: Uuid,
    pipeline_state: PipelineState,
    timestamp: i64,
    start_date: Option<i64>,
    end_date: Option<i64>,
    status: Option<Vec<StepSummary>>,
    config: Option<Object>,
    metadata: Option<Object>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields are there only to have their names and types checked")]
struct StepSummary {
    name: String,
    records: Option<i64>,
    updated_records: Option<i64>,
    warnings: Option<i64>,
    errors: Option<i64>,
    filtered: Option<i64>,
    failures: Option<Vec<Failure>>,
    progress: Option<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the fields are there only to have their names and types checked")]
struct Failure {
    name: String,
    error: String,
    stack_trace: Option<String>,
}

/// Which rows a listing shows.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RowQuery {
    start_ts: Option<i64>,
    end_ts: Option<i64>,
    limit: Option<usize>,
}

impl RowQuery {
    fn covers(self, row: &StatusRow) -> bool {
        let from = self.start_ts.is_none_or(|start| row.timestamp >= start);
        from && self.end_ts.is_none_or(|end| row.timestamp <= end)
    }
}

/// The rows of all pipelines, one a run.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    rows: BTreeMap<String, Vec<StatusRow>>,
}

impl Runs {
    /// Writes a row over the one of the same run; says whether there was none.
    pub(crate) fn upsert(&mut self, fqn: &str, row: StatusRow) -> bool {
        let rows = self.rows.entry(fqn.to_owned()).or_default();
        if let Some(known) = rows.iter_mut().find(|known| known.run_id == row.run_id) {
            *known = row;
            false
        } else {
            rows.push(row);
            true
        }
    }

    /// The row of one run.
    pub(crate) fn row(&self, fqn: &str, run_id: Uuid) -> Option<&StatusRow> {
        self.of(fqn).iter().find(|row| row.run_id == run_id)
    }

    /// The rows of a pipeline, in the order in which the runs became known.
    pub(crate) fn of(&self, fqn: &str) -> &[StatusRow] {
        self.rows.get(fqn).map(Vec::as_slice).unwrap_or_default()
    }

    /// The rows that a query asks for, newest first.
    pub(crate) fn list(&self, fqn: &str, query: RowQuery) -> Vec<&StatusRow> {
        let mut rows: Vec<_> = self.of(fqn).iter().filter(|row| query.covers(row)).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.timestamp));
        rows.truncate(query.limit.unwrap_or(usize::MAX));
        rows
    }

    /// Forgets the rows of pipelines that are gone for good.
    pub(crate) fn forget(&mut self, pipeline: &Object) {
        self.rows.remove(text(pipeline, "fullyQualifiedName").unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::{PipelineState, RowQuery, Runs, StatusRow};

    const RUN: &str = "9d2c3c3e-52ce-4d02-a2a5-28de7c9b8d9a";

    fn row(state: &str, timestamp: i64) -> Value {
        json!({"runId": RUN, "pipelineState": state, "timestamp": timestamp})
    }

    fn run(number: u128, timestamp: i64) -> StatusRow {
        let mut body = row("success", timestamp);
        body["runId"] = Uuid::from_u128(number).to_string().into();
        StatusRow::parse(&body).unwrap()
    }

    #[rstest]
    #[case("queued", PipelineState::Queued)]
    #[case("running", PipelineState::Running)]
    #[case("success", PipelineState::Success)]
    #[case("partialSuccess", PipelineState::PartialSuccess)]
    #[case("failed", PipelineState::Failed)]
    #[case("stopped", PipelineState::Stopped)]
    fn every_state_is_read_and_printed(#[case] text: &str, #[case] state: PipelineState) {
        assert_eq!(StatusRow::parse(&row(text, 1)).unwrap().state, state);
        assert_eq!(state.to_string(), text);
    }

    #[test]
    fn the_row_of_the_python_client_is_accepted() {
        let body = json!({
            "runId": RUN, "pipelineState": "failed", "timestamp": 1, "startDate": 1, "endDate": 2,
            "status": [{"name": "Postgres", "records": 9, "updated_records": 0, "warnings": 0,
                        "errors": 1, "filtered": 2, "progress": null,
                        "failures": [{"name": "t", "error": "boom", "stackTrace": "..."}]}],
            "config": {}, "metadata": null,
        });
        let parsed = StatusRow::parse(&body).unwrap();
        assert_eq!(parsed.json.get("metadata"), None);
        assert_eq!(parsed.json["status"][0]["records"], 9);
    }

    #[rstest]
    #[case("runId", json!("scheduled__2026-11-24"), "UUID")]
    #[case("runId", Value::Null, "UUID")]
    #[case("pipelineState", json!("succeeded"), "unknown variant `succeeded`")]
    #[case("pipelineState", json!("Success"), "unknown variant `Success`")]
    #[case("timestamp", json!("2026-11-24T00:00:00Z"), "i64")]
    #[case("timestamp", json!(1.5), "i64")]
    #[case("endDate", json!("now"), "i64")]
    #[case("reason", json!("OOMKilled"), "unknown field `reason`")]
    #[case("status", json!({"name": "k8s"}), "sequence")]
    #[case("status", json!([{"records": 1}]), "missing field `name`")]
    #[case("status", json!([{"name": "k8s", "message": "x"}]), "unknown field `message`")]
    #[case("config", json!("x"), "map")]
    fn a_wrong_row_is_refused(#[case] field: &str, #[case] value: Value, #[case] complaint: &str) {
        let mut body = row("running", 1);
        body[field] = value;
        let error = StatusRow::parse(&body).unwrap_err();
        assert!(error.contains(complaint), "{error}");
    }

    #[rstest]
    #[case("runId")]
    #[case("pipelineState")]
    #[case("timestamp")]
    fn a_row_without_its_key_is_refused(#[case] field: &str) {
        let mut body = row("running", 1);
        body.as_object_mut().unwrap().remove(field);
        assert!(StatusRow::parse(&body).unwrap_err().contains(field));
    }

    #[test]
    fn a_second_write_of_a_run_replaces_its_row() {
        let mut runs = Runs::default();
        let first = json!({"runId": RUN, "pipelineState": "queued", "timestamp": 1, "config": {}});
        assert!(runs.upsert("p", StatusRow::parse(&first).unwrap()));
        assert!(!runs.upsert("p", StatusRow::parse(&row("success", 2)).unwrap()));
        let [only] = runs.of("p") else { panic!("one run, one row") };
        assert_eq!(only.json, row("success", 2));
    }

    #[test]
    fn a_listing_is_newest_first_within_its_bounds() {
        let mut runs = Runs::default();
        for (number, timestamp) in [(1, 10), (2, 30), (3, 20), (4, 40)] {
            runs.upsert("p", run(number, timestamp));
        }
        let list = |query| runs.list("p", query).iter().map(|r| r.timestamp).collect::<Vec<_>>();
        assert_eq!(list(RowQuery::default()), [40, 30, 20, 10]);
        let query = RowQuery { start_ts: Some(20), end_ts: Some(30), limit: None };
        assert_eq!(list(query), [30, 20]);
        assert_eq!(list(RowQuery { limit: Some(1), ..query }), [30]);
    }
}
