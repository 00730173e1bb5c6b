//! Logs: what was written is read back, from every kind of store.

use futures::TryStreamExt;
use jiff::Timestamp;
use ompipe_archive::{Error, LogWriter};
use ompipe_core::archive::{Position, Resumed, Taken, TimedText};
use ompipe_core::logs::LogPager;
use rstest::rstest;

use crate::place::{Kind, Place};
use crate::run::{archived, at, folder, lines, store, text, writer};

/// Writes a log in parts, each by a writer that goes on where the one before was; returns the log.
async fn written(place: &Place) -> String {
    let mut expected = String::new();
    for part in 0..4 {
        let mut writer = writer(&place.archive()).await;
        for piece in 0..3 {
            let text = lines(part * 10_000 + piece * 3000, 3000);
            writer.push_line(text.as_bytes(), at(i64::try_from(part).unwrap()));
            expected.push_str(&text);
            store(&mut writer).await.unwrap();
        }
    }
    let mut writer = writer(&place.archive()).await;
    writer.end_attempt();
    writer.begin_attempt(2, "pod-2", "u2");
    writer.push(b"again\n");
    writer.end_attempt();
    store(&mut writer).await.unwrap();
    expected + "\n----- attempt 2, pod pod-2 -----\nagain\n"
}

#[rstest]
#[case::files(Kind::Files)]
#[case::s3(Kind::S3)]
#[case::s3_without_conditions(Kind::S3Unconditional)]
#[case::gcs(Kind::Gcs)]
#[case::azure(Kind::Azure)]
#[tokio::test]
async fn a_log_is_read_back_page_by_page(#[case] kind: Kind) {
    let place = Place::new(kind).await;
    let expected = written(&place).await;
    let archive = place.archive().cached();
    let log = archived(&archive).await;
    assert_eq!(log.index().bytes, expected.len() as u64);
    for number in 0..log.index().total() {
        let mut pager = LogPager::new(number);
        pager.push(expected.as_bytes());
        assert!(log.page(number).await.unwrap() == pager.finish().unwrap(), "page {number}");
    }
    let first: Vec<_> = log.clone().stream(Some(2)).try_collect().await.unwrap();
    assert_eq!(first.concat(), b"again\n");
    let late = log.since(log.span(None), at(3)).await.unwrap();
    let pages: Vec<TimedText> = log.clone().timed(late).try_collect().await.unwrap();
    let texts: Vec<u8> = pages.iter().flat_map(|page| page.text.clone()).collect();
    assert!(expected.as_bytes().ends_with(&texts) && texts.len() < expected.len());
    let wanted = lines(30_000, 9000);
    assert!(String::from_utf8(texts).unwrap().contains(&wanted), "lines since are there");
}

#[rstest]
#[case::files(Kind::Files)]
#[case::s3(Kind::S3)]
#[case::s3_without_conditions(Kind::S3Unconditional)]
#[case::gcs(Kind::Gcs)]
#[case::azure(Kind::Azure)]
#[tokio::test]
async fn a_writer_that_was_overtaken_is_refused(#[case] kind: Kind) {
    let place = Place::new(kind).await;
    let (mut one, mut other) = (writer(&place.archive()).await, writer(&place.archive()).await);
    one.push(b"one\n");
    store(&mut one).await.unwrap();
    other.push(b"the other\n");
    let refused = store(&mut other).await;
    assert!(matches!(refused, Err(Error::Overtaken)), "a log that is there: {refused:?}");
    let mut newer = writer(&place.archive()).await;
    newer.push(b"two\nthree\n");
    store(&mut newer).await.unwrap();
    one.push(b"two\n");
    let refused = store(&mut one).await;
    assert!(matches!(refused, Err(Error::Overtaken)), "a log that is longer: {refused:?}");
    assert_eq!(text(&place.archive()).await, "one\ntwo\nthree\n");
}

/// Follows a log as an operator does, and begins anew when another one was faster.
async fn follow(place: &Place, log: &[String]) {
    let archive = place.archive();
    'anew: loop {
        let mut writer = LogWriter::open(&archive, folder()).await.unwrap();
        let position = writer.begin_attempt(1, "pod-1", "u1");
        let since = position.since();
        let mut resumed = Resumed::at(position);
        let is_asked_for = |line: &str| {
            let time: Timestamp = line.split_once(' ').unwrap().0.parse().unwrap();
            since.is_none_or(|since| time >= since)
        };
        for (number, line) in log.iter().filter(|line| is_asked_for(line)).enumerate() {
            if let Taken::Line(text, time) = resumed.take(line.as_bytes()) {
                writer.push_line(text, time);
            }
            if number % 5 == 4 {
                match writer.store(resumed.position(), at(0)).await {
                    Err(Error::Overtaken) => continue 'anew,
                    stored => stored.unwrap(),
                }
            }
        }
        writer.end_attempt();
        match writer.store(resumed.position(), at(0)).await {
            Err(Error::Overtaken) => {}
            stored => return stored.unwrap(),
        }
    }
}

#[rstest]
#[case::s3(Kind::S3)]
#[case::gcs(Kind::Gcs)]
#[case::azure(Kind::Azure)]
#[tokio::test]
async fn two_operators_at_once_lose_and_double_nothing(#[case] kind: Kind) {
    let place = Place::new(kind).await;
    let texts: Vec<String> = lines(0, 60).lines().map(|line| line.repeat(600) + "\n").collect();
    let second = |number: usize| at(i64::try_from(number).unwrap());
    let stamped = texts.iter().enumerate();
    let log: Vec<String> =
        stamped.map(|(number, text)| format!("{} {text}", second(number))).collect();
    let empty = writer(&place.archive()).await.index().position == Position::default();
    assert!(empty, "nothing is stored yet");
    futures::join!(follow(&place, &log), follow(&place, &log), follow(&place, &log));
    assert!(text(&place.archive()).await == texts.concat());
}
