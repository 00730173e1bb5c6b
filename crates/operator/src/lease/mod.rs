//! Leader election: of several replicas one acts, by a Lease of `coordination.k8s.io/v1`.
//!
//! ```text
//!             ┌──────────── other's, still good: look again in a second ◄──┐
//!             ▼                                                            │
//!   look ─► decide ─► write on the condition of what was read ─► held, renewed at a fifth ─► lost
//!             free, expired, absent                                 │
//!                                                                   └─► cancelled: vacated
//! ```
//!
//! What must hold, at the default of 15 seconds, counted from the start of a renewal:
//!
//! | After | |
//! | --- | --- |
//! | 3 s | the holder renews |
//! | 10 s | the holder no longer counts itself as one ([`Leadership::is_held`]) |
//! | 15 s, from when they saw the renewal | others may take over |
//! | at once | others may take over what was vacated |
//!
//! Who ends the work ([`Purpose::Retire`]) takes the Lease from its holder at once, and acts when that
//! one has stopped: it knows after 3 s, and does not act after 10 s in any case.
//!
//! The design is that of client-go's `leaderelection` and of kubert's lease: a write names the
//! resource version that was read, and no clock is compared with another host's.

mod decide;
mod leadership;

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock;
use decide::{Decision, Seen, Timing};
use leadership::Hold;

pub use leadership::Leadership;

/// Which Lease, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who we are: no two processes that live at the same time are called the same.
    pub identity: String,
    /// How long others wait after the last renewal, in whole seconds. Renewal and fence follow
    /// from it.
    pub duration: Duration,
    /// What it is wanted for.
    pub purpose: Purpose,
}

/// What a Lease is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To lead while no other replica does, and to hand over at the end.
    Lead,
    /// To end the work: it is taken from the leader, and left behind as [`RETIRED`], so that those
    /// that still run do not begin again while they are being removed.
    Retire,
}

/// Holder of a Lease whose work was ended ([`Purpose::Retire`]). No replica acts under that name.
pub const RETIRED: &str = "retired";
/// How long others leave it alone: about as long as it takes to remove them.
pub const RETIRED_FOR: Duration = Duration::from_mins(1);

/// A candidate for a Lease. It acts only while [`Lease::run`] is polled.
///
/// Its client needs the rights to get, create and update the Lease.
pub struct Lease {
    api: Api<LeaseObject>,
    settings: LeaseSettings,
    timing: Timing,
    hold: watch::Sender<Hold>,
    /// When the last renewal that succeeded began.
    renewed: Option<Instant>,
    /// Until then the former holder may not know that it lost the Lease.
    quiet_until: Option<Instant>,
    seen: Seen,
    /// The object in the API server. `None` when it does not exist, or may have changed.
    object: Option<LeaseObject>,
    /// What failed last, so that an outage is logged once.
    trouble: Option<String>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why a look or a write failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the API server gave no answer in {0:?}")]
    NoAnswer(Duration),
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl Error {
    /// True when somebody changed or made the Lease since the last look.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 409)
    }
}

impl Lease {
    /// A candidate that has not looked yet.
    #[must_use]
    pub fn new(client: Client, settings: LeaseSettings) -> Self {
        Self {
            api: Api::namespaced(client, &settings.namespace),
            timing: Timing { duration: settings.duration },
            settings,
            hold: watch::Sender::new(Hold::Lost),
            renewed: None,
            quiet_until: None,
            seen: Seen::nothing(Instant::now()),
            object: None,
            trouble: None,
        }
    }

    /// A handle that says whether this candidate leads.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        Leadership::new(self.hold.subscribe())
    }

    /// Takes the Lease and keeps it, for as long as that goes, again and again, until `cancel`.
    /// Then releases it, so that another candidate takes over within about a second.
    ///
    /// Cancel when the last write has been answered: the successor starts at once.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            let next = self.attempt().await;
            tokio::select! {
                () = cancel.cancelled() => break,
                () = sleep_until(next) => {}
            }
        }
        self.vacate().await;
    }

    /// One look and what follows from it, in bounded time. Returns when the next one is due.
    async fn attempt(&mut self) -> Instant {
        match self.in_time(Self::step).await {
            Ok(next) => {
                self.trouble = None;
                next
            }
            Err(error) => self.fail(&error),
        }
    }

    async fn in_time<T>(
        &mut self,
        call: impl AsyncFnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let limit = self.timing.attempt();
        timeout(limit, call(self)).await.unwrap_or(Err(Error::NoAnswer(limit)))
    }

    async fn step(&mut self) -> Result<Instant, Error> {
        // No other replica writes a Lease that we hold, so a renewal needs no read before it.
        if self.object.is_none() || !self.holds() {
            self.look().await?;
        }
        let (identity, now) = (&self.settings.identity, Instant::now());
        match self.seen.decide(identity, self.renewed, self.timing, now) {
            Decision::Wait(_) if self.may_take() => {
                self.quiet_until = self.seen.acts_until();
                self.write(Decision::Claim).await
            }
            Decision::Wait(until) => Ok(until),
            decision @ (Decision::Create | Decision::Claim | Decision::Renew) => {
                self.write(decision).await
            }
        }
    }

    /// Whether somebody else's Lease is ours to take.
    fn may_take(&self) -> bool {
        let holder = self.seen.holder();
        self.settings.purpose == Purpose::Retire && holder != Some(&self.settings.identity)
    }

    async fn look(&mut self) -> Result<(), Error> {
        let object = self.api.get_opt(&self.settings.name).await?;
        self.remember(object);
        let holder = self.seen.holder();
        if holder != Some(&self.settings.identity)
            && self.hold.send_replace(Hold::Lost) != Hold::Lost
        {
            tracing::warn!(holder, "the Lease went to another holder");
        }
        Ok(())
    }

    async fn write(&mut self, decision: Decision) -> Result<Instant, Error> {
        // The fence counts from before the write: others count from when they see it, which is later.
        let started = Instant::now();
        let lease = self.claim(decision);
        let post = PostParams::default();
        let written = match decision {
            Decision::Create => self.api.create(&post, &lease).await?,
            _ => self.api.replace(&self.settings.name, &post, &lease).await?,
        };
        self.remember(Some(written));
        self.renewed = Some(started);
        match self.quiet_until.filter(|until| started < *until) {
            Some(until) => Ok(until.min(started + self.timing.renewal())),
            None => Ok(self.lead(started)),
        }
    }

    fn lead(&mut self, started: Instant) -> Instant {
        if !self.holds() {
            tracing::info!(identity = self.settings.identity, "leading");
        }
        self.quiet_until = None;
        self.hold.send_replace(Hold::Until(started + self.timing.fence()));
        started + self.timing.renewal()
    }

    /// The Lease with us as its holder; everything else in it stays.
    fn claim(&self, decision: Decision) -> LeaseObject {
        let mut lease = self.object.clone().unwrap_or_else(|| self.new_object());
        let spec = lease.spec.get_or_insert_default();
        let now = MicroTime(clock::now());
        if decision != Decision::Renew {
            spec.acquire_time = Some(now.clone());
            let before = spec.lease_transitions.filter(|_| decision == Decision::Claim);
            spec.lease_transitions = Some(before.map_or(0, |count| count.saturating_add(1)));
        }
        spec.renew_time = Some(now);
        spec.holder_identity = Some(self.settings.identity.clone());
        spec.lease_duration_seconds = Some(whole_seconds(self.timing.duration));
        lease
    }

    fn new_object(&self) -> LeaseObject {
        let labels = [("app.kubernetes.io/managed-by".to_owned(), "ompipe".to_owned())];
        LeaseObject {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            spec: None,
        }
    }

    fn remember(&mut self, object: Option<LeaseObject>) {
        let nothing = LeaseSpec::default();
        let spec = object.as_ref().map(|object| object.spec.as_ref().unwrap_or(&nothing));
        self.seen.take_in(spec, self.timing.duration, Instant::now());
        self.object = object;
    }

    fn fail(&mut self, error: &Error) -> Instant {
        self.object = None;
        if error.is_conflict() {
            // The next read shows who it was.
            return Instant::now();
        }
        let trouble = error.to_string();
        if self.trouble.as_ref() != Some(&trouble) {
            let (namespace, lease) = (&self.settings.namespace, &self.settings.name);
            tracing::warn!(namespace, lease, error = trouble, "cannot take or renew the Lease");
        }
        self.trouble = Some(trouble);
        Instant::now() + self.timing.retry()
    }

    /// Lets go of the Lease, if it is ours. Where that fails, others wait for its duration.
    async fn vacate(mut self) {
        const TRIES: usize = 3;
        self.hold.send_replace(Hold::Lost);
        for _ in 0..TRIES {
            match self.in_time(Self::release).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "cannot release the Lease"),
            }
        }
    }

    async fn release(&mut self) -> Result<(), Error> {
        self.look().await?;
        let is_ours = self.seen.holder() == Some(&self.settings.identity);
        let Some(mut lease) = self.object.take().filter(|_| is_ours) else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        spec.renew_time = Some(MicroTime(clock::now()));
        let (holder, duration) = self.left_behind();
        (spec.holder_identity, spec.lease_duration_seconds) = (holder, Some(duration));
        self.api.replace(&self.settings.name, &PostParams::default(), &lease).await?;
        tracing::info!("released the Lease");
        Ok(())
    }

    /// Who holds the Lease after us, and for how many seconds. Candidates of other makes wait for
    /// the duration even where there is no holder.
    fn left_behind(&self) -> (Option<String>, i32) {
        match self.settings.purpose {
            Purpose::Lead => (None, 1),
            Purpose::Retire => (Some(RETIRED.to_owned()), whole_seconds(RETIRED_FOR)),
        }
    }

    fn holds(&self) -> bool {
        self.hold.borrow().stands(Instant::now())
    }
}

/// At least the duration: others may wait longer than we need, never shorter.
fn whole_seconds(duration: Duration) -> i32 {
    let rounded = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(rounded.max(1)).unwrap_or(i32::MAX)
}
