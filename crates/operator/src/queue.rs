//! What waits to be reconciled: triggers go in, kube's `applier` takes out as many as there are
//! places. It measures how long they wait, which is the first figure to check when an operator is
//! slow.
//!
//! Runs that begin have places of their own: a thousand of them at once do not keep the exit
//! handlers of runs that have ended waiting, for which people wait. What has no place stays here,
//! since the `applier` polls everything that it was given whenever one future makes progress.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, stream};
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Duration, Instant};

/// Whose places an object waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Of what begins.
    Begins,
    /// Of what is under way.
    GoesOn,
}

/// Triggers of one controller.
#[derive(Debug)]
pub(crate) struct Queue<K: Resource<DynamicType = ()>> {
    begins: mpsc::UnboundedSender<ObjectRef<K>>,
    goes_on: mpsc::UnboundedSender<ObjectRef<K>>,
    waiting: Waiting<K>,
}

/// What was asked for and has not begun.
type Waiting<K> = Arc<Mutex<HashMap<ObjectRef<K>, Asked>>>;

#[derive(Debug)]
struct Asked {
    since: Instant,
    lane: Lane,
    /// Given on the way out.
    place: Option<OwnedSemaphorePermit>,
    /// Asked for on the way out: the reconcile that begins may see an older view than the request.
    again: bool,
}

/// Something that was taken out; its place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    /// How long it waited.
    pub(crate) waited: Duration,
    _place: Option<OwnedSemaphorePermit>,
}

/// How many reconciles go on at once, in each lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    begins: usize,
    goes_on: usize,
}

impl Places {
    /// Half of `count` for each lane, and at least one.
    pub(crate) fn halved(count: usize) -> Self {
        let half = (count / 2).max(1);
        Self { begins: half, goes_on: count.saturating_sub(half).max(1) }
    }

    /// All of `count` for what is under way: nothing begins here.
    pub(crate) const fn going_on(count: usize) -> Self {
        Self { begins: 0, goes_on: count }
    }
}

impl<K: Resource<DynamicType = ()> + 'static> Queue<K> {
    /// The queue, and its end for the `applier`.
    pub(crate) fn new(places: Places) -> (Self, impl Stream<Item = ObjectRef<K>>) {
        let waiting = Waiting::default();
        let (begins, first) = lane(Lane::Begins, places.begins, &waiting);
        let (goes_on, second) = lane(Lane::GoesOn, places.goes_on, &waiting);
        (Self { begins, goes_on, waiting }, stream::select(first, second))
    }

    /// Asks for a reconcile; asking twice before it begins is one.
    pub(crate) fn add(&self, object: ObjectRef<K>, lane: Lane) {
        let mut waiting = lock(&self.waiting);
        if let Some(asked) = waiting.get_mut(&object) {
            asked.again |= asked.place.is_some();
            if asked.place.is_some() || asked.lane == lane || lane == Lane::Begins {
                return;
            }
            // It is under way, which was not known before: what begins need not go first.
            asked.lane = lane;
        } else {
            let asked = Asked { since: Instant::now(), lane, place: None, again: false };
            waiting.insert(object.clone(), asked);
        }
        let sender = if lane == Lane::Begins { &self.begins } else { &self.goes_on };
        // A closed channel means that the controller has ended.
        drop(sender.send(object));
    }

    /// An object is taken out; `Some` when something had triggered it.
    pub(crate) fn take(&self, object: &ObjectRef<K>) -> Option<Taken> {
        let asked = lock(&self.waiting).remove(object)?;
        if asked.again {
            self.add(object.clone(), asked.lane);
        }
        Some(Taken { waited: asked.since.elapsed(), _place: asked.place })
    }

    /// Objects that wait.
    pub(crate) fn depth(&self) -> usize {
        lock(&self.waiting).len()
    }
}

fn lock<K: Resource<DynamicType = ()>>(
    waiting: &Waiting<K>,
) -> MutexGuard<'_, HashMap<ObjectRef<K>, Asked>> {
    // Whoever panicked did so between two whole changes.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The two ends of a lane.
fn lane<K: Resource<DynamicType = ()> + 'static>(
    lane: Lane,
    places: usize,
    waiting: &Waiting<K>,
) -> (mpsc::UnboundedSender<ObjectRef<K>>, impl Stream<Item = ObjectRef<K>> + use<K>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (places, waiting) = (Arc::new(Semaphore::new(places)), Arc::clone(waiting));
    let next = move |mut receiver: mpsc::UnboundedReceiver<ObjectRef<K>>| {
        let (places, waiting) = (Arc::clone(&places), Arc::clone(&waiting));
        async move {
            loop {
                let object = receiver.recv().await?;
                let place = places.clone().acquire_owned().await.ok()?;
                if give(&waiting, &object, lane, place) {
                    return Some((object, receiver));
                }
            }
        }
    };
    (sender, stream::unfold(receiver, next))
}

/// Gives an object its place, unless it has one, has begun, or waits in the other lane by now.
fn give<K: Resource<DynamicType = ()>>(
    waiting: &Waiting<K>,
    object: &ObjectRef<K>,
    lane: Lane,
    place: OwnedSemaphorePermit,
) -> bool {
    let mut waiting = lock(waiting);
    let asked = waiting.get_mut(object).filter(|asked| asked.lane == lane);
    asked.filter(|asked| asked.place.is_none()).map(|asked| asked.place = Some(place)).is_some()
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
    use futures::{FutureExt, StreamExt};
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn pod(name: &str) -> ObjectRef<Pod> {
        ObjectRef::new(name)
    }

    #[tokio::test]
    async fn runs_that_begin_leave_room_for_those_that_end() {
        let (queue, triggers) = Queue::new(Places::halved(4));
        let mut triggers = Box::pin(triggers);
        for name in ["a", "b", "c"] {
            queue.add(pod(name), Lane::Begins);
        }
        assert_eq!(triggers.next().await, Some(pod("a")));
        assert_eq!(triggers.next().await, Some(pod("b")));
        assert!(triggers.next().now_or_never().is_none(), "there is a third place for them");
        queue.add(pod("d"), Lane::GoesOn);
        assert_eq!(triggers.next().await, Some(pod("d")));
        drop(queue.take(&pod("a")));
        assert_eq!(triggers.next().await, Some(pod("c")), "its place is free again");
    }

    #[tokio::test]
    async fn who_asks_on_the_way_out_is_heard() {
        let (queue, triggers) = Queue::new(Places::halved(2));
        let mut triggers = Box::pin(triggers);
        queue.add(pod("a"), Lane::GoesOn);
        assert_eq!(triggers.next().await, Some(pod("a")));
        queue.add(pod("a"), Lane::GoesOn);
        drop(queue.take(&pod("a")));
        assert_eq!(triggers.next().await, Some(pod("a")));
    }

    #[tokio::test]
    async fn what_turns_out_to_be_under_way_overtakes() {
        let (queue, triggers) = Queue::new(Places::halved(2));
        let mut triggers = Box::pin(triggers);
        queue.add(pod("a"), Lane::Begins);
        queue.add(pod("b"), Lane::Begins);
        assert_eq!(triggers.next().await, Some(pod("a")));
        queue.add(pod("b"), Lane::GoesOn);
        assert_eq!(triggers.next().await, Some(pod("b")));
        drop(queue.take(&pod("a")));
        drop(queue.take(&pod("b")));
        assert!(triggers.next().now_or_never().is_none(), "it comes once");
    }

    #[tokio::test]
    async fn asking_twice_is_one_until_it_begins() {
        let (queue, triggers) = Queue::new(Places::halved(2));
        let mut triggers = Box::pin(triggers);
        queue.add(pod("a"), Lane::GoesOn);
        queue.add(pod("a"), Lane::GoesOn);
        assert_eq!(triggers.next().await, Some(pod("a")));
        assert!(queue.take(&pod("a")).is_some());
        assert!(queue.take(&pod("a")).is_none());
        assert!(triggers.next().now_or_never().is_none());
        queue.add(pod("a"), Lane::GoesOn);
        assert_eq!(triggers.next().await, Some(pod("a")));
    }

    #[test]
    fn waits_double_until_it_goes_well() {
        let failures = Failures::new(Duration::from_secs(30));
        let waits: Vec<_> = (0..9).map(|_| failures.add("a").as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        failures.clear(&"a");
        assert_eq!(failures.add("a").as_millis(), 250);
    }
}
