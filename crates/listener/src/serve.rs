//! A port that takes connections and answers requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};
use tracing::{debug, warn};

use crate::activity::Activity;
use crate::head_timeout::{HeadTimeout, IDLE_TIMEOUT};
use crate::places::{Place, Places};
use crate::write_timeout::{WRITE_TIMEOUT, WriteTimeout};
use crate::{Limits, Shutdown};

/// Time to bring a TLS connection about.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's line and headers together.
const MAX_HEADERS: u16 = u16::MAX;
/// Requests at once on one connection of HTTP/2.
const MAX_STREAMS: u32 = 128;
/// Pause after a connection could not be taken, for instance for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);
/// Least time from one line in the log about closed connections to the next.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A port, and how connections are taken on it.
pub struct Listener {
    /// The port.
    pub tcp: TcpListener,
    /// How TLS is spoken; `None` is plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// Its bounds.
    pub limits: Limits,
    /// How it ends.
    pub shutdown: Shutdown,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

impl Listener {
    /// Serves until `stop`; then for the time of the drain, then what is under way. Every request
    /// has the extensions `ConnectInfo<SocketAddr>` and [`crate::Caller`].
    pub async fn serve<S>(self, service: S, stop: CancellationToken)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let mut refusals = Refusals::default();
        let places = Places::new(self.limits.connections);
        let (graceful, mut connections) = (GracefulShutdown::new(), JoinSet::new());
        let mut drained = std::pin::pin!(async {
            stop.cancelled().await;
            tokio::time::sleep(self.shutdown.drain).await;
        });
        loop {
            tokio::select! {
                () = &mut drained => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                taken = self.take(&places, &mut refusals) => if let Some(connection) = taken {
                    let (tls, watcher) = (self.tls.clone(), graceful.watcher());
                    connections.spawn(connection.serve(tls, service.clone(), watcher));
                }
            }
        }
        if timeout(self.shutdown.grace, graceful.shutdown()).await.is_err() {
            warn!("requests did not end within the grace period");
        }
    }

    async fn take(&self, places: &Places, refusals: &mut Refusals) -> Option<Connection> {
        let (stream, peer) = match self.tcp.accept().await {
            Ok(taken) => taken,
            Err(error) => {
                warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
                return None;
            }
        };
        let Some(place) = places.take(peer.ip()) else {
            refusals.one_more(peer);
            return None;
        };
        // Answers are small and waited for.
        stream.set_nodelay(true).ok()?;
        Some(Connection { stream, peer, header_timeout: self.limits.header_timeout, place })
    }
}

/// Connections that were closed at once: logged now and then, with their number, so that who opens
/// many does not fill the log.
#[derive(Default)]
struct Refusals {
    count: u64,
    told: Option<Instant>,
}

impl Refusals {
    fn one_more(&mut self, peer: SocketAddr) {
        self.count = self.count.saturating_add(1);
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            warn!(%peer, count = self.count, "too many connections: new ones are closed");
            *self = Self { count: 0, told: Some(Instant::now()) };
        }
    }
}

/// A connection that was taken.
struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    header_timeout: Duration,
    place: Place,
}

impl Connection {
    async fn serve<S>(self, tls: Option<TlsAcceptor>, service: S, watcher: Watcher)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let Self { stream, peer, header_timeout, place } = self;
        let spoken = Spoken { peer, header_timeout, activity: place.activity.clone(), watcher };
        let work = async {
            match tls {
                None => spoken.serve(stream, service).await,
                Some(tls) => match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => spoken.serve(stream, service).await,
                    Ok(Err(error)) => debug!(%peer, %error, "the TLS handshake failed"),
                    Err(_) => debug!(%peer, "the TLS handshake took too long"),
                },
            }
        };
        tokio::select! {
            () = work => {}
            () = place.stop.cancelled() => debug!(%peer, "a connection gives way to another"),
        }
    }
}

/// HTTP on one connection.
struct Spoken {
    peer: SocketAddr,
    header_timeout: Duration,
    activity: Activity,
    watcher: Watcher,
}

impl Spoken {
    /// Answers every request, to the end of the connection.
    async fn serve<S>(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let Self { peer, header_timeout, activity, watcher } = self;
        let stream = WriteTimeout::new(stream, WRITE_TIMEOUT);
        let stream = HeadTimeout::new(stream, activity.clone(), header_timeout);
        let answer = tower::service_fn(move |request: Request<hyper::body::Incoming>| {
            let under_way = activity.begin(request.version());
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(activity.caller());
            let answer = service.clone().oneshot(request);
            async move { answer.await.map(|answer| under_way.until_the_end_of(answer)) }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        // The Java client keeps one connection for all its calls and takes a closed one for a failed
        // POST, so a connection may wait for long.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
        builder.http1().max_buf_size(MAX_HEADERS.into());
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
        builder.http2().max_header_list_size(MAX_HEADERS.into());
        builder.http2().keep_alive_interval(Some(Duration::from_mins(1)));
        let service = TowerToHyperService::new(answer);
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            debug!(%peer, %error, "a connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::net::IpAddr;

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    struct Running {
        address: SocketAddr,
        stop: CancellationToken,
        serving: JoinSet<()>,
    }

    impl Running {
        async fn start(connections: usize, header_timeout: Duration) -> Self {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = tcp.local_addr().unwrap();
            let limits = Limits { connections, header_timeout };
            let shutdown = Shutdown { drain: Duration::ZERO, grace: Duration::from_secs(1) };
            let listener = Listener { tcp, tls: None, limits, shutdown };
            let routes = Router::new().route("/", get(async || "hello"));
            let (stop, mut serving) = (CancellationToken::new(), JoinSet::new());
            serving.spawn(listener.serve(routes, stop.clone()));
            Self { address, stop, serving }
        }

        /// A connection from one of the addresses of loopback.
        async fn connect(&self, from: u8) -> TcpStream {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((IpAddr::from([127, 0, 0, from]), 0).into()).unwrap();
            socket.connect(self.address).await.unwrap()
        }

        async fn ask(&self, from: u8) -> String {
            let mut stream = self.connect(from).await;
            exchange(&mut stream).await
        }

        async fn end(mut self) {
            self.stop.cancel();
            timeout(Duration::from_secs(10), self.serving.join_next()).await.unwrap();
        }
    }

    async fn exchange(stream: &mut TcpStream) -> String {
        stream.write_all(REQUEST).await.unwrap();
        let mut text = [0; 1024];
        let length = stream.read(&mut text).await.unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[tokio::test]
    async fn two_thousand_connections_of_one_peer_do_not_slow_another_down() {
        let running = Running::start(64, Duration::from_mins(10)).await;
        let mut hostile = VecDeque::new();
        for number in 0..2_000_u32 {
            let mut stream = running.connect(2).await;
            if number % 2 == 0 {
                // Its connection may be closed already.
                drop(stream.write_all(b"PRI").await);
            }
            hostile.push_back(stream);
            if hostile.len() > 400 {
                // This process may have few files open.
                hostile.pop_front();
            }
        }
        let mut times = Vec::new();
        for _ in 0..100 {
            let begin = Instant::now();
            assert!(running.ask(3).await.starts_with("HTTP/1.1 200"));
            times.push(begin.elapsed());
        }
        times.sort();
        assert!(times[98] < Duration::from_secs(1), "{times:?}");
        drop(hostile);
        running.end().await;
    }

    #[tokio::test]
    async fn a_connection_without_a_request_ends_and_one_between_requests_does_not() {
        let running = Running::start(8, Duration::from_millis(200)).await;
        let mut kept = running.connect(1).await;
        assert!(exchange(&mut kept).await.starts_with("HTTP/1.1 200"));
        for said in [&b""[..], b"PRI", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n"] {
            let mut silent = running.connect(2).await;
            silent.write_all(said).await.unwrap();
            let mut rest = Vec::new();
            // What HTTP/2 says first may come before the end.
            let end = timeout(Duration::from_secs(20), silent.read_to_end(&mut rest)).await;
            assert!(end.is_ok(), "{said:?} is kept");
        }
        assert!(exchange(&mut kept).await.starts_with("HTTP/1.1 200"));
        running.end().await;
    }
}
