//! When the API first showed that a run had ended, by the clock of this machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use futures::{Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event, watcher};
use ompipe_api::{EXIT_HANDLER, OMJob, POD_TYPE};
use tokio::task::JoinSet;

use crate::operator::condition;
use crate::support::Scene;

/// Between two tries to watch while the API is away: short, for what is seen late looks fast.
const AGAIN: Duration = Duration::from_millis(100);

/// Watches a namespace until it is dropped.
pub(super) struct Witness {
    seen: Arc<Mutex<Seen>>,
    _watches: JoinSet<()>,
}

/// What it saw of the one run of a namespace; times in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The worker's pods by UID, and when each was first seen to have ended.
    pods: BTreeMap<String, Option<i64>>,
    /// When its Job was first seen to be over, or its object to be deleted.
    object: Option<i64>,
    /// When its `OMJob` first said that main is over.
    main: Option<i64>,
    /// Who reported, by the word of its `OMJob`.
    by: Option<String>,
}

impl Witness {
    pub(super) fn of(scene: &Scene) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut watches = JoinSet::new();
        let to = || Arc::clone(&seen);
        watches.spawn(watch(scene.api(), to(), see_pod));
        watches.spawn(watch(scene.api(), to(), see_job));
        watches.spawn(watch(scene.api(), to(), see_omjob));
        Self { seen, _watches: watches }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

impl Seen {
    /// When all that the end is known by was seen: the ends of its pods, and of the Job that might
    /// have made another.
    pub(super) fn ended(&self) -> Option<i64> {
        let pods = self.pods.values().copied().collect::<Option<Vec<i64>>>();
        let pods = pods.and_then(|ends| ends.into_iter().max());
        pods.max(self.object).or(self.main)
    }

    pub(super) fn by(&self) -> Option<&str> {
        self.by.as_deref()
    }
}

async fn watch<K>(api: kube::Api<K>, seen: Arc<Mutex<Seen>>, see: impl Fn(&mut Seen, &Event<K>))
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    K: Send + 'static,
{
    let mut events = std::pin::pin!(patient(watcher(api, watcher::Config::default())));
    while let Some(event) = events.next().await {
        see(&mut seen.lock().unwrap(), &event);
    }
}

/// The events alone; after an error the next try comes soon.
fn patient<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
) -> impl Stream<Item = Event<K>> {
    events.filter_map(async |event| {
        if event.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
        event.ok()
    })
}

fn see_pod(seen: &mut Seen, event: &Event<Pod>) {
    let Some((pod, deleted)) = object(event) else { return };
    if pod.labels().get(POD_TYPE).is_some_and(|kind| kind == EXIT_HANDLER) {
        return;
    }
    let ended = seen.pods.entry(pod.uid().unwrap_or_default()).or_default();
    if deleted || has_ended(pod) {
        ended.get_or_insert_with(now_ms);
    }
}

pub(super) fn has_ended(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let over =
        status.phase.as_deref().is_some_and(|phase| ["Succeeded", "Failed"].contains(&phase));
    let mut main = status.container_statuses.iter().flatten().filter(|one| one.name == "main");
    over || main.any(|one| one.state.as_ref().is_some_and(|state| state.terminated.is_some()))
}

fn see_job(seen: &mut Seen, event: &Event<Job>) {
    const OVER: [&str; 4] = ["Complete", "SuccessCriteriaMet", "Failed", "FailureTarget"];
    let Some((job, deleted)) = object(event) else { return };
    let conditions = job.status.iter().flat_map(|status| &status.conditions).flatten();
    let mut true_ones = conditions.filter(|condition| condition.status == "True");
    let over = true_ones.any(|condition| OVER.contains(&condition.type_.as_str()));
    if over || deleted || job.metadata.deletion_timestamp.is_some() {
        seen.object.get_or_insert_with(now_ms);
    }
}

fn see_omjob(seen: &mut Seen, event: &Event<OMJob>) {
    let Some((job, deleted)) = object(event) else { return };
    if deleted || condition(job, "MainFinished").starts_with("True") {
        seen.main.get_or_insert_with(now_ms);
    }
    match condition(job, "Reported").as_str() {
        "True ExitHandler" => seen.by = Some("exit handler".to_owned()),
        "True LastResort" => seen.by = Some("operator".to_owned()),
        _ => {}
    }
}

/// What an event is about, and whether that is gone.
fn object<K>(event: &Event<K>) -> Option<(&K, bool)> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => Some((object, false)),
        Event::Delete(object) => Some((object, true)),
        Event::Init | Event::InitDone => None,
    }
}

/// The time of the stand-in's journal.
#[expect(clippy::disallowed_methods, reason = "the test is the outermost caller")]
pub(super) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
