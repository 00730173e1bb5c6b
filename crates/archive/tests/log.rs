//! Logs in a store: what was written is read back, page by page, whatever happened in between.
#![expect(clippy::unwrap_used, reason = "a broken set-up fails the test at once")]

mod failing;

use std::sync::Arc;

use failing::Failing;
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use ompipe_archive::{Archive, ArchivedLog, Error, Keep, LogWriter};
use ompipe_core::archive::{
    Position, Resumed, RunFolder, RunRecord, Stage, Taken, TimedText, pipeline_folder,
};
use ompipe_core::logs::{LogPager, PAGE_BYTES};
use proptest::prelude::*;
use rstest::rstest;

const NAMESPACE: &str = "n";
const PIPELINE: &str = "p";

fn run() -> RunFolder {
    let started = "2026-11-28T23:17:06Z".parse().unwrap();
    RunFolder::new(started, "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap())
}

fn folder() -> String {
    format!("{}/{}/main", pipeline_folder(NAMESPACE, PIPELINE), run())
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

async fn archived(archive: &Archive) -> ArchivedLog {
    archive.log(NAMESPACE, PIPELINE, run(), Stage::Main).await.unwrap().unwrap()
}

async fn text(log: ArchivedLog, attempt: Option<usize>) -> String {
    let pieces: Vec<Vec<u8>> = log.stream(attempt).try_collect().await.unwrap();
    String::from_utf8(pieces.concat()).unwrap()
}

/// What the live reader answers.
fn page_of(log: &str, index: usize) -> ompipe_core::logs::LogPage {
    let mut pager = LogPager::new(index);
    pager.push(log.as_bytes());
    pager.finish().unwrap()
}

#[rstest]
#[case::memory(Arc::new(InMemory::new()), None)]
#[case::files(Arc::new(InMemory::new()), Some(tempfile::tempdir().unwrap()))]
#[tokio::test]
async fn the_pages_are_those_of_the_live_log(
    #[case] store: Arc<dyn ObjectStore>,
    #[case] directory: Option<tempfile::TempDir>,
) {
    let files = directory.as_ref().map(|at| LocalFileSystem::new_with_prefix(at.path()).unwrap());
    let archive = Archive::within(files.map_or(store, |files| Arc::new(files)));
    let mut writer = LogWriter::open(&archive, folder()).await.unwrap();
    writer.begin_attempt(1, "pod-1", "u1");
    let line = "a line of text\n".repeat(40_000);
    let mut expected = String::new();
    for round in 0..5 {
        writer.push(line.as_bytes());
        expected.push_str(&line);
        writer.store(&Position::default(), now()).await.unwrap();
        let log = archived(&archive).await;
        assert_eq!(log.page(0).await.unwrap(), page_of(&expected, 0), "round {round}");
    }
    writer.end_attempt();
    writer.begin_attempt(2, "pod-2", "u2");
    writer.push(b"again\n");
    writer.end_attempt();
    writer.store(&Position::default(), now()).await.unwrap();
    expected.push_str("\n----- attempt 2, pod pod-2 -----\nagain\n");
    let log = archived(&archive).await;
    for page in 0..log.index().total() {
        assert_eq!(log.page(page).await.unwrap(), page_of(&expected, page));
    }
    assert!(matches!(log.page(99).await, Err(Error::Page(_))));
    assert_eq!(text(log.clone(), Some(2)).await, "again\n");
    assert_eq!(text(log.clone(), Some(1)).await, line.repeat(5));
    assert_eq!(text(log, None).await, expected);
}

#[tokio::test]
async fn a_reader_that_is_behind_gets_the_beginning_of_what_there_is_now() {
    let archive = Archive::within(Arc::new(InMemory::new()));
    let mut writer = LogWriter::open(&archive, folder()).await.unwrap();
    writer.begin_attempt(1, "pod", "u");
    writer.push(b"one\n");
    writer.store(&Position::default(), now()).await.unwrap();
    let behind = archived(&archive).await;
    writer.push(b"two\n");
    writer.store(&Position::default(), now()).await.unwrap();
    assert_eq!(behind.page(0).await.unwrap().text, "one\n");
    writer.push("x".repeat(PAGE_BYTES).as_bytes());
    writer.store(&Position::default(), now()).await.unwrap();
    assert_eq!(behind.page(0).await.unwrap().text, "one\n");
}

#[rstest]
#[case::conditional(None)]
#[case::files(Some(tempfile::tempdir().unwrap()))]
#[tokio::test]
async fn a_writer_that_was_overtaken_changes_nothing(#[case] directory: Option<tempfile::TempDir>) {
    let files = directory.as_ref().map(|at| LocalFileSystem::new_with_prefix(at.path()).unwrap());
    let store: Arc<dyn ObjectStore> = match files {
        Some(files) => Arc::new(files),
        None => Arc::new(InMemory::new()),
    };
    let archive = Archive::within(store);
    let mut former = LogWriter::open(&archive, folder()).await.unwrap();
    former.begin_attempt(1, "pod", "u");
    former.push(b"one\n");
    former.store(&Position::default(), now()).await.unwrap();
    let mut newer = LogWriter::open(&archive, folder()).await.unwrap();
    newer.push(b"two\nthree\n");
    newer.store(&Position::default(), now()).await.unwrap();
    former.push(b"two\n");
    let refused = former.store(&Position::default(), now()).await;
    assert!(matches!(refused, Err(Error::Overtaken)), "{refused:?}");
    assert_eq!(text(archived(&archive).await, None).await, "one\ntwo\nthree\n");
}

/// A log as Kubernetes gives it from a time on.
fn ask(log: &[(Timestamp, String)], since: Option<Timestamp>) -> Vec<String> {
    let wanted = log.iter().filter(|(time, _)| since.is_none_or(|since| *time >= since));
    wanted.map(|(time, text)| format!("{time} {text}\n")).collect()
}

/// One operator's life: it goes on where the store says, and ends when the store fails for the
/// `calls`th time.
async fn live(store: &Failing, log: &[(Timestamp, String)], calls: usize) -> Result<(), Error> {
    store.fail_after(calls);
    let archive = Archive::within(Arc::new(store.clone()));
    let mut writer = LogWriter::open(&archive, folder()).await?;
    let position = writer.begin_attempt(1, "pod", "u");
    let mut resumed = Resumed::at(position.clone());
    for (number, line) in ask(log, position.since()).iter().enumerate() {
        match resumed.take(line.as_bytes()) {
            Taken::Known => {}
            Taken::Line(text, time) | Taken::AfterGap(text, _, time) => {
                writer.push_line(text, time);
            }
        }
        if number % 7 == 0 {
            writer.store(resumed.position(), now()).await?;
        }
    }
    writer.end_attempt();
    writer.store(resumed.position(), now()).await
}

fn log() -> impl Strategy<Value = Vec<(Timestamp, String)>> {
    let line = (0i64..900_000_000, 1usize..120_000);
    prop::collection::vec(line, 1..60).prop_map(|lines| {
        let mut time = 1_700_000_000_000_000_000_i128;
        let lines = lines.into_iter().enumerate().map(|(number, (step, length))| {
            time += i128::from(step);
            let text = format!("{number} {}", "x".repeat(length));
            (Timestamp::from_nanosecond(time).unwrap(), text)
        });
        lines.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn crashes_at_any_call_lose_and_double_nothing(
        log in log(), crashes in prop::collection::vec((1usize..60, 0usize..25), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Failing::default();
            for (written, calls) in crashes {
                // What fails is an operator that dies there, before or after the call took effect.
                drop(live(&store, &log[..written.min(log.len())], calls).await);
            }
            live(&store, &log, usize::MAX).await.unwrap();
            let expected: String = log.iter().flat_map(|(_, text)| [text.as_str(), "\n"]).collect();
            let archive = Archive::within(Arc::new(store.clone()));
            let found = archived(&archive).await;
            for page in 0..found.index().total() {
                assert!(found.page(page).await.unwrap() == page_of(&expected, page));
            }
            assert!(text(found, None).await == expected);
        });
    }
}

#[tokio::test]
async fn what_is_damaged_is_named() {
    let store = Arc::new(InMemory::new());
    let archive = Archive::within(Arc::clone(&store) as Arc<dyn ObjectStore>);
    let mut writer = LogWriter::open(&archive, folder()).await.unwrap();
    writer.begin_attempt(1, "pod", "u");
    writer.push(b"one\n");
    writer.store(&Position::default(), now()).await.unwrap();
    let part = object_store::path::Path::from(format!("{}/000000-part-4.gz", folder()));
    object_store::ObjectStoreExt::put(&*store, &part, b"no gzip".to_vec().into()).await.unwrap();
    let error = archived(&archive).await.page(0).await.unwrap_err().to_string();
    assert!(error.contains("000000-part-4.gz is damaged"), "{error}");
    object_store::ObjectStoreExt::delete(&*store, &part).await.unwrap();
    let error = archived(&archive).await.page(0).await.unwrap_err().to_string();
    assert!(error.contains("000000-part-4.gz is missing"), "{error}");
}

fn record(state: &str, finished: &str) -> RunRecord {
    serde_json::from_value(serde_json::json!({
        "format": 1, "runId": run().run, "namespace": NAMESPACE, "kind": "Job", "object": "j",
        "trigger": "schedule", "state": state, "finished": finished, "updated": finished,
    }))
    .unwrap()
}

#[tokio::test]
async fn what_is_too_old_is_deleted_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let archive = Archive::open(&format!("file://{}", directory.path().display()), []).unwrap();
    let mut writer = LogWriter::open(&archive, folder()).await.unwrap();
    writer.begin_attempt(1, "pod", "u");
    writer.push(b"one\n");
    writer.store(&Position::default(), now()).await.unwrap();
    let ended = record("failed", "2026-11-30T00:00:00Z");
    archive.keep_record(NAMESPACE, PIPELINE, run(), ended.clone()).await.unwrap();
    let days = |days: i64| Some(SignedDuration::from_hours(24 * days));
    let keep = Keep { logs: days(7), records: days(30) };
    let sweep = async |at: &str| {
        archive.sweep(NAMESPACE, keep, at.parse().unwrap()).await.unwrap();
        let log = archive.log(NAMESPACE, PIPELINE, run(), Stage::Main).await.unwrap().is_some();
        (log, archive.records(NAMESPACE, PIPELINE, None, 9).await.unwrap())
    };
    assert_eq!(sweep("2026-12-06T23:00:00Z").await, (true, vec![ended.clone()]));
    assert_eq!(sweep("2026-12-07T01:00:00Z").await, (false, vec![ended]));
    assert_eq!(sweep("2026-12-30T01:00:00Z").await, (false, vec![]));
    assert!(archive.runs(NAMESPACE, PIPELINE).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_end_on_record_stays_an_end() {
    let archive = Archive::within(Arc::new(InMemory::new()));
    let (ended, late) =
        (record("stopped", "2026-11-30T00:00:00Z"), record("running", "2026-11-29T00:00:00Z"));
    archive.keep_record(NAMESPACE, PIPELINE, run(), ended.clone()).await.unwrap();
    archive.keep_record(NAMESPACE, PIPELINE, run(), late).await.unwrap();
    assert_eq!(archive.records(NAMESPACE, PIPELINE, None, 9).await.unwrap(), [ended]);
}

#[rstest]
#[case("bucket/prefix", "must be a URL")]
#[case("https://host/bucket", "must begin with s3://")]
#[case("s3://key:secret@bucket/prefix", "must not have a user")]
#[case("s3://bucket/prefix?region=x", "must not have a user or a query")]
fn a_url_that_is_no_archive_is_refused(#[case] url: &str, #[case] expected: &str) {
    let error = Archive::open(url, []).unwrap_err().to_string();
    assert!(error.contains(expected) && !error.contains("secret@"), "{error}");
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A log of two attempts over several pages, a line each second.
async fn timed_log(archive: &Archive) -> ArchivedLog {
    let mut writer = LogWriter::open(archive, folder()).await.unwrap();
    let mut now = 0;
    for (number, lines) in [(1, 30_000), (2, 15_000)] {
        writer.begin_attempt(number, &format!("pod-{number}"), &format!("u{number}"));
        for line in 0..lines {
            now += 1;
            let text = format!("{:<99}\n", format!("attempt {number} line {line}"));
            writer.push_line(text.as_bytes(), second(now));
            if line % 4000 == 0 {
                writer.store(&Position::default(), second(now)).await.unwrap();
                // Another operator goes on.
                writer = LogWriter::open(archive, folder()).await.unwrap();
            }
        }
        writer.end_attempt();
        writer.store(&Position::default(), second(now)).await.unwrap();
    }
    archived(archive).await
}

#[tokio::test]
async fn every_line_has_its_time_also_after_a_writer_went_on() {
    let archive = Archive::within(Arc::new(InMemory::new()));
    let log = timed_log(&archive).await;
    let pages: Vec<_> = log.clone().timed(log.span(None)).try_collect().await.unwrap();
    assert!(pages.len() > 4, "{}", pages.len());
    let own = |text: &[u8]| text.starts_with(b"attempt");
    let lines = pages.iter().flat_map(TimedText::lines);
    let times: Vec<_> =
        lines.filter(|line| own(line.text)).map(|line| line.time.unwrap()).collect();
    let expected: Vec<_> = (1..=45_000).map(second).collect();
    assert!(times == expected);
}

#[tokio::test]
async fn lines_since_a_time_are_found_in_a_part_of_the_log() {
    let archive = Archive::within(Arc::new(InMemory::new()));
    let log = timed_log(&archive).await;
    for (attempt, since) in [(None, 44_000), (None, 20_000), (Some(1), 25_000), (Some(2), 1)] {
        let span = log.span(attempt);
        let part = log.since(span, second(since)).await.unwrap();
        assert!(part.first() >= span.first() && part.last() == span.last());
        let pages: Vec<_> = log.clone().timed(part).try_collect().await.unwrap();
        let lines = pages.iter().flat_map(TimedText::lines);
        let found = lines.filter(|line| line.text.starts_with(b"attempt"));
        let found: Vec<_> = found.filter(|line| line.time >= Some(second(since))).collect();
        let (first, last) = match attempt {
            None => (since, 45_000),
            Some(1) => (since, 30_000),
            Some(_) => (30_001, 45_000),
        };
        assert_eq!(found.first().unwrap().time, Some(second(first)), "{attempt:?} {since}");
        assert_eq!(found.last().unwrap().time, Some(second(last)), "{attempt:?} {since}");
    }
    let late = log.since(log.span(None), second(44_999)).await.unwrap();
    assert!(late.first() + 3 >= log.index().total(), "only the last pages are read");
}

#[tokio::test(start_paused = true)]
async fn a_page_is_one_request_for_readers_that_share_what_they_know() {
    let store = Failing::default();
    timed_log(&Archive::within(Arc::new(store.clone()))).await;
    let archive = Archive::within(Arc::new(store.clone())).cached();
    archived(&archive).await.page(0).await.unwrap();
    store.fail_after(1);
    archived(&archive).await.page(4).await.unwrap();
    assert!(archived(&archive).await.page(3).await.is_err(), "the second request fails");
    store.fail_after(usize::MAX);
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    assert_eq!(archived(&archive).await.page(3).await.unwrap().total, log_pages());
}

/// Pages of [`timed_log`].
fn log_pages() -> usize {
    (45_000 * 100usize).div_ceil(PAGE_BYTES)
}
