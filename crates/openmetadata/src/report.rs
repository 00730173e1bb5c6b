//! The report of a run's end: read the row, decide, write (docs/adr/0022-row-decided-once.md).

use std::time::Duration;

use jiff::Timestamp;
use ompipe_core::omjob::End;
use ompipe_core::report::{Correction, Draft, Ending, Evidence, Row, Verdict, decide};
use ompipe_core::{PipelineState, RunId};
use serde_json::json;
use tokio::time::timeout;

use crate::{Error, OpenMetadata, segment};

/// Time to end the progress of a run.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(3);

/// A run whose last attempt is over.
#[derive(Clone, Copy, Debug)]
pub struct EndedRun<'r> {
    /// Fully qualified name of its pipeline.
    pub pipeline_fqn: &'r str,
    /// Its id.
    pub id: RunId,
    /// Name of the service whose entities it reads, if that is known.
    pub service: Option<&'r str>,
    /// When it began, for a row that does not exist yet.
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
        let new = || Row::new(run.id, run.began).of_service(run.service);
        let row = row.unwrap_or_else(new);
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
        let mut draft = Draft::new(row.clone(), correction);
        loop {
            let Err(error) = self.put_row(run.pipeline_fqn, &draft.row(&evidence)).await else {
                self.end_progress(run, draft.correction()).await;
                return Ok(Reported::Written(draft.correction().state));
            };
            // Each turn leaves something out, so the loop ends.
            let reduced = error.bad_request().and_then(|said| draft.reduced(said, &evidence));
            draft = reduced.ok_or(error)?;
        }
    }

    /// Ends the progress that servers from 2.0 on show of a run, which its worker no longer does.
    /// Others have no such place. The row is what counts, so nothing depends on the answer.
    async fn end_progress(&self, run: &EndedRun<'_>, correction: Correction) {
        if correction.account.is_none() && correction.state != PipelineState::Stopped {
            return;
        }
        let (fqn, id) = (segment(run.pipeline_fqn), run.id.to_string());
        let path = ["services", "ingestionPipelines", "progress", &fqn, &id];
        let update = json!({
            "runId": id, "timestamp": run.now.as_millisecond(), "updateType": "ERROR",
            "message": "the worker has ended",
        });
        drop(timeout(PROGRESS_TIMEOUT, self.transport.put(&path, &update)).await);
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
    use crate::tests::{own_words, serve};

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
                    let said = format!("problem: {unknown}");
                    return (StatusCode::BAD_REQUEST, own_words(400, &said));
                }
                if row.get(unknown).is_some() {
                    let said = format!("Unrecognized field \"{unknown}\" (class PipelineStatus)");
                    return (StatusCode::BAD_REQUEST, own_words(400, &said));
                }
                written.write(row);
                (StatusCode::CREATED, String::new())
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
            service: Some("shop"),
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

    /// A server before 1.3 has no steps in a row, and no workflow that it belongs to.
    #[tokio::test]
    async fn a_server_that_knows_no_status_gets_the_row_without() {
        let rows = Rows::of(Some("running"));
        let (server, end) = (rows.serve("status").await, end(Reason::OomKilled));
        let reported = server.report(&run(&end), async || Some("Pod: p".to_owned())).await.unwrap();
        assert_eq!(reported, Reported::Written(PipelineState::Failed));
        let row = json!({ "runId": RUN, "pipelineState": "failed", "x": 1, "endDate": 9 });
        assert_eq!(rows.written(), [row]);
    }

    #[tokio::test]
    async fn a_run_that_never_started_names_its_service() {
        let rows = Rows::of(None);
        let (server, end) = (rows.serve("").await, end(Reason::ImagePull));
        server.report(&run(&end), async || None).await.unwrap();
        assert_eq!(rows.written()[0]["metadata"], json!({ "workflow": { "serviceName": "shop" } }));
    }

    /// A server whose rows are answered like this, and how often one was written.
    async fn answering(
        read: (StatusCode, String),
        write: (StatusCode, String),
    ) -> (OpenMetadata, Arc<Mutex<usize>>) {
        let path = "/services/ingestionPipelines/{fqn}/pipelineStatus";
        let writes = Arc::<Mutex<usize>>::default();
        let counted = Arc::clone(&writes);
        let put_row = async move || {
            *counted.lock().unwrap() += 1;
            write
        };
        let router = Router::new()
            .route(path, put(put_row))
            .route(&format!("{path}/{{run}}"), get(async move || read));
        (serve(router).await, writes)
    }

    fn nothing() -> (StatusCode, String) {
        (StatusCode::NO_CONTENT, String::new())
    }

    #[rstest]
    #[case(404, true)]
    #[case(400, true)]
    #[case(409, true)]
    #[case(413, true)]
    #[case(401, false)]
    #[case(403, false)]
    #[case(425, false)]
    #[case(429, false)]
    #[case(503, false)]
    #[tokio::test]
    async fn only_openmetadata_itself_refuses(#[case] code: u16, #[case] is_refusal: bool) {
        let status = StatusCode::from_u16(code).unwrap();
        let end = end(Reason::Error);
        let (server, _) = answering(nothing(), (status, own_words(code, "no"))).await;
        let error = server.report(&run(&end), async || None).await.unwrap_err();
        assert_eq!((error.is_refusal(), error.is_final()), (is_refusal, is_refusal), "{error}");
        for body in
            ["404 page not found\n", "<html>", "", "{}", r#"{"message":"no Route matched"}"#]
        {
            let (server, _) = answering(nothing(), (status, body.to_owned())).await;
            let error = server.report(&run(&end), async || None).await.unwrap_err();
            assert!(!error.is_refusal() && !error.is_final(), "{error}");
        }
    }

    /// Whatever cannot be read as the row of this run, or as OpenMetadata's word that there is none,
    /// keeps the row from being written.
    #[rstest]
    #[case(404, "404 page not found\n")]
    #[case(
        404,
        r#"{"code":404,"message":"ingestionPipeline instance for shop.nightly not found"}"#
    )]
    #[case(400, "<html>")]
    #[case(410, "")]
    #[case(308, "")]
    #[case(200, "<!doctype html><title>Sign in</title>")]
    #[case(200, "")]
    #[case(200, "[]")]
    #[case(200, r#"{"status":"ok"}"#)]
    #[case(200, r#"{"runId":"a1b2c3d4-e5f6-7890-abcd-000000000000","pipelineState":"running"}"#)]
    #[case(200, r#"{"pipelineState":"paused"}"#)]
    #[case(200, "\u{0}garbage")]
    #[tokio::test]
    async fn a_row_that_could_not_be_read_is_not_written(#[case] code: u16, #[case] body: &str) {
        let read = (StatusCode::from_u16(code).unwrap(), body.to_owned());
        let (server, writes) = answering(read, (StatusCode::CREATED, "{}".to_owned())).await;
        let end = end(Reason::Error);
        server.report(&run(&end), async || None).await.unwrap_err();
        assert_eq!(*writes.lock().unwrap(), 0);
    }

    #[rstest]
    #[case(200, "<html>")]
    #[case(200, "")]
    #[case(201, "<html>")]
    #[case(302, "")]
    #[tokio::test]
    async fn a_page_in_place_of_an_answer_is_no_report(#[case] code: u16, #[case] body: &str) {
        let write = (StatusCode::from_u16(code).unwrap(), body.to_owned());
        let (server, _) = answering(nothing(), write).await;
        let end = end(Reason::Error);
        let error = server.report(&run(&end), async || None).await.unwrap_err();
        assert!(!error.is_final() && error.is_outage(), "{error}");
    }

    #[tokio::test]
    async fn the_progress_of_a_run_that_died_ends() {
        let (updates, rows) = (Arc::new(Mutex::new(Vec::new())), Rows::of(Some("running")));
        let seen = Arc::clone(&updates);
        let update = async move |body: String| {
            seen.lock().unwrap().push(serde_json::from_str::<Value>(&body).unwrap());
            "{}"
        };
        let path = format!("/services/ingestionPipelines/progress/shop.nightly/{RUN}");
        let row = "/services/ingestionPipelines/shop.nightly/pipelineStatus";
        let read = rows.0.lock().unwrap().0.clone().unwrap().to_string();
        let router = Router::new()
            .route(&path, put(update))
            .route(row, put(async || StatusCode::CREATED))
            .route(&format!("{row}/{{run}}"), get(async move || read));
        let end = end(Reason::OomKilled);
        serve(router).await.report(&run(&end), async || None).await.unwrap();
        let updates = updates.lock().unwrap();
        assert_eq!((updates.len(), &updates[0]["updateType"]), (1, &json!("ERROR")));
        assert_eq!(updates[0]["runId"], RUN);
    }
}
