//! Whether this replica can do its work, from what others noted here: no question is asked when a
//! probe comes, so that probes never pile up behind an API server that hangs.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::lease::Leadership;

/// Time from one question to the API server to the next.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Time for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer counts: two questions may be lost.
const ANSWER_COUNTS: Duration = Duration::from_secs(15);

/// A handle on the health of this replica. Cheap to clone; others note in it what they know.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    leadership: Leadership,
    caches_synced: AtomicBool,
    stopping: AtomicBool,
    api: Mutex<Api>,
}

/// What is known of the API server.
struct Api {
    answered: Option<Instant>,
    failure: Option<String>,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// This replica.
    Leader,
    /// Another one.
    Follower,
}

/// Whether this replica is ready. A follower is when it could take over at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// All is well.
    pub ready: bool,
    /// Who acts.
    pub role: Role,
    /// The first lists of all watches are in.
    pub caches_synced: bool,
    /// The API server answers.
    pub api_reachable: bool,
    /// What keeps it from being ready.
    pub reasons: Vec<String>,
}

impl Health {
    /// The health of a replica that has just started.
    #[must_use]
    pub fn new(leadership: Leadership) -> Self {
        let api = Mutex::new(Api { answered: None, failure: None });
        let (caches_synced, stopping) = (AtomicBool::default(), AtomicBool::default());
        Self { inner: Arc::new(Inner { leadership, caches_synced, stopping, api }) }
    }

    /// The first lists of all watches are in.
    pub fn caches_synced(&self) {
        self.inner.caches_synced.store(true, Ordering::Relaxed);
    }

    /// The replica is about to end.
    pub fn stopping(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
    }

    /// The API server answered, or did not, for that reason.
    pub fn api_asked(&self, answer: Result<(), String>) {
        let mut api = self.api();
        match answer {
            Ok(()) => *api = Api { answered: Some(Instant::now()), failure: None },
            Err(reason) => api.failure = Some(reason),
        }
    }

    /// How it stands now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let is_leader = self.inner.leadership.is_held();
        let caches_synced = self.inner.caches_synced.load(Ordering::Relaxed);
        let stopping = self.inner.stopping.load(Ordering::Relaxed);
        let api_trouble = self.api().trouble(Instant::now());
        let api_reachable = api_trouble.is_none();
        let syncing = (!caches_synced).then(|| "the caches are not synced yet".to_owned());
        let stopping = stopping.then(|| "it is shutting down".to_owned());
        let reasons: Vec<String> = [api_trouble, syncing, stopping].into_iter().flatten().collect();
        Readiness {
            ready: reasons.is_empty(),
            role: if is_leader { Role::Leader } else { Role::Follower },
            caches_synced,
            api_reachable,
            reasons,
        }
    }

    /// Asks the API server for a sign of life again and again, until `cancel`.
    pub async fn watch_api(self, client: Client, cancel: CancellationToken) {
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ask = async {
            loop {
                ticks.tick().await;
                self.api_asked(ask(&client).await);
            }
        };
        cancel.run_until_cancelled(ask).await.unwrap_or(());
    }

    /// A panic elsewhere does not make the health unknown.
    fn api(&self) -> std::sync::MutexGuard<'_, Api> {
        self.inner.api.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Api {
    fn trouble(&self, now: Instant) -> Option<String> {
        if let Some(failure) = &self.failure {
            return Some(format!("the API server does not answer: {failure}"));
        }
        match self.answered {
            Some(answered) if now < answered + ANSWER_COUNTS => None,
            Some(_) => Some("the API server has stopped answering".to_owned()),
            None => Some("the API server has not answered yet".to_owned()),
        }
    }
}

async fn ask(client: &Client) -> Result<(), String> {
    match timeout(ANSWER_TIMEOUT, client.apiserver_version()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("nothing came within {} seconds", ANSWER_TIMEOUT.as_secs())),
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(&self.readiness()).finish()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tokio::time::advance;

    use super::*;

    fn ready() -> Health {
        let health = Health::new(Leadership::without_election());
        health.caches_synced();
        health.api_asked(Ok(()));
        health
    }

    #[rstest]
    #[case(|_: &Health| {}, &[])]
    #[case(
        |health: &Health| health.api_asked(Err("connection refused".to_owned())),
        &["the API server does not answer: connection refused"]
    )]
    #[case(|health: &Health| health.stopping(), &["it is shutting down"])]
    #[tokio::test(start_paused = true)]
    async fn reasons(#[case] happen: fn(&Health), #[case] expected: &[&str]) {
        let health = ready();
        happen(&health);
        let readiness = health.readiness();
        assert_eq!(readiness.reasons, expected);
        assert_eq!(readiness.ready, expected.is_empty());
    }

    #[tokio::test]
    async fn at_first_nothing_is_known() {
        let readiness = Health::new(Leadership::without_election()).readiness();
        let expected = ["the API server has not answered yet", "the caches are not synced yet"];
        assert_eq!(readiness.reasons, expected);
        assert!(!readiness.ready && !readiness.caches_synced && !readiness.api_reachable);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_answer_counts_no_more() {
        let health = ready();
        advance(ANSWER_COUNTS).await;
        let readiness = health.readiness();
        assert_eq!(readiness.reasons, ["the API server has stopped answering"]);
        health.api_asked(Ok(()));
        assert!(health.readiness().ready);
    }
}
