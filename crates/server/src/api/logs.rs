//! The log of a run: whole or a part of it, as it is now, and in pages. However long it is, and
//! however slowly it is read, no more than a piece of it is in memory.

use std::str::FromStr;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use ompipe_client::{Error, LogSelection, LogStage};
use ompipe_core::RunId;
use ompipe_core::fields::Fields;
use ompipe_core::log_lines::{LineQuery, MOST_LINES, time_or_age};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;
use utoipa::ToSchema;

use super::asked::{Asked, NamedRun, RunPath, segment};
use super::gzip;
use super::problem::{Problem, RANGE_NOT_SATISFIABLE};
use super::range::{ByteRange, Cut};
use crate::app::{App, Shared};

/// Most attempts that a query may name; Kubernetes has no run with so many.
const MOST_ATTEMPTS: i64 = 1_000_000;
/// What logs are, as far as anybody knows.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A page of a log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogPage {
    /// Its text.
    text: String,
    /// How many pages the log has now.
    total: usize,
    /// Number of the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

/// Get the log of a run.
///
/// As it is now, all attempts one after the other. It is compressed for callers that accept gzip. A
/// range of bytes is answered from the log as it is now: `bytes=N-` gets what came after the first N,
/// and 416 when nothing did. `tail`, `since`, `grep` and `timestamps` choose lines; with one of them a
/// range is passed by.
#[utoipa::path(
    get,
    path = "/pipelines/{pipeline}/runs/{runId}/logs",
    operation_id = "getLog",
    tag = "logs",
    params(
        RunPath,
        ("attempt" = Option<u32>, Query, description = "One attempt, from 1", minimum = 1),
        ("stage" = Option<String>, Query, description = "`main`, the default, or `exit-handler`, which only OMJobs have"),
        ("previous" = Option<bool>, Query, description = "The attempt before the last one"),
        ("tail" = Option<u32>, Query, description = "So many of the last lines", maximum = 100_000),
        ("since" = Option<String>, Query, description = "Lines that were written at or after a time, or so long ago", example = "10m"),
        ("grep" = Option<String>, Query, description = "Lines that match a regular expression"),
        ("timestamps" = Option<bool>, Query, description = "Begin each line with its time"),
        ("Range" = Option<String>, Header, description = "One range of bytes", example = "bytes=1048576-"),
        ("Accept-Encoding" = Option<String>, Header, description = "May name gzip"),
    ),
    responses(
        (status = 200, description = "The whole log", body = String, content_type = "text/plain"),
        (status = 206, description = "The part", body = String, content_type = "text/plain"),
        (status = 416, description = "The log does not reach so far", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn whole(
    State(app): State<Shared>,
    asked: Asked,
    named: NamedRun,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (selection, query) = asked.read(|fields| {
        let previous = flag(fields, "previous");
        (LogSelection { previous, ..read_selection(fields, named.run) }, read_lines(fields))
    })?;
    let place = app.api.place()?;
    if selection.previous || !query.is_everything() {
        let lines = app.client.log_lines(&named.pipeline, selection, query).await?;
        let log = opened(lines).await?;
        return Ok(answer_whole(kept(log, place), gzip::is_accepted(&headers)));
    }
    if let Some(range) = ByteRange::of(&headers) {
        return part(&app, &named, selection, range, place).await;
    }
    let log = opened(app.client.log_stream(&named.pipeline, selection).await?).await?;
    Ok(answer_whole(kept(log, place), gzip::is_accepted(&headers)))
}

fn read_selection(fields: &mut Fields<'_>, run: RunId) -> LogSelection {
    let attempt = fields.integer("attempt", 1..=MOST_ATTEMPTS);
    let stage = fields.parsed::<Stage>("stage").map(|Stage(stage)| stage).unwrap_or_default();
    let attempt = attempt.and_then(|attempt| usize::try_from(attempt).ok());
    LogSelection { run: Some(run), attempt, stage, previous: false }
}

/// Which lines a query asks for.
fn read_lines(fields: &mut Fields<'_>) -> LineQuery {
    let most = i64::try_from(MOST_LINES).unwrap_or(i64::MAX);
    let tail = fields.integer("tail", 0..=most).and_then(|tail| usize::try_from(tail).ok());
    let since = fields.parsed::<Since>("since").map(|Since(since)| since);
    let (grep, timestamps) = (fields.parsed("grep"), flag(fields, "timestamps"));
    LineQuery { tail, since, grep, timestamps }
}

fn flag(fields: &mut Fields<'_>, key: &'static str) -> bool {
    fields.boolean(key).unwrap_or_default()
}

/// A time, or so long ago.
struct Since(Timestamp);

impl FromStr for Since {
    type Err = &'static str;

    #[expect(clippy::disallowed_methods, reason = "a request is the outermost caller")]
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        time_or_age(text, Timestamp::now()).map(Self)
    }
}

/// A stage as it is written in a query.
struct Stage(LogStage);

impl FromStr for Stage {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "main" => Ok(Self(LogStage::Main)),
            "exit-handler" => Ok(Self(LogStage::ExitHandler)),
            _ => Err("must be main or exit-handler"),
        }
    }
}

/// The same log, once its first piece is there: what fails before that is an answer of its own.
async fn opened(
    log: impl Stream<Item = Result<Vec<u8>, Error>> + Send,
) -> Result<impl Stream<Item = Result<Vec<u8>, Error>> + Send, Error> {
    let mut log = Box::pin(log);
    let first = log.try_next().await?;
    Ok(stream::iter(first.map(Ok)).chain(log))
}

/// The same log, with the place of its reader, who may take long. What breaks off is told to us too.
fn kept(
    log: impl Stream<Item = Result<Vec<u8>, Error>> + Send,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Vec<u8>, Error>> + Send {
    log.inspect_err(move |error| {
        let _kept = &place;
        warn!(%error, "a log broke off while it was read");
    })
}

fn answer_whole(
    log: impl Stream<Item = Result<Vec<u8>, Error>> + Send + 'static,
    accepts_gzip: bool,
) -> Response {
    let headers = [
        (CONTENT_TYPE, TEXT),
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (VARY, HeaderValue::from_static("accept-encoding")),
    ];
    if accepts_gzip {
        let encoding = [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
        return (headers, encoding, Body::from_stream(gzip::compressed(log))).into_response();
    }
    (headers, Body::from_stream(log)).into_response()
}

/// A part of the log. Where it ends has to be known first, so the log is read twice.
async fn part(
    app: &App,
    named: &NamedRun,
    selection: LogSelection,
    range: ByteRange,
    place: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let log = app.client.log_stream(&named.pipeline, selection).await?;
    let length = log.try_fold(0, |sum, piece| future::ready(Ok(sum + piece.len()))).await?;
    let Some((first, last)) = range.within(length) else {
        return Err(out_of_reach(length));
    };
    let log = opened(app.client.log_stream(&named.pipeline, selection).await?).await?;
    let log = kept(cut(log, (first, last)), place);
    let headers = [
        (CONTENT_TYPE, TEXT),
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (CONTENT_LENGTH, HeaderValue::from(last - first + 1)),
    ];
    let range = [(CONTENT_RANGE, format!("bytes {first}-{last}/{length}"))];
    Ok((StatusCode::PARTIAL_CONTENT, headers, range, Body::from_stream(log)).into_response())
}

fn out_of_reach(length: usize) -> Problem {
    let problem = Problem::of(&RANGE_NOT_SATISFIABLE, &format!("the log has {length} bytes now"));
    match HeaderValue::try_from(format!("bytes */{length}")) {
        Ok(range) => problem.and(CONTENT_RANGE, range),
        Err(_) => problem,
    }
}

fn cut(
    log: impl Stream<Item = Result<Vec<u8>, Error>> + Send,
    ends: (usize, usize),
) -> impl Stream<Item = Result<Vec<u8>, Error>> + Send {
    log.scan(Cut::new(ends), |cut, piece| {
        future::ready(match piece {
            Ok(piece) => cut.take(piece).map(Ok),
            Err(error) => Some(Err(error)),
        })
    })
}

/// The number of a page, in the path.
pub(super) struct PageNumber(String);

impl FromRequestParts<Shared> for PageNumber {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &Shared) -> Result<Self, Problem> {
        let number = segment(parts, "page").await?;
        let is_number = number.parse::<usize>().is_ok();
        let remedy = "must be the number of a page, from 0";
        if is_number { Ok(Self(number)) } else { Err(Problem::with("page", remedy)) }
    }
}

/// Get a page of the log of a run.
///
/// Pages are cut at lines where possible, and a page that is not the last never changes.
#[utoipa::path(
    get,
    path = "/pipelines/{pipeline}/runs/{runId}/logs/pages/{page}",
    operation_id = "getLogPage",
    tag = "logs",
    params(
        RunPath,
        ("page" = usize, Path, description = "Its number, from 0"),
        ("attempt" = Option<u32>, Query, description = "One attempt, from 1", minimum = 1),
        ("stage" = Option<String>, Query, description = "`main`, the default, or `exit-handler`, which only OMJobs have"),
    ),
    responses((status = 200, description = "The page", body = LogPage))
)]
pub(super) async fn page(
    State(app): State<Shared>,
    PageNumber(number): PageNumber,
    asked: Asked,
    named: NamedRun,
) -> Result<Json<LogPage>, Problem> {
    let selection = asked.read(|fields| read_selection(fields, named.run))?;
    let page = app.log_page(&named.pipeline, selection, Some(&number)).await?;
    Ok(Json(LogPage { text: page.text, total: page.total, next: page.after }))
}
