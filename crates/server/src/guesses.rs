//! Callers who guess: after some failed logins, further ones are not even looked at.
//!
//! A caller that has logged in before is always checked, so that no guessing caller can lock
//! OpenMetadata out. Callers are distinguished by their address: behind a proxy, all of them are one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a failed login counts, in seconds.
pub(crate) const WINDOW_SECONDS: u16 = 60;
/// The same.
const WINDOW: Duration = Duration::from_secs(WINDOW_SECONDS as u64);
/// All callers together may fail so many times as often as one.
const ALL: u32 = 10;
/// How often a caller may fail while all together fail too often.
const LEAST: u32 = 3;
/// How long a caller is known after a login. Addresses of pods are given to others in time.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// Callers that are remembered.
const MOST_CALLERS: usize = 4096;

/// Failed logins, by caller and of all.
#[derive(Debug)]
pub(crate) struct Guesses {
    most: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    all: Window,
    callers: HashMap<IpAddr, Seen>,
}

#[derive(Debug)]
struct Seen {
    failed: Window,
    logged_in: Option<Instant>,
    last: Instant,
}

/// Failures of the last minute.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    count: u32,
}

impl Window {
    fn count(&self) -> u32 {
        if self.began.is_some_and(|began| began.elapsed() < WINDOW) { self.count } else { 0 }
    }

    fn one_more(&mut self) -> u32 {
        if self.count() == 0 {
            *self = Self { began: Some(Instant::now()), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}

impl Seen {
    fn new() -> Self {
        Self { failed: Window::default(), logged_in: None, last: Instant::now() }
    }

    fn is_known(&self) -> bool {
        self.logged_in.is_some_and(|at| at.elapsed() < KNOWN_FOR)
    }
}

/// What came of a failed login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It may be tried again.
    Again,
    /// That was the last one that is looked at for a while.
    Last,
    /// There have been too many before.
    TooMany,
}

impl Guesses {
    pub(crate) fn new(most_per_minute: u32) -> Self {
        Self { most: most_per_minute, state: Mutex::default() }
    }

    /// Whether credentials of this caller are looked at.
    pub(crate) fn may_try(&self, address: IpAddr) -> bool {
        let state = self.state();
        let seen = state.callers.get(&caller(address));
        let failed = seen.map_or(0, |seen| seen.failed.count());
        seen.is_some_and(Seen::is_known) || failed < self.limit(&state)
    }

    /// Notes wrong credentials.
    pub(crate) fn failed(&self, address: IpAddr) -> Failed {
        let mut state = self.state();
        state.all.one_more();
        let limit = self.limit(&state);
        let count = state.seen(caller(address)).failed.one_more();
        match count.cmp(&limit) {
            std::cmp::Ordering::Less => Failed::Again,
            std::cmp::Ordering::Equal => Failed::Last,
            std::cmp::Ordering::Greater => Failed::TooMany,
        }
    }

    /// Notes right credentials.
    pub(crate) fn succeeded(&self, address: IpAddr) {
        self.state().seen(caller(address)).logged_in = Some(Instant::now());
    }

    fn limit(&self, state: &State) -> u32 {
        let is_attack = state.all.count() >= self.most.saturating_mul(ALL);
        if is_attack { self.most.min(LEAST) } else { self.most }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked did so between two whole changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is known of a caller. Where there is no room, the one that was silent for longest
    /// goes, and those who have logged in go last.
    fn seen(&mut self, address: IpAddr) -> &mut Seen {
        if self.callers.len() >= MOST_CALLERS && !self.callers.contains_key(&address) {
            let least = self.callers.iter().min_by_key(|(_, seen)| (seen.is_known(), seen.last));
            if let Some(least) = least.map(|(address, _)| *address) {
                self.callers.remove(&least);
            }
        }
        let seen = self.callers.entry(address).or_insert_with(Seen::new);
        seen.last = Instant::now();
        seen
    }
}

/// Of IPv6, one machine may have a whole network of addresses.
fn caller(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn address(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    #[tokio::test(start_paused = true)]
    async fn after_some_failures_not_even_right_credentials_are_looked_at_for_a_minute() {
        let guesses = Guesses::new(3);
        let failed = [(); 4].map(|()| guesses.failed(address(1)));
        assert_eq!(failed, [Failed::Again, Failed::Again, Failed::Last, Failed::TooMany]);
        assert!(!guesses.may_try(address(1)) && guesses.may_try(address(2)));
        advance(WINDOW).await;
        assert!(guesses.may_try(address(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_logged_in_before_is_not_locked_out() {
        let guesses = Guesses::new(3);
        guesses.succeeded(address(1));
        for number in 0..200 {
            guesses.failed(address(number));
            guesses.failed(address(1));
        }
        assert!(guesses.may_try(address(1)));
        advance(KNOWN_FOR).await;
        for _ in 0..3 {
            guesses.failed(address(1));
        }
        assert!(!guesses.may_try(address(1)), "the address may be another's by now");
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_guess_have_fewer_tries_each_and_a_new_caller_has_some() {
        let guesses = Guesses::new(20);
        for number in 0..200 {
            guesses.failed(address(number));
        }
        let tries = (0..20).take_while(|_| {
            let may = guesses.may_try(address(250));
            guesses.failed(address(250));
            may
        });
        assert_eq!(tries.count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_known_callers_stay() {
        let guesses = Guesses::new(3);
        guesses.succeeded(address(1));
        for number in 0..2 * u16::try_from(MOST_CALLERS).unwrap() {
            let [high, low] = number.to_be_bytes();
            guesses.failed([172, 16, high, low].into());
        }
        assert_eq!(guesses.state().callers.len(), MOST_CALLERS);
        assert!(guesses.state().callers[&address(1)].is_known());
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let guesses = Guesses::new(1);
        guesses.failed("2001:db8::1".parse().unwrap());
        assert!(!guesses.may_try("2001:db8::2".parse().unwrap()));
        assert!(guesses.may_try("2001:db8:0:1::2".parse().unwrap()));
    }
}
