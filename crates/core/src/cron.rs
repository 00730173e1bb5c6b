//! Which slots of a `CronOMJob` become runs: those of a `CronJob` (batch/v1), decided purely.
//!
//! - A slot is a run's name, so that no slot fires twice, whatever the operator forgot.
//! - Slots before the creation or the last resume do not count; of those missed since, only the
//!   latest fires, and only within `startingDeadlineSeconds`.
//! - Whether runs may overlap is [`ConcurrencyPolicy`]'s to say.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::Schedule;
use crate::config::{ConcurrencyPolicy, LEAST_STARTING_DEADLINE};
use crate::kubernetes::MAX_LABEL;

/// How late a slot may fire where `startingDeadlineSeconds` is 0, which means: no catch-up. A real
/// `CronJob` would never fire then. Five minutes cover a leader change and a thousand `CronJobs` of
/// one minute at the control plane's stock limits, and are too short to replay an old slot.
const PROMPT: SignedDuration = SignedDuration::from_mins(5);
/// Slots fire at whole minutes, so no schedule has two that are closer.
const LEAST_INTERVAL: SignedDuration = SignedDuration::from_mins(1);
/// Where the intervals of a schedule are measured: any day will do, since each has the same times.
const REFERENCE: Timestamp = Timestamp::constant(1_704_067_200, 0);

/// A child of a `CronOMJob`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is being deleted.
    pub deleted: bool,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its phase is `Succeeded`.
    Succeeded,
    /// Its phase is `Failed`.
    Failed,
}

/// What the reconciler saw of one `CronOMJob`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedSchedule {
    /// Its name.
    pub name: String,
    /// When it was made: no earlier slot counts.
    pub created: Timestamp,
    /// `schedule` and `timeZone`.
    pub schedule: Schedule,
    /// `suspend`.
    pub suspend: bool,
    /// `startingDeadlineSeconds`.
    pub starting_deadline: Option<SignedDuration>,
    /// `concurrencyPolicy`.
    pub policy: ConcurrencyPolicy,
    /// `successfulJobsHistoryLimit`.
    pub keep_succeeded: usize,
    /// `failedJobsHistoryLimit`.
    pub keep_failed: usize,
    /// The value of the annotation that asks for a run now: any text, a new one for each run.
    pub trigger: Option<String>,
    /// What was recorded.
    pub status: ScheduleStatus,
    /// Its children, by owner UID.
    pub children: Vec<Child>,
}

/// What is recorded of a `CronOMJob`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// The last slot that fired or was passed over: no slot up to it fires any more.
    pub last_slot: Option<Timestamp>,
    /// Since when it is suspended.
    pub suspended: bool,
    /// The last trigger that was followed.
    pub trigger: Option<String>,
}

/// One thing to do. Doing any of them twice leads to the same objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleAction {
    /// Make a child of that name; that it exists already is success.
    Create {
        /// Its name.
        name: String,
        /// Its slot; `None` for a run that somebody triggered.
        slot: Option<Timestamp>,
    },
    /// Delete a child.
    Delete {
        /// Its name.
        name: String,
    },
    /// Write the status, on the condition that the `CronOMJob` is still as observed.
    Record(ScheduleStatus),
}

/// What to do, in order, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleDecision {
    /// What to do.
    pub actions: Vec<ScheduleAction>,
    /// A slot that did not fire, and why: for an event and a metric.
    pub missed: Option<(Timestamp, Missed)>,
    /// The next slot, or when a waiting one is too late.
    pub next_look: Option<Timestamp>,
}

/// Why a slot did not fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Its starting deadline had passed.
    TooLate,
    /// An earlier run goes on; the slot still waits for its end.
    StillRunning,
}

/// What to do about a `CronOMJob` that looks like this at this time.
#[must_use]
pub fn decide_schedule(observed: &ObservedSchedule, now: Timestamp) -> ScheduleDecision {
    let mut decision = ScheduleDecision::default();
    let mut status = observed.status.clone();
    follow_trigger(observed, &mut status, &mut decision);
    if observed.suspend {
        status.suspended = true;
    } else {
        follow_schedule(observed, now, &mut status, &mut decision);
    }
    decision.actions.extend(surplus(observed));
    if status != observed.status {
        // After the creations: a crash in between repeats them under the same names.
        decision.actions.push(ScheduleAction::Record(status));
    }
    decision
}

/// A trigger also counts while the schedule is suspended or another run is active, because a user asked for it.
fn follow_trigger(
    observed: &ObservedSchedule,
    status: &mut ScheduleStatus,
    decision: &mut ScheduleDecision,
) {
    if let Some(trigger) =
        observed.trigger.as_ref().filter(|new| status.trigger.as_ref() != Some(new))
    {
        let digest = hex::encode(Sha256::digest(trigger));
        let name = child_name(&observed.name, &format!("m{}", &digest[..9]));
        decision.actions.push(ScheduleAction::Create { name, slot: None });
        status.trigger = Some(trigger.clone());
    }
}

fn follow_schedule(
    observed: &ObservedSchedule,
    now: Timestamp,
    status: &mut ScheduleStatus,
    decision: &mut ScheduleDecision,
) {
    if status.suspended {
        // Slots of the pause do not count: as at the creation, only those to come do.
        status.suspended = false;
        status.last_slot = Some(status.last_slot.map_or(now, |last| last.max(now)));
    }
    decision.next_look = observed.schedule.next_after(now);
    let since = status.last_slot.unwrap_or(observed.created);
    let Some(slot) = latest_slot(&observed.schedule, since, now) else { return };
    if is_too_late(observed, slot, now) {
        status.last_slot = Some(slot);
        let own = slot_name(&observed.name, slot);
        let ran = observed.children.iter().any(|child| child.name == own);
        decision.missed = (!ran).then_some((slot, Missed::TooLate));
        return;
    }
    let active: Vec<&Child> = active(observed, slot).collect();
    match observed.policy {
        ConcurrencyPolicy::Forbid if !active.is_empty() => {
            decision.missed = Some((slot, Missed::StillRunning));
            decision.next_look =
                decision.next_look.min(too_late_at(observed, slot)).or(decision.next_look);
            return;
        }
        ConcurrencyPolicy::Replace => {
            let deleted = active.iter().filter(|child| !child.deleted);
            let delete = |child: &&Child| ScheduleAction::Delete { name: child.name.clone() };
            decision.actions.extend(deleted.map(delete));
        }
        ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Allow => {}
    }
    let name = slot_name(&observed.name, slot);
    decision.actions.push(ScheduleAction::Create { name, slot: Some(slot) });
    status.last_slot = Some(slot);
}

/// Runs that have not ended, other than the slot's own.
fn active(observed: &ObservedSchedule, slot: Timestamp) -> impl Iterator<Item = &Child> {
    let own = slot_name(&observed.name, slot);
    observed.children.iter().filter(move |child| child.outcome.is_none() && child.name != own)
}

/// How late a slot of `schedule` may fire where `startingDeadlineSeconds` is `configured`, on a
/// `CronJob` and a `CronOMJob` alike: 0 means five minutes or the schedule's interval where that is
/// shorter, and less than ten seconds may never fire.
#[must_use]
pub fn starting_deadline(schedule: &Schedule, configured: SignedDuration) -> SignedDuration {
    let least = SignedDuration::from_secs(LEAST_STARTING_DEADLINE);
    if configured.is_zero() {
        PROMPT.min(interval(schedule)).max(least)
    } else {
        configured.max(least)
    }
}

/// The shortest time between two slots, if it is below [`PROMPT`], else any time above that.
fn interval(schedule: &Schedule) -> SignedDuration {
    let Some(first) = schedule.next_after(REFERENCE) else { return PROMPT };
    // A day has every time of the schedule, and the hour after it the step over midnight.
    let end = first.saturating_add(SignedDuration::from_hours(25)).unwrap_or(first);
    let mut shortest = SignedDuration::MAX;
    let mut slot = first;
    while let Some(next) = schedule.next_after(slot).filter(|next| *next <= end) {
        shortest = shortest.min(next.duration_since(slot));
        if shortest <= LEAST_INTERVAL {
            break;
        }
        slot = next;
    }
    shortest
}

fn deadline(observed: &ObservedSchedule) -> Option<SignedDuration> {
    observed.starting_deadline.map(|seconds| starting_deadline(&observed.schedule, seconds))
}

fn too_late_at(observed: &ObservedSchedule, slot: Timestamp) -> Option<Timestamp> {
    deadline(observed).and_then(|deadline| slot.checked_add(deadline).ok())
}

fn is_too_late(observed: &ObservedSchedule, slot: Timestamp, now: Timestamp) -> bool {
    too_late_at(observed, slot).is_some_and(|time| time < now)
}

/// The last slot after `since` and not after `now`.
///
/// Looks back in steps that grow, so that a year without an operator costs no more than a day.
fn latest_slot(schedule: &Schedule, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let due = |from: Timestamp| schedule.next_after(from).filter(|slot| *slot <= now);
    due(since)?;
    let mut back = SignedDuration::from_mins(1);
    loop {
        let from = now.checked_sub(back).unwrap_or(Timestamp::MIN).max(since);
        if let Some(first) = due(from) {
            let slots = std::iter::successors(Some(first), |slot| due(*slot));
            return slots.last();
        }
        back = back.saturating_mul(4);
    }
}

/// Finished children beyond the limits, the oldest first.
fn surplus(observed: &ObservedSchedule) -> Vec<ScheduleAction> {
    let beyond = |outcome, keep: usize| {
        let ended = observed.children.iter().filter(move |child| child.outcome == Some(outcome));
        let mut ended: Vec<&Child> = ended.filter(|child| !child.deleted).collect();
        ended.sort_by_key(|child| (child.created, child.name.clone()));
        ended.truncate(ended.len().saturating_sub(keep));
        ended
    };
    let succeeded = beyond(Outcome::Succeeded, observed.keep_succeeded);
    let failed = beyond(Outcome::Failed, observed.keep_failed);
    let all = succeeded.into_iter().chain(failed);
    all.map(|child| ScheduleAction::Delete { name: child.name.clone() }).collect()
}

/// Name of the child of one slot: upstream's, `{base}-{epoch}`.
#[must_use]
pub fn slot_name(base: &str, slot: Timestamp) -> String {
    child_name(base, &slot.as_second().to_string())
}

/// Upstream's way to fit a name: 45 characters and a hash of the whole where it is too long.
fn child_name(base: &str, suffix: &str) -> String {
    const HASH_LENGTH: usize = 6;
    let room = MAX_LABEL - suffix.len() - 1;
    if base.len() <= room {
        return format!("{base}-{suffix}");
    }
    let digest = hex::encode(Sha256::digest(base));
    let cut = &base[..base.floor_char_boundary(room - HASH_LENGTH - 1)];
    let cut = cut.trim_end_matches(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    format!("{cut}-{}-{suffix}", &digest[..HASH_LENGTH])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Every ten minutes in UTC, since midnight; runs may not overlap.
    fn observed() -> ObservedSchedule {
        ObservedSchedule {
            name: "c".to_owned(),
            created: at("2026-03-01T00:00:00Z"),
            schedule: Schedule::new("*/10 * * * *", crate::Zone::UTC).unwrap(),
            suspend: false,
            starting_deadline: None,
            policy: ConcurrencyPolicy::Forbid,
            keep_succeeded: 3,
            keep_failed: 3,
            trigger: None,
            status: ScheduleStatus::default(),
            children: Vec::new(),
        }
    }

    fn child(name: &str, outcome: Option<Outcome>) -> Child {
        Child {
            name: name.to_owned(),
            created: at("2026-03-01T00:00:00Z"),
            deleted: false,
            outcome,
        }
    }

    fn created(decision: &ScheduleDecision) -> Vec<Option<Timestamp>> {
        let slot = |action: &ScheduleAction| match action {
            ScheduleAction::Create { slot, .. } => Some(*slot),
            ScheduleAction::Delete { .. } | ScheduleAction::Record(_) => None,
        };
        decision.actions.iter().filter_map(slot).collect()
    }

    fn deleted(decision: &ScheduleDecision) -> Vec<&str> {
        let names = decision.actions.iter().filter_map(|action| match action {
            ScheduleAction::Delete { name } => Some(name.as_str()),
            ScheduleAction::Create { .. } | ScheduleAction::Record(_) => None,
        });
        names.collect()
    }

    /// What the API server holds after a decision, if all of it is done.
    fn apply(observed: &mut ObservedSchedule, decision: &ScheduleDecision, now: Timestamp) {
        for action in &decision.actions {
            match action {
                ScheduleAction::Create { name, .. } => {
                    assert!(observed.children.iter().all(|c| c.name != *name), "{name} twice");
                    let new = Child { created: now, ..child(name, Some(Outcome::Succeeded)) };
                    observed.children.push(new);
                }
                ScheduleAction::Delete { name } => observed.children.retain(|c| c.name != *name),
                ScheduleAction::Record(status) => observed.status = status.clone(),
            }
        }
    }

    #[rstest]
    #[case::nothing_at_creation("2026-03-01T00:00:00Z", None, None)]
    #[case::before_the_first_slot("2026-03-01T00:09:59Z", None, None)]
    #[case::on_the_slot("2026-03-01T00:10:00Z", None, Some("2026-03-01T00:10:00Z"))]
    #[case::late("2026-03-01T00:14:00Z", None, Some("2026-03-01T00:10:00Z"))]
    #[case::one_catch_up_of_many("2026-03-01T08:31:00Z", None, Some("2026-03-01T08:30:00Z"))]
    #[case::within_the_deadline("2026-03-01T00:10:30Z", Some(60), Some("2026-03-01T00:10:00Z"))]
    #[case::after_the_deadline("2026-03-01T00:11:01Z", Some(60), None)]
    #[case::no_catch_up_outlasts_a_leader_change(
        "2026-03-01T00:10:45Z",
        Some(0),
        Some("2026-03-01T00:10:00Z")
    )]
    #[case::no_catch_up_within_five_minutes(
        "2026-03-01T00:15:00Z",
        Some(0),
        Some("2026-03-01T00:10:00Z")
    )]
    #[case::no_catch_up("2026-03-01T00:15:01Z", Some(0), None)]
    #[case::too_short_to_fire("2026-03-01T00:10:10Z", Some(3), Some("2026-03-01T00:10:00Z"))]
    fn slots(#[case] now: &str, #[case] deadline: Option<i64>, #[case] slot: Option<&str>) {
        let mut observed = observed();
        observed.starting_deadline = deadline.map(SignedDuration::from_secs);
        let decision = decide_schedule(&observed, at(now));
        let expected: Vec<_> = slot.into_iter().map(|slot| Some(at(slot))).collect();
        assert_eq!(created(&decision), expected);
        assert_eq!(decision.next_look, observed.schedule.next_after(at(now)));
        apply(&mut observed, &decision, at(now));
        assert_eq!(decide_schedule(&observed, at(now)).actions, []);
    }

    #[rstest]
    #[case::given("* * * * *", 79, 79)]
    #[case::too_short_to_fire("* * * * *", 9, 10)]
    #[case::hourly("0 * * * *", 0, 300)]
    #[case::yearly("0 3 29 2 *", 0, 300)]
    #[case::each_minute("* * * * *", 0, 60)]
    #[case::every_two_minutes("*/2 * * * *", 0, 120)]
    #[case::neighbours_once_a_day("7,9 3 * * *", 0, 120)]
    #[case::over_the_hour("0-59/7 * * * *", 0, 240)]
    #[case::over_midnight("58,1 23,0 * * *", 0, 180)]
    #[case::every_five_minutes("*/5 * * * *", 0, 300)]
    fn no_catch_up_is_five_minutes_or_the_interval(
        #[case] cron: &str,
        #[case] configured: i64,
        #[case] expected: i64,
    ) {
        let schedule = Schedule::new(cron, crate::Zone::UTC).unwrap();
        let deadline = starting_deadline(&schedule, SignedDuration::from_secs(configured));
        assert_eq!(deadline, SignedDuration::from_secs(expected));
    }

    #[test]
    fn a_slot_whose_run_exists_is_not_missed_when_its_record_was_lost() {
        let mut observed = observed();
        observed.starting_deadline = Some(SignedDuration::ZERO);
        let slot = at("2026-03-01T00:10:00Z");
        observed.children.push(child(&slot_name("c", slot), Some(Outcome::Succeeded)));
        let decision = decide_schedule(&observed, at("2026-03-01T00:16:00Z"));
        assert_eq!((decision.missed, created(&decision)), (None, vec![]));
        let ScheduleAction::Record(status) = &decision.actions[0] else { panic!("{decision:?}") };
        assert_eq!(status.last_slot, Some(slot));
    }

    #[test]
    fn a_slot_that_came_too_late_is_told_and_passed_over() {
        let mut observed = observed();
        observed.starting_deadline = Some(SignedDuration::from_secs(60));
        let decision = decide_schedule(&observed, at("2026-03-01T00:15:00Z"));
        assert_eq!(decision.missed, Some((at("2026-03-01T00:10:00Z"), Missed::TooLate)));
        apply(&mut observed, &decision, at("2026-03-01T00:15:00Z"));
        assert_eq!(decide_schedule(&observed, at("2026-03-01T00:15:00Z")).missed, None);
    }

    #[test]
    fn slots_of_a_suspension_do_not_fire_at_the_resume() {
        let mut observed = observed();
        observed.suspend = true;
        let decision = decide_schedule(&observed, at("2026-03-01T00:05:00Z"));
        assert_eq!((created(&decision), decision.next_look), (vec![], None));
        apply(&mut observed, &decision, at("2026-03-01T00:05:00Z"));
        observed.suspend = false;
        let resumed = at("2026-03-01T05:03:00Z");
        let decision = decide_schedule(&observed, resumed);
        assert_eq!(created(&decision), []);
        apply(&mut observed, &decision, resumed);
        let decision = decide_schedule(&observed, at("2026-03-01T05:10:00Z"));
        assert_eq!(created(&decision), [Some(at("2026-03-01T05:10:00Z"))]);
    }

    #[rstest]
    #[case::allow(ConcurrencyPolicy::Allow, 1, 0, None)]
    #[case::forbid(ConcurrencyPolicy::Forbid, 0, 0, Some(Missed::StillRunning))]
    #[case::replace(ConcurrencyPolicy::Replace, 1, 1, None)]
    fn runs_overlap_as_the_policy_says(
        #[case] policy: ConcurrencyPolicy,
        #[case] creations: usize,
        #[case] deletions: usize,
        #[case] missed: Option<Missed>,
    ) {
        let mut observed = observed();
        observed.policy = policy;
        observed.children = vec![child("c-1", None)];
        let decision = decide_schedule(&observed, at("2026-03-01T00:10:00Z"));
        assert_eq!(created(&decision).len(), creations);
        assert_eq!(deleted(&decision).len(), deletions);
        assert_eq!(decision.missed.map(|(_, why)| why), missed);
        observed.children[0].outcome = Some(Outcome::Failed);
        assert_eq!(created(&decide_schedule(&observed, at("2026-03-01T00:12:00Z"))).len(), 1);
    }

    #[test]
    fn a_slot_that_was_made_before_a_crash_does_not_forbid_itself() {
        let mut observed = observed();
        let slot = at("2026-03-01T00:10:00Z");
        observed.children = vec![child(&slot_name("c", slot), None)];
        let decision = decide_schedule(&observed, slot);
        assert!(matches!(
            decision.actions[..],
            [ScheduleAction::Create { .. }, ScheduleAction::Record(_)]
        ));
    }

    #[test]
    fn a_trigger_is_followed_once_even_while_suspended() {
        let mut observed = observed();
        (observed.suspend, observed.trigger) = (true, Some("now please".to_owned()));
        let now = at("2026-03-01T00:05:00Z");
        let decision = decide_schedule(&observed, now);
        assert_eq!(created(&decision), [None]);
        apply(&mut observed, &decision, now);
        assert_eq!(decide_schedule(&observed, now).actions, []);
        observed.trigger = Some("again".to_owned());
        assert_eq!(created(&decide_schedule(&observed, now)), [None]);
    }

    #[test]
    fn the_oldest_finished_children_go_first() {
        let mut observed = observed();
        (observed.keep_succeeded, observed.keep_failed) = (1, 0);
        let of = |name: &str, minute: i64, outcome| Child {
            created: at("2026-03-01T00:00:00Z") + SignedDuration::from_mins(minute),
            ..child(name, outcome)
        };
        observed.children = vec![
            of("new", 3, Some(Outcome::Succeeded)),
            of("old", 1, Some(Outcome::Succeeded)),
            of("bad", 2, Some(Outcome::Failed)),
            of("runs", 0, None),
        ];
        let decision = decide_schedule(&observed, at("2026-03-01T00:05:00Z"));
        assert_eq!(deleted(&decision), ["old", "bad"]);
    }

    #[rstest]
    #[case("om-cronomjob-shop", "om-cronomjob-shop-1772323800")]
    #[case(
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-11ee39-1772323800"
    )]
    fn child_names_are_upstreams(#[case] base: &str, #[case] expected: &str) {
        let name = slot_name(base, at("2026-03-01T00:10:00Z"));
        assert_eq!(name, expected);
        assert!(name.len() <= MAX_LABEL);
    }

    fn any_schedule() -> impl Strategy<Value = (Schedule, Timestamp)> {
        let zones =
            ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"];
        let crons =
            ["*/7 * * * *", "30 1 * * *", "30 2 * * *", "0 * * * *", "15 */5 * * 1-5", "0 0 1 * *"];
        // Around the changes of daylight saving, where slots are skipped and hours repeat.
        let days =
            ["2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31"];
        let zones = prop::sample::select(zones.to_vec());
        (
            zones,
            prop::sample::select(crons.to_vec()),
            prop::sample::select(days.to_vec()),
            0i64..1_440,
        )
            .prop_map(|(zone, cron, day, minute)| {
                let schedule = Schedule::new(cron, zone.parse().unwrap()).unwrap();
                (schedule, at(&format!("{day}T00:00:00Z")) + SignedDuration::from_mins(minute))
            })
    }

    proptest! {
        /// An operator that looks when it said it would fires every slot once and in order.
        #[test]
        fn every_slot_fires_once_while_the_operator_runs((schedule, start) in any_schedule()) {
            let mut observed = ObservedSchedule { schedule, created: start, ..observed() };
            let mut now = start;
            let mut expected = start;
            for _ in 0..40 {
                let decision = decide_schedule(&observed, now);
                let fired = created(&decision);
                if now > start {
                    expected = observed.schedule.next_after(expected).unwrap();
                    prop_assert_eq!(fired, vec![Some(expected)]);
                }
                apply(&mut observed, &decision, now);
                let next = decision.next_look.unwrap();
                prop_assert!(next > now);
                now = next;
            }
        }

        /// Woken at any times, through crashes and pauses: slots rise, each in its window.
        #[test]
        fn slots_rise_and_never_repeat(
            (schedule, start) in any_schedule(),
            steps in prop::collection::vec((1i64..20_000, any::<bool>()), 1..40),
        ) {
            let mut observed = ObservedSchedule { schedule, created: start, ..observed() };
            (observed.keep_succeeded, observed.keep_failed) = (1_000, 1_000);
            let (mut now, mut last) = (start, start);
            for (seconds, crashes) in steps {
                now += SignedDuration::from_secs(seconds);
                let decision = decide_schedule(&observed, now);
                for slot in created(&decision).into_iter().flatten() {
                    prop_assert!(last < slot && slot <= now);
                    let latest = observed.schedule.next_after(slot);
                    prop_assert!(latest.is_none_or(|next| next > now), "a later slot was due");
                    last = if crashes { last } else { slot };
                }
                if !crashes {
                    apply(&mut observed, &decision, now);
                }
            }
        }

        #[test]
        fn names_tell_bases_and_slots_apart(
            a in "[ab]{50,60}", b in "[ab]{50,60}", first in 1_000_000_000i64..2_000_000_000,
        ) {
            let slot = |second| Timestamp::from_second(second).unwrap();
            prop_assert_ne!(slot_name(&a, slot(first)), slot_name(&a, slot(first + 60)));
            prop_assert_eq!(a == b, slot_name(&a, slot(first)) == slot_name(&b, slot(first)));
        }
    }
}
