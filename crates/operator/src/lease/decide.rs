//! What to do about the Lease: a pure decision from what was seen of it and the time.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use tokio::time::Instant;

/// How long things take, all derived from the one length that is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    /// How long other candidates wait after the last renewal that they saw.
    pub(super) duration: Duration,
}

impl Timing {
    /// How long a holder counts itself as one after it began its last renewal that succeeded. What
    /// remains of the duration is for writes that are under way, and for clocks of unequal speed.
    pub(super) fn fence(self) -> Duration {
        self.duration * 2 / 3
    }

    /// Time from one renewal to the next: a hanging one leaves time for others before the fence.
    pub(super) fn renewal(self) -> Duration {
        self.duration / 5
    }

    /// Longest time for one look or write.
    pub(super) fn attempt(self) -> Duration {
        self.duration / 4
    }

    /// Time until the next check of another holder's Lease, and after a failure.
    pub(super) fn retry(self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(1);
        LONGEST.min(self.duration / 5)
    }
}

/// What is known of the Lease.
///
/// The times in a Lease come from the clock of another host, so none of them is compared with ours.
/// A holder's time runs from the moment when *we* saw the Lease change: that is later than its
/// renewal, so we never take over too early.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// What it says, if it exists.
    spec: Option<LeaseSpec>,
    /// Who holds it. Who held a Lease that somebody deleted may not know about that yet.
    holder: Option<String>,
    /// How long it lasts after a renewal.
    duration: Duration,
    /// When the holder has lost it, unless the Lease changes until then.
    free_at: Instant,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Make the Lease, with ourselves as its holder.
    Create,
    /// Become the holder.
    Claim,
    /// Remain the holder.
    Renew,
    /// Do nothing until then.
    Wait(Instant),
}

impl Seen {
    /// Nothing is known yet.
    pub(super) const fn nothing(now: Instant) -> Self {
        Self { spec: None, holder: None, duration: Duration::ZERO, free_at: now }
    }

    /// Takes in what the API server says; `fallback` is how long a Lease without a duration lasts.
    pub(super) fn take_in(&mut self, spec: Option<&LeaseSpec>, fallback: Duration, now: Instant) {
        if spec == self.spec.as_ref() {
            return;
        }
        if let Some(spec) = spec {
            self.holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
            self.duration = promised(spec).unwrap_or(fallback);
        }
        // One that was deleted may have been renewed right before, unseen.
        self.free_at = now + self.duration;
        self.spec = spec.cloned();
    }

    /// Who holds the Lease, as far as we know.
    pub(super) fn holder(&self) -> Option<&str> {
        self.holder.as_deref()
    }

    /// Until when the holder may act, if one does that we know of.
    pub(super) fn acts_until(&self) -> Option<Instant> {
        self.holder().filter(|holder| *holder != super::RETIRED).map(|_| self.free_at)
    }

    /// What `identity` does now; `renewed` is when it began its last renewal that succeeded.
    pub(super) fn decide(
        &self,
        identity: &str,
        renewed: Option<Instant>,
        timing: Timing,
        now: Instant,
    ) -> Decision {
        let is_ours = self.holder() == Some(identity);
        if !is_ours && self.holder.is_some() && now < self.free_at {
            return Decision::Wait(self.free_at.min(now + timing.retry()));
        }
        if self.spec.is_none() {
            return Decision::Create;
        }
        if !is_ours {
            return Decision::Claim;
        }
        match renewed.map(|renewed| renewed + timing.renewal()) {
            Some(due) if now < due => Decision::Wait(due),
            Some(_) | None => Decision::Renew,
        }
    }
}

fn promised(spec: &LeaseSpec) -> Option<Duration> {
    let seconds = u64::try_from(spec.lease_duration_seconds?).ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TIMING: Timing = Timing { duration: Duration::from_secs(15) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn spec(holder: &str, duration: i32, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(duration),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    fn seen(specs: &[(Option<LeaseSpec>, Instant)], start: Instant) -> Seen {
        let mut seen = Seen::nothing(start);
        for (spec, at) in specs {
            seen.take_in(spec.as_ref(), TIMING.duration, *at);
        }
        seen
    }

    /// What "we" decide, as seconds after the start for a wait.
    fn decision(specs: &[(Option<LeaseSpec>, u64)], renewed: Option<u64>, now: u64) -> String {
        let start = Instant::now();
        let at = |offset| start + seconds(offset);
        let specs: Vec<_> =
            specs.iter().map(|(spec, offset)| (spec.clone(), at(*offset))).collect();
        match seen(&specs, start).decide("we", renewed.map(at), TIMING, at(now)) {
            Decision::Wait(until) => format!("wait until {:.1}", (until - start).as_secs_f64()),
            other => format!("{other:?}"),
        }
    }

    #[rstest]
    #[case::no_lease(&[(None, 0)], None, 0, "Create")]
    #[case::vacated(&[(Some(spec("", 15, 3)), 0)], None, 0, "Claim")]
    #[case::without_holder(&[(Some(LeaseSpec::default()), 0)], None, 0, "Claim")]
    #[case::somebody_elses(&[(Some(spec("they", 15, 0)), 0)], None, 5, "wait until 6.0")]
    #[case::almost_free(&[(Some(spec("they", 4, 0)), 0)], None, 3, "wait until 4.0")]
    #[case::expired(&[(Some(spec("they", 15, 0)), 0)], None, 15, "Claim")]
    #[case::renewed_meanwhile(
        &[(Some(spec("they", 15, 0)), 0), (Some(spec("they", 15, 1)), 14)], None, 15, "wait until 16.0")]
    #[case::seen_again_unchanged(
        &[(Some(spec("they", 15, 0)), 0), (Some(spec("they", 15, 0)), 14)], None, 15, "Claim")]
    #[case::the_holder_promised_more(&[(Some(spec("they", 60, 0)), 0)], None, 15, "wait until 16.0")]
    #[case::without_duration(
        &[(Some(LeaseSpec { holder_identity: Some("they".into()), ..LeaseSpec::default() }), 0)],
        None, 14, "wait until 15.0")]
    #[case::deleted_from_its_holder(
        &[(Some(spec("they", 15, 0)), 0), (None, 2)], None, 3, "wait until 4.0")]
    #[case::deleted_maybe_after_a_renewal(
        &[(Some(spec("they", 15, 0)), 0), (None, 2)], None, 16, "wait until 17.0")]
    #[case::deleted_and_expired(&[(Some(spec("they", 15, 0)), 0), (None, 2)], None, 17, "Create")]
    #[case::deleted_from_us(&[(Some(spec("we", 15, 0)), 0), (None, 2)], Some(0), 2, "Create")]
    #[case::vacated_and_deleted(&[(Some(spec("", 15, 0)), 0), (None, 2)], None, 2, "Create")]
    #[case::ours(&[(Some(spec("we", 15, 0)), 0)], Some(0), 2, "wait until 3.0")]
    #[case::ours_and_due(&[(Some(spec("we", 15, 0)), 0)], Some(0), 3, "Renew")]
    #[case::ours_since_before_a_restart(&[(Some(spec("we", 15, 0)), 0)], None, 0, "Renew")]
    #[tokio::test(start_paused = true)]
    async fn decisions(
        #[case] specs: &[(Option<LeaseSpec>, u64)],
        #[case] renewed: Option<u64>,
        #[case] now: u64,
        #[case] expected: &str,
    ) {
        assert_eq!(decision(specs, renewed, now), expected);
    }

    #[rstest]
    #[case(3)]
    #[case(15)]
    #[case(600)]
    fn a_hanging_renewal_leaves_time_for_another(#[case] duration: u64) {
        let timing = Timing { duration: seconds(duration) };
        assert!(timing.renewal() + timing.attempt() + timing.retry() < timing.fence());
        assert!(timing.fence() < timing.duration);
    }

    proptest! {
        /// Whatever a candidate saw and when, it never takes the Lease from a holder that may still
        /// count itself as one: that renewed before the candidate saw it, and less than a duration ago.
        #[test]
        fn nothing_is_taken_early(renewals in prop::collection::vec((0u64..20, 0u64..5), 1..8), wait in 0u64..30) {
            let start = Instant::now();
            let (mut seen, mut now, mut last_renewal) = (Seen::nothing(start), start, start);
            for (index, (pause, lag)) in renewals.iter().enumerate() {
                last_renewal = now + seconds(*pause);
                now = last_renewal + seconds(*lag);
                let renewed = spec("they", 15, i32::try_from(index).unwrap());
                seen.take_in(Some(&renewed), TIMING.duration, now);
            }
            now += seconds(wait);
            let decision = seen.decide("we", None, TIMING, now);
            let is_held = now < last_renewal + TIMING.duration;
            prop_assert!(!is_held || matches!(decision, Decision::Wait(_)), "{decision:?}");
        }

        /// Nor does it make a Lease again that somebody deleted, however often its holder renewed
        /// it unseen before that.
        #[test]
        fn nothing_is_made_early(unseen in prop::option::of(0u64..30), gone in 0u64..5, wait in 0u64..30) {
            let start = Instant::now();
            let mut seen = Seen::nothing(start);
            seen.take_in(Some(&spec("they", 15, 0)), TIMING.duration, start);
            let last_renewal = start + seconds(unseen.unwrap_or_default());
            seen.take_in(None, TIMING.duration, last_renewal + seconds(gone));
            let now = last_renewal + seconds(gone + wait);
            let decision = seen.decide("we", None, TIMING, now);
            let is_held = now < last_renewal + TIMING.duration;
            prop_assert!(!is_held || matches!(decision, Decision::Wait(_)), "{decision:?}");
        }
    }
}
