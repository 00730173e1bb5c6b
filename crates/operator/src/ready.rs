//! When caches hold their first whole lists.

use std::fmt::Debug;
use std::hash::Hash;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use kube::runtime::reflector::{Lookup, Store};

/// The first whole list of a cache, for any number of waiters: kube's own wakes only the last who
/// asked.
#[derive(Clone, Debug)]
pub(crate) struct Ready(Shared<BoxFuture<'static, ()>>);

impl Ready {
    /// Of that cache.
    pub(crate) fn of<K>(cache: &Store<K>) -> Self
    where
        K: Lookup<DynamicType: Eq + Hash + Clone + Debug + Send + Sync>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let cache = cache.clone();
        // An error means that the watch is gone, and its waiters with it.
        let ready = async move { drop(cache.wait_until_ready().await) };
        Self(ready.boxed().shared())
    }

    /// Waits for it.
    pub(crate) async fn wait(&self) {
        self.0.clone().await;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_woken() {
        let (cache, mut writer) = reflector::store::<Pod>();
        let ready = Ready::of(&cache);
        let mut waiters = JoinSet::new();
        for _ in 0..3 {
            let ready = ready.clone();
            waiters.spawn(async move { ready.wait().await });
        }
        tokio::task::yield_now().await;
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        waiters.join_all().await;
    }
}
