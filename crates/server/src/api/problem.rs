//! Why a request was not done, as RFC 9457 has it: `application/problem+json`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ompipe_client::Error;
use ompipe_core::Problems;
use ompipe_core::logs::PageError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::refusal::{Refusal, presentable};

/// The media type.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";
/// The type of a problem that its status says everything about.
const ABOUT_BLANK: &str = "about:blank";

/// What the problems of a type have in common.
pub(super) struct Kind {
    status: StatusCode,
    uri: &'static str,
    title: &'static str,
}

impl Kind {
    const fn new(status: StatusCode, uri: &'static str, title: &'static str) -> Self {
        Self { status, uri, title }
    }
}

pub(super) const INVALID_INPUT: Kind = Kind::new(
    StatusCode::BAD_REQUEST,
    "urn:ompipe:problem:invalid-input",
    "The request is not right",
);
pub(super) const NOT_ALLOWED: Kind = Kind::new(
    StatusCode::FORBIDDEN,
    "urn:ompipe:problem:not-allowed",
    "The caller does not have the right",
);
const NO_SUCH_PIPELINE: Kind = Kind::new(
    StatusCode::NOT_FOUND,
    "urn:ompipe:problem:no-such-pipeline",
    "No such pipeline is deployed",
);
const NO_SUCH_RUN: Kind =
    Kind::new(StatusCode::NOT_FOUND, "urn:ompipe:problem:no-such-run", "There is no such run");
const NO_SUCH_LOG: Kind =
    Kind::new(StatusCode::NOT_FOUND, "urn:ompipe:problem:no-such-log", "There is no such log");
const AMBIGUOUS_NAME: Kind = Kind::new(
    StatusCode::CONFLICT,
    "urn:ompipe:problem:ambiguous-name",
    "Several pipelines have the name",
);
const CONFLICT: Kind =
    Kind::new(StatusCode::CONFLICT, "urn:ompipe:problem:conflict", "Another run is in the way");
pub(super) const RANGE_NOT_SATISFIABLE: Kind = Kind::new(
    StatusCode::RANGE_NOT_SATISFIABLE,
    "urn:ompipe:problem:range-not-satisfiable",
    "The log does not reach so far",
);
const OPENMETADATA: Kind = Kind::new(
    StatusCode::BAD_GATEWAY,
    "urn:ompipe:problem:openmetadata",
    "OpenMetadata does not do its part",
);
const KUBERNETES: Kind = Kind::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "urn:ompipe:problem:kubernetes",
    "Kubernetes refuses what ompipe asks for",
);
const UNAVAILABLE: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "urn:ompipe:problem:unavailable",
    "It may go well a moment later",
);

/// Why a request was not done (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Names what kind of problem it is; `about:blank` when the status says that.
    #[serde(rename = "type")]
    #[schema(format = "uri", example = "urn:ompipe:problem:no-such-run")]
    uri: &'static str,
    /// The kind in words, the same for every problem of it.
    title: &'static str,
    /// The status of the answer.
    #[schema(example = 404)]
    status: u16,
    /// What happened this time, and what to do about it.
    detail: String,
    /// Everything that is wrong with the input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Fault>,
    #[serde(skip)]
    headers: Box<HeaderMap>,
}

/// One thing that is wrong with the input.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// The field of the body, the parameter or the header.
    field: String,
    /// What is allowed there.
    remedy: String,
}

impl Problem {
    /// A problem of a kind.
    pub(super) fn of(kind: &Kind, detail: &str) -> Self {
        Self {
            uri: kind.uri,
            title: kind.title,
            status: kind.status.as_u16(),
            detail: presentable(detail),
            problems: Vec::new(),
            headers: Box::default(),
        }
    }

    /// A problem that its status says everything about.
    pub(super) fn plain(status: StatusCode, detail: &str) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem");
        Self::of(&Kind::new(status, ABOUT_BLANK, title), detail)
    }

    /// One thing is wrong with the input.
    pub(super) fn with(field: &str, remedy: &str) -> Self {
        let fault = Fault { field: field.to_owned(), remedy: remedy.to_owned() };
        Self { problems: vec![fault], ..Self::of(&INVALID_INPUT, &format!("{field}: {remedy}")) }
    }

    /// The same with a header in its answer.
    pub(super) fn and(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// The same with the advice to come again after some seconds.
    pub(super) fn and_retry_after(self, seconds: u16) -> Self {
        self.and(RETRY_AFTER, seconds.into())
    }
}

impl Problem {
    /// The status of the answer.
    pub(crate) fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST)
    }

    /// What happened, and what to do about it.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = self.status_code();
        let headers = std::mem::take(&mut self.headers);
        (status, *headers, [(CONTENT_TYPE, MEDIA_TYPE)], Json(self)).into_response()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(problems) => problems.into(),
            error => Self::of(kind_of(&error), &error.to_string()),
        }
    }
}

impl From<Problems> for Problem {
    fn from(problems: Problems) -> Self {
        // The values stay with the caller: they may be secrets.
        let faults = problems.list.into_iter();
        let faults: Vec<Fault> =
            faults.map(|fault| Fault { field: fault.field, remedy: fault.remedy }).collect();
        let told: Vec<String> =
            faults.iter().map(|fault| format!("{}: {}", fault.field, fault.remedy)).collect();
        let detail = format!("in the {}: {}", problems.subject, told.join("; "));
        Self { problems: faults, ..Self::of(&INVALID_INPUT, &detail) }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal.status {
            StatusCode::BAD_REQUEST => Self::of(&INVALID_INPUT, &refusal.error),
            status => Self::plain(status, &refusal.error),
        }
    }
}

/// What is not there is a 404, what may go well a moment later a 503.
fn kind_of(error: &Error) -> &'static Kind {
    match error {
        Error::NotDeployed { .. } => &NO_SUCH_PIPELINE,
        Error::Ambiguous { .. } => &AMBIGUOUS_NAME,
        Error::NoRuns(_) | Error::NoSuchRun { .. } | Error::RunDeleted(_) => &NO_SUCH_RUN,
        Error::NoLog { .. }
        | Error::NoSuchAttempt { .. }
        | Error::NoExitHandlerPod(_)
        | Error::Page(PageError::BehindTheEnd { .. }) => &NO_SUCH_LOG,
        Error::AlreadyRunning { .. } | Error::JobNameTaken { .. } => &CONFLICT,
        Error::OpenMetadata { .. } => &OPENMETADATA,
        Error::Kubernetes(error) if !error.may_pass() => &KUBERNETES,
        error if error.is_input() => &INVALID_INPUT,
        _ => &UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use ompipe_core::{Problem as Wrong, RunId};
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_is_told_and_no_value() {
        let list = vec![
            Wrong::new("a", &json!("hunter2"), "must be a map"),
            Wrong::without_value("b", "is no known key"),
        ];
        let problem = Problem::from(Error::Invalid(Problems { subject: "body", list }));
        let shown = serde_json::to_value(&problem).unwrap();
        assert!(!shown.to_string().contains("hunter2"), "{shown}");
        assert_eq!(
            shown["problems"],
            json!([
                { "field": "a", "remedy": "must be a map" },
                { "field": "b", "remedy": "is no known key" },
            ])
        );
        assert_eq!(
            (&shown["type"], &shown["status"], &shown["title"]),
            (
                &json!("urn:ompipe:problem:invalid-input"),
                &json!(400),
                &json!("The request is not right")
            )
        );
    }

    #[rstest]
    #[case(Error::NoRuns("a.b".into()), 404, "no-such-run")]
    #[case(Error::NoExitHandlerPod(RunId::random()), 404, "no-such-log")]
    #[case(Error::Page(PageError::NotANumber("x".into())), 400, "invalid-input")]
    #[case(Error::Page(PageError::BehindTheEnd { index: 3, total: 2 }), 404, "no-such-log")]
    #[case(Error::Contended("a.b".into()), 503, "unavailable")]
    fn an_error_has_a_kind(#[case] error: Error, #[case] status: u16, #[case] kind: &str) {
        let problem = Problem::from(error);
        assert_eq!(problem.status, status);
        assert_eq!(problem.uri, format!("urn:ompipe:problem:{kind}"));
    }
}
