//! How many of some places each of many has: no one gets more than a share.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Shares of those that have any at the moment: nothing is kept of the others.
#[derive(Debug)]
pub struct Shares<K> {
    most: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// A part of a share; it is free again when this is dropped.
#[derive(Debug)]
pub struct Share<K: Hash + Eq> {
    of: Arc<Shares<K>>,
    key: K,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// Shares of so many places.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// One more place for `key`, if its share allows.
    #[must_use]
    pub fn take(self: &Arc<Self>, key: &K) -> Option<Share<K>> {
        // Whoever panicked did so between two whole changes, here and below.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(key).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        taken.insert(key.clone(), count.saturating_add(1));
        Some(Share { of: Arc::clone(self), key: key.clone() })
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.key) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => drop(taken.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_more_than_a_share_and_nothing_is_kept_of_who_has_none() {
        let shares = Shares::new(2);
        let first = (shares.take(&"a"), shares.take(&"a"));
        assert!(first.0.is_some() && first.1.is_some() && shares.take(&"a").is_none());
        assert!(shares.take(&"b").is_some());
        drop(first);
        assert!(shares.taken.lock().unwrap().is_empty());
        assert!(shares.take(&"a").is_some());
    }
}
