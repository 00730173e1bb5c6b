//! A network between the archive and a store: slow, or with connections that break off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

/// Bytes that go at once.
const PIECE: usize = 4096;

/// What the network does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    /// How long each piece takes.
    pub(crate) delay: Duration,
    /// Connections that break off before they go through.
    breaks: Arc<AtomicUsize>,
    /// Bytes of a request after which they do.
    after: usize,
}

impl Pace {
    pub(crate) fn slow(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    pub(crate) fn broken(times: usize, after: usize) -> Self {
        Self { breaks: Arc::new(AtomicUsize::new(times)), after, ..Self::default() }
    }

    /// Connections that are still to break off.
    pub(crate) fn left(&self) -> usize {
        self.breaks.load(Ordering::Relaxed)
    }

    fn allows(&self) -> Option<usize> {
        let one_less = |left: usize| left.checked_sub(1);
        let broken = self.breaks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        broken.is_ok().then_some(self.after)
    }
}

/// A network that ends with its test.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    _accepts: JoinSet<()>,
}

impl Link {
    pub(crate) async fn to(store: SocketAddr, pace: Pace) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepts = JoinSet::new();
        accepts.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((caller, _)) = listener.accept().await {
                connections.spawn(connect(caller, store, pace.clone()));
            }
        });
        Self { address, _accepts: accepts }
    }
}

async fn connect(caller: TcpStream, store: SocketAddr, pace: Pace) {
    let Ok(server) = TcpStream::connect(store).await else { return };
    let (from_caller, to_caller) = caller.into_split();
    let (from_server, to_server) = server.into_split();
    let allowed = pace.allows();
    tokio::select! {
        () = carry(from_caller, to_server, pace.delay, allowed) => {}
        () = carry(from_server, to_caller, pace.delay, None) => {}
    }
}

/// Carries bytes until there are no more, or no more are allowed.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    most: Option<usize>,
) {
    let (mut piece, mut carried) = ([0; PIECE], 0);
    while most.is_none_or(|most| carried < most) {
        let length = match from.read(&mut piece).await {
            Ok(length) if length > 0 => length,
            _ => return,
        };
        sleep(delay).await;
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
        carried += length;
    }
}
