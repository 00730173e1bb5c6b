//! Archives the logs and records of runs, where `LOGS_ARCHIVE_URL` says so.
//!
//! ```text
//!  caches of pods ──every second──► which pods are followed ──► follower, one for each ──► store
//!  finalizers of pods ──may they go?──► once the log is stored, or ten minutes after that was asked
//!  finalizers of runs ──before they go──► record ──► store
//! ```
//!
//! It stands beside the controllers: no report waits for it, and what it knows is in the store and in
//! the cluster. Only the leader archives.

mod bound;
mod follower;
mod lines;
mod records;
mod source;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use ompipe_archive::{Archive, Keep};
use ompipe_core::archive::{RunFolder, Stage, pipeline_folder};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::context::Context;
use crate::jobs::Reporter;
pub(crate) use records::{Captured, RunObject};
use source::{LogOf, Place};

/// How often the caches are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a finalizer waits for the archive.
const PATIENCE: Duration = Duration::from_mins(10);
/// Logs that are followed at once; what they hold is memory.
const FOLLOWED: usize = 512;
/// Records that may wait to be stored.
const RECORDS: usize = 1024;
/// How long the end of this process waits for records.
const FAREWELL: Duration = Duration::from_secs(5);
/// Places for records that are being stored.
const RECORDING: usize = 64;
/// How often pods that are gone are forgotten.
const FORGET: Duration = Duration::from_mins(1);
/// How often what is too old is looked for.
const SWEEP: Duration = Duration::from_hours(1);
/// How often records are put into lists.
const COMPACT: Duration = Duration::from_mins(1);

/// How logs and records are archived.
#[derive(Clone, Debug)]
pub(crate) struct Archiving {
    pub(crate) archive: Archive,
    pub(crate) keep: Keep,
    /// Whether the secrets of a run are masked in its log.
    pub(crate) redact: bool,
    /// Most bytes of a run's log; `None` for any number.
    pub(crate) most_per_run: Option<u64>,
    /// Most bytes of all logs; `None` for any number.
    pub(crate) most: Option<u64>,
}

/// What the controllers ask and tell.
#[derive(Debug)]
pub(crate) struct Archiver {
    archiving: Archiving,
    state: Mutex<State>,
    records: mpsc::Sender<Captured>,
    /// Two records of a run are not stored at the same time: each holds the place of its run.
    recording: Vec<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// UIDs of the pods whose logs are stored, or never will be.
    done: HashSet<String>,
    /// Logs that are followed: the owner's UID and the stage, and its namespace.
    followed: HashMap<(String, Stage), String>,
    /// UIDs of pods that were to be released, and since when.
    held: HashMap<String, Instant>,
}

impl Archiver {
    /// The archiver, and what [`run`] needs.
    pub(crate) fn new(archiving: Archiving) -> (Arc<Self>, mpsc::Receiver<Captured>) {
        let (records, waiting) = mpsc::channel(RECORDS);
        let recording = std::iter::repeat_with(tokio::sync::Mutex::default).take(RECORDING);
        let (state, recording) = (Mutex::default(), recording.collect());
        (Arc::new(Self { archiving, state, records, recording }), waiting)
    }

    /// Whether a pod's finalizer may go: once its log is stored, or when that has taken too long. It
    /// is asked for again when that changes.
    pub(crate) fn may_release(&self, pod_uid: &str) -> bool {
        let mut state = self.lock();
        if state.done.contains(pod_uid) {
            state.held.remove(pod_uid);
            return true;
        }
        let since = *state.held.entry(pod_uid.to_owned()).or_insert_with(Instant::now);
        since.elapsed() >= PATIENCE
    }

    /// Where the log of a run is archived, for people.
    pub(crate) fn log_place(&self, namespace: &str, pipeline: &str, run: RunFolder) -> String {
        let url = self.archiving.archive.url().trim_end_matches('/');
        let folder = pipeline_folder(namespace, pipeline);
        format!("{url}/{folder}/{run}/{}", Stage::Main.as_str())
    }

    /// Logs that are archived now.
    pub(crate) fn followed(&self) -> usize {
        self.lock().followed.len()
    }

    fn finish(&self, log: &LogOf) {
        let mut state = self.lock();
        state.done.insert(log.uid.clone());
        state.followed.remove(&log.key());
    }

    fn give_back(&self, log: &LogOf) {
        self.lock().followed.remove(&log.key());
    }

    /// How often an unfinished page is renewed: less often when many are open.
    fn renewal(&self) -> Duration {
        const EACH: Duration = Duration::from_millis(50);
        const LEAST: Duration = Duration::from_secs(5);
        let open = u32::try_from(self.lock().followed.len()).unwrap_or(u32::MAX);
        EACH.saturating_mul(open).max(LEAST)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic can leave it half-updated.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The archiver of a scope, with the caches that it looks at.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) archiver: Arc<Archiver>,
    pub(crate) context: Arc<Context>,
    pub(crate) reporter: Option<Arc<Reporter>>,
}

/// Archives until cancelled. What is not stored then, the next leader stores.
pub(crate) async fn run(
    work: Work,
    mut records: mpsc::Receiver<Captured>,
    cancel: CancellationToken,
) {
    let (mut tasks, mut recording) = (JoinSet::new(), JoinSet::new());
    let mut looks = interval(LOOK);
    let mut chores = Chores::new();
    let leadership = work.context.writes.leadership().clone();
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            Some(captured) = records.recv() => {
                recording.spawn(records::store(work.clone(), captured));
            }
            _ = looks.tick() => {
                while tasks.try_join_next().is_some() {}
                while recording.try_join_next().is_some() {}
                if !leadership.is_held() {
                    continue;
                }
                work.look(&mut tasks);
                chores.do_due(&work);
            }
        }
    }
    // Logs are stored by the next leader; records of runs that were let go nobody has but this one.
    while let Ok(captured) = records.try_recv() {
        recording.spawn(records::store(work.clone(), captured));
    }
    drop(timeout(FAREWELL, recording.join_all()).await);
}

/// What is done now and then.
struct Chores {
    next_forget: Instant,
    next_compaction: Instant,
    next_sweep: Instant,
    /// One after the other: both change the lists of records.
    tending: JoinSet<()>,
}

impl Chores {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            next_forget: now + FORGET,
            next_compaction: now + COMPACT,
            next_sweep: now + COMPACT,
            tending: JoinSet::new(),
        }
    }

    fn do_due(&mut self, work: &Work) {
        let now = Instant::now();
        if self.next_forget <= now {
            self.next_forget = now + FORGET;
            work.forget();
        }
        while self.tending.try_join_next().is_some() {}
        if !self.tending.is_empty() || self.next_compaction > now {
            return;
        }
        self.next_compaction = now + COMPACT;
        let sweeps = self.next_sweep <= now;
        if sweeps {
            self.next_sweep = now + SWEEP;
        }
        self.tending.spawn(tend(work.clone(), sweeps));
    }
}

impl Work {
    fn archive(&self) -> &Archive {
        &self.archiver.archiving.archive
    }

    /// Begins to follow the logs that nobody follows, and lets go of the pods that wait for that.
    fn look(&self, tasks: &mut JoinSet<()>) {
        self.release();
        let mut waiting = self.logs(|uid| !self.archiver.lock().done.contains(uid));
        waiting.retain(|log| {
            let is_due = matches!(log.place, Place::Begun);
            if matches!(log.place, Place::NeverBegins) {
                self.archiver.finish(log);
            }
            is_due
        });
        // Those of a run one after the other.
        waiting.sort_by(|one, other| (one.created, &one.pod).cmp(&(other.created, &other.pod)));
        for log in self.choose(waiting) {
            tasks.spawn(follower::follow(self.clone(), log));
        }
    }

    /// Which logs to follow now: each namespace gets its share of the places.
    fn choose(&self, waiting: Vec<LogOf>) -> Vec<LogOf> {
        let mut state = self.archiver.lock();
        let mut shares: HashMap<String, usize> = HashMap::new();
        for namespace in state.followed.values() {
            *shares.entry(namespace.clone()).or_default() += 1;
        }
        let mut chosen = Vec::new();
        let mut waiting: Vec<Option<LogOf>> = waiting.into_iter().map(Some).collect();
        while state.followed.len() < FOLLOWED {
            let is_free = |log: &LogOf| !state.followed.contains_key(&log.key());
            let free = waiting.iter_mut().filter(|log| log.as_ref().is_some_and(is_free));
            let share =
                |log: &Option<LogOf>| log.as_ref().and_then(|log| shares.get(&log.namespace));
            let Some(log) = free.min_by_key(|log| share(log).copied()).and_then(Option::take)
            else {
                break;
            };
            *shares.entry(log.namespace.clone()).or_default() += 1;
            state.followed.insert(log.key(), log.namespace.clone());
            chosen.push(log);
        }
        chosen
    }

    /// Has the owners of pods looked at that may be released now.
    fn release(&self) {
        let ready: HashSet<String> = {
            let state = self.archiver.lock();
            let is_ready = |uid: &String, since: &Instant| {
                state.done.contains(uid) || since.elapsed() >= PATIENCE
            };
            let held = state.held.iter().filter(|(uid, since)| is_ready(uid, since));
            held.map(|(uid, _)| uid.clone()).collect()
        };
        if !ready.is_empty() {
            for log in self.logs(|uid| ready.contains(uid)) {
                self.requeue(&log);
            }
        }
    }

    /// Forgets pods that are gone.
    fn forget(&self) {
        let known = self.uids();
        let mut state = self.archiver.lock();
        state.done.retain(|uid| known.contains(uid));
        state.held.retain(|uid, _| known.contains(uid));
    }
}

/// Puts records into lists, and deletes what is too old if it is time for that.
async fn tend(work: Work, sweeps: bool) {
    let namespaces = match work.archive().namespaces().await {
        Ok(namespaces) => namespaces,
        Err(error) => return tracing::warn!(%error, "cannot tend the archive of logs"),
    };
    let keep = work.archiver.archiving.keep;
    for namespace in namespaces {
        match work.archive().compact(&namespace, clock::now()).await {
            Ok(0) => {}
            Ok(records) => tracing::debug!(namespace, records, "put records into lists"),
            Err(error) => tracing::warn!(namespace, %error, "cannot put records into lists"),
        }
        if !sweeps || keep == Keep::default() {
            continue;
        }
        match work.archive().sweep(&namespace, keep, clock::now()).await {
            Ok(swept) => tracing::debug!(namespace, ?swept, "deleted what was too old"),
            Err(error) => tracing::warn!(namespace, %error, "cannot delete logs that are too old"),
        }
    }
    if let Some(most) = work.archiver.archiving.most.filter(|_| sweeps) {
        match work.archive().shrink(most, clock::now()).await {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "deleted the oldest logs: LOGS_MAX_GIB is reached"),
            Err(error) => tracing::warn!(%error, "cannot delete the oldest logs"),
        }
    }
}

/// So many days; none is for ever.
pub(crate) fn days(count: u16) -> Option<SignedDuration> {
    (count > 0).then(|| SignedDuration::from_hours(24 * i64::from(count)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn archiver() -> Arc<Archiver> {
        let directory = std::env::temp_dir();
        let url = format!("file://{}", directory.display());
        let archive = Archive::open(&url, []).unwrap();
        let keep = Keep::default();
        let archiving = Archiving { archive, keep, redact: true, most_per_run: None, most: None };
        Archiver::new(archiving).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_finalizer_waits_for_the_log_and_no_longer_than_ten_minutes() {
        let archiver = archiver();
        assert!(!archiver.may_release("stored-soon") && !archiver.may_release("never-stored"));
        archiver.lock().done.insert("stored-soon".to_owned());
        assert!(archiver.may_release("stored-soon"));
        tokio::time::advance(Duration::from_mins(9)).await;
        assert!(!archiver.may_release("never-stored"));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(archiver.may_release("never-stored"));
    }

    #[test]
    fn no_days_are_for_ever() {
        assert_eq!(days(0), None);
        assert_eq!(days(2), Some(SignedDuration::from_hours(48)));
    }
}
