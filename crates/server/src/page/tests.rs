use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::Instant;

use super::parts::{Place, Site};
use super::*;
use crate::board::tests::{at, deployed, record};
use crate::settings::BasePath;

const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{202e}gpj\u{1b}[31m";

fn hostile() -> Snapshot {
    let run = record(
        1,
        &format!("shop.{HOSTILE}"),
        &json!({
            "state": "failed", "reason": HOSTILE, "message": HOSTILE, "created": at(99_000),
            "finished": at(99_100), "reportedBy": HOSTILE, "attempts": [{
                "pod": HOSTILE, "node": HOSTILE, "reason": HOSTILE, "created": at(99_010),
                "started": at(99_020), "finished": at(99_100), "exitCode": 1,
            }],
        }),
    );
    Snapshot::new(at(100_000), vec![deployed(1, HOSTILE, Some("*/5 * * * *"))], vec![run])
}

#[test]
fn what_others_wrote_is_no_markup() {
    let (base, snapshot) = (BasePath::default(), hostile());
    let site = Site::new(&base, "n", &snapshot);
    let run = &snapshot.runs[0];
    let bodies = [
        overview::body(&site),
        pipelines::body(
            &site,
            &pipelines::Wanted { text: HOSTILE.to_owned(), ..Default::default() },
        ),
        pipeline::body(&site, &snapshot.pipelines[0], None, true),
        run::body(&site, &format!("shop.{HOSTILE}"), run, true),
    ];
    for body in bodies {
        let page = site.page(Place::Overview, HOSTILE, &body).into_string();
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(!page.contains(['\u{202e}', '\u{1b}']), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
        // The policy forbids them: a page that has them would not look as it should.
        assert!(!page.contains(" style=") && !page.contains(" onclick="), "{page}");
    }
}

fn large() -> Snapshot {
    let name = |number: usize| format!("pipeline_{number:04}");
    let pipelines = (0..2000).map(|one| deployed(one as u128, &name(one), Some("0 * * * *")));
    let run = |number: usize| {
        let state = if number.is_multiple_of(7) { "failed" } else { "success" };
        let second = 100_000 - i64::try_from(number).unwrap();
        let reason = (state == "failed").then_some("SourceAuth");
        record(
            number as u128,
            &format!("shop.{}", name(number % 2000)),
            &json!({
                "state": state, "created": at(second), "finished": at(second + 60), "reason": reason,
                "message": reason.map(|_| "password authentication failed for user \"ingest\""),
            }),
        )
    };
    Snapshot::new(at(100_000), pipelines.collect(), (0..20_000).map(run).collect())
}

/// The figures of docs/page.md: `cargo test -p ompipe-server --lib -- page::tests --nocapture`.
#[test]
fn thousands_of_pipelines_are_shown_at_once() {
    let (base, snapshot) = (BasePath::default(), large());
    let site = Site::new(&base, "n", &snapshot);
    let bodies: [(&str, &dyn Fn() -> Markup); 2] = [
        ("overview", &|| overview::body(&site)),
        ("pipelines", &|| pipelines::body(&site, &pipelines::Wanted::default())),
    ];
    for (name, body) in bodies {
        let began = Instant::now();
        let page = site.page(Place::Overview, name, &body()).into_string();
        let packed = gzip(page.as_bytes()).len();
        let took = began.elapsed();
        eprintln!("{name}: {} bytes, {packed} compressed, {took:?}", page.len());
        assert!(packed <= 100_000, "{name}: {packed} bytes");
        // Unoptimised, on a machine that does other things too.
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
    }
}

#[test]
fn next_runs_are_those_of_a_day() {
    let (base, snapshot) = (BasePath::default(), hostile());
    let site = Site::new(&base, "n", &snapshot);
    let slots = overview::slots(&site);
    assert_eq!(slots.len(), 48);
    let until: Timestamp = snapshot.now.checked_add(SignedDuration::from_hours(24)).unwrap();
    assert!(slots.iter().all(|(time, _)| *time > snapshot.now && *time <= until));
}
