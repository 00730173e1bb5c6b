use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::PipelineState;
use crate::archive::RunRecord;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn record(number: u128, fields: &Value) -> RunRecord {
    let mut document = json!({
        "format": 1, "runId": uuid::Uuid::from_u128(number), "namespace": "n", "kind": "Job",
        "object": "j", "trigger": "schedule", "state": "success", "attempts": [], "updated": at(0),
    });
    document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(document).unwrap()
}

#[rstest]
#[case("shop.nightly", Some("shop"))]
#[case("shop.\"a.b\"", Some("shop"))]
#[case("\"my.shop\".nightly", Some("\"my.shop\""))]
#[case("nightly", None)]
fn the_service_of_a_pipeline(#[case] pipeline: &str, #[case] service: Option<&str>) {
    assert_eq!(service_of(pipeline), service);
}

#[rstest]
#[case(RunFilter { states: vec![PipelineState::Failed], ..RunFilter::default() }, true)]
#[case(RunFilter { states: vec![PipelineState::Success], ..RunFilter::default() }, false)]
#[case(RunFilter { since: Some(at(100)), until: Some(at(101)), ..RunFilter::default() }, true)]
#[case(RunFilter { since: Some(at(101)), ..RunFilter::default() }, false)]
#[case(RunFilter { until: Some(at(100)), ..RunFilter::default() }, false)]
#[case(RunFilter { service: Some("shop".to_owned()), ..RunFilter::default() }, true)]
#[case(RunFilter { service: Some("sho".to_owned()), ..RunFilter::default() }, false)]
#[case(RunFilter { pipeline: Some("shop.a".to_owned()), ..RunFilter::default() }, true)]
#[case(RunFilter { pipeline: Some("shop.b".to_owned()), ..RunFilter::default() }, false)]
#[case(RunFilter { reason: Some("oomkilled".to_owned()), ..RunFilter::default() }, true)]
#[case(RunFilter { reason: Some("Error".to_owned()), ..RunFilter::default() }, false)]
fn what_is_meant(#[case] filter: RunFilter, #[case] accepted: bool) {
    let fields = json!({
        "pipeline": "shop.a", "state": "failed", "reason": "OOMKilled", "created": at(100),
    });
    assert_eq!(filter.accepts(&record(1, &fields)), accepted);
}

#[test]
fn a_run_without_a_time_is_listed_all_the_same() {
    let filter = RunFilter { since: Some(at(5)), until: Some(at(6)), ..RunFilter::default() };
    assert!(filter.accepts(&record(1, &json!({}))));
}

#[rstest]
#[case("")]
#[case("12")]
#[case("x~00000000-0000-0000-0000-000000000001")]
#[case("99999999999999999999999999999999~00000000-0000-0000-0000-000000000001")]
fn what_is_no_cursor_is_refused(#[case] text: &str) {
    assert!(text.parse::<Cursor>().is_err());
}

fn runs() -> impl Strategy<Value = Vec<RunRecord>> {
    let states = prop::sample::select(vec!["queued", "running", "success", "failed", "stopped"]);
    let run = (prop::option::of(0i64..5), states, 0i64..100);
    prop::collection::vec(run, 0..40).prop_map(|runs| {
        let make = |(number, (created, state, took)): (usize, (Option<i64>, &str, i64))| {
            let mut run = record(number as u128, &json!({ "state": state }));
            run.created = created.map(at);
            run.finished = created.filter(|_| run.state.is_terminal()).map(|from| at(from + took));
            run
        };
        let mut runs: Vec<RunRecord> = runs.into_iter().enumerate().map(make).collect();
        newest_first(&mut runs);
        runs
    })
}

proptest! {
    #[test]
    fn pages_are_the_list(runs in runs(), limit in 1usize..7, only_failed in any::<bool>()) {
        let states = if only_failed { vec![PipelineState::Failed] } else { Vec::new() };
        let filter = RunFilter { states, ..RunFilter::default() };
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let one = page(&runs, &filter, after, limit);
            prop_assert!(one.runs.len() <= limit);
            all.extend(one.runs);
            let Some(next) = one.next else { break };
            after = Some(next.to_string().parse::<Cursor>().unwrap());
        }
        let meant: Vec<&RunRecord> = runs.iter().filter(|run| filter.accepts(run)).collect();
        prop_assert_eq!(all, meant);
    }

    #[test]
    fn new_runs_change_no_later_page(mut runs in runs(), limit in 1usize..7) {
        let filter = RunFilter::default();
        let first = page(&runs, &filter, None, limit).next;
        let before: Vec<RunRecord> =
            page(&runs, &filter, first, limit).runs.into_iter().cloned().collect();
        prop_assume!(first.is_some());
        runs.push(record(1000, &json!({ "created": at(1000) })));
        newest_first(&mut runs);
        let after = page(&runs, &filter, first, limit).runs;
        prop_assert_eq!(after, before.iter().collect::<Vec<_>>());
    }

    #[test]
    fn statistics_count_every_run_once(runs in runs()) {
        let found = Statistics::of(&runs, &TimeZone::UTC);
        let count = |wanted: fn(PipelineState) -> bool| {
            runs.iter().filter(|run| wanted(run.state)).count()
        };
        prop_assert_eq!(found.runs, runs.len());
        prop_assert_eq!(found.ended, count(PipelineState::is_terminal));
        let failed = count(|state| state == PipelineState::Failed);
        prop_assert_eq!(found.reasons.iter().map(|reason| reason.runs).sum::<usize>(), failed);
        let of_days = |day: &Day| day.succeeded + day.failed + day.stopped + day.unfinished;
        let dated = runs.iter().filter(|run| run.created.is_some()).count();
        prop_assert_eq!(found.days.iter().map(of_days).sum::<usize>(), dated);
        prop_assert!(found.success_rate.is_none_or(|rate| (0.0..=1.0).contains(&rate)));
        if let Some(Durations { p50, p95, max }) = found.durations {
            prop_assert!(p50 <= p95 && p95 <= max);
            let took = |run: &&RunRecord| run.finished.is_some();
            let seconds: Vec<i64> = runs.iter().filter(took)
                .map(|run| (run.finished.unwrap() - run.created.unwrap()).get_seconds()).collect();
            let at_most = seconds.iter().filter(|one| **one <= p95).count();
            prop_assert!(at_most * 100 >= seconds.len() * 95);
        }
    }

    #[test]
    fn the_parts_of_a_timeline_follow_each_other(
        times in prop::collection::vec(prop::option::of(0i64..100), 10),
        ended in any::<bool>(),
    ) {
        let attempt = |times: &[Option<i64>]| json!({
            "pod": "p", "created": times[0].map(at), "scheduled": times[1].map(at),
            "started": times[2].map(at), "finished": times[3].map(at),
        });
        let run = record(1, &json!({
            "state": if ended { "failed" } else { "running" }, "created": times[8].map(at),
            "finished": times[9].map(at), "attempts": [attempt(&times[..4]), attempt(&times[4..8])],
        }));
        let spans = timeline(&run);
        for pair in spans.windows(2) {
            prop_assert_eq!(pair[0].to, Some(pair[1].from));
        }
        prop_assert!(spans.iter().all(|span| span.to.is_none_or(|to| to >= span.from)));
        let open = spans.last().is_some_and(|last| last.to.is_none());
        let is_over = ended && times[9].is_some();
        prop_assert_eq!(open, !spans.is_empty() && !is_over);
    }
}

#[test]
fn a_run_with_two_attempts_in_its_parts() {
    let run = record(
        1,
        &json!({
            "state": "failed", "created": at(0), "finished": at(60), "reportedAt": at(62), "attempts": [
                { "pod": "a", "created": at(1), "scheduled": at(2), "started": at(10), "finished": at(20) },
                { "pod": "b", "created": at(30), "scheduled": at(31), "started": at(32), "finished": at(60) },
            ],
        }),
    );
    let shown = timeline(&run).into_iter().map(|span| {
        let seconds = span.to.unwrap().duration_since(span.from).as_secs();
        (span.phase.as_str(), span.attempt.unwrap_or(0), seconds)
    });
    let expected = [
        ("queued", 0, 1),
        ("scheduling", 1, 1),
        ("starting", 1, 8),
        ("running", 1, 10),
        ("retrying", 1, 10),
        ("scheduling", 2, 1),
        ("starting", 2, 1),
        ("running", 2, 28),
        ("reporting", 2, 2),
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

#[test]
fn a_run_that_is_archived_and_in_the_cluster_is_one() {
    let of = |number, state: &str, second| {
        record(number, &json!({ "state": state, "created": at(second) }))
    };
    let live = vec![of(1, "running", 5), of(2, "queued", 9)];
    let archived = vec![of(1, "failed", 5), of(3, "success", 7)];
    let merged = merged(live, archived);
    let states: Vec<&str> = merged.iter().map(|run| run.state.as_str()).collect();
    assert_eq!(states, ["queued", "success", "failed"]);
}
