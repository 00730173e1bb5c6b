//! Our slots against those of the real CronJob controller, for many schedules, zones and moments,
//! above all around the changes of clocks. The real ones come from the library that the controller
//! calls, in `sandbox/cmd/cronslots`.
#![expect(clippy::unwrap_used, reason = "a broken set-up fails the test at once")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use ompipe_core::{Schedule, Zone};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// Cases of one test run, the same in each: a failure is found again.
const CASES: usize = 4000;
/// Slots of each case.
const SLOTS: usize = 6;

/// Zones whose clocks change by an hour, by half of one, at midnight, for a month only, rarely, never.
const ZONES: [&str; 14] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Santiago",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Auckland",
];

/// Zones whose clocks change at midnight or by half an hour: there the real controller's library loses
/// slots, and for some schedules never ends. Ours are then those that the clocks show.
const BEYOND_THE_REAL_ONE: [&str; 5] =
    ["America/Santiago", "America/Sao_Paulo", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia"];

#[derive(Clone, Debug)]
struct Case {
    schedule: String,
    zone: &'static str,
    /// Seconds since 1970.
    after: i64,
}

/// Values of one field of a schedule: a list of up to three items of any shape.
fn field(least: u8, last: u8) -> impl Strategy<Value = String> {
    let list = prop::collection::vec(item(least, last), 1..=3);
    prop_oneof![3 => plain(least, last), 1 => list.prop_map(|items| items.join(","))]
}

/// One item: stars and question marks, values and ranges, with and without steps, which may be 1
/// or more than the field has.
fn item(least: u8, last: u8) -> impl Strategy<Value = String> {
    let value = least..=last;
    let range = (value.clone(), value.clone()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let range = range.prop_map(|(from, to)| format!("{from}-{to}"));
    let base = prop_oneof![
        Just("*".to_owned()),
        Just("?".to_owned()),
        value.prop_map(|value| value.to_string()),
        range,
    ];
    let step = prop_oneof![
        2 => Just(None),
        1 => Just(Some(1)),
        2 => (2..=u64::from(last)).prop_map(Some),
        1 => (u64::from(last)..=400).prop_map(Some),
    ];
    (base, step).prop_map(|(base, step)| match step {
        Some(step) => format!("{base}/{step}"),
        None => base,
    })
}

/// Values of one field as most people write them.
fn plain(least: u8, last: u8) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (least..=last).prop_map(|value| value.to_string()),
        1 => (2..=last.max(3)).prop_map(|step| format!("*/{step}")),
        1 => (least..=last, least..=last).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (least..=last, least..=last).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

fn schedule() -> impl Strategy<Value = String> {
    // Hours in which clocks change are as frequent as all the others.
    let hour = prop_oneof![field(0, 23), field(0, 3)];
    (field(0, 59), hour, field(1, 28), field(1, 12), field(0, 6)).prop_map(
        |(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"),
    )
}

/// A moment from 2010 to 2037, or one within two days of a change of clocks.
fn moment(zone: &'static str) -> impl Strategy<Value = i64> {
    const BEGIN: i64 = 1_262_304_000;
    const END: i64 = 2_145_916_800;
    let near = (BEGIN..END, -172_800..172_800_i64).prop_map(move |(from, distance)| {
        let zone = jiff::tz::TimeZone::get(zone).unwrap();
        let from = jiff::Timestamp::from_second(from).unwrap();
        let change = zone.following(from).next().map_or(from, |change| change.timestamp());
        change.as_second() + distance
    });
    prop_oneof![1 => BEGIN..END, 3 => near]
}

fn case() -> impl Strategy<Value = Case> {
    let zone = prop::sample::select(&ZONES[..]);
    (schedule(), zone).prop_flat_map(|(schedule, zone)| {
        moment(zone).prop_map(move |after| Case { schedule: schedule.clone(), zone, after })
    })
}

fn cases() -> Vec<Case> {
    let mut runner = TestRunner::deterministic();
    (0..CASES).map(|_| case().new_tree(&mut runner).unwrap().current()).collect()
}

fn our_slots(case: &Case) -> Vec<i64> {
    let zone: Zone = case.zone.parse().unwrap();
    let schedule = Schedule::new(&case.schedule, zone).unwrap();
    let after = jiff::Timestamp::from_second(case.after).unwrap();
    let slots = std::iter::successors(Some(after), |slot| schedule.next_after(*slot));
    slots.skip(1).take(SLOTS).map(jiff::Timestamp::as_second).collect()
}

/// The controller's slots, case by case; `None` where it never ends to look for them.
fn real_slots(cases: &[Case]) -> Vec<Option<Vec<i64>>> {
    let sandbox = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sandbox");
    let mut command = Command::new("go");
    command.current_dir(sandbox).args(["run", "./cmd/cronslots"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let questions = cases.iter().map(|case| question(case).to_string());
    let questions = questions.collect::<Vec<_>>().join("\n");
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(questions.as_bytes()).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "cronslots: {}", output.status);
        let lines = str::from_utf8(&output.stdout).unwrap().lines();
        lines.map(read_slots).collect()
    })
}

fn read_slots(line: &str) -> Option<Vec<i64>> {
    if line == r#""endless""# {
        return None;
    }
    Some(serde_json::from_str::<Option<_>>(line).unwrap().unwrap_or_default())
}

fn question(case: &Case) -> Value {
    let Case { schedule, zone, after } = case;
    json!({ "schedule": schedule, "zone": zone, "after": after, "count": SLOTS })
}

#[test]
fn the_slots_are_those_of_the_real_controller() {
    let cases = cases();
    let real = real_slots(&cases);
    assert_eq!(real.len(), cases.len());
    let differs =
        |(case, real): &(&Case, &Option<Vec<i64>>)| real.as_ref() != Some(&our_slots(case));
    let (other, same): (Vec<_>, Vec<_>) = cases.iter().zip(&real).partition(differs);
    let known = |(case, _): &&(&Case, _)| BEYOND_THE_REAL_ONE.contains(&case.zone);
    let unknown: Vec<_> = other.iter().filter(|pair| !known(pair)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(other.len() < CASES / 100, "{} differ, more than the few that are known", other.len());
    let fired =
        same.iter().filter(|(_, real)| real.as_ref().is_some_and(|slots| !slots.is_empty()));
    assert!(fired.count() > CASES / 2, "hardly any schedule fires");
}
