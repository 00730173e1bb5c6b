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
use http::{HeaderMap, StatusCode};
use ompipe_listener::{Limits, Listener, Shutdown, exposition};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::health::{Health, Readiness, Role};
use crate::metrics::Metrics;

/// How long a request that is under way at the end may take.
const GRACE: Duration = Duration::from_secs(1);
/// Bounds of each port. Requests are answered at once, so that a place is always free: a connection
/// that waits gives way to the next one.
const LIMITS: Limits = Limits { connections: 64, header_timeout: Duration::from_secs(10) };
/// Nothing new is taken at the end.
const SHUTDOWN: Shutdown = Shutdown { drain: Duration::ZERO, grace: GRACE };

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
        let servers = servers.map(|(tcp, routes)| {
            let listener = Listener { tcp, tls: None, limits: LIMITS, shutdown: SHUTDOWN };
            listener.serve(routes, cancel.clone())
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
        Ok(text) => exposition::respond(&headers, text),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, CONTENT_TYPE};
    use rstest::rstest;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;
    use crate::lease::Leadership;

    /// Endpoints on free ports of this host.
    struct Running {
        health_port: u16,
        metrics_port: u16,
        health: Health,
        stop: CancellationToken,
        server: JoinSet<()>,
    }

    impl Running {
        async fn start() -> Self {
            let (health, metrics) = (listen(0).await.unwrap(), listen(0).await.unwrap());
            Self::with(Endpoints { health, metrics: Some(metrics) })
        }

        fn with(endpoints: Endpoints) -> Self {
            let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
            let health_port = port(&endpoints.health);
            let metrics_port = endpoints.metrics.as_ref().map_or(health_port, port);
            let health = Health::new(Leadership::without_election());
            let (stop, mut server) = (CancellationToken::new(), JoinSet::new());
            server.spawn(endpoints.serve(health.clone(), Metrics::new(), stop.clone()));
            Self { health_port, metrics_port, health, stop, server }
        }

        async fn get(&self, path: &str) -> (u16, Value) {
            let answer = get(self.health_port, path, "").await;
            (answer.status().as_u16(), answer.json().await.unwrap())
        }
    }

    async fn get(port: u16, path: &str, accept: &str) -> reqwest::Response {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let request = reqwest::Client::new().get(format!("http://127.0.0.1:{port}{path}"));
        request.header(ACCEPT.as_str(), accept).send().await.unwrap()
    }

    #[tokio::test]
    async fn alive_whatever_else_is_wrong() {
        let running = Running::start().await;
        running.health.api_asked(Err("refused".to_owned()));
        assert_eq!(running.get("/healthz").await, (200, json!({ "status": "ok" })));
        let (status, mut answer) = running.get("/health").await;
        let timestamp: i64 = answer["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(timestamp > 1_700_000_000_000, "{timestamp}");
        answer.as_object_mut().unwrap().remove("timestamp");
        assert_eq!((status, answer), (200, json!({ "status": "UP" })));
    }

    #[tokio::test]
    async fn ready_when_everything_is_known_and_well() {
        let running = Running::start().await;
        let (status, answer) = running.get("/readyz").await;
        let reasons = ["the API server has not answered yet", "the caches are not synced yet"];
        let expected = json!({
            "ready": false, "role": "leader", "cachesSynced": false, "apiReachable": false,
            "reasons": reasons,
        });
        assert_eq!((status, answer), (503, expected));
        running.health.caches_synced();
        running.health.api_asked(Ok(()));
        let expected = json!({
            "ready": true, "role": "leader", "cachesSynced": true, "apiReachable": true,
            "reasons": [],
        });
        assert_eq!(running.get("/readyz").await, (200, expected));
    }

    #[tokio::test]
    async fn ready_in_the_words_of_upstream() {
        let running = Running::start().await;
        running.health.caches_synced();
        running.health.api_asked(Err("a \"quoted\" reason".to_owned()));
        let (status, mut answer) = running.get("/ready").await;
        assert!(answer["timestamp"].take().as_str().unwrap().parse::<i64>().is_ok());
        let message = "the API server does not answer: a \"quoted\" reason";
        let expected = json!({
            "status": "NOT_READY", "k8sApi": "DOWN", "message": message, "timestamp": null,
        });
        assert_eq!((status, answer), (503, expected));
        running.health.api_asked(Ok(()));
        let (status, answer) = running.get("/ready").await;
        assert_eq!(status, 200);
        assert_eq!((&answer["status"], &answer["k8sApi"]), (&json!("READY"), &json!("UP")));
    }

    #[tokio::test]
    async fn metrics_are_on_both_ports_and_health_on_one() {
        let running = Running::start().await;
        for port in [running.health_port, running.metrics_port] {
            let text = get(port, "/metrics", "").await.text().await.unwrap();
            assert!(text.contains("\nompipe_operator_leader 1\n"), "{text}");
        }
        assert_eq!(get(running.metrics_port, "/healthz", "").await.status(), 404);
    }

    #[rstest]
    #[case("", "text/plain; version=0.0.4; charset=utf-8")]
    #[case(
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )]
    #[tokio::test]
    async fn metrics_say_their_format(#[case] accept: &str, #[case] expected: &str) {
        let running = Running::start().await;
        let answer = get(running.metrics_port, "/metrics", accept).await;
        assert_eq!(answer.headers()[CONTENT_TYPE.as_str()], expected);
    }

    #[tokio::test]
    async fn equal_ports_are_one() {
        let running = Running::with(Endpoints::bind(0, 0).await.unwrap());
        assert_eq!(running.health_port, running.metrics_port);
        for path in ["/healthz", "/metrics"] {
            assert_eq!(get(running.health_port, path, "").await.status(), 200);
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let running = Running::start().await;
        let error = Endpoints::bind(running.health_port, 0).await.unwrap_err().to_string();
        let expected = format!("cannot listen on port {}: ", running.health_port);
        assert!(error.starts_with(&expected), "{error}");
    }

    #[tokio::test]
    async fn it_ends_in_time_although_a_client_dawdles() {
        let mut running = Running::start().await;
        let mut client = TcpStream::connect(("127.0.0.1", running.health_port)).await.unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /he").await.unwrap();
        client.read_exact(&mut [0; 12]).await.unwrap();
        running.stop.cancel();
        timeout(10 * GRACE, running.server.join_next()).await.unwrap();
    }
}
