//! Waits that grow.

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

/// Waits that double.
pub(super) struct Backoff {
    /// The first, in seconds.
    pub(super) first: i64,
    /// The longest, in seconds.
    pub(super) most: i64,
}

impl Backoff {
    /// The wait after so many earlier ones.
    pub(super) fn wait(&self, times: u32) -> SignedDuration {
        let seconds = self.first.saturating_mul(1 << times.min(30));
        SignedDuration::from_secs(seconds.min(self.most))
    }

    /// The same with jitter, up to half as long again: runs that one drain or one outage of a source
    /// ended do not all come back at once. It depends on the run's UID alone, so that every operator
    /// decides the same.
    pub(super) fn spread(&self, times: u32, uid: &str) -> SignedDuration {
        let wait = self.wait(times);
        let most = wait.as_millis().unsigned_abs() / 2;
        let jitter = number_of(uid, times) % (most + 1);
        wait + SignedDuration::from_millis(i64::try_from(jitter).unwrap_or_default())
    }
}

fn number_of(uid: &str, times: u32) -> u128 {
    let digest = Sha256::new().chain_update(uid).chain_update(times.to_be_bytes()).finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff { first: 10, most: 360 };

    proptest! {
        #[test]
        fn jitter_adds_at_most_half(uid in ".{0,40}", times in 0_u32..100) {
            let (wait, spread) = (BACKOFF.wait(times), BACKOFF.spread(times, &uid));
            prop_assert!(spread >= wait && spread <= wait + wait / 2);
            prop_assert_eq!(spread, BACKOFF.spread(times, &uid));
        }
    }

    #[test]
    fn a_hundred_runs_come_back_at_different_times() {
        let times: HashSet<_> =
            (0..100).map(|run| BACKOFF.spread(0, &format!("run {run}"))).collect();
        assert!(times.len() > 95, "{} different waits", times.len());
    }
}
