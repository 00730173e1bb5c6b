//! The connection slots of a port: which peer holds one, and which connection gives way when all are taken.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::activity::Activity;

/// One of so many places is the most that a peer may have.
const SHARE: usize = 4;

/// The places of a port.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next_id: u64,
    all: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    peer: Peer,
    activity: Activity,
    stop: CancellationToken,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    taken: Arc<Mutex<Taken>>,
    id: u64,
    /// What the connection does.
    pub(crate) activity: Activity,
    /// Cancelled when the connection has to give way.
    pub(crate) stop: CancellationToken,
}

/// Whose a connection is: an address, of IPv6 the network that one machine may have for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer(IpAddr);

impl Peer {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A place for a new connection. A peer that has its share, and a port that is full, lose the
    /// connection that is worth least. `None` when none of them only waits.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let peer = Peer::of(address);
        let mut taken = lock(&self.taken);
        let share = self.most.div_ceil(SHARE);
        if taken.all.iter().filter(|one| one.peer == peer).count() >= share {
            taken.close_one(|one| one.peer == peer)?;
        } else if taken.all.len() >= self.most {
            taken.close_one(|_| true)?;
        }
        taken.next_id = taken.next_id.wrapping_add(1);
        let (id, activity, stop) = (taken.next_id, Activity::new(), CancellationToken::new());
        taken.all.push(Connection { id, peer, activity: activity.clone(), stop: stop.clone() });
        drop(taken);
        Some(Place { taken: Arc::clone(&self.taken), id, activity, stop })
    }
}

impl Taken {
    /// Closes the connection that is worth least of those that only wait.
    fn close_one(&mut self, may_close: impl Fn(&Connection) -> bool) -> Option<()> {
        let waits = |one: &&Connection| may_close(one) && !one.activity.is_answering();
        let least = self.all.iter().filter(waits).min_by_key(|one| one.activity.worth())?.id;
        let at = self.all.iter().position(|one| one.id == least)?;
        self.all.swap_remove(at).stop.cancel();
        Some(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.taken).all.retain(|one| one.id != self.id);
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    // Whoever panicked did so between two whole changes.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Version;
    use rstest::rstest;
    use tokio::time::advance;

    use super::*;

    fn peer(number: u8) -> IpAddr {
        [127, 0, 0, number].into()
    }

    /// Whether each connection is still open.
    fn open(places: &[&Place]) -> Vec<bool> {
        places.iter().map(|place| !place.stop.is_cancelled()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_takes_no_more_than_its_share_from_the_others() {
        let places = Places::new(8);
        let mut hostile = Vec::new();
        for _ in 0..2_000 {
            hostile.push(places.take(peer(1)).unwrap());
            advance(Duration::from_millis(1)).await;
        }
        let still_open = hostile.iter().filter(|place| !place.stop.is_cancelled()).count();
        assert_eq!(still_open, 2);
        let other = places.take(peer(2)).unwrap();
        assert!(!other.stop.is_cancelled());
        assert_eq!(lock(&places.taken).all.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_port_closes_what_is_worth_least() {
        let places = Places::new(4);
        let take = |number| places.take(peer(number)).unwrap();
        let (known, asked, silent, busy) = (take(1), take(2), take(3), take(4));
        for place in [&known, &asked] {
            drop(place.activity.begin(Version::HTTP_11));
        }
        known.activity.caller().has_logged_in();
        let answering = busy.activity.begin(Version::HTTP_2);
        let all = [&known, &asked, &silent, &busy];
        let fifth = take(5);
        let _under_way = fifth.activity.begin(Version::HTTP_11);
        assert_eq!(open(&all), [true, true, false, true], "silent ones go first");
        let sixth = take(6);
        let _under_way = sixth.activity.begin(Version::HTTP_11);
        assert_eq!(open(&all), [true, false, false, true], "then those without a login");
        let seventh = take(7);
        let _under_way = seventh.activity.begin(Version::HTTP_11);
        assert_eq!(open(&all), [false, false, false, true]);
        assert!(places.take(peer(8)).is_none(), "nothing under way is closed");
        drop(answering);
        assert!(places.take(peer(8)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn of_equal_ones_the_oldest_gives_way() {
        let places = Places::new(2);
        let first = places.take(peer(1)).unwrap();
        advance(Duration::from_secs(1)).await;
        let second = places.take(peer(2)).unwrap();
        let _third = places.take(peer(3)).unwrap();
        assert_eq!(open(&[&first, &second]), [false, true]);
    }

    #[test]
    fn a_place_is_free_again() {
        let places = Places::new(1);
        for number in 0..9 {
            let place = places.take(peer(number)).unwrap();
            let _under_way = place.activity.begin(Version::HTTP_11);
        }
        assert_eq!(lock(&places.taken).all.len(), 0);
    }

    #[rstest]
    #[case("10.0.0.1", "::ffff:10.0.0.1", true)]
    #[case("10.0.0.1", "10.0.0.2", false)]
    #[case("2001:db8::1", "2001:db8::ffff", true)]
    #[case("2001:db8::1", "2001:db8:0:1::1", false)]
    fn peers(#[case] one: &str, #[case] other: &str, #[case] is_same: bool) {
        let peer = |text: &str| Peer::of(text.parse().unwrap());
        assert_eq!(peer(one) == peer(other), is_same);
    }
}
