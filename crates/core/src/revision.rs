//! Revisions of a pipeline's workflow config: immutable Secrets, named by their content
//! (docs/adr/0005-content-addressed-config.md). This module decides which of them may go.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// Revisions that stay for a rollback, the deployed one included.
pub const KEPT: usize = 3;
/// Somebody relies on a revision before it is seen to be in use; this long it is left alone.
const GRACE: SignedDuration = SignedDuration::from_mins(10);
/// Digits of the digest in a revision's name.
const DIGITS: usize = 8;

/// The content address of a revision: SHA-256 over its entries, in hex.
///
/// Lengths go in front of keys and values, so that no two sets of entries look alike.
pub fn digest<'e>(entries: impl IntoIterator<Item = (&'e str, &'e [u8])>) -> String {
    let mut hash = Sha256::new();
    for (key, value) in entries {
        for part in [key.as_bytes(), value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hex::encode(hash.finalize())
}

/// The short name of a revision: the first digits of its config's digest.
#[must_use]
pub fn short(digest: &str) -> &str {
    digest.get(..DIGITS).unwrap_or(digest)
}

/// A revision as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its short name.
    pub id: String,
    /// When its Secret was made.
    pub created: Timestamp,
    /// When a run, or a deploy that goes back to it, last said that it relies on it.
    pub marked: Option<Timestamp>,
}

impl Revision {
    fn last_needed(&self) -> Timestamp {
        self.marked.map_or(self.created, |marked| marked.max(self.created))
    }

    fn is_reserved(&self, now: Timestamp) -> bool {
        self.marked.is_some_and(|marked| now.duration_since(marked) < GRACE)
    }
}

/// The revisions that neither a run uses nor a rollback needs.
#[must_use]
pub fn expired<'r>(
    revisions: &'r [Revision],
    deployed: Option<&str>,
    in_use: &BTreeSet<String>,
    now: Timestamp,
) -> Vec<&'r Revision> {
    let is_deployed = |revision: &Revision| deployed == Some(revision.id.as_str());
    let mut newest_first: Vec<&Revision> = revisions.iter().collect();
    newest_first.sort_by_key(|revision| {
        (std::cmp::Reverse(is_deployed(revision)), std::cmp::Reverse(revision.last_needed()))
    });
    let old = newest_first.into_iter().skip(KEPT);
    old.filter(|revision| !in_use.contains(&revision.id) && !revision.is_reserved(now)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revisions(ages_in_minutes: &[(&str, i64)]) -> (Vec<Revision>, Timestamp) {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let revision = |(id, age): &(&str, i64)| Revision {
            id: (*id).to_owned(),
            created: now - SignedDuration::from_mins(*age),
            marked: None,
        };
        (ages_in_minutes.iter().map(revision).collect(), now)
    }

    fn ids(expired: &[&Revision]) -> Vec<String> {
        expired.iter().map(|revision| revision.id.clone()).collect()
    }

    #[test]
    fn equal_contents_have_one_address() {
        let of = |entries: &[(&'static str, &'static [u8])]| digest(entries.iter().copied());
        assert_eq!(of(&[("config", b"a")]), of(&[("config", b"a")]));
        assert_ne!(of(&[("config", b"a")]), of(&[("config", b"b")]));
        assert_ne!(of(&[("ab", b"c")]), of(&[("a", b"bc")]));
        assert_ne!(of(&[("a", b""), ("b", b"")]), of(&[("a", b"b")]));
        assert_eq!(short(&of(&[])).len(), DIGITS);
    }

    #[test]
    fn the_last_three_stay() {
        let (list, now) = revisions(&[("a", 50), ("b", 40), ("c", 30), ("d", 20)]);
        assert_eq!(ids(&expired(&list, Some("d"), &BTreeSet::new(), now)), ["a"]);
    }

    #[test]
    fn the_deployed_one_stays_however_old() {
        let (list, now) = revisions(&[("a", 50), ("b", 40), ("c", 30), ("d", 20)]);
        assert_eq!(ids(&expired(&list, Some("a"), &BTreeSet::new(), now)), ["b"]);
    }

    #[test]
    fn what_a_run_uses_stays() {
        let (list, now) = revisions(&[("a", 50), ("b", 40), ("c", 30), ("d", 20), ("e", 15)]);
        let in_use = BTreeSet::from(["a".to_owned()]);
        assert_eq!(ids(&expired(&list, Some("e"), &in_use, now)), ["b"]);
    }

    /// Creation times are those of the API server's clock, marks and the time those of ours.
    #[rstest::rstest]
    #[case::the_api_server_is_behind(-600)]
    #[case::the_api_server_is_ahead(600)]
    fn another_clock_of_the_api_server_takes_nothing_that_is_needed(#[case] ahead: i64) {
        let (mut list, now) = revisions(&[("a", 50), ("b", 40), ("c", 30), ("d", 20), ("e", 15)]);
        for revision in &mut list {
            revision.created += SignedDuration::from_mins(ahead);
        }
        list[1].marked = Some(now);
        let in_use = BTreeSet::from(["a".to_owned()]);
        let gone = ids(&expired(&list, Some("c"), &in_use, now));
        assert!(gone.iter().all(|id| ["d", "e"].contains(&id.as_str())), "{gone:?}");
    }

    #[test]
    fn what_a_run_may_be_about_to_use_stays() {
        let (mut list, now) = revisions(&[("a", 50), ("b", 40), ("c", 30), ("d", 20), ("e", 15)]);
        list[0].marked = Some(now - SignedDuration::from_mins(9));
        assert_eq!(ids(&expired(&list, None, &BTreeSet::new(), now)), ["c", "b"]);
        list[0].marked = Some(now - SignedDuration::from_mins(25));
        assert_eq!(ids(&expired(&list, None, &BTreeSet::new(), now)), ["c", "b"]);
        list[0].marked = Some(now - SignedDuration::from_mins(45));
        assert_eq!(ids(&expired(&list, None, &BTreeSet::new(), now)), ["b", "a"]);
    }
}
