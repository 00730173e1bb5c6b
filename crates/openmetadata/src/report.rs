//! The report of a run's end: read the row, decide, write (design §8a).

use jiff::Timestamp;
use ompipe_core::omjob::End;
use ompipe_core::report::{Correction, Ending, Evidence, Row, Verdict, decide};
use ompipe_core::{PipelineState, RunId};

use crate::{Error, OpenMetadata};

/// A run whose last attempt is over.
#[derive(Clone, Copy, Debug)]
pub struct EndedRun<'r> {
    /// Fully qualified name of its pipeline.
    pub pipeline_fqn: &'r str,
    /// Its id.
    pub id: RunId,
    /// When it began, for a row that nobody has written yet.
    pub began: Timestamp,
    /// How it ended, as far as the table goes.
    pub ending: Ending,
    /// The same in full.
    pub end: &'r End,
    /// The time.
    pub now: Timestamp,
}

/// What came of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The row, which says this, was right already, or is the better account.
    Stands(Option<PipelineState>),
    /// The row says so now.
    Written(PipelineState),
}

/// A row, and what is to be done about it.
enum Judged {
    Right(Option<PipelineState>),
    Wrong(Box<Row>, Correction),
}

impl OpenMetadata {
    /// Reports how a run ended, unless its row says so already. `diagnose` is asked only when the
    /// row is to tell more than its state; the text must hold no secret.
    ///
    /// Doing this twice, or after somebody else who knows the same end, leads to the same row.
    ///
    /// # Errors
    /// See [`Error::is_final`] for those that no repetition helps against.
    pub async fn report(
        &self,
        run: &EndedRun<'_>,
        diagnose: impl AsyncFnOnce() -> Option<String>,
    ) -> Result<Reported, Error> {
        let (mut row, mut correction) = match self.judge(run).await? {
            Judged::Right(state) => return Ok(Reported::Stands(state)),
            Judged::Wrong(row, correction) => (row, correction),
        };
        let diagnostics = if correction.wants_diagnostics() { diagnose().await } else { None };
        if diagnostics.is_some() {
            // That took its time, in which the row may have changed.
            (row, correction) = match self.judge(run).await? {
                Judged::Right(state) => return Ok(Reported::Stands(state)),
                Judged::Wrong(row, correction) => (row, correction),
            };
        }
        self.correct(run, &row, correction, diagnostics.as_deref()).await
    }

    /// The row, and whether it has to change.
    async fn judge(&self, run: &EndedRun<'_>) -> Result<Judged, Error> {
        let row = self.row(run.pipeline_fqn, run.id).await?;
        let row = row.unwrap_or_else(|| Row::new(run.id, run.began));
        Ok(match decide(run.ending, row.state()) {
            Verdict::Stands => Judged::Right(row.state()),
            Verdict::Write(correction) => Judged::Wrong(Box::new(row), correction),
        })
    }

    async fn correct(
        &self,
        run: &EndedRun<'_>,
        row: &Row,
        correction: Correction,
        diagnostics: Option<&str>,
    ) -> Result<Reported, Error> {
        let evidence = Evidence { end: run.end, diagnostics, now: run.now };
        let written = async |correction: Correction| {
            let row = row.clone().corrected(correction, &evidence);
            self.put_row(run.pipeline_fqn, &row).await.map(|()| Reported::Written(correction.state))
        };
        match (written(correction).await, correction.without_stopped()) {
            (Err(error), Some(other)) if error.is_bad_request() => written(other).await,
            (outcome, _) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::{get, put};
    use ompipe_core::omjob::Reason;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::tests::serve;

    const RUN: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

    /// The row of the one run that a server has, and every write of it.
    #[derive(Clone, Default)]
    struct Rows(Arc<Mutex<(Option<Value>, Vec<Value>)>>);

    impl Rows {
        fn of(row: Option<&str>) -> Self {
            let rows = Self::default();
            let row = row.map(|state| json!({ "runId": RUN, "pipelineState": state, "x": 1 }));
            rows.0.lock().unwrap().0 = row;
            rows
        }

        fn written(&self) -> Vec<Value> {
            self.0.lock().unwrap().1.clone()
        }

        fn write(&self, row: Value) {
            let mut rows = self.0.lock().unwrap();
            rows.0 = Some(row.clone());
            rows.1.push(row);
        }

        /// A server that does not know `unknown`.
        async fn serve(&self, unknown: &'static str) -> OpenMetadata {
            let (read, written) = (self.clone(), self.clone());
            let one = async move || match &read.0.lock().unwrap().0 {
                Some(row) => Ok(row.to_string()),
                None => Err(StatusCode::NO_CONTENT),
            };
            let upsert = async move |body: String| {
                let row: Value = serde_json::from_str(&body).unwrap();
                if row["pipelineState"] == unknown {
                    return StatusCode::BAD_REQUEST;
                }
                written.write(row);
                StatusCode::CREATED
            };
            let path = "/services/ingestionPipelines/shop.nightly/pipelineStatus";
            let router = Router::new().route(path, put(upsert));
            serve(router.route(&format!("{path}/{{run}}"), get(one))).await
        }
    }

    fn run(end: &End) -> EndedRun<'_> {
        EndedRun {
            pipeline_fqn: "shop.nightly",
            id: RUN.parse().unwrap(),
            began: Timestamp::from_millisecond(5).unwrap(),
            ending: Ending::of(end.reason),
            end,
            now: Timestamp::from_millisecond(9).unwrap(),
        }
    }

    fn end(reason: Reason) -> End {
        End::without_code(reason, "as it happened")
    }

    #[rstest]
    #[case(None, Reason::Completed, Some("success"))]
    #[case(Some("running"), Reason::OomKilled, Some("failed"))]
    #[case(Some("success"), Reason::Completed, None)]
    #[case(Some("success"), Reason::Error, Some("failed"))]
    #[case(Some("success"), Reason::Evicted, Some("partialSuccess"))]
    #[case(Some("partialSuccess"), Reason::Error, None)]
    #[case(Some("queued"), Reason::ImagePull, Some("failed"))]
    #[case(Some("queued"), Reason::Killed, Some("stopped"))]
    #[tokio::test]
    async fn a_run_is_reported_once_as_the_table_says(
        #[case] row: Option<&str>,
        #[case] reason: Reason,
        #[case] expected: Option<&str>,
    ) {
        let rows = Rows::of(row);
        let (server, end) = (rows.serve("").await, end(reason));
        for _ in 0..2 {
            server.report(&run(&end), async || Some("Pod: p".to_owned())).await.unwrap();
        }
        let states: Vec<Value> =
            rows.written().iter().map(|row| row["pipelineState"].clone()).collect();
        assert_eq!(states, expected.map_or_else(Vec::new, |state| vec![json!(state)]));
    }

    #[tokio::test]
    async fn diagnostics_go_into_the_row_that_was_read() {
        let rows = Rows::of(Some("running"));
        let (server, end) = (rows.serve("").await, end(Reason::Error));
        let reported = server.report(&run(&end), async || Some("Pod: p".to_owned())).await.unwrap();
        assert_eq!(reported, Reported::Written(PipelineState::Failed));
        let row = &rows.written()[0];
        assert_eq!((&row["x"], &row["endDate"]), (&json!(1), &json!(9)));
        let details = row["status"][0]["failures"][0]["stackTrace"].as_str().unwrap();
        assert!(details.ends_with("\n\nPod: p"), "{details}");
    }

    #[tokio::test]
    async fn what_is_reported_during_diagnostics_stands() {
        let rows = Rows::of(Some("running"));
        let (server, end, worker) = (rows.serve("").await, end(Reason::Error), rows.clone());
        let diagnose = async || {
            worker.write(json!({ "runId": RUN, "pipelineState": "partialSuccess" }));
            Some("Pod: p".to_owned())
        };
        let stands = Reported::Stands(Some(PipelineState::PartialSuccess));
        assert_eq!(server.report(&run(&end), diagnose).await.unwrap(), stands);
        assert_eq!(rows.written().len(), 1);
    }

    #[tokio::test]
    async fn a_server_that_knows_no_stopped_gets_failed_and_why() {
        let rows = Rows::of(None);
        let (server, end) = (rows.serve("stopped").await, end(Reason::Killed));
        let reported = server.report(&run(&end), async || None).await.unwrap();
        assert_eq!(reported, Reported::Written(PipelineState::Failed));
        let row = &rows.written()[0];
        assert_eq!((&row["startDate"], &row["timestamp"]), (&json!(5), &json!(5)));
        let sentence = row["status"][0]["failures"][0]["error"].as_str().unwrap();
        assert!(sentence.contains("a user stopped the run"), "{sentence}");
    }

    #[rstest]
    #[case(StatusCode::NOT_FOUND, true)]
    #[case(StatusCode::BAD_REQUEST, true)]
    #[case(StatusCode::UNAUTHORIZED, false)]
    #[case(StatusCode::FORBIDDEN, false)]
    #[case(StatusCode::TOO_MANY_REQUESTS, false)]
    #[case(StatusCode::SERVICE_UNAVAILABLE, false)]
    #[tokio::test]
    async fn what_no_repetition_helps_against_is_told_apart(
        #[case] status: StatusCode,
        #[case] is_final: bool,
    ) {
        let path = "/services/ingestionPipelines/{fqn}/pipelineStatus";
        let one = format!("{path}/{{run}}");
        let router = Router::new()
            .route(path, put(async move || status))
            .route(&one, get(async || StatusCode::NO_CONTENT));
        let end = end(Reason::Error);
        let error = serve(router).await.report(&run(&end), async || None).await.unwrap_err();
        assert_eq!(error.is_final(), is_final, "{error}");
    }
}
