//! What happens around every request: a place, an id, a line in the log, a measurement; and around
//! those that need it, a login.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

use crate::app::Shared;
use crate::credentials::BASIC_CHALLENGE;
use crate::guesses::WINDOW_SECONDS;
use crate::refusal::Refusal;

/// Names a request in the logs of caller and server.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over from the caller.
const MAX_REQUEST_ID: usize = 128;
/// What a request is called that no route takes.
const NO_ROUTE: &str = "none";

/// Gives a request a place and an id, logs and measures it. Bodies are never logged.
pub(crate) async fn observe(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let (method, version) = (request.method().clone(), request.version());
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = route.unwrap_or(NO_ROUTE).to_owned();
    let mut response = match app.places.take(&method, &route) {
        Some(_place) => next.run(request).await,
        None => too_busy(request.uri().path()),
    };
    response.headers_mut().insert(REQUEST_ID, id.clone());
    // A client that keeps the connection for its next call must learn that it ends here
    // (docs/contracts/openmetadata-http.md#connections-and-time-limits).
    if app.stop.is_cancelled() && version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let (status, took) = (response.status(), began.elapsed());
    app.metrics.answered(&method, &route, status, took);
    let (id, milliseconds) = (id.to_str().unwrap_or_default(), took.as_millis());
    info!(%method, route, status = status.as_u16(), milliseconds, %peer, id, "request");
    response
}

/// The caller's id where it has a fit one, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_fit = |id: &&HeaderValue| {
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    let given = headers.get(REQUEST_ID).filter(is_fit).cloned();
    let fresh = || HeaderValue::from_str(&Uuid::new_v4().to_string()).ok();
    given.or_else(fresh).unwrap_or_else(|| HeaderValue::from_static("-"))
}

fn too_busy(path: &str) -> Response {
    let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
    ([(RETRY_AFTER, "1")], refusal.at(path)).into_response()
}

/// Lets a request with credentials pass.
pub(crate) async fn log_in(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let may_log_in = app.may_log_in(request.headers(), peer);
    if may_log_in && app.credentials.get().accept(request.headers()) {
        app.logged_in(&request, peer);
        return next.run(request).await;
    }
    if app.login_failed(request.headers(), peer) || !may_log_in {
        let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many failed logins");
        return ([(RETRY_AFTER, WINDOW_SECONDS)], refusal).into_response();
    }
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "user or password is wrong or missing");
    ([(WWW_AUTHENTICATE, BASIC_CHALLENGE)], refusal).into_response()
}
