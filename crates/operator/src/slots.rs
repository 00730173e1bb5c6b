//! How many reconciles go on at once.
//!
//! Runs that begin have places of their own: a thousand of them at once do not keep the exit
//! handlers of runs that have ended waiting, for which people wait.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Places for reconciles.
#[derive(Debug)]
pub(crate) struct Slots {
    begins: Semaphore,
    goes_on: Semaphore,
}

impl Slots {
    /// Half of `count`, and at least one, for runs that begin; the others for those under way.
    pub(crate) fn new(count: usize) -> Self {
        let half = (count / 2).max(1);
        Self {
            begins: Semaphore::new(half),
            goes_on: Semaphore::new(count.saturating_sub(half).max(1)),
        }
    }

    /// Waits for a place; free when dropped. `None` never comes: nobody closes the places.
    pub(crate) async fn take(&self, begins: bool) -> Option<SemaphorePermit<'_>> {
        let slots = if begins { &self.begins } else { &self.goes_on };
        slots.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn runs_that_begin_leave_room_for_those_that_end() {
        let slots = Slots::new(4);
        let _held = (slots.take(true).await, slots.take(true).await);
        assert!(slots.take(true).now_or_never().is_none(), "there is a third place for them");
        assert!(slots.take(false).now_or_never().flatten().is_some());
    }
}
