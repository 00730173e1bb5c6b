//! The row of a run with its end, as much of it as the server knows.
//!
//! Servers before 1.3 have no `status` in a row, older ones no state `stopped`, and each line refuses
//! what it does not know with 400. So a row that was refused is written again without that.

use std::collections::BTreeSet;

use super::{Correction, Evidence, Row};

/// What a server says before the name of a field that its line does not have.
const UNKNOWN_FIELD: &str = "Unrecognized field \"";

/// A row to be written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// As it was read.
    row: Row,
    correction: Correction,
    /// Fields that the server has refused.
    unknown: BTreeSet<String>,
}

impl Draft {
    /// The whole row.
    #[must_use]
    pub const fn new(row: Row, correction: Correction) -> Self {
        Self { row, correction, unknown: BTreeSet::new() }
    }

    /// What it says.
    #[must_use]
    pub const fn correction(&self) -> Correction {
        self.correction
    }

    /// The row with the end.
    #[must_use]
    pub fn row(&self, evidence: &Evidence<'_>) -> Row {
        self.row.clone().corrected(self.correction, evidence).without(&self.unknown)
    }

    /// A row that says less, after the server refused this one with 400 and these words; `None` when
    /// nothing is left that it could object to.
    #[must_use]
    pub fn reduced(&self, said: &str, evidence: &Evidence<'_>) -> Option<Self> {
        let mut unknown = self.unknown.clone();
        unknown.extend(unknown_fields(said));
        let fewer_fields = Self { unknown, ..self.clone() };
        if fewer_fields.row(evidence) != self.row(evidence) {
            return Some(fewer_fields);
        }
        let correction = self.correction.without_stopped().or_else(|| {
            self.correction.account.map(|_| Correction { account: None, ..self.correction })
        })?;
        Some(Self { correction, ..self.clone() })
    }
}

/// The names that a server's words call unrecognized.
fn unknown_fields(said: &str) -> impl Iterator<Item = String> {
    let after = said.split(UNKNOWN_FIELD).skip(1);
    after.filter_map(|rest| rest.split('"').next()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::omjob::{End, Reason};
    use crate::report::{Ending, Verdict, decide};

    const OF_1_1: &str = "Unrecognized field \"status\" (class org.openmetadata.schema.entity.\
        services.ingestionPipelines.PipelineStatus), not marked as ignorable (5 known properties: \
        \"startDate\", \"endDate\", \"runId\", \"pipelineState\", \"timestamp\"])";
    const STOPPED: &str = "Cannot construct instance of `PipelineStatusType`, problem: stopped";

    /// The rows that are written until the server says nothing more to refuse them.
    fn written(row: Value, reason: Reason, answers: &[&str]) -> Vec<Value> {
        let (row, end) = (Row::read(row).unwrap(), End::without_code(reason, "as it happened"));
        let Verdict::Write(correction) = decide(Ending::of(reason), row.state()) else {
            panic!("the row stands")
        };
        let evidence = Evidence { end: &end, diagnostics: None, now: Timestamp::UNIX_EPOCH };
        let mut draft = Some(Draft::new(row, correction));
        let mut rows = Vec::new();
        let mut answers = answers.iter();
        while let Some(current) = draft {
            rows.push(current.row(&evidence).to_value());
            draft = answers.next().and_then(|said| current.reduced(said, &evidence));
        }
        rows
    }

    fn running() -> Value {
        json!({ "runId": "r", "pipelineState": "running", "startDate": 1, "timestamp": 1 })
    }

    #[test]
    fn a_field_that_the_server_does_not_know_is_left_out() {
        let rows = written(running(), Reason::OomKilled, &[OF_1_1]);
        let expected = json!({
            "runId": "r", "pipelineState": "failed", "startDate": 1, "timestamp": 1, "endDate": 0,
        });
        assert_eq!(rows[1..], [expected]);
    }

    #[test]
    fn a_server_without_stopped_and_status_gets_failed() {
        let rows = written(running(), Reason::Killed, &[STOPPED, OF_1_1]);
        let states: Vec<_> = rows.iter().map(|row| row["pipelineState"].clone()).collect();
        assert_eq!(states, ["stopped", "failed", "failed"]);
        assert!(rows[1]["status"][0].is_object() && rows[2].get("status").is_none(), "{rows:?}");
    }

    #[test]
    fn a_field_of_a_step_is_left_out_alone() {
        let mut row = running();
        row["status"] = json!([{ "name": "Source", "records": 7, "progress": {} }]);
        let rows =
            written(row, Reason::Error, &["Unrecognized field \"progress\" (class StepSummary)"]);
        assert_eq!(rows[1]["status"][0], json!({ "name": "Source", "records": 7 }));
        assert_eq!(rows[1]["status"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_the_worker_wrote_is_kept_whatever_the_words_are() {
        let mut row = running();
        row["status"] = json!([{ "name": "Source", "records": 7 }]);
        let rows = written(row.clone(), Reason::Error, &["no", "no", "no"]);
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!(
            (&rows[1]["status"], &rows[1]["pipelineState"]),
            (&row["status"], &json!("failed"))
        );
    }

    #[test]
    fn what_identifies_a_row_is_never_left_out() {
        let rows =
            written(running(), Reason::Completed, &["Unrecognized field \"runId\" (class X)"]);
        assert_eq!(rows.len(), 1);
    }
}
