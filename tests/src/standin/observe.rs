//! The layer around the API: lets faults loose on requests and notes what became of each.

use std::future::{Future, pending, ready};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use super::api_error::{ApiError, ErrorText};
use super::clock::now_ms;
use super::fault::{self, Effect, Hit};
use super::journal::SeenRequest;
use super::shared::Shared;
use crate::connection::CutSwitch;

/// More than any client sends: a bulk of 100 wide tables is about a megabyte.
const BODY_LIMIT: usize = 64 << 20;

/// What a fault made of a request.
enum Outcome {
    Answer(Response),
    Cut,
    Silence,
}

/// Wraps every request to the API.
pub(crate) async fn observe(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<CutSwitch>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, BODY_LIMIT).await {
        Ok(body) => body,
        Err(error) => {
            return ApiError::invalid(format!("cannot read the body: {error}")).into_response();
        }
    };
    let seen = (parts.method.to_string(), parts.uri.to_string());
    let hit = take_fault(&shared, parts.method.as_str(), parts.uri.path(), &body);
    let run = next.run(Request::from_parts(parts, Body::from(body)));
    let outcome = match &hit {
        None => Outcome::Answer(run.await),
        Some(hit) if hit.after_change => disturb(&hit.effect, ready(run.await)).await,
        Some(hit) => disturb(&hit.effect, run).await,
    };
    note(&shared, seen, hit.as_ref(), &outcome);
    answer(&shared, &connection, outcome).await
}

fn take_fault(shared: &Shared, method: &str, path: &str, body: &[u8]) -> Option<Hit> {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let request = fault::Request { method, path: &path, body };
    shared.write(|world| world.faults.take(&request, now_ms()))
}

/// Carries a fault out. `run` is the request itself, or its answer if it was carried out already.
async fn disturb(effect: &Effect, run: impl Future<Output = Response>) -> Outcome {
    match effect {
        Effect::Status { code, body } => Outcome::Answer(refusal(*code, body.as_deref())),
        Effect::DelayMs(ms) => {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            Outcome::Answer(run.await)
        }
        Effect::Reset => Outcome::Cut,
        Effect::Hang => Outcome::Silence,
    }
}

fn refusal(code: u16, body: Option<&str>) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match body {
        Some(body) => (status, body.to_owned()).into_response(),
        None => ApiError::new(status, "fault on demand").into_response(),
    }
}

fn note(shared: &Shared, (method, path): (String, String), hit: Option<&Hit>, outcome: &Outcome) {
    let answer = match outcome {
        Outcome::Answer(answer) => Some(answer),
        Outcome::Cut | Outcome::Silence => None,
    };
    let error = answer.and_then(|answer| answer.extensions().get::<ErrorText>());
    let request = SeenRequest {
        at_ms: now_ms(),
        method,
        path,
        status: answer.map(|answer| answer.status().as_u16()),
        fault: hit.map(|hit| hit.effect.name()),
        error: error.map(|error| error.0.clone()),
    };
    shared.write(|world| world.journal.request(request));
}

async fn answer(shared: &Shared, connection: &CutSwitch, outcome: Outcome) -> Response {
    match outcome {
        Outcome::Answer(answer) => return answer,
        Outcome::Cut => {}
        Outcome::Silence => {
            tokio::select! {
                () = shared.stopped() => {}
                () = pending() => {}
            }
        }
    }
    connection.cut();
    // Never leaves: the connection is cut before its first byte.
    StatusCode::NO_CONTENT.into_response()
}
