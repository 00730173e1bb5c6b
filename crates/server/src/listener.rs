//! Connections: TCP or TLS, HTTP/1.1 and 2, bounded in number and time, ended in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::dawdling::{Answering, Dawdling};
use crate::settings::{BasePath, Limits, Shutdown};
use crate::target;

/// Time to bring a TLS connection about.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request. The Java client keeps one for all its calls
/// and takes a closed one for a failed POST (wire §5), so it is long.
const IDLE_TIMEOUT: Duration = Duration::from_mins(30);
/// Bytes of a request's line and headers together.
const MAX_HEADERS: u16 = u16::MAX;
/// Requests at once on one connection of HTTP/2.
const MAX_STREAMS: u32 = 128;
/// Pause after a connection could not be taken, for instance for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// How connections are taken.
pub(crate) struct Listener {
    pub(crate) tcp: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) base_path: BasePath,
    pub(crate) limits: Limits,
    pub(crate) shutdown: Shutdown,
}

/// A connection that was taken.
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// Serves until `stop`; then for the time of the drain with `Connection: close` (which `routes`
    /// add), then what is under way.
    pub(crate) async fn serve(self, routes: Router, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
        let mut drained = std::pin::pin!(async {
            stop.cancelled().await;
            tokio::time::sleep(self.shutdown.drain).await;
        });
        loop {
            tokio::select! {
                () = &mut drained => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                taken = self.take(&places) => if let Some(connection) = taken {
                    let watcher = graceful.watcher();
                    let (tls, routes) = (self.tls.clone(), self.routes_for(&routes, &connection));
                    connections.spawn(connection.serve(tls, routes, watcher));
                }
            }
        }
        if timeout(self.shutdown.grace, graceful.shutdown()).await.is_err() {
            warn!("requests did not end within the grace period");
        }
    }

    async fn take(&self, places: &Arc<Semaphore>) -> Option<Connection> {
        let (stream, peer) = match self.tcp.accept().await {
            Ok(taken) => taken,
            Err(error) => {
                warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
                return None;
            }
        };
        let place = Arc::clone(places).try_acquire_owned();
        let place =
            place.inspect_err(|_| warn!(%peer, "too many connections: one is closed")).ok()?;
        // Answers are small and waited for.
        stream.set_nodelay(true).ok()?;
        Some(Connection { stream, peer, _place: place })
    }

    fn routes_for(&self, routes: &Router, connection: &Connection) -> Routes {
        Routes { all: routes.clone(), base_path: self.base_path.clone(), peer: connection.peer }
    }
}

/// The routes, for the requests of one connection.
#[derive(Clone)]
struct Routes {
    all: Router,
    base_path: BasePath,
    peer: SocketAddr,
}

impl Routes {
    fn prepare<B>(&self, mut request: Request<B>) -> Request<B> {
        let uri = target::below(&self.base_path, request.uri());
        *request.uri_mut() = uri;
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request
    }
}

impl Connection {
    async fn serve(
        self,
        tls: Option<TlsAcceptor>,
        routes: Routes,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        let Self { stream, peer, _place } = self;
        match tls {
            None => speak(stream, peer, routes, watcher).await,
            Some(tls) => match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => speak(stream, peer, routes, watcher).await,
                Ok(Err(error)) => debug!(%peer, %error, "no TLS came about"),
                Err(_) => debug!(%peer, "TLS took too long"),
            },
        }
    }
}

/// HTTP on one connection, to its end.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    peer: SocketAddr,
    routes: Routes,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let answering = Answering::default();
    let stream = Dawdling::new(stream, answering.clone());
    let answered = answering.clone();
    let service = routes
        .all
        .clone()
        .map_request(move |request: Request<_>| {
            answering.begin();
            routes.prepare(request).map(Body::new)
        })
        .map_response(move |response| {
            answered.end();
            response
        });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
    builder.http1().max_buf_size(MAX_HEADERS.into());
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    builder.http2().max_header_list_size(MAX_HEADERS.into());
    builder.http2().keep_alive_interval(Some(Duration::from_mins(1)));
    let service = TowerToHyperService::new(service);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        debug!(%peer, %error, "a connection ended early");
    }
}
