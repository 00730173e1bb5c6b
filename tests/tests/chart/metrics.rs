//! Alerts and the board ask for metrics that exist, and every alert says what to do.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use ompipe_core::cron::Missed;
use ompipe_core::omjob::{Phase, Reason, Report};
use ompipe_operator::metrics::{Answer, Controller, Metrics, ReconcileResult, Verb};
use serde_json::Value;

use crate::rendered::{Rendered, full};

/// Every name of a metric of ours in an expression.
fn asked_for(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| ["ompipe_", "omjob_", "process_"].iter().any(|p| word.starts_with(p));
    words.filter(ours).map(str::to_owned).collect()
}

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
    metrics.encode().unwrap()
}

/// The series that the operator has, with the endings that Prometheus gives them.
fn operators() -> BTreeSet<String> {
    let text = eventful();
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let series = families.flat_map(|line| {
        let (name, kind) = line.split_once(' ').unwrap();
        let endings: &[&str] = match kind {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        endings.iter().map(move |ending| format!("{name}{ending}")).collect::<Vec<_>>()
    });
    series.collect()
}

fn expressions() -> Vec<String> {
    let rendered = Rendered::of(&full());
    let rules = &rendered.one("PrometheusRule", "release-ompipe")["spec"]["groups"][0]["rules"];
    let alerts = rules.as_array().unwrap().iter().map(|rule| &rule["expr"]);
    let board = rendered.one("ConfigMap", "release-ompipe-dashboard");
    let board: Value =
        serde_json::from_str(board["data"]["ompipe.json"].as_str().unwrap()).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let all = alerts.chain(targets.map(|target| &target["expr"]));
    all.map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_metric_of_the_operator_that_is_asked_for_exists() {
    let (expressions, known) = (expressions(), operators());
    assert!(expressions.len() > 20);
    let asked: BTreeSet<String> = expressions.iter().flat_map(|text| asked_for(text)).collect();
    let unknown: Vec<_> =
        asked.difference(&known).filter(|name| !name.starts_with("ompipe_server_")).collect();
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
    }
}
