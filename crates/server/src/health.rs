//! The second port: health for the kubelet, metrics for Prometheus.

use std::fmt;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use ompipe_client::{PipelineServiceClient, ServiceStatus};
use ompipe_listener::exposition;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Shared};

/// Time from one look at the cluster to the next when all was well. Probes are answered from the last
/// one, so that they never pile up behind an API server that hangs.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The same when something was wrong.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How old what the metrics say of pipelines may be, so that scrapes by several readers are one listing.
const SCRAPE_EVERY: Duration = Duration::from_secs(10);
/// Time for that listing: less than Prometheus' ten seconds for a scrape.
const SCRAPE_TIME: Duration = Duration::from_secs(5);
/// How the format ends.
const LAST_LINE: &str = "# EOF\n";

/// What the cluster said at the last look; `None` before the first.
pub(crate) type Seen = watch::Receiver<Option<ServiceStatus>>;

#[derive(Clone)]
struct Probes {
    app: Shared,
    seen: Seen,
}

/// The routes of the second port.
pub(crate) fn routes(app: Shared, seen: Seen) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Probes { app, seen })
}

/// Looks at the cluster again and again until `stop`.
pub(crate) async fn look(
    app: Shared,
    tell: watch::Sender<Option<ServiceStatus>>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let status = app.client.get_service_status().await;
        let pause = if status.healthy { LOOK_EVERY } else { LOOK_AGAIN };
        tell.send_replace(Some(status));
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}

async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Ready is who can do what is asked, and is not about to end.
async fn readyz(State(probes): State<Probes>) -> (StatusCode, Json<Value>) {
    let seen = probes.seen.borrow().clone();
    let reason = match seen {
        _ if probes.app.stop.is_cancelled() => "it is shutting down".to_owned(),
        None => "the cluster has not answered yet".to_owned(),
        Some(status) if status.healthy => {
            return (StatusCode::OK, Json(json!({ "ready": true })));
        }
        Some(status) => status.reason,
    };
    let answer = json!({ "ready": false, "reason": reason });
    (StatusCode::SERVICE_UNAVAILABLE, Json(answer))
}

async fn metrics(State(probes): State<Probes>, headers: HeaderMap) -> Response {
    match (probes.app.metrics.encode(), of_pipelines(&probes.app).await) {
        (Ok(own), None) => exposition::respond(&headers, own),
        (Ok(own), Some(Ok(pipelines))) => {
            let own = own.strip_suffix(LAST_LINE).unwrap_or(&own);
            exposition::respond(&headers, format!("{own}{pipelines}"))
        }
        (Err(_), _) | (_, Some(Err(_))) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A cluster that does not answer soon keeps nobody from reading the other metrics.
async fn of_pipelines(app: &App) -> Option<Result<String, fmt::Error>> {
    let metrics = app.pipeline_metrics.as_ref()?;
    let look = async {
        let snapshot = app.board.snapshot(&app.client, SCRAPE_EVERY).await.ok()?;
        Some((snapshot, app.board.failed_hooks(&app.client).await))
    };
    let (snapshot, failed_hooks) = timeout(SCRAPE_TIME, look).await.ok()??;
    Some(metrics.encode(&snapshot, failed_hooks))
}
