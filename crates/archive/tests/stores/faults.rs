//! A store that is stopped, hangs, is slow, breaks connections off or has no room: the log is whole afterwards.

use std::fs;

use ompipe_archive::LogWriter;
use tokio::time::{Duration, Instant, timeout};

use crate::link::{Link, Pace};
use crate::place::{Kind, Place};
use crate::run::{
    NAMESPACE, PIPELINE, archived, keep, lines, newest_runs, record, store, text, writer,
};
use crate::server::Server;

/// A client gives up within this, and its caller decides what to do.
const GIVES_UP: Duration = Duration::from_secs(20);

/// An attempt to store that fails, in time and without an end of the world.
async fn fails(writer: &mut LogWriter) -> String {
    let stored = timeout(GIVES_UP, store(writer)).await;
    assert!(stored.is_ok(), "the client tries for too long");
    stored.unwrap().unwrap_err().to_string()
}

#[tokio::test]
async fn a_store_that_was_stopped_gets_the_rest_of_the_log() {
    let mut place = Place::new(Kind::S3).await;
    let archive = place.archive();
    let mut writer = writer(&archive).await;
    let mut expected = String::new();
    for round in 0..3 {
        let before = lines(round * 30_000, 4000);
        writer.push(before.as_bytes());
        store(&mut writer).await.unwrap();
        place.server().kill();
        // More than a page: full ones wait, too.
        let after = lines(round * 30_000 + 4000, 15_000);
        writer.push(after.as_bytes());
        let error = fails(&mut writer).await;
        assert!(error.starts_with("the archive of logs: "), "{error}");
        place.server().restart().await;
        store(&mut writer).await.unwrap();
        expected.push_str(&before);
        expected.push_str(&after);
        assert!(text(&archive).await == expected, "round {round}");
    }
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up_in_time_and_taken_up_again() {
    let mut place = Place::new(Kind::S3).await.with("AWS_TIMEOUT", "500ms");
    let archive = place.archive();
    let mut writer = writer(&archive).await;
    writer.push(b"one\n");
    store(&mut writer).await.unwrap();
    place.server().hang();
    writer.push(b"two\n");
    fails(&mut writer).await;
    let began = Instant::now();
    assert!(archive.namespaces().await.is_err());
    assert!(began.elapsed() < GIVES_UP);
    place.server().go_on();
    store(&mut writer).await.unwrap();
    assert_eq!(text(&archive).await, "one\ntwo\n");
}

#[tokio::test]
async fn a_slow_store_costs_time_and_nothing_else() {
    let place = Place::new(Kind::S3).await;
    let store_address = place.server.as_ref().unwrap().address();
    let link = Link::to(store_address, Pace::slow(Duration::from_millis(2))).await;
    let place = place.by_way_of(link.address);
    let archive = place.archive();
    let mut writer = writer(&archive).await;
    let log = lines(0, 20_000);
    let began = Instant::now();
    writer.push(log.as_bytes());
    store(&mut writer).await.unwrap();
    assert!(began.elapsed() > Duration::from_millis(500), "it was slow");
    assert!(text(&archive).await == log);
}

#[tokio::test]
async fn connections_that_break_off_are_tried_again() {
    let place = Place::new(Kind::S3).await;
    let store_address = place.server.as_ref().unwrap().address();
    // In the middle of a page: more than a request without one has.
    let pace = Pace::broken(2, 100_000);
    let link = Link::to(store_address, pace.clone()).await;
    let place = place.by_way_of(link.address);
    let archive = place.archive();
    let mut writer = writer(&archive).await;
    let log = lines(0, 30_000);
    writer.push(log.as_bytes());
    store(&mut writer).await.unwrap();
    assert_eq!(pace.left(), 0, "connections did break off");
    assert!(text(&archive).await == log);
}

#[tokio::test]
async fn a_full_store_says_so_and_goes_on_when_it_has_room() {
    let mut place = Place::s3(Server::s3_on_a_small_disk().await);
    let archive = place.archive();
    let mut writer = writer(&archive).await;
    let ballast = place.server().bucket_within().join("ballast");
    fs::write(&ballast, vec![0; 600 << 10]).unwrap();
    writer.push(b"one\n");
    store(&mut writer).await.unwrap();
    let log = lines(0, 9000);
    writer.push(log.as_bytes());
    let error = fails(&mut writer).await;
    assert!(error.contains("507 Insufficient Storage"), "{error}");
    assert_eq!(text(&archive).await, "one\n", "what was stored stays");
    fs::remove_file(&ballast).unwrap();
    store(&mut writer).await.unwrap();
    assert!(text(&archive).await == format!("one\n{log}"));
}

/// A compaction that breaks off anywhere, by the death of the store, loses no record.
#[tokio::test]
async fn lists_survive_a_store_that_dies_while_they_are_written() {
    let mut place = Place::new(Kind::S3).await;
    let archive = place.archive();
    for number in 0..8 {
        keep(&archive, PIPELINE, &record(number, i64::from(number) * 100_000, "a")).await;
    }
    let expected = newest_runs(&archive).await;
    assert_eq!((expected.0.len(), expected.1.len()), (8, 8));
    for milliseconds in [1, 5, 15, 40] {
        let compaction = archive.compact(NAMESPACE, crate::run::at(9_000_000));
        // Wherever it is then.
        drop(timeout(Duration::from_millis(milliseconds), compaction).await);
        place.server().kill();
        place.server().restart().await;
        assert_eq!(newest_runs(&archive).await, expected, "after {milliseconds} ms");
    }
    archive.compact(NAMESPACE, crate::run::at(9_000_000)).await.unwrap();
    assert_eq!(newest_runs(&archive).await, expected);
}

#[tokio::test]
async fn a_reader_reads_on_when_the_store_is_back() {
    let mut place = Place::new(Kind::S3).await;
    let archive = place.archive().cached();
    let mut writer = writer(&archive).await;
    let log = lines(0, 30_000);
    writer.push(log.as_bytes());
    store(&mut writer).await.unwrap();
    let before = archived(&archive).await;
    place.server().kill();
    assert!(before.page(0).await.is_err());
    place.server().restart().await;
    assert!(log.starts_with(&before.page(0).await.unwrap().text));
}
