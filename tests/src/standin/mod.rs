//! A stand-in for the OpenMetadata server, for tests and the demo only.
//!
//! The real Python client takes it for the real thing: it stores what an ingestion finds, keeps the
//! status rows of runs, and writes down everything that happens. Unlike the real thing it can be
//! told to fail.
//!
//! ```text
//!   worker, ompipe                                            test, demo
//!        │  /api/v1, bearer token                                  │ Rust: until(…), add_…, inject(…)
//!        ▼                                                         │ HTTP: /standin/…
//!   ┌─ observe ────────────────────────────────────┐               │
//!   │  faults: status · delay · reset · hang       │               │
//!   │  ┌─ routes ───────────────────────────────┐  │               ▼
//!   │  │ entities · statuses · logs · lineage   │──┼─────▶ World { store, runs, logs, lineage,
//!   │  └────────────────────────────────────────┘  │               journal, faults }
//!   └───────────────── every request ──────────────┘                 └─ each change wakes `until`
//! ```
//!
//! What holds:
//! - There is one row a run: a write with a known run id replaces it, and the [journal](StatusWrite)
//!   keeps every write.
//! - A row that the models of OpenMetadata would refuse is refused with 400.
//! - A fault with `after_change` harms only the answer: the change is stored and in the journal.
//! - Nobody outside the machine can reach it: only loopback and private addresses are bound.

mod api_error;
mod clock;
mod collection;
mod entity;
mod fault;
mod glob;
mod journal;
mod lineage;
mod logs;
mod name;
mod observe;
mod routes;
mod search;
mod seed;
mod server;
mod shared;
mod status;
mod store;
mod world;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

pub use fault::{Effect, Fault};
pub use journal::{SeenRequest, StatusWrite};
pub use logs::RunLog;
pub use name::{InvalidName, fqn, quote};
pub use seed::PostgresConnection;
pub use status::PipelineState;
pub use store::Refused;
pub use world::World;

use crate::address::{NotLocal, require_local};
use shared::Shared;

/// The token that requests must carry unless another one is configured.
pub const DEFAULT_TOKEN: &str = "stand-in-token-of-the-ingestion-bot";

/// The version that the server says it has, that of the client it is tried with.
pub const DEFAULT_VERSION: &str = "1.12.14";

/// The stand-in could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address could be reached from outside.
    #[error(transparent)]
    NotLocal(#[from] NotLocal),
    /// The address cannot be had.
    #[error(
        "listen on {bind}: {source}; pass an address of this machine and a free port, or port 0"
    )]
    Listen {
        /// The address that was asked for.
        bind: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// No thread or no runtime.
    #[error("start the thread of the stand-in: {0}")]
    Thread(#[source] io::Error),
    /// Its own first entities were refused.
    #[error("store the first entities: {0}")]
    Seed(#[source] Refused),
}

/// What [`Standin::until`] waited for did not come.
#[derive(Debug, thiserror::Error)]
#[error("{what} was not seen within {limit:?}; the stand-in saw:\n{seen}")]
pub struct NotSeen {
    what: String,
    limit: Duration,
    seen: String,
}

/// How a stand-in is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Loopback or the address of the sandbox's bridge; port 0 picks a free one.
    pub bind: SocketAddr,
    /// The token that requests must carry.
    pub token: String,
    /// The version that the server says it has.
    pub version: String,
}

impl Options {
    /// The usual token and version.
    #[must_use]
    pub fn new(bind: SocketAddr) -> Self {
        Self { bind, token: DEFAULT_TOKEN.to_owned(), version: DEFAULT_VERSION.to_owned() }
    }
}

/// A running stand-in; dropping it stops it.
#[derive(Debug)]
pub struct Standin {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Standin {
    /// Starts a stand-in with the usual token and version.
    pub fn start(bind: SocketAddr) -> Result<Self, Error> {
        Self::start_with(Options::new(bind))
    }

    /// Starts a stand-in.
    pub fn start_with(options: Options) -> Result<Self, Error> {
        let Options { bind, token, version } = options;
        require_local(bind.ip())?;
        let listen = |source| Error::Listen { bind, source };
        let listener = TcpListener::bind(bind).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared::new(format!("http://{address}/api"), token, version));
        seed::connection_tests(&shared).map_err(Error::Seed)?;
        let thread = server::spawn(listener, Arc::clone(&shared)).map_err(Error::Thread)?;
        Ok(Self { shared, address, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `hostPort` of an OpenMetadata connection: `http://ip:port/api`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.base
    }

    /// The token that requests must carry.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.shared.token
    }

    /// Looks at everything at once, for what the accessors below do not answer.
    pub fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        self.shared.read(look)
    }

    /// Waits until `check` finds what it looks for, looking again after every change.
    ///
    /// # Errors
    /// After `limit`, with `what` and an account of what was seen instead.
    pub async fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut check: impl FnMut(&World) -> Option<T>,
    ) -> Result<T, NotSeen> {
        let mut changes = self.shared.changes();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = self.look(&mut check) {
                    return found;
                }
                // Cannot fail: `self` keeps the sender.
                let _ = changes.changed().await;
            }
        };
        tokio::time::timeout(limit, found).await.map_err(|_| self.not_seen(what, limit))
    }

    /// Waits until the stored row of a run has this state.
    pub async fn until_state(
        &self,
        fqn: &str,
        run_id: Uuid,
        state: PipelineState,
        limit: Duration,
    ) -> Result<(), NotSeen> {
        let what = format!("the state {state} of run {run_id} of {fqn}");
        self.until(&what, limit, |world| (world.state(fqn, run_id)? == state).then_some(())).await
    }

    fn not_seen(&self, what: &str, limit: Duration) -> NotSeen {
        NotSeen { what: what.to_owned(), limit, seen: self.look(ToString::to_string) }
    }

    /// The status writes of one run in order.
    #[must_use]
    pub fn status_history(&self, fqn: &str, run_id: Uuid) -> Vec<StatusWrite> {
        self.look(|world| world.status_history(fqn, run_id).into_iter().cloned().collect())
    }

    /// The states that were written for one run in order.
    #[must_use]
    pub fn states(&self, fqn: &str, run_id: Uuid) -> Vec<PipelineState> {
        self.look(|world| world.states(fqn, run_id))
    }

    /// The stored rows of a pipeline, one a run, in the order in which the runs became known.
    #[must_use]
    pub fn rows(&self, fqn: &str) -> Vec<Value> {
        self.look(|world| world.rows(fqn).into_iter().cloned().collect())
    }

    /// The stored row of a run.
    #[must_use]
    pub fn row(&self, fqn: &str, run_id: Uuid) -> Option<Value> {
        self.look(|world| world.row(fqn, run_id).cloned())
    }

    /// FQNs of all tables and views, without deleted ones.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        self.look(|world| world.tables().into_iter().map(str::to_owned).collect())
    }

    /// The requests to the API in the order in which they ended, the last 10,000 of them.
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.look(|world| world.requests().cloned().collect())
    }

    /// The log that a run streamed.
    #[must_use]
    pub fn log(&self, fqn: &str, run_id: Uuid) -> Option<RunLog> {
        self.look(|world| world.log(fqn, run_id).cloned())
    }

    /// Plays another version from now on: rows may hold what the server of that release line knows.
    pub fn play(&self, version: &str) {
        self.shared.play(version);
    }

    /// Arms a fault; of several that match a request, the one that was injected first hits.
    pub fn inject(&self, fault: Fault) {
        self.shared.write(|world| world.faults.inject(fault, clock::now_ms()));
    }

    /// Disarms all faults. A request that hangs already goes on hanging.
    pub fn clear_faults(&self) {
        self.shared.write(|world| world.faults.clear());
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the server thread was printed when it happened.
            let _ = thread.join();
        }
    }
}
