//! `retryWithMoreMemory`: the memory limit of the attempts that follow an OOM kill.

use crate::Bytes;

/// How far the memory limit grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MoreMemory {
    /// What each OOM kill multiplies the limit by, from 2.
    pub factor: u32,
    /// The largest limit.
    pub limit: Bytes,
}

impl MoreMemory {
    /// The limit after an attempt that used up `current`; `None` where that is the largest already.
    #[must_use]
    pub fn after(self, current: Bytes) -> Option<Bytes> {
        let grown = current.0.saturating_mul(self.factor.into());
        let next = Bytes(grown).min(self.limit);
        (next > current).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const GIB: u64 = 1 << 30;

    #[rstest]
    #[case::grows(4, Some(8))]
    #[case::up_to_the_limit(12, Some(16))]
    #[case::at_the_limit(16, None)]
    #[case::above_the_limit(32, None)]
    fn the_limit_grows_until_it_is_the_largest(#[case] current: u64, #[case] next: Option<u64>) {
        let more = MoreMemory { factor: 2, limit: Bytes(16 * GIB) };
        assert_eq!(more.after(Bytes(current * GIB)), next.map(|gib| Bytes(gib * GIB)));
    }

    proptest! {
        /// However small the first limit, the largest is reached after few kills, and never exceeded.
        #[test]
        fn growth_ends(first in 1_u64.., factor in 2_u32..=10, limit in 1_u64..) {
            let more = MoreMemory { factor, limit: Bytes(limit) };
            let next = |current: &Bytes| more.after(*current);
            let all: Vec<Bytes> = std::iter::successors(Some(Bytes(first)), next).collect();
            prop_assert!(all.len() <= 65);
            prop_assert!(all.windows(2).all(|pair| pair[0] < pair[1] && pair[1].0 <= limit));
        }
    }
}
