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
    ///
    /// `line` is the release line that the server plays: it refuses what that line does not have.
    pub(crate) fn parse(body: &Value, line: Line) -> Result<Self, String> {
        line.check(body)?;
        let fields = StatusFields::deserialize(body).map_err(|error| error.to_string())?;
        Ok(Self {
            run_id: fields.run_id,
            state: fields.pipeline_state,
            timestamp: fields.timestamp,
            json: without_nulls(body),
        })
    }
}

/// A release line of the server, by what its rows may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line((u32, u32));

impl Line {
    /// That of a version; of a text that is none, one that knows everything.
    pub(crate) fn of(version: &str) -> Self {
        let mut numbers = version.split('.').map_while(|part| part.parse().ok());
        Self((numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(0)))
    }

    /// Refuses fields and states that came later, in the words of the server's JSON reader. The lines
    /// are those of the published models of `openmetadata-ingestion`.
    fn check(self, body: &Value) -> Result<(), String> {
        const FIELDS: &[(&str, (u32, u32))] =
            &[("status", (1, 3)), ("config", (1, 6)), ("metadata", (1, 7))];
        const STEP_FIELDS: &[(&str, (u32, u32))] = &[
            ("progress", (1, 11)),
            ("operationMetrics", (1, 13)),
            ("sourceTimeMs", (1, 13)),
            ("sinkTimeMs", (1, 13)),
        ];
        self.check_fields(body, FIELDS, "PipelineStatus")?;
        for step in body.get("status").and_then(Value::as_array).into_iter().flatten() {
            self.check_fields(step, STEP_FIELDS, "StepSummary")?;
        }
        if self.0 < (1, 12) && body["pipelineState"] == "stopped" {
            return Err(
                "Cannot construct instance of `PipelineStatusType`, problem: stopped".into()
            );
        }
        Ok(())
    }

    fn check_fields(
        self,
        body: &Value,
        fields: &[(&str, (u32, u32))],
        class: &str,
    ) -> Result<(), String> {
        let is_unknown =
            |(name, since): &&(&str, (u32, u32))| self.0 < *since && body.get(*name).is_some();
        let Some((name, _)) = fields.iter().find(is_unknown) else {
            return Ok(());
        };
        Err(format!(
            "Unrecognized field \"{name}\" (class org.openmetadata.schema.entity.services.\
             ingestionPipelines.{class}), not marked as ignorable"
        ))
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
    #[serde(rename = "operationMetrics")]
    operation_metrics: Option<Object>,
    #[serde(rename = "sourceTimeMs")]
    source_time_ms: Option<f64>,
    #[serde(rename = "sinkTimeMs")]
    sink_time_ms: Option<f64>,
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

    use super::{Line, PipelineState, RowQuery, Runs, StatusRow};

    const RUN: &str = "9d2c3c3e-52ce-4d02-a2a5-28de7c9b8d9a";

    fn row(state: &str, timestamp: i64) -> Value {
        json!({"runId": RUN, "pipelineState": state, "timestamp": timestamp})
    }

    fn run(number: u128, timestamp: i64) -> StatusRow {
        let mut body = row("success", timestamp);
        body["runId"] = Uuid::from_u128(number).to_string().into();
        StatusRow::parse(&body, Line::of("1.12.14")).unwrap()
    }

    #[rstest]
    #[case("queued", PipelineState::Queued)]
    #[case("running", PipelineState::Running)]
    #[case("success", PipelineState::Success)]
    #[case("partialSuccess", PipelineState::PartialSuccess)]
    #[case("failed", PipelineState::Failed)]
    #[case("stopped", PipelineState::Stopped)]
    fn every_state_is_read_and_printed(#[case] text: &str, #[case] state: PipelineState) {
        assert_eq!(StatusRow::parse(&row(text, 1), Line::of("1.12.14")).unwrap().state, state);
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
        let parsed = StatusRow::parse(&body, Line::of("1.12.14")).unwrap();
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
        let error = StatusRow::parse(&body, Line::of("1.12.14")).unwrap_err();
        assert!(error.contains(complaint), "{error}");
    }

    #[rstest]
    #[case("runId")]
    #[case("pipelineState")]
    #[case("timestamp")]
    fn a_row_without_its_key_is_refused(#[case] field: &str) {
        let mut body = row("running", 1);
        body.as_object_mut().unwrap().remove(field);
        assert!(StatusRow::parse(&body, Line::of("1.12.14")).unwrap_err().contains(field));
    }

    #[test]
    fn a_second_write_of_a_run_replaces_its_row() {
        let mut runs = Runs::default();
        let first = json!({"runId": RUN, "pipelineState": "queued", "timestamp": 1, "config": {}});
        assert!(runs.upsert("p", StatusRow::parse(&first, Line::of("1.12.14")).unwrap()));
        assert!(
            !runs.upsert("p", StatusRow::parse(&row("success", 2), Line::of("1.12.14")).unwrap())
        );
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

    #[rstest]
    #[case("1.1.0", "status", false)]
    #[case("1.3.4", "status", true)]
    #[case("1.3.4", "metadata", false)]
    #[case("1.7.0", "metadata", true)]
    #[case("2.0.7", "metadata", true)]
    fn a_line_knows_its_own_fields(#[case] line: &str, #[case] field: &str, #[case] known: bool) {
        let mut body = row("failed", 1);
        body[field] = if field == "status" { json!([]) } else { json!({}) };
        let outcome = StatusRow::parse(&body, Line::of(line));
        assert_eq!(outcome.is_ok(), known);
        if let Err(said) = outcome {
            assert!(said.starts_with(&format!("Unrecognized field \"{field}\"")), "{said}");
        }
    }

    #[rstest]
    #[case("1.10.0", "progress", json!({}), false)]
    #[case("1.11.0", "progress", json!({}), true)]
    #[case("1.12.14", "operationMetrics", json!({}), false)]
    #[case("1.13.0", "operationMetrics", json!({ "api_calls": {} }), true)]
    #[case("2.0.7", "sinkTimeMs", json!(1.5), true)]
    fn a_line_knows_its_own_fields_of_steps(
        #[case] line: &str,
        #[case] field: &str,
        #[case] value: Value,
        #[case] known: bool,
    ) {
        let mut body = row("success", 1);
        body["status"] = json!([{ "name": "Postgres" }]);
        body["status"][0][field] = value;
        let outcome = StatusRow::parse(&body, Line::of(line));
        assert_eq!(outcome.is_ok(), known, "{outcome:?}");
    }

    #[rstest]
    #[case("1.11.14", false)]
    #[case("1.12.0", true)]
    fn stopped_is_known_since_1_12(#[case] line: &str, #[case] known: bool) {
        assert_eq!(StatusRow::parse(&row("stopped", 1), Line::of(line)).is_ok(), known);
    }
}
