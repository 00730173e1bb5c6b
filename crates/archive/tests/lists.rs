//! Lists of records: the newest runs are found, whatever has become of their records meanwhile.
#![expect(clippy::unwrap_used, reason = "a broken set-up fails the test at once")]

mod failing;

use std::sync::Arc;

use failing::Failing;
use jiff::{SignedDuration, Timestamp};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use ompipe_archive::{Archive, Keep, Window};
use ompipe_core::RunId;
use ompipe_core::archive::{RunFolder, RunRecord};
use proptest::prelude::*;
use rstest::rstest;

const NAMESPACE: &str = "n";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_900_000 + second).unwrap()
}

fn record(pipeline: usize, number: u32, began: i64, state: &str) -> RunRecord {
    let run: RunId = format!("{number:08x}-e5f6-4890-abcd-ef1234567890").parse().unwrap();
    serde_json::from_value(serde_json::json!({
        "format": 1, "runId": run, "namespace": NAMESPACE, "kind": "Job", "object": "j",
        "pipeline": format!("shop.p{pipeline}"), "trigger": "schedule", "state": state,
        "created": at(began), "finished": at(began + 60), "updated": at(began + 60),
    }))
    .unwrap()
}

fn key(pipeline: usize) -> String {
    format!("00000000-0000-4000-8000-{pipeline:012}")
}

async fn keep(archive: &Archive, pipeline: usize, record: &RunRecord) {
    let run = RunFolder::new(record.created.unwrap(), record.run_id);
    archive.keep_record(NAMESPACE, &key(pipeline), run, record.clone()).await.unwrap();
}

/// Runs of three pipelines, one every 1000 seconds: over several days.
async fn filled(archive: &Archive) -> Vec<RunRecord> {
    let mut all = Vec::new();
    for number in 0..300u32 {
        let pipeline = number as usize % 3;
        let began = i64::from(number) * 1000;
        let record = record(pipeline, number, began, "success");
        keep(archive, pipeline, &record).await;
        all.insert(0, record);
        if number % 70 == 69 {
            archive.compact(NAMESPACE, at(began + 200)).await.unwrap();
        }
    }
    all
}

fn newest(all: &[RunRecord], passes: impl Fn(&RunRecord) -> bool, most: usize) -> Vec<RunRecord> {
    all.iter().filter(|record| passes(record)).take(most).cloned().collect()
}

#[rstest]
#[case::conditional(None)]
#[case::files(Some(tempfile::tempdir().unwrap()))]
#[tokio::test]
async fn the_newest_runs_are_listed(#[case] directory: Option<tempfile::TempDir>) {
    let files = directory.as_ref().map(|at| LocalFileSystem::new_with_prefix(at.path()).unwrap());
    let store: Arc<dyn ObjectStore> = match files {
        Some(files) => Arc::new(files),
        None => Arc::new(InMemory::new()),
    };
    let archive = Archive::within(store);
    let all = filled(&archive).await;
    for (since, until) in
        [(None, None), (Some(at(100_000)), Some(at(200_000))), (None, Some(at(5_500)))]
    {
        let window = Window { since, until };
        for most in [1, 50, 1000] {
            let within = |record: &RunRecord| window.has(record.created.unwrap());
            let found = archive.newest(NAMESPACE, None, window, most).await.unwrap();
            assert_eq!(found, newest(&all, within, most), "{window:?} {most}");
            let found = archive.newest(NAMESPACE, Some(&key(1)), window, most).await.unwrap();
            let own = |record: &RunRecord| {
                within(record) && record.pipeline.as_deref() == Some("shop.p1")
            };
            assert_eq!(found, newest(&all, own, most), "{window:?} {most}");
        }
    }
    let names = archive.pipeline_names(NAMESPACE).await.unwrap();
    let called: Vec<_> = names.iter().filter_map(|name| name.called("p2")).collect();
    assert_eq!(called.len(), 1);
    assert_eq!(called[0].fully_qualified_name, "shop.p2");
}

#[tokio::test]
async fn a_run_that_goes_on_is_listed_and_its_end_too() {
    let archive = Archive::within(Arc::new(InMemory::new()));
    let running = record(0, 1, 0, "running");
    keep(&archive, 0, &running).await;
    assert_eq!(archive.compact(NAMESPACE, at(7200)).await.unwrap(), 0);
    let list = async || archive.newest(NAMESPACE, None, Window::default(), 9).await.unwrap();
    assert_eq!(list().await, [running]);
    let mut ended = record(0, 1, 0, "failed");
    ended.updated = at(9000);
    keep(&archive, 0, &ended).await;
    assert_eq!(list().await, [ended.clone()]);
    assert_eq!(archive.compact(NAMESPACE, at(9030)).await.unwrap(), 0, "it may change yet");
    assert_eq!(archive.compact(NAMESPACE, at(9090)).await.unwrap(), 1);
    assert_eq!(list().await, [ended.clone()]);
    // What is known later goes over it.
    let mut reported = ended;
    (reported.reported_by, reported.updated) = (Some("operator".to_owned()), at(9100));
    keep(&archive, 0, &reported).await;
    assert_eq!(list().await, [reported.clone()]);
    archive.compact(NAMESPACE, at(9999)).await.unwrap();
    assert_eq!(list().await, [reported]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// A store that fails anywhere, and a leader that is another one afterwards: no run is lost, and none
    /// is listed twice.
    #[test]
    fn a_compaction_that_breaks_off_loses_nothing(
        breaks in prop::collection::vec(0usize..60, 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Failing::default();
            let archive = Archive::within(Arc::new(store.clone()));
            let mut all = Vec::new();
            for number in 0..20u32 {
                let record = record(number as usize % 2, number, i64::from(number) * 700, "success");
                keep(&archive, number as usize % 2, &record).await;
                all.insert(0, record);
            }
            for calls in breaks {
                store.fail_after(calls);
                drop(archive.compact(NAMESPACE, at(100_000)).await);
                store.fail_after(usize::MAX);
                let found = archive.newest(NAMESPACE, None, Window::default(), 99).await.unwrap();
                assert_eq!(found, all);
            }
            archive.compact(NAMESPACE, at(100_000)).await.unwrap();
            let found = archive.newest(NAMESPACE, None, Window::default(), 99).await.unwrap();
            assert_eq!(found, all);
        });
    }

    /// Whatever the retention and the time, what is younger stays listed and on record.
    #[test]
    fn retention_deletes_nothing_that_is_younger(
        began in prop::collection::vec(0i64..1_000_000, 1..12),
        days in 1i64..10, now in 0i64..2_000_000, compacted in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let archive = Archive::within(Arc::new(InMemory::new()));
            let mut all = Vec::new();
            for (number, began) in began.iter().enumerate() {
                let record = record(0, u32::try_from(number).unwrap(), *began, "success");
                keep(&archive, 0, &record).await;
                all.push(record);
            }
            if compacted {
                archive.compact(NAMESPACE, at(1_100_000)).await.unwrap();
            }
            let limit = SignedDuration::from_hours(24 * days);
            let keep = Keep { logs: None, records: Some(limit) };
            archive.sweep(NAMESPACE, keep, at(now)).await.unwrap();
            let listed = archive.newest(NAMESPACE, None, Window::default(), 99).await.unwrap();
            let runs = archive.runs(NAMESPACE, &key(0)).await.unwrap();
            for record in all {
                if at(now).duration_since(record.updated) <= limit {
                    assert!(listed.contains(&record), "{record:?} is no longer listed");
                    assert!(runs.iter().any(|run| run.run == record.run_id), "{record:?}");
                }
            }
        });
    }
}
