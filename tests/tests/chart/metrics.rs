//! Alerts and the board ask for metrics that exist, and every alert says what to do. Those of the server
//! are looked for in `e2e::chart::metrics` and `e2e::metrics`.

use std::time::Duration;

use jiff::SignedDuration;
use ompipe_core::cron::Missed;
use ompipe_core::omjob::{Phase, Reason, Report};
use ompipe_operator::metrics::{Answer, Controller, Metrics, ReconcileResult, Verb};
use ompipe_tests::metrics;

use crate::rendered::{Rendered, full};

/// The page of `docs/operate.md`, where GitHub shows it: a heading's anchor is its text in lower case.
const RUNBOOKS: &str = "https://github.com/ompipe/ompipe/blob/main/docs/operate.md";

/// Metrics of an operator to which everything has happened once: without that some have no series.
fn eventful() -> String {
    let (metrics, moment) = (Metrics::new(), Duration::from_millis(5));
    metrics.runs(Phase::Running, 1);
    metrics.run_ended(Phase::Failed, Reason::OomKilled);
    metrics.main_pod_created(SignedDuration::from_millis(5));
    metrics.reconciled(Controller::OmJob, ReconcileResult::Error, moment);
    metrics.queue_depth(Controller::OmJob, 1);
    metrics.dequeued(Controller::OmJob, moment);
    metrics.slot_missed(Missed::TooLate);
    metrics.reported(&Report::Done);
    metrics.api_answered(Verb::Get, Answer::Code(200), moment);
    metrics.archive_failed();
    metrics.archive_retried();
    metrics.encode().unwrap()
}

#[test]
fn every_metric_of_the_operator_that_is_asked_for_exists() {
    let asked = metrics::asked_for(&Rendered::of(&full()).objects);
    assert!(asked.len() > 12, "{asked:?}");
    let known = metrics::series(&eventful());
    let prefixes = ["ompipe_operator_", "omjob_", "process_"];
    let is_operators = |name: &&String| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let unknown: Vec<_> = asked.difference(&known).filter(is_operators).collect();
    assert!(unknown.is_empty(), "{unknown:?} of {known:?}");
}

#[test]
fn every_alert_has_its_heading_in_the_documents() {
    let rendered = Rendered::of(&full());
    let rules = &rendered.one("PrometheusRule", "release-ompipe")["spec"]["groups"][0]["rules"];
    let document = include_str!("../../../docs/operate.md");
    for rule in rules.as_array().unwrap() {
        let alert = rule["alert"].as_str().unwrap();
        assert!(document.contains(&format!("### {alert}\n")), "{alert} in docs/operate.md");
        let expression = rule["expr"].as_str().unwrap();
        assert!(expression.contains(r#"namespace="ns""#), "{expression}");
        let runbook = format!("{RUNBOOKS}#{}", alert.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], runbook);
    }
}
