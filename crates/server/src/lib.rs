//! `ompipe serve`: the pipeline service of an OpenMetadata server, over HTTP
//! (docs/contracts/openmetadata-http.md#requirements-for-a-service).
//!
//! ```text
//! OpenMetadata ─► listener ─► layers ─► contract ─┐
//!                 (TLS,       (place,              ├─► K8sPipelineClient ─► Kubernetes
//! scripts ──────► HTTP 1, 2)  id, login) api ──────┤
//! people ───────►                        page ─────┘
//! kubelet, Prometheus ─► health
//! ```
//! It has no state of its own: any number of replicas may answer behind one address.

mod api;
mod app;
mod board;
mod contract;
mod credentials;
mod document;
mod guesses;
mod health;
mod layers;
mod metrics;
mod origin;
mod orphans;
mod page;
mod pipeline_metrics;
mod places;
mod refusal;
mod reloaded;
pub mod settings;
mod target;
mod tls;
mod version;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use axum::{Router, middleware};
use http::{StatusCode, Uri};
use ompipe_client::K8sPipelineClient;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use api::Api;
use app::{App, Shared};
use board::Board;
use credentials::Credentials;
use guesses::Guesses;
use metrics::Metrics;
use ompipe_core::shares::Shares;
use ompipe_listener::Listener;
use pipeline_metrics::PipelineMetrics;
use places::Places;
use refusal::Refusal;
use settings::{BasePath, Settings};
use tower::ServiceExt;
use version::VersionSource;

/// Pages of logs that are read at the same time: each takes about 4 MB, and others wait their turn.
const PAGES_AT_ONCE: usize = 4;
/// Bounds of the port of probes and metrics. Both are answered at once, so that a place is always free:
/// a connection that waits gives way to the next one.
const PROBES: ompipe_listener::Limits =
    ompipe_listener::Limits { connections: 64, header_timeout: Duration::from_secs(10) };

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the settings cannot be used.
    #[error("{0}")]
    File(String),
}

impl Error {
    /// True when the settings are at fault, false when this machine is.
    #[must_use]
    pub const fn is_input(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// Serves until `stop`, and then what is under way.
///
/// # Errors
/// An address is taken, or a file of the settings cannot be used.
pub async fn run(
    settings: Settings,
    client: K8sPipelineClient,
    stop: CancellationToken,
) -> Result<(), Error> {
    let tls = settings.tls.as_ref().map(tls::acceptor).transpose().map_err(Error::File)?;
    let app = application(&settings, client, stop.clone()).map_err(Error::File)?;
    let (tcp, health_tcp) = (listen(settings.listen).await?, listen(settings.health_listen).await?);
    let (limits, shutdown) = (settings.limits, settings.shutdown);
    let main = Listener { tcp, tls, limits: limits.of_connections(), shutdown: shutdown.of_port() };
    let probes = Listener {
        tcp: health_tcp,
        tls: None,
        limits: PROBES,
        // Probes are answered until the main port is done.
        shutdown: ompipe_listener::Shutdown {
            drain: shutdown.drain + shutdown.grace,
            grace: shutdown.grace,
        },
    };
    let (tell, seen) = watch::channel(None);
    let main_done = CancellationToken::new();
    let base = settings.base_path;
    let service = routes(&app).map_request(move |request| below(&base, request));
    let serve_main = async {
        main.serve(service, stop.clone()).await;
        main_done.cancel();
    };
    let serve_probes = async {
        tokio::select! {
            () = main_done.cancelled() => {}
            () = probes.serve(health::routes(app.clone(), seen), stop.clone()) => {}
        }
    };
    let tend_queues = async {
        tokio::select! {
            () = main_done.cancelled() => {}
            () = app.client.tend_queues() => {}
        }
    };
    let look = health::look(app.clone(), tell, stop.clone());
    let orphans = orphans::look(&app, &stop);
    tokio::join!(serve_main, serve_probes, tend_queues, look, orphans);
    Ok(())
}

/// A request below the base path.
fn below(base: &BasePath, mut request: Request) -> Request {
    let uri = target::below(base, request.uri());
    *request.uri_mut() = uri;
    request
}

fn application(
    settings: &Settings,
    client: K8sPipelineClient,
    stop: CancellationToken,
) -> Result<Shared, String> {
    let metrics = Metrics::new();
    let version = settings.open_metadata_version.clone();
    Ok(Arc::new(App {
        version: VersionSource::new(version, client.config(), metrics.clone()),
        credentials: Credentials::in_file(&settings.credentials_file)?,
        guesses: Guesses::new(settings.limits.failed_logins_per_minute),
        places: Places::new(settings.limits.requests),
        log_shares: Shares::new((settings.limits.requests / 32).max(1)),
        page_turns: Semaphore::new(PAGES_AT_ONCE),
        look_for_orphans: Notify::new(),
        api: Api::new(settings),
        ui: settings.ui,
        board: Board::default(),
        pipeline_metrics: settings.pipeline_metrics.then(PipelineMetrics::new),
        client,
        metrics,
        stop,
    }))
}

/// Everything on the main port.
fn routes(app: &Shared) -> Router {
    contract::routes(app)
        .merge(api::routes(app))
        .merge(page::routes(app))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(origin::refuse_other_sites))
        .layer(middleware::from_fn_with_state(app.clone(), layers::observe))
        .with_state(app.clone())
}

async fn no_such_route(uri: Uri) -> Response {
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this path").at(uri.path())
}

async fn no_such_method(uri: Uri) -> Response {
    let words = "this path does not support the method";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, words).at(uri.path())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| Error::Listen { address, source })?;
    // The port may be 0 in the settings: tests look for this line.
    let address = listener.local_addr().unwrap_or(address);
    info!(%address, "listening");
    Ok(listener)
}
