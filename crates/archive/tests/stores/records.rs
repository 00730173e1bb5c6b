//! Records and retention, in every kind of store.

use jiff::SignedDuration;
use ompipe_archive::{Archive, Keep, LogWriter, Window};
use ompipe_core::archive::{RunFolder, RunRecord, Stage, pipeline_folder};
use rstest::rstest;

use crate::place::{Kind, Place};
use crate::run::{NAMESPACE, PIPELINE, at, keep, lines, record, run, store, writer};

/// Its name begins with that of another one.
const NAMESAKE: &str = "00000000-0000-4000-8000-0000000000011";
const DAY: i64 = 24 * 60 * 60;

async fn newest(archive: &Archive, pipeline: Option<&str>) -> Vec<RunRecord> {
    archive.newest(NAMESPACE, pipeline, Window::default(), 99).await.unwrap()
}

/// Runs of two pipelines over ten days, the newest first. All but the last are in lists.
async fn filled(archive: &Archive) -> Vec<RunRecord> {
    let mut all = Vec::new();
    for number in 0..20 {
        let (pipeline, name) = if number % 2 == 0 { (PIPELINE, "a") } else { (NAMESAKE, "b") };
        let record = record(number, i64::from(number) * DAY / 2, name);
        if number == 19 {
            archive.compact(NAMESPACE, at(20 * DAY)).await.unwrap();
        }
        keep(archive, pipeline, &record).await;
        all.insert(0, record);
    }
    all
}

#[rstest]
#[case::files(Kind::Files)]
#[case::s3(Kind::S3)]
#[case::s3_without_conditions(Kind::S3Unconditional)]
#[case::gcs(Kind::Gcs)]
#[case::azure(Kind::Azure)]
#[tokio::test]
async fn records_are_listed_and_what_is_too_old_goes(#[case] kind: Kind) {
    let place = Place::new(kind).await;
    let archive = place.archive();
    let all = filled(&archive).await;
    assert_eq!(newest(&archive, None).await, all);
    let own = all.iter().filter(|one| one.pipeline.as_deref() == Some("shop.a"));
    let own: Vec<RunRecord> = own.cloned().collect();
    assert_eq!(newest(&archive, Some(PIPELINE)).await, own);
    assert_eq!(archive.compact(NAMESPACE, at(20 * DAY)).await.unwrap(), 1);
    assert_eq!(newest(&archive, None).await, all);
    assert_eq!(archive.namespaces().await.unwrap(), [NAMESPACE]);
    let mut pipelines = archive.pipelines(NAMESPACE).await.unwrap();
    pipelines.sort_unstable();
    assert_eq!(pipelines, [PIPELINE, NAMESAKE]);
    let names = archive.pipeline_names(NAMESPACE).await.unwrap();
    assert_eq!(names.len(), 2, "{names:?}");

    let mut log = writer(&archive).await;
    log.push(b"one\n");
    store(&mut log).await.unwrap();
    let days = |days: i64| Some(SignedDuration::from_secs(days * DAY));
    let limits = Keep { logs: days(1), records: days(5) };
    archive.sweep(NAMESPACE, limits, at(10 * DAY)).await.unwrap();
    let is_young = |one: &&RunRecord| at(10 * DAY).duration_since(one.updated) <= days(5).unwrap();
    let young: Vec<RunRecord> = all.iter().filter(is_young).cloned().collect();
    let listed = newest(&archive, None).await;
    assert!(young.len() > 5 && young.iter().all(|one| listed.contains(one)), "{listed:?}");
    let runs = archive.runs(NAMESPACE, PIPELINE).await.unwrap();
    let own = young.iter().filter(|one| one.pipeline.as_deref() == Some("shop.a"));
    assert_eq!(runs.len(), own.count(), "folders of older runs are gone");
    assert!(archive.log(NAMESPACE, PIPELINE, run(), Stage::Main).await.unwrap().is_none());
    archive.sweep(NAMESPACE, limits, at(99 * DAY)).await.unwrap();
    assert_eq!(newest(&archive, None).await, []);
    assert!(archive.pipelines(NAMESPACE).await.unwrap().is_empty());
}

/// A store answers a list in parts, of a thousand objects at most.
#[tokio::test]
async fn more_records_than_a_store_lists_at_once_are_all_found() {
    const RUNS: usize = 1100;
    let mut place = Place::new(Kind::S3).await;
    let archive = place.archive();
    let first = record(0, 0, "a");
    keep(&archive, PIPELINE, &first).await;
    let waiting = place.server().bucket().join("a prefix/v1-recent").join(NAMESPACE).join(PIPELINE);
    let known = std::fs::read_dir(&waiting).unwrap().next().unwrap().unwrap().file_name();
    let text = std::fs::read_to_string(waiting.join(&known)).unwrap();
    for number in 1..RUNS {
        let id = format!("{number:08x}-");
        let name = known.to_str().unwrap().replace("00000000-", &id);
        std::fs::write(waiting.join(name), text.replacen("00000000-", &id, 1)).unwrap();
    }
    let found = archive.newest(NAMESPACE, Some(PIPELINE), Window::default(), 2 * RUNS).await;
    assert_eq!(found.unwrap().len(), RUNS);
    assert_eq!(archive.compact(NAMESPACE, at(DAY)).await.unwrap(), RUNS);
    let found = archive.newest(NAMESPACE, None, Window::default(), 2 * RUNS).await;
    assert_eq!(found.unwrap().len(), RUNS);
}

#[rstest]
#[case::files(Kind::Files)]
#[case::s3(Kind::S3)]
#[case::gcs(Kind::Gcs)]
#[case::azure(Kind::Azure)]
#[tokio::test]
async fn the_oldest_logs_go_when_there_is_too_much(#[case] kind: Kind) {
    let place = Place::new(kind).await;
    let archive = place.archive();
    let hours = |hours: i64| at(hours * 60 * 60);
    for number in 0..6 {
        let mut record = record(number, i64::from(number) * 60 * 60, "a");
        if number == 1 {
            record.state = ompipe_core::PipelineState::Running;
        }
        keep(&archive, PIPELINE, &record).await;
        let run = RunFolder::new(record.created.unwrap(), record.run_id);
        let folder = format!("{}/{run}/main", pipeline_folder(NAMESPACE, PIPELINE));
        let mut writer = LogWriter::open(&archive, folder).await.unwrap();
        writer.begin_attempt(1, "pod-1", "u1");
        // Some 60 KiB when compressed.
        writer.push(lines(0, 1000).as_bytes());
        store(&mut writer).await.unwrap();
    }
    let left = async || {
        let mut left = Vec::new();
        for run in archive.runs(NAMESPACE, PIPELINE).await.unwrap() {
            let log = archive.log(NAMESPACE, PIPELINE, run, Stage::Main).await.unwrap();
            left.extend(log.map(|_| (run.started.as_second() - at(0).as_second()) / 3600));
        }
        left
    };
    assert_eq!(archive.shrink(1 << 20, hours(7)).await.unwrap(), 0);
    let deleted = archive.shrink(200 << 10, hours(7)).await.unwrap();
    assert!(deleted > 100 << 10, "{deleted}");
    assert_eq!(left().await, [5, 4, 1], "the log of a run that goes on stays");
    assert_eq!(newest(&archive, None).await.len(), 6, "records stay");
    archive.shrink(0, hours(7)).await.unwrap();
    assert_eq!(left().await, [1]);
    archive.shrink(0, hours(99)).await.unwrap();
    assert!(left().await.is_empty());
}
