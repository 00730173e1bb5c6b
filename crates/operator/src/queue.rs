//! What waits to be reconciled: triggers go in, kube's `applier` takes them out. It measures how long
//! they wait, which is the first thing to look at when an operator is slow.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use futures::Stream;
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

/// Triggers of one controller.
#[derive(Debug)]
pub(crate) struct Queue<K: Resource<DynamicType = ()>> {
    triggers: mpsc::UnboundedSender<ObjectRef<K>>,
    /// Since when an object waits.
    waiting: Mutex<HashMap<ObjectRef<K>, Instant>>,
}

impl<K: Resource<DynamicType = ()> + 'static> Queue<K> {
    /// The queue, and its end for the `applier`.
    pub(crate) fn new() -> (Self, impl Stream<Item = ObjectRef<K>>) {
        let (triggers, mut triggered) = mpsc::unbounded_channel();
        let stream = futures::stream::poll_fn(move |context| triggered.poll_recv(context));
        (Self { triggers, waiting: Mutex::default() }, stream)
    }

    /// Asks for a reconcile; asking twice before it begins is one.
    pub(crate) fn add(&self, object: ObjectRef<K>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(object.clone()).or_insert_with(Instant::now);
        // A closed channel means that the controller has ended.
        drop(self.triggers.send(object));
    }

    /// An object is taken out; `Some` with its wait when something had triggered it.
    pub(crate) fn take(&self, object: &ObjectRef<K>) -> Option<Duration> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(object).map(|since| since.elapsed())
    }

    /// Objects that wait.
    pub(crate) fn depth(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Failures in a row of each object, which its next try waits for.
#[derive(Debug)]
pub(crate) struct Failures<K: Eq + Hash> {
    counts: Mutex<HashMap<K, u32>>,
    longest: Duration,
}

impl<K: Eq + Hash> Failures<K> {
    /// Waits that double from a quarter of a second up to `longest`.
    pub(crate) fn new(longest: Duration) -> Self {
        Self { counts: Mutex::default(), longest }
    }

    /// Counts a failure; how long to wait.
    pub(crate) fn add(&self, object: K) -> Duration {
        const FIRST: Duration = Duration::from_millis(250);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(object).or_default();
        let wait = FIRST.saturating_mul(1 << (*count).min(16));
        *count = count.saturating_add(1);
        wait.min(self.longest)
    }

    /// It went well.
    pub(crate) fn clear(&self, object: &K) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_it_goes_well() {
        let failures = Failures::new(Duration::from_secs(30));
        let waits: Vec<_> = (0..9).map(|_| failures.add("a").as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        failures.clear(&"a");
        assert_eq!(failures.add("a").as_millis(), 250);
    }
}
