//! Objects that are missing, truncated or empty: what is damaged is named, and the rest stays readable.

use std::fs;
use std::path::PathBuf;

use ompipe_archive::Archive;
use rstest::rstest;

use crate::place::{Kind, Place};
use crate::run::{
    NAMESPACE, PIPELINE, archived, at, folder, keep, lines, newest_runs, record, store, text,
    writer,
};

/// What becomes of an object.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Missing,
    Emptied,
    Truncated,
}

impl Damage {
    /// Does it to each object below a folder whose name ends like that; how many.
    fn strike(self, place: &mut Place, below: &str, ends: &str) -> usize {
        let mut struck = 0;
        let mut folders = vec![place.server().bucket().join("a prefix").join(below)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_str().unwrap().ends_with(ends) {
                    self.strike_one(path);
                    struck += 1;
                }
            }
        }
        struck
    }

    fn strike_one(self, path: PathBuf) {
        let text = fs::read(&path).unwrap();
        match self {
            Self::Missing => fs::remove_file(path).unwrap(),
            Self::Emptied => fs::write(path, "").unwrap(),
            Self::Truncated => fs::write(path, &text[..text.len() / 2]).unwrap(),
        }
    }
}

/// A log of two full pages and an unfinished one.
async fn written(archive: &Archive) -> String {
    let log = lines(0, 22_000);
    let mut writer = writer(archive).await;
    for piece in log.as_bytes().chunks(300_000) {
        writer.push(piece);
        store(&mut writer).await.unwrap();
    }
    log
}

#[rstest]
#[case::missing(Damage::Missing, "is missing")]
#[case::emptied(Damage::Emptied, "is damaged")]
#[case::truncated(Damage::Truncated, "is damaged")]
#[tokio::test]
async fn a_damaged_page_is_named_and_the_others_are_read(
    #[case] damage: Damage,
    #[case] expected: &str,
) {
    let mut place = Place::new(Kind::S3).await;
    let archive = place.archive();
    let log = written(&archive).await;
    assert_eq!(damage.strike(&mut place, &folder(), "000001.gz"), 1);
    let read = archived(&archive).await;
    let error = read.page(1).await.unwrap_err().to_string();
    assert!(error.contains("000001.gz") && error.contains(expected), "{error}");
    assert!(log.starts_with(&read.page(0).await.unwrap().text));
    assert!(log.ends_with(&read.page(2).await.unwrap().text));
}

#[rstest]
#[case::missing(Damage::Missing)]
#[case::emptied(Damage::Emptied)]
#[case::truncated(Damage::Truncated)]
#[tokio::test]
async fn a_log_whose_unfinished_page_is_damaged_goes_on(#[case] damage: Damage) {
    let mut place = Place::new(Kind::S3).await;
    let archive = place.archive();
    let log = written(&archive).await;
    let lost = archived(&archive).await.index().part;
    assert_eq!(damage.strike(&mut place, &folder(), &format!("part-{lost}.gz")), 1);
    let error = archived(&archive).await.page(2).await.unwrap_err().to_string();
    assert!(error.contains("part-"), "{error}");
    let mut writer = writer(&archive).await;
    writer.push(b"what came later\n");
    store(&mut writer).await.unwrap();
    let now = text(&archive).await;
    let kept = log.len() - lost;
    assert!(now.starts_with(&log[..kept]) && now.ends_with("what came later\n"));
    assert_eq!(now.len(), log.len() + "what came later\n".len(), "places stay where they are");
    let marker = now[kept..].lines().next().unwrap();
    assert!(marker.contains(&format!("{lost} bytes of this log are lost")), "{marker}");
}

#[rstest]
#[case::emptied(Damage::Emptied)]
#[case::truncated(Damage::Truncated)]
#[tokio::test]
async fn a_damaged_index_is_named(#[case] damage: Damage) {
    let mut place = Place::new(Kind::S3).await;
    let archive = place.archive();
    written(&archive).await;
    assert_eq!(damage.strike(&mut place, &folder(), "index.json"), 1);
    let read =
        archive.log(NAMESPACE, PIPELINE, crate::run::run(), ompipe_core::archive::Stage::Main);
    let error = read.await.unwrap_err().to_string();
    assert!(error.contains("index.json is damaged"), "{error}");
}

/// Lists are made of `run.json`: they are made of it again when they cannot be read.
#[rstest]
#[case::emptied(Damage::Emptied)]
#[case::truncated(Damage::Truncated)]
#[tokio::test]
async fn damaged_lists_and_copies_cost_no_record(#[case] damage: Damage) {
    let mut place = Place::new(Kind::S3).await;
    let archive = place.archive();
    for number in 0..6 {
        keep(&archive, PIPELINE, &record(number, i64::from(number) * 50_000, "a")).await;
    }
    let expected = newest_runs(&archive).await;
    assert_eq!(damage.strike(&mut place, "v1-recent", ".json"), 6);
    assert_eq!(newest_runs(&archive).await, expected);
    assert_eq!(archive.compact(NAMESPACE, at(900_000)).await.unwrap(), 6);
    assert_eq!(newest_runs(&archive).await, expected);
    assert!(damage.strike(&mut place, "v1-lists", ".gz") > 1);
    assert!(damage.strike(&mut place, "v1-hours", ".gz") > 1);
    assert_eq!(newest_runs(&archive).await, expected);
    // One more in a list that is damaged.
    let late = record(6, 5 * 50_000 + 60, "a");
    keep(&archive, PIPELINE, &late).await;
    assert_eq!(archive.compact(NAMESPACE, at(900_000)).await.unwrap(), 1);
    let now = newest_runs(&archive).await;
    assert_eq!((now.0.len(), now.1.len()), (7, 7));
    assert_eq!(now.0[1..], expected.0[..]);
}

#[tokio::test]
async fn a_damaged_record_hides_no_other_and_is_written_anew() {
    let mut place = Place::new(Kind::S3).await;
    let archive = place.archive();
    let [one, other] = [1, 2].map(|number| record(number, i64::from(number) * 50_000, "a"));
    keep(&archive, PIPELINE, &one).await;
    assert_eq!(Damage::Truncated.strike(&mut place, "v1", "run.json"), 1);
    assert_eq!(Damage::Truncated.strike(&mut place, "v1-recent", ".json"), 1);
    keep(&archive, PIPELINE, &other).await;
    assert_eq!(newest_runs(&archive).await.0, std::slice::from_ref(&other));
    keep(&archive, PIPELINE, &one).await;
    assert_eq!(newest_runs(&archive).await.0, [other, one]);
}
