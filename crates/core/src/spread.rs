//! `scheduleSpread`: moves the schedules of one minute apart, so that a thousand pipelines that are
//! due at the top of the hour do not start at once.
//!
//! Every slot of a pipeline moves by the same number of minutes, which depends on nothing but the
//! pipeline's id and the window. No slot moves into another hour of a schedule that restricts hours
//! or days, or as far as the next slot: such a schedule moves less, or not at all.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Minutes of an hour.
const HOUR: u8 = 60;

/// Over how many minutes the schedules of one minute are spread; 0 leaves them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread(u8);

impl Spread {
    /// The window in minutes.
    #[must_use]
    pub const fn minutes(self) -> u8 {
        self.0
    }
}

impl FromStr for Spread {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let minutes = text.trim().parse().ok().filter(|minutes| *minutes < HOUR);
        minutes.map(Self).ok_or("must be a whole number of minutes from 0 to 59")
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A cron text whose slots may have moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Each slot is that many minutes later.
    By(u8, String),
    /// No slot can move without changing what the schedule means.
    Fixed,
}

/// Moves the slots of `cron`, five fields in the dialect of Kubernetes.
pub(crate) fn spread(cron: &str, window: Spread, pipeline: Uuid) -> Moved {
    let Some((minute, rest)) = cron.split_once(' ') else { return Moved::Fixed };
    let minutes = minutes_of(minute);
    let is_every_hour = rest.split(' ').all(|field| field == "*");
    match room(&minutes, is_every_hour).min(window.minutes()) {
        0 => Moved::Fixed,
        most => {
            let by = offset(pipeline, most);
            Moved::By(by, format!("{} {rest}", moved(&minutes, by)))
        }
    }
}

/// How far all `minutes` can move together.
fn room(minutes: &[u8], is_every_hour: bool) -> u8 {
    let (Some(first), Some(last)) = (minutes.first(), minutes.last()) else { return 0 };
    let over_the_hour = HOUR - last + first;
    let gaps = minutes.windows(2).map(|pair| pair[1] - pair[0]);
    let shortest = gaps.min().unwrap_or(HOUR).min(over_the_hour);
    // Over the hour's end a slot would land in an hour or on a day that the schedule leaves out.
    let until_the_hour = if is_every_hour { HOUR } else { HOUR - 1 - last };
    (shortest - 1).min(until_the_hour)
}

/// From 0 to `most`: the same for a pipeline at every deploy, on every machine and version.
fn offset(pipeline: Uuid, most: u8) -> u8 {
    let digest = Sha256::digest(pipeline.as_bytes());
    let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    u8::try_from(number % (u64::from(most) + 1)).unwrap_or_default()
}

fn moved(minutes: &[u8], by: u8) -> String {
    let mut moved: Vec<u8> = minutes.iter().map(|minute| (minute + by) % HOUR).collect();
    moved.sort_unstable();
    moved.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

/// The minutes of a field, in order; none where it cannot be read, and then nothing moves.
fn minutes_of(field: &str) -> Vec<u8> {
    let items: Option<Vec<Vec<u8>>> = field.split(',').map(minutes_of_item).collect();
    let mut minutes = items.unwrap_or_default().concat();
    minutes.sort_unstable();
    minutes.dedup();
    minutes
}

fn minutes_of_item(item: &str) -> Option<Vec<u8>> {
    let (range, step) = item.split_once('/').unwrap_or((item, "1"));
    let step = step.parse().ok().filter(|step| *step > 0)?;
    let (from, to) = match range.split_once('-') {
        None if range == "*" => (0, HOUR - 1),
        None => (range.parse().ok()?, range.parse().ok()?),
        Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
    };
    (to < HOUR).then(|| (from..=to).step_by(step).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::{Schedule, Zone};

    const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

    fn slots(cron: &str) -> Vec<Timestamp> {
        let schedule = Schedule::new(cron, Zone::UTC).unwrap();
        // One before the start, which may move past it, is left out on both sides.
        let next = |slot: &Timestamp| schedule.next_after(*slot);
        std::iter::successors(schedule.next_after(START), next).take(40).collect()
    }

    #[rstest]
    #[case::hourly("0 * * * *", 59)]
    #[case::over_the_hour("50 * * * *", 59)]
    #[case::quarters("*/15 * * * *", 14)]
    #[case::nightly("30 2 * * *", 29)]
    #[case::last_minute_of_an_hour("59 2 * * *", 0)]
    #[case::every_minute("* * * * *", 0)]
    #[case::neighbours("0,1 3 * * *", 0)]
    #[case::workdays("0 9 * * 1-5", 59)]
    fn a_schedule_moves_as_far_as_it_can(#[case] cron: &str, #[case] most: u8) {
        let (minute, rest) = cron.split_once(' ').unwrap();
        assert_eq!(room(&minutes_of(minute), rest == "* * * *"), most);
    }

    #[rstest]
    #[case("0", true)]
    #[case(" 59 ", true)]
    #[case("60", false)]
    #[case("-1", false)]
    #[case("10m", false)]
    fn a_window_is_less_than_an_hour(#[case] text: &str, #[case] accepted: bool) {
        assert_eq!(text.parse::<Spread>().is_ok(), accepted);
    }

    #[test]
    fn a_thousand_pipelines_use_the_whole_window_evenly() {
        let mut counts = [0_u32; 60];
        for id in 0..1000 {
            counts[usize::from(offset(Uuid::from_u128(id), 59))] += 1;
        }
        assert!(counts.iter().all(|count| (3..=40).contains(count)), "{counts:?}");
    }

    fn cron() -> impl Strategy<Value = String> {
        let minute = prop_oneof![
            prop::collection::btree_set(0_u8..60, 1..4).prop_map(|minutes: BTreeSet<u8>| {
                minutes.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
            }),
            (1_u8..60).prop_map(|step| format!("*/{step}")),
            (0_u8..30, 30_u8..60, 1_u8..20).prop_map(|(a, b, step)| format!("{a}-{b}/{step}")),
        ];
        let hour = prop_oneof![Just("*".to_owned()), (0_u8..24).prop_map(|hour| hour.to_string())];
        let weekday = prop_oneof![Just("*"), Just("1-5"), Just("0")];
        (minute, hour, weekday).prop_map(|(m, h, d)| format!("{m} {h} * * {d}"))
    }

    proptest! {
        #[test]
        fn every_slot_moves_by_the_same_minutes_within_the_window(
            cron in cron(), window in 0_u8..60, id in any::<u128>(),
        ) {
            let moved = spread(&cron, Spread(window), Uuid::from_u128(id));
            prop_assert_eq!(&moved, &spread(&cron, Spread(window), Uuid::from_u128(id)));
            if let Moved::By(by, spread) = moved {
                prop_assert!(by <= window);
                let by = SignedDuration::from_mins(by.into());
                let expected: Vec<_> = slots(&cron).iter().map(|slot| *slot + by).collect();
                let found = slots(&spread);
                // A slot from before the start may have moved behind it.
                let skipped = found.iter().position(|slot| *slot == expected[0]);
                prop_assert!(skipped.is_some_and(|skipped| skipped <= 1), "{cron} as {spread}");
                let skipped = skipped.unwrap_or_default();
                prop_assert_eq!(&found[skipped..], &expected[..expected.len() - skipped]);
            }
        }
    }
}
