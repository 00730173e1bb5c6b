//! Whether this process may act: the fence in front of every write.

use std::future::pending;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Until when the Lease is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is not.
    Lost,
    /// Until then, unless it is renewed.
    Until(Instant),
    /// There is no election.
    Always,
}

impl Hold {
    pub(super) fn stands(self, now: Instant) -> bool {
        match self {
            Self::Lost => false,
            Self::Until(deadline) => now < deadline,
            Self::Always => true,
        }
    }
}

/// Tells whether this process leads. Cheap to clone and to ask.
///
/// It compares the time with a deadline that only a successful renewal moves. So it is right when the network
/// hangs, and when the task that renews does: the deadline is well before the time when another
/// candidate may take over. What it cannot see is a process that is stopped as a whole between the
/// question and the write; therefore every write also names the resource version that it rests on.
#[derive(Clone, Debug)]
pub struct Leadership {
    hold: watch::Receiver<Hold>,
}

impl Leadership {
    pub(super) const fn new(hold: watch::Receiver<Hold>) -> Self {
        Self { hold }
    }

    /// The leadership of the only process there is, which needs no Lease.
    #[must_use]
    pub fn without_election() -> Self {
        Self { hold: watch::channel(Hold::Always).1 }
    }

    /// True when this process may write now. Ask before every write.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.borrow().stands(Instant::now())
    }

    /// Waits until this process leads; at once when it does. Does not end when the Lease was let
    /// go for good.
    pub async fn wait_until_held(&self) {
        let mut hold = self.hold.clone();
        if hold.wait_for(|hold| hold.stands(Instant::now())).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Waits until this process does not lead any more; at once when it does not.
    pub async fn wait_until_lost(&self) {
        let mut hold = self.hold.clone();
        loop {
            let current = *hold.borrow_and_update();
            match current {
                Hold::Lost => return,
                Hold::Always => return pending().await,
                Hold::Until(deadline) if Instant::now() >= deadline => return,
                Hold::Until(deadline) => moved_or_past(&mut hold, deadline).await,
            }
        }
    }
}

/// Waits for a change of the hold or its deadline. Without anybody to change it, for the deadline.
async fn moved_or_past(hold: &mut watch::Receiver<Hold>, deadline: Instant) {
    let moved = async {
        if hold.changed().await.is_err() {
            pending::<()>().await;
        }
    };
    tokio::select! {
        () = moved => {}
        () = sleep_until(deadline) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_deadline_alone_ends_a_hold() {
        // The task that should renew is gone, as is its sender.
        let (sender, hold) = watch::channel(Hold::Until(Instant::now() + 10 * SECOND));
        drop(sender);
        let leadership = Leadership::new(hold);
        advance(9 * SECOND).await;
        assert!(leadership.is_held());
        advance(SECOND).await;
        assert!(!leadership.is_held());
        leadership.wait_until_lost().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_moves_the_deadline() {
        let start = Instant::now();
        let (sender, hold) = watch::channel(Hold::Until(start + 10 * SECOND));
        let leadership = Leadership::new(hold);
        let renew = async {
            sleep_until(start + 5 * SECOND).await;
            sender.send_replace(Hold::Until(start + 15 * SECOND));
        };
        tokio::join!(renew, leadership.wait_until_lost());
        assert_eq!(start.elapsed(), 15 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn both_waits_end_with_the_change() {
        let start = Instant::now();
        let (sender, hold) = watch::channel(Hold::Lost);
        let leadership = Leadership::new(hold);
        leadership.wait_until_lost().await;
        let take = async {
            sleep_until(start + SECOND).await;
            sender.send_replace(Hold::Until(start + 10 * SECOND));
            sleep_until(start + 2 * SECOND).await;
            sender.send_replace(Hold::Lost);
        };
        let follow = async {
            leadership.wait_until_held().await;
            assert_eq!(start.elapsed(), SECOND);
            leadership.wait_until_lost().await;
            assert_eq!(start.elapsed(), 2 * SECOND);
        };
        tokio::join!(take, follow);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_that_is_over_is_waited_for_again() {
        let (_sender, hold) = watch::channel(Hold::Until(Instant::now()));
        let leadership = Leadership::new(hold);
        assert!(timeout(60 * SECOND, leadership.wait_until_held()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn without_election_it_always_leads() {
        let leadership = Leadership::without_election();
        leadership.wait_until_held().await;
        assert!(timeout(60 * SECOND, leadership.wait_until_lost()).await.is_err());
        assert!(leadership.is_held());
    }
}
