//! What a watch has delivered, by the UID of its owner, with our own writes ahead of the watch.
//!
//! The answer to a write is newer than the cache until the watch catches up. A decision in between
//! would do again what was done a moment ago, so answers are put in at once. Resource versions tell
//! which of two is newer: within one kind they are numbers that grow (Kubernetes: *Resource
//! versions*, comparable since KEP-5504).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use tokio::sync::watch;

/// An object that has an owner, and what is kept of it.
pub(crate) trait Owned: Resource<DynamicType = ()> {
    /// What is kept.
    type Kept: Clone;

    /// The owner's UID and what is kept; `None` for an object without an owner.
    fn owned(&self) -> Option<(&str, Self::Kept)>;
}

/// Objects of a kind by owner.
#[derive(Debug)]
pub(crate) struct ByOwner<K: Owned> {
    state: Mutex<State<K::Kept>>,
    ready: watch::Sender<bool>,
}

#[derive(Debug)]
struct State<V> {
    owners: Owners<V>,
    /// What a new list has brought so far.
    list: Option<Owners<V>>,
    /// Newest version that the watch has delivered.
    seen: u64,
}

/// By the owner's UID, then by namespace and name.
type Owners<V> = HashMap<Box<str>, BTreeMap<Box<str>, V>>;

impl<K: Owned> Default for ByOwner<K> {
    fn default() -> Self {
        let state = State { owners: Owners::new(), list: None, seen: 0 };
        Self { state: Mutex::new(state), ready: watch::Sender::new(false) }
    }
}

impl<K: Owned> ByOwner<K> {
    /// Takes in what the watch delivers.
    pub(crate) fn follow(&self, event: &Event<K>) {
        let mut state = self.lock();
        match event {
            Event::Init => state.list = Some(Owners::new()),
            Event::InitApply(object) => {
                state.see(object);
                put(state.list.get_or_insert_default(), object);
            }
            Event::InitDone => {
                state.owners = state.list.take().unwrap_or_default();
                self.ready.send_replace(true);
            }
            Event::Apply(object) => {
                state.see(object);
                put(&mut state.owners, object);
            }
            Event::Delete(object) => {
                state.see(object);
                take(&mut state.owners, object);
            }
        }
    }

    /// Takes in the answer to a write, unless the watch has been past it.
    pub(crate) fn note(&self, object: &K) {
        let mut state = self.lock();
        if version(object) > state.seen {
            put(&mut state.owners, object);
        }
    }

    /// Takes in that a write removed an object, unless the watch has been past it.
    pub(crate) fn note_removed(&self, object: &K) {
        let mut state = self.lock();
        if version(object) > state.seen {
            take(&mut state.owners, object);
        }
    }

    /// Waits for the first whole list.
    pub(crate) async fn ready(&self) {
        // The sender lives as long as this does.
        drop(self.ready.subscribe().wait_for(|ready| *ready).await);
    }

    /// What an owner has, by name.
    pub(crate) fn of(&self, owner: &str) -> Vec<K::Kept> {
        let state = self.lock();
        state.owners.get(owner).map(|owned| owned.values().cloned().collect()).unwrap_or_default()
    }

    /// Everything that passes.
    pub(crate) fn filter(&self, passes: impl Fn(&K::Kept) -> bool) -> Vec<K::Kept> {
        let state = self.lock();
        let all = state.owners.values().flat_map(BTreeMap::values);
        all.filter(|kept| passes(kept)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State<K::Kept>> {
        // Whoever panicked did so between two whole changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> State<V> {
    fn see(&mut self, object: &impl Resource) {
        self.seen = self.seen.max(version(object));
    }
}

/// A resource version as a number; 0 if it is not a number.
pub(crate) fn version(object: &impl Resource) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn put<K: Owned>(owners: &mut Owners<K::Kept>, object: &K) {
    if let Some((owner, kept)) = object.owned() {
        let owned = owners.entry(owner.into()).or_default();
        owned.insert(key(object), kept);
    }
}

fn take<K: Owned>(owners: &mut Owners<K::Kept>, object: &K) {
    let Some((owner, _)) = object.owned() else { return };
    if let Some(owned) = owners.get_mut(owner) {
        owned.remove(&key(object));
        if owned.is_empty() {
            owners.remove(owner);
        }
    }
}

fn key(object: &impl Resource) -> Box<str> {
    let namespace = object.namespace().unwrap_or_default();
    format!("{namespace}/{}", object.name_any()).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::view::PodView;

    fn pod(version: u32, tracked: bool) -> PodView {
        let finalizers = tracked
            .then_some(ompipe_core::omjob::TRACKING_FINALIZER)
            .into_iter()
            .collect::<Vec<_>>();
        serde_json::from_value(json!({
            "metadata": {
                "name": "run-main", "namespace": "n", "uid": "p", "finalizers": finalizers,
                "resourceVersion": version.to_string(),
                "ownerReferences": [{
                    "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob",
                    "name": "run", "uid": "j",
                }],
            },
        }))
        .unwrap()
    }

    fn tracked(pods: &ByOwner<PodView>) -> Vec<bool> {
        pods.of("j").iter().map(|attempt| attempt.seen.tracked).collect()
    }

    #[test]
    fn a_list_replaces_what_was_known() {
        let pods = ByOwner::default();
        pods.follow(&Event::Apply(pod(1, true)));
        pods.follow(&Event::Init);
        assert_eq!(tracked(&pods), [true], "the old stands until the new is whole");
        pods.follow(&Event::InitDone);
        assert!(tracked(&pods).is_empty());
    }

    #[test]
    fn an_answer_counts_until_the_watch_has_caught_up() {
        let pods = ByOwner::default();
        pods.note(&pod(5, true));
        assert_eq!(tracked(&pods), [true]);
        pods.follow(&Event::Apply(pod(7, false)));
        pods.note(&pod(6, true));
        assert_eq!(tracked(&pods), [false], "the watch is newer than the answer");
    }

    #[test]
    fn a_late_answer_does_not_bring_a_deleted_pod_back() {
        let pods = ByOwner::default();
        pods.follow(&Event::Apply(pod(5, true)));
        pods.follow(&Event::Delete(pod(8, true)));
        pods.note(&pod(5, true));
        pods.note(&pod(6, false));
        assert!(tracked(&pods).is_empty());
    }
}
