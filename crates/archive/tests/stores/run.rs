//! A run, its log and its record.

use futures::TryStreamExt;
use jiff::Timestamp;
use ompipe_archive::{Archive, ArchivedLog, LogWriter, Window};
use ompipe_core::archive::{Position, RunFolder, RunRecord, Stage, pipeline_folder};

pub(crate) const NAMESPACE: &str = "tenant";
pub(crate) const PIPELINE: &str = "00000000-0000-4000-8000-000000000001";

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_900_000 + second).unwrap()
}

pub(crate) fn run() -> RunFolder {
    RunFolder::new(at(0), "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap())
}

pub(crate) fn folder() -> String {
    format!("{}/{}/main", pipeline_folder(NAMESPACE, PIPELINE), run())
}

/// A writer that goes on with the log of the run's first attempt.
pub(crate) async fn writer(archive: &Archive) -> LogWriter {
    let mut writer = LogWriter::open(archive, folder()).await.unwrap();
    writer.begin_attempt(1, "pod-1", "u1");
    writer
}

pub(crate) async fn store(writer: &mut LogWriter) -> ompipe_archive::Result<()> {
    writer.store(&Position::default(), at(1)).await
}

pub(crate) async fn archived(archive: &Archive) -> ArchivedLog {
    archive.log(NAMESPACE, PIPELINE, run(), Stage::Main).await.unwrap().unwrap()
}

pub(crate) async fn text(archive: &Archive) -> String {
    let pages = archived(archive).await.stream(None);
    let pages: Vec<Vec<u8>> = pages.try_collect().await.unwrap();
    String::from_utf8(pages.concat()).unwrap()
}

/// Lines of 100 bytes that do not compress well.
pub(crate) fn lines(from: usize, count: usize) -> String {
    let line = |number: usize| {
        let mut state = number as u64 + 1;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'a' + u8::try_from(state % 26).unwrap())
        });
        format!("{number:>9} {}\n", noise.take(89).collect::<String>())
    };
    (from..from + count).map(line).collect()
}

pub(crate) fn record(number: u32, began: i64, pipeline: &str) -> RunRecord {
    serde_json::from_value(serde_json::json!({
        "format": 1, "runId": format!("{number:08x}-e5f6-4890-abcd-ef1234567890"),
        "namespace": NAMESPACE, "kind": "Job", "object": "j", "pipeline": format!("shop.{pipeline}"),
        "trigger": "schedule", "state": "success",
        "created": at(began), "finished": at(began + 60), "updated": at(began + 60),
    }))
    .unwrap()
}

pub(crate) async fn keep(archive: &Archive, pipeline: &str, record: &RunRecord) {
    let run = RunFolder::new(record.created.unwrap(), record.run_id);
    archive.keep_record(NAMESPACE, pipeline, run, record.clone()).await.unwrap();
}

/// The runs on record: those of the pipeline, and those of all.
pub(crate) async fn newest_runs(archive: &Archive) -> (Vec<RunRecord>, Vec<RunRecord>) {
    let newest =
        async |pipeline| archive.newest(NAMESPACE, pipeline, Window::default(), 99).await.unwrap();
    (newest(Some(PIPELINE)).await, newest(None).await)
}
