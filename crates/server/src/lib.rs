//! `ompipe serve`: the pipeline service of an OpenMetadata server, over HTTP (design §10).
//!
//! ```text
//! OpenMetadata ─► listener ─► layers ─► contract ─┐
//!                 (TLS,       (place,    (§3)      ├─► K8sPipelineClient ─► Kubernetes
//! scripts ──────► HTTP 1, 2)  id, login) api ──────┘
//! kubelet, Prometheus ─► health
//! ```
//! It has no state of its own: any number of replicas may answer behind one address.

mod api;
mod app;
mod contract;
mod credentials;
mod dawdling;
mod document;
mod health;
mod layers;
mod listener;
mod metrics;
mod origin;
mod refusal;
mod reloaded;
pub mod settings;
mod target;
mod tls;
mod version;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::response::Response;
use axum::{Router, middleware};
use http::{StatusCode, Uri};
use ompipe_client::K8sPipelineClient;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use api::Api;
use app::{App, Shared};
use credentials::{Credentials, FailedLogins};
use listener::Listener;
use metrics::Metrics;
use refusal::Refusal;
use settings::{Limits, Settings, Shutdown};
use version::VersionSource;

/// Pages of logs that are read at the same time: each takes about 4 MB, and others wait their turn.
const PAGES_AT_ONCE: usize = 4;

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
    let main = Listener { tcp, tls, base_path: settings.base_path, limits, shutdown };
    let probes = Listener {
        tcp: health_tcp,
        tls: None,
        base_path: settings::BasePath::default(),
        limits: Limits::default(),
        // Probes are answered until the main port is done.
        shutdown: Shutdown { drain: shutdown.drain + shutdown.grace, ..Shutdown::default() },
    };
    let (tell, seen) = watch::channel(None);
    let main_done = CancellationToken::new();
    let serve_main = async {
        main.serve(routes(&app), stop.clone()).await;
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
    tokio::join!(serve_main, serve_probes, tend_queues, look);
    Ok(())
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
        failed_logins: FailedLogins::new(settings.limits.failed_logins_per_minute),
        places: Semaphore::new(settings.limits.requests),
        page_turns: Semaphore::new(PAGES_AT_ONCE),
        api: Api::new(settings),
        client,
        metrics,
        stop,
    }))
}

/// Everything on the main port.
fn routes(app: &Shared) -> Router {
    contract::routes(app)
        .merge(api::routes(app))
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
    let words = "this path knows other methods";
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
