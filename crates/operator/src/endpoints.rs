//! The HTTP endpoints: health for the kubelet, metrics for Prometheus.
//!
//! | Path | Answer | Port |
//! | --- | --- | --- |
//! | `/healthz` | 200 while the process lives | health |
//! | `/readyz` | 200 or 503, [`Readiness`] as JSON | health |
//! | `/metrics` | Prometheus text | both |
//! | `/health`, `/ready` | the same in the words of upstream's operator | health |

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::future::join_all;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::health::{Health, Readiness, Role};
use crate::metrics::Metrics;

/// How long a request that is under way at the end may take.
const GRACE: Duration = Duration::from_secs(1);

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on port {port}: {source}")]
pub struct Error {
    port: u16,
    source: io::Error,
}

/// The open ports. They are open before anything else starts, so that a probe is always answered.
#[derive(Debug)]
pub struct Endpoints {
    health: TcpListener,
    /// `None` where it is the same port.
    metrics: Option<TcpListener>,
}

#[derive(Clone)]
struct Shared {
    health: Health,
    metrics: Metrics,
}

impl Endpoints {
    /// Opens both ports, or the one where they are equal.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn bind(health_port: u16, metrics_port: u16) -> Result<Self, Error> {
        let health = listen(health_port).await?;
        let metrics = match metrics_port {
            same if same == health_port => None,
            other => Some(listen(other).await?),
        };
        Ok(Self { health, metrics })
    }

    /// Answers until `cancel`, and then what is under way.
    pub async fn serve(self, health: Health, metrics: Metrics, cancel: CancellationToken) {
        let shared = Shared { health, metrics };
        let on_health_port = (self.health, health_routes(shared.clone()));
        let on_metrics_port = self.metrics.map(|listener| (listener, metrics_routes(shared)));
        let servers = [Some(on_health_port), on_metrics_port].into_iter().flatten();
        let servers = servers.map(|(listener, routes)| {
            let stop = cancel.clone().cancelled_owned();
            axum::serve(listener, routes).with_graceful_shutdown(stop).into_future()
        });
        let too_late = async {
            cancel.cancelled().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            _ = join_all(servers) => {}
            () = too_late => {}
        }
    }
}

/// Listens on every address, those of IPv4 alone where a host has no other.
async fn listen(port: u16) -> Result<TcpListener, Error> {
    let addresses = [
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    ];
    TcpListener::bind(&addresses[..]).await.map_err(|source| Error { port, source })
}

fn health_routes(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/health", get(upstream_health))
        .route("/ready", get(upstream_ready))
        .with_state(shared.clone())
        .merge(metrics_routes(shared))
}

fn metrics_routes(shared: Shared) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(shared)
}

async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, Json<Readiness>) {
    let readiness = shared.health.readiness();
    (status(&readiness), Json(readiness))
}

async fn upstream_health() -> Json<Value> {
    Json(json!({ "status": "UP", "timestamp": timestamp() }))
}

async fn upstream_ready(State(shared): State<Shared>) -> (StatusCode, Json<Value>) {
    let readiness = shared.health.readiness();
    let message = match &readiness.reasons[..] {
        [] => "the operator is ready".to_owned(),
        reasons => reasons.join("; "),
    };
    let answer = json!({
        "status": if readiness.ready { "READY" } else { "NOT_READY" },
        "k8sApi": if readiness.api_reachable { "UP" } else { "DOWN" },
        "message": message,
        "timestamp": timestamp(),
    });
    (status(&readiness), Json(answer))
}

fn status(readiness: &Readiness) -> StatusCode {
    if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Milliseconds since 1970, as upstream's text.
fn timestamp() -> String {
    clock::now().as_millisecond().to_string()
}

async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let readiness = shared.health.readiness();
    shared.metrics.leader(readiness.role == Role::Leader);
    shared.metrics.ready(readiness.ready);
    match shared.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, text_type(&headers))], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The same text is right in both formats; a scraper takes the one that it knows.
fn text_type(headers: &HeaderMap) -> &'static str {
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepted.contains("application/openmetrics-text") {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    }
}
