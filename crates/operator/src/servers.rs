//! The `OpenMetadata` servers that are reported to: each with a few places, and a memory of not
//! answering, so that a dead one costs the reports to others nothing.
//!
//! ```text
//!            ┌───────── an answer ─────────┐
//!  answers ──┴─► none ─► down for a moment ┴─► one tries ─► none ─► down for a moment …
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ompipe_core::shares::{Share, Shares};
use ompipe_openmetadata::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Servers that are remembered; beyond it, servers without waiting reports are forgotten. A run's config names them.
const MOST_SERVERS: usize = 256;
/// Reports of one namespace that wait for a server, or for its answer. Who may create runs there names
/// as many servers as they like.
const OF_NAMESPACE: usize = 16;
/// Reports to one server that go on at the same time.
const PLACES: usize = 8;
/// Time for one report, which may be four calls.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a server that did not answer is left alone: less than the time between two tries.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a server has to refuse a report, and how often, before it is taken to refuse for good.
const REFUSED_FOR: Duration = Duration::from_mins(2);
const REFUSALS: u32 = 3;

/// Why a report was not tried, or not to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Busy {
    #[error("OpenMetadata at {0} did not answer a moment ago")]
    Down(String),
    #[error("OpenMetadata at {0} did not answer in {seconds} seconds", seconds = LIMIT.as_secs())]
    Slow(String),
    #[error("{OF_NAMESPACE} other reports of namespace {0} wait for their servers")]
    Share(String),
}

/// Every server that was reported to.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    known: Arc<Mutex<Known>>,
    /// How many reports of each namespace go on.
    shares: Arc<Shares<String>>,
}

impl Default for Servers {
    fn default() -> Self {
        Self { known: Arc::default(), shares: Shares::new(OF_NAMESPACE) }
    }
}

#[derive(Debug, Default)]
struct Known {
    servers: HashMap<String, Arc<Server>>,
    /// The server of a run that could not be reported, by the UID of its object.
    waiting: HashMap<String, Arc<Server>>,
    /// Refused reports, by the UID of the run's object. A new leader counts anew.
    refused: HashMap<String, Refused>,
}

/// How long and how often the report of a run has been refused.
#[derive(Debug)]
struct Refused {
    since: Instant,
    times: u32,
}

#[derive(Debug)]
struct Server {
    name: String,
    places: Arc<Semaphore>,
    health: Mutex<Health>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Answers,
    Down(Instant),
    /// One report tries whether it answers again.
    Tried,
}

/// A run that is to be reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunOf<'r> {
    /// UID of its object.
    pub(crate) uid: &'r str,
    pub(crate) namespace: &'r str,
}

/// A place, to be used for one report.
#[derive(Debug)]
pub(crate) struct Turn {
    known: Servers,
    run: String,
    server: Arc<Server>,
    _place: OwnedSemaphorePermit,
    _share: Share<String>,
    /// What becomes of the server if this ends without an answer.
    health: Health,
}

impl Servers {
    /// Waits for a place at a server.
    ///
    /// # Errors
    /// When it does not answer these days, or too many of that namespace wait already.
    pub(crate) async fn turn(&self, run: RunOf<'_>, name: &str) -> Result<Turn, Busy> {
        let RunOf { uid: run, namespace } = run;
        let server = self.server(name);
        lock(&self.known).waiting.insert(run.to_owned(), Arc::clone(&server));
        let down = || Busy::Down(server.name.clone());
        if server.is_down() {
            return Err(down());
        }
        let share = self.shares.take(&namespace.to_owned());
        let share = share.ok_or_else(|| Busy::Share(namespace.to_owned()))?;
        // The semaphore is never closed.
        let place = Arc::clone(&server.places).acquire_owned().await.map_err(|_| down())?;
        if !server.begin() {
            return Err(down());
        }
        let health = Health::Down(Instant::now() + PAUSE);
        Ok(Turn {
            known: self.clone(),
            run: run.to_owned(),
            server,
            _place: place,
            _share: share,
            health,
        })
    }

    /// True when a try to report that run would fail without a call, so that it is not worth even
    /// the preparations.
    pub(crate) fn is_down_for(&self, run: &str) -> bool {
        lock(&self.known).waiting.get(run).is_some_and(|server| server.is_down())
    }

    /// True when a run was tried to be reported, and not with success.
    pub(crate) fn is_waited_for_by(&self, run: &str) -> bool {
        lock(&self.known).waiting.contains_key(run)
    }

    /// Counts a refusal of a run's report; true once there are enough, over minutes.
    pub(crate) fn refuses_for_good(&self, run: &str) -> bool {
        let now = Instant::now();
        let mut known = lock(&self.known);
        let refused = known.refused.entry(run.to_owned());
        let refused = refused.or_insert(Refused { since: now, times: 0 });
        refused.times = refused.times.saturating_add(1);
        refused.times >= REFUSALS && now.duration_since(refused.since) >= REFUSED_FOR
    }

    /// Forgets a run that is reported or gone.
    pub(crate) fn forget(&self, run: &str) {
        let mut known = lock(&self.known);
        known.waiting.remove(run);
        known.refused.remove(run);
    }

    fn server(&self, name: &str) -> Arc<Server> {
        let mut known = lock(&self.known);
        if known.servers.len() >= MOST_SERVERS {
            // No report waits for them, so only their recent state is lost.
            known.servers.retain(|_, server| Arc::strong_count(server) > 1);
        }
        let known = known.servers.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Server {
                name: name.to_owned(),
                places: Arc::new(Semaphore::new(PLACES)),
                health: Mutex::new(Health::Answers),
            })
        });
        Arc::clone(known)
    }
}

impl Server {
    fn is_down(&self) -> bool {
        match *lock(&self.health) {
            Health::Answers => false,
            Health::Down(until) => Instant::now() < until,
            Health::Tried => true,
        }
    }

    /// True when a call may begin.
    fn begin(&self) -> bool {
        let mut health = lock(&self.health);
        match *health {
            Health::Answers => true,
            Health::Down(until) if Instant::now() >= until => {
                *health = Health::Tried;
                true
            }
            Health::Down(_) | Health::Tried => false,
        }
    }
}

impl Turn {
    /// Makes the call, and learns from it.
    ///
    /// # Errors
    /// When it takes too long. The call's own error is in the answer.
    pub(crate) async fn call<T>(
        mut self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<Result<T, Error>, Busy> {
        let outcome = timeout(LIMIT, call).await;
        self.health = match &outcome {
            Ok(answer) if !answer.as_ref().is_err_and(Error::is_outage) => Health::Answers,
            _ => Health::Down(Instant::now() + PAUSE),
        };
        if matches!(outcome, Ok(Ok(_))) {
            self.known.forget(&self.run);
        }
        outcome.map_err(|_| Busy::Slow(self.server.name.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&self.server.health) = self.health;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked did so between two whole changes.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::FutureExt;
    use tokio::time::advance;

    use super::*;

    const fn of(uid: &str) -> RunOf<'_> {
        RunOf { uid, namespace: "tenant" }
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_hang_hold_the_share_of_their_namespace_and_no_more() {
        let servers = Servers::default();
        let mut turns = Vec::new();
        for number in 0..OF_NAMESPACE {
            turns.push(servers.turn(of("run"), &format!("tarpit-{number}")).await.unwrap());
        }
        let more = servers.turn(of("run"), "another-tarpit").now_or_never().unwrap();
        assert!(matches!(more, Err(Busy::Share(_))));
        let other = RunOf { uid: "other", namespace: "other" };
        assert!(servers.turn(other, "alive").now_or_never().unwrap().is_ok());
        turns.pop();
        assert!(servers.turn(of("run"), "another-tarpit").now_or_never().unwrap().is_ok());
    }

    fn unreachable() -> Result<(), Error> {
        Err(Error::Unreachable { url: "u".to_owned(), reason: "refused".to_owned() })
    }

    async fn fails(servers: &Servers, name: &str) {
        let turn = servers.turn(of("run"), name).await.unwrap();
        turn.call(async { unreachable() }).await.unwrap().unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_server_is_left_alone_for_a_moment_and_then_tried_once() {
        let servers = Servers::default();
        fails(&servers, "dead").await;
        assert!(servers.is_down_for("run"));
        assert!(matches!(servers.turn(of("run"), "dead").await, Err(Busy::Down(_))));
        advance(PAUSE).await;
        assert!(!servers.is_down_for("run"));
        let trial = servers.turn(of("run"), "dead").await.unwrap();
        assert!(matches!(servers.turn(of("other"), "dead").await, Err(Busy::Down(_))));
        trial.call(async { Ok(()) }).await.unwrap().unwrap();
        assert!(servers.turn(of("other"), "dead").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_server_costs_the_others_nothing() {
        let servers = Servers::default();
        fails(&servers, "dead").await;
        assert!(servers.turn(of("run"), "alive").now_or_never().unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_server_is_given_up_and_those_that_waited_do_not_hang() {
        let servers = Servers::default();
        let mut turns = Vec::new();
        for _ in 0..PLACES {
            turns.push(servers.turn(of("run"), "slow").await.unwrap());
        }
        let mut waiting = std::pin::pin!(servers.turn(of("other"), "slow"));
        assert!(waiting.as_mut().now_or_never().is_none(), "there is one place more");
        let hangs = turns.pop().unwrap().call(pending::<Result<(), Error>>());
        assert!(matches!(hangs.await, Err(Busy::Slow(_))));
        assert!(matches!(waiting.await, Err(Busy::Down(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_once_it_was_repeated_over_minutes() {
        let servers = Servers::default();
        let refused = [Duration::ZERO, PAUSE, REFUSED_FOR, PAUSE].map(async |pause| {
            advance(pause).await;
            servers.refuses_for_good("run")
        });
        let mut answers = Vec::new();
        for one in refused {
            answers.push(one.await);
        }
        assert_eq!(answers, [false, false, true, true]);
        servers.forget("run");
        assert!(!servers.refuses_for_good("run"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_answers_in_place_of_the_server_is_an_outage() {
        let servers = Servers::default();
        for (status, is_down) in [(404, true), (200, true), (308, true), (413, false)] {
            advance(PAUSE).await;
            let status = reqwest::StatusCode::from_u16(status).unwrap();
            let foreign = Error::Foreign { status, url: "u".to_owned(), location: None };
            let turn = servers.turn(of("run"), "s").await.unwrap();
            turn.call(async { Err::<(), _>(foreign) }).await.unwrap().unwrap_err();
            assert_eq!(servers.is_down_for("run"), is_down, "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_nobody_waits_for_are_forgotten() {
        let servers = Servers::default();
        let waiting = servers.turn(of("waiting"), "kept").await.unwrap();
        for number in 0..10 * MOST_SERVERS {
            drop(servers.turn(of("run"), &format!("server-{number}")).await.unwrap());
        }
        let known = lock(&servers.known).servers.len();
        assert!(known <= MOST_SERVERS + 1, "{known} are remembered");
        assert!(lock(&servers.known).servers.contains_key("kept"));
        drop(waiting);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_answer() {
        let servers = Servers::default();
        let refused = Error::Unauthorized(reqwest::StatusCode::UNAUTHORIZED);
        let turn = servers.turn(of("run"), "alive").await.unwrap();
        turn.call(async { Err::<(), _>(refused) }).await.unwrap().unwrap_err();
        assert!(!servers.is_down_for("run"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_dropped_does_not_close_the_server_for_ever() {
        let servers = Servers::default();
        fails(&servers, "dead").await;
        advance(PAUSE).await;
        drop(servers.turn(of("run"), "dead").await.unwrap());
        advance(PAUSE).await;
        assert!(servers.turn(of("run"), "dead").await.is_ok());
    }
}
