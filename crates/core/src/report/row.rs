//! The row of a run, a `PipelineStatus` (docs/contracts/openmetadata-http.md#pipeline-status),
//! as the JSON that it is: servers of other releases have further fields, which have to survive a
//! write.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Correction;
use super::description::LOG_TITLE;
use crate::omjob::End;
use crate::{PipelineState, Reason, RunId, diagnosis};

/// Name of the step that describes how the pod ended; upstream's exit handler calls it so too.
const STEP: &str = "Pod Diagnostics";
/// Name of the failure entry inside that step.
const FAILURE: &str = "Main Container Diagnostics";

/// Fields that every server knows, and without which a row says nothing.
const ESSENTIAL: [&str; 3] = ["runId", "pipelineState", "timestamp"];

/// The row of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    state: Option<PipelineState>,
    fields: Map<String, Value>,
}

/// What goes into a row besides its state.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'e> {
    /// How the run ended.
    pub end: &'e End,
    /// What the cluster knows about its pod, without secrets.
    pub diagnostics: Option<&'e str>,
    /// The current time, for an end without a known time.
    pub now: Timestamp,
}

impl Row {
    /// The row that the server gave; `None` when it is no row, or in a state of the future.
    #[must_use]
    pub fn read(document: Value) -> Option<Self> {
        let Value::Object(fields) = document else {
            return None;
        };
        let state = serde_json::from_value(fields.get("pipelineState")?.clone()).ok()?;
        Some(Self { state: Some(state), fields })
    }

    /// The row of a run that the server knows nothing of, which began at that time.
    #[must_use]
    pub fn new(run: RunId, began: Timestamp) -> Self {
        let began = began.as_millisecond();
        let fields = [
            ("runId", Value::from(run.to_string())),
            ("startDate", began.into()),
            // The server keeps rows in the order of this.
            ("timestamp", began.into()),
        ];
        let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { state: None, fields }
    }

    /// The row with the service whose entities the run reads, as the worker notes it: OpenMetadata
    /// lists the runs of applications by it. What the worker noted stays.
    #[must_use]
    pub fn of_service(mut self, service: Option<&str>) -> Self {
        if let Some(service) = service {
            let context = json!({ "workflow": { "serviceName": service } });
            self.fields.entry("metadata").or_insert(context);
        }
        self
    }

    /// The row without the fields of these names, those of its steps included. What identifies the
    /// row stays.
    #[must_use]
    pub fn without(mut self, unknown: &BTreeSet<String>) -> Self {
        let is_known =
            |name: &String| ESSENTIAL.contains(&name.as_str()) || !unknown.contains(name);
        self.fields.retain(|name, _| is_known(name));
        if let Some(steps) = self.fields.get_mut("status") {
            remove_keys(steps, unknown);
        }
        self
    }

    /// What it says; `None` of a row that is not written yet.
    #[must_use]
    pub const fn state(&self) -> Option<PipelineState> {
        self.state
    }

    /// The row with the run's end. All else stays, the steps of the worker too.
    #[must_use]
    pub fn corrected(mut self, correction: Correction, evidence: &Evidence<'_>) -> Self {
        let log = evidence.diagnostics.and_then(|text| text.split_once(LOG_TITLE));
        let end = &evidence.end.clone().with_log(log.map_or("", |(_, log)| log));
        let ended = end.finished.unwrap_or(evidence.now).as_millisecond();
        self.state = Some(correction.state);
        self.fields.insert("pipelineState".to_owned(), correction.state.as_str().into());
        self.fields.insert("endDate".to_owned(), ended.into());
        if let Some(account) = correction.account {
            let todo = format!("What to do: {}.", diagnosis::remedy(end.reason));
            let known = evidence.diagnostics.map(|known| format!("\n\n{known}"));
            self.add_step(&account.sentence(end), &(todo + &known.unwrap_or_default()));
        }
        self
    }

    /// The step takes the place of one that an earlier attempt left.
    fn add_step(&mut self, sentence: &str, details: &str) {
        let failure = json!({ "name": FAILURE, "error": sentence, "stackTrace": details });
        let step = json!({ "name": STEP, "records": 0, "errors": 1, "failures": [failure] });
        let mut steps = match self.fields.remove("status") {
            Some(Value::Array(steps)) => steps,
            Some(_) | None => Vec::new(),
        };
        steps.retain(|known| known["name"] != STEP);
        steps.push(step);
        self.fields.insert("status".to_owned(), steps.into());
    }

    /// The row as the server takes it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.fields.clone())
    }
}

/// The step of a run that waits, with why it waits and what to do. Servers of 1.3 and newer know
/// steps.
#[must_use]
pub fn waiting_step(reason: Reason, message: &str) -> Value {
    let todo = format!("What to do: {}.", diagnosis::remedy(reason));
    let failure = json!({
        "name": FAILURE, "error": format!("{}: {message}", reason.as_str()), "stackTrace": todo,
    });
    json!({ "name": STEP, "records": 0, "warnings": 1, "errors": 0, "failures": [failure] })
}

fn remove_keys(value: &mut Value, names: &BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !names.contains(name));
            fields.values_mut().for_each(|value| remove_keys(value, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove_keys(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::omjob::Reason;
    use crate::report::{Ending, Verdict, decide};

    const RUN: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

    fn end() -> End {
        let finished = Some(Timestamp::from_millisecond(9_000).unwrap());
        End { finished, ..End::without_code(Reason::OomKilled, "used too much memory") }
    }

    #[test]
    fn a_failure_tells_the_last_error_of_the_log() {
        let end = End::of_process(1, false, None);
        let text = "Pod Description:\n\nPod Logs:\nstarts\nFATAL: password authentication failed for user \"om\"";
        let evidence = Evidence { end: &end, diagnostics: Some(text), now: Timestamp::UNIX_EPOCH };
        let row = Row::new(RUN.parse().unwrap(), Timestamp::UNIX_EPOCH);
        let row = row.clone().corrected(correction(Ending::Failed, &row), &evidence).to_value();
        assert_eq!(
            row["status"][0]["failures"][0]["error"],
            "SourceAuth: ended with exit code 1: password authentication failed for user \"om\""
        );
    }

    fn correction(ending: Ending, row: &Row) -> Correction {
        match decide(ending, row.state()) {
            Verdict::Write(correction) => correction,
            Verdict::Stands => panic!("the row stands"),
        }
    }

    fn corrected(row: Row, diagnostics: Option<&str>) -> Value {
        let (correction, end) = (correction(Ending::Killed, &row), end());
        let evidence = Evidence { end: &end, diagnostics, now: Timestamp::MAX };
        row.corrected(correction, &evidence).to_value()
    }

    #[test]
    fn a_run_that_nobody_reported_gets_a_whole_row() {
        let row = Row::new(RUN.parse().unwrap(), Timestamp::from_millisecond(5_000).unwrap());
        assert_eq!(row.state(), None);
        assert_eq!(
            corrected(row, Some("Pod: p")),
            json!({
                "runId": RUN, "startDate": 5_000, "timestamp": 5_000, "endDate": 9_000,
                "pipelineState": "failed",
                "status": [{ "name": "Pod Diagnostics", "records": 0, "errors": 1, "failures": [{
                    "name": "Main Container Diagnostics",
                    "error": "OOMKilled: used too much memory",
                    "stackTrace": "What to do: raise resources.limits.memory; the framework alone \
                                   takes 390 MiB.\n\nPod: p",
                }]}],
            })
        );
    }

    #[test]
    fn what_the_worker_wrote_stays() {
        let document = json!({
            "runId": RUN, "pipelineState": "running", "startDate": 1, "timestamp": 1, "endDate": 2,
            "config": { "a": 1 }, "fieldOfTheFuture": [1],
            "status": [{ "name": "Postgres", "records": 9 }, { "name": "Pod Diagnostics" }],
        });
        let row = corrected(Row::read(document.clone()).unwrap(), None);
        for kept in ["runId", "startDate", "timestamp", "config", "fieldOfTheFuture"] {
            assert_eq!(row[kept], document[kept], "{kept}");
        }
        assert_eq!(row["status"].as_array().unwrap().len(), 2);
        assert_eq!(row["status"][0], document["status"][0]);
        let details = row["status"][1]["failures"][0]["stackTrace"].as_str().unwrap();
        assert!(details.starts_with("What to do: ") && details.ends_with("390 MiB."), "{details}");
    }

    #[test]
    fn a_success_needs_no_step() {
        let row = Row::read(json!({ "pipelineState": "running" })).unwrap();
        let correction = correction(Ending::Completed, &row);
        let end = End::without_code(Reason::Completed, "ended with exit code 0");
        let now = Timestamp::from_millisecond(7).unwrap();
        let row = row.corrected(correction, &Evidence { end: &end, diagnostics: None, now });
        assert_eq!(row.to_value(), json!({ "pipelineState": "success", "endDate": 7 }));
    }

    #[test]
    fn what_is_no_row_is_not_read() {
        for document in [json!([]), json!({}), json!({ "pipelineState": "paused" })] {
            assert_eq!(Row::read(document), None);
        }
    }

    proptest! {
        #[test]
        fn no_field_that_is_not_ours_changes(
            foreign in proptest::collection::btree_map("[a-z]{1,8}X", any::<i64>(), 0..8),
            state in prop_oneof![Just("queued"), Just("running"), Just("success")],
        ) {
            let mut fields: Map<String, Value> =
                foreign.iter().map(|(key, value)| (key.clone(), (*value).into())).collect();
            fields.insert("pipelineState".to_owned(), state.into());
            let row = corrected(Row::read(Value::Object(fields)).unwrap(), None);
            for (key, value) in &foreign {
                prop_assert_eq!(&row[key], &Value::from(*value));
            }
            prop_assert_eq!(row.as_object().unwrap().len(), foreign.len() + 3);
        }
    }
}
