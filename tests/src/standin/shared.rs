//! What the server's handlers and the fixture's owner share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::world::World;

/// State of a running stand-in.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) token: String,
    version: Mutex<String>,
    /// Where the API is served: `http://address:port/api`.
    pub(crate) base: String,
    world: Mutex<World>,
    /// Counts the changes of the world, so that waiters wake up without polling.
    changes: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(base: String, token: String, version: String) -> Self {
        Self {
            token,
            version: Mutex::new(version),
            world: Mutex::new(World::new(base.clone())),
            base,
            changes: watch::Sender::new(0),
            stop: watch::Sender::new(false),
        }
    }

    /// The version that the server says it has.
    pub(crate) fn version(&self) -> String {
        self.version.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Plays another version from now on.
    pub(crate) fn play(&self, version: &str) {
        version.clone_into(&mut self.version.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Looks at the world.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the world and wakes those who wait for a change.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.lock());
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// Tells of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Asks the server to stop.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Ends when the server is asked to stop.
    pub(crate) async fn stopped(&self) {
        // The only error is that the sender is gone, and then the server is gone too.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// A condition that panics while it looks at the world must not break the tests after it.
    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
