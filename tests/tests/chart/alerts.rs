//! The alerts as promtool reads them: they are well formed, and each one of tests/prometheus/alerts.yaml
//! fires when it should, and not before.

use std::fs;

use ompipe_tests::prometheus::tool;
use serde_json::Value;
use tempfile::TempDir;

use crate::rendered::{Rendered, full};

const TESTS: &str = include_str!("../../prometheus/alerts.yaml");

fn rules() -> Value {
    let rendered = Rendered::of(&full());
    rendered.one("PrometheusRule", "release-ompipe")["spec"].clone()
}

#[test]
fn each_alert_fires_when_it_should() {
    let directory = TempDir::new().unwrap();
    // JSON is YAML.
    fs::write(directory.path().join("rules.yaml"), rules().to_string()).unwrap();
    fs::write(directory.path().join("tests.yaml"), TESTS).unwrap();
    let promtool = |args: &[&str]| tool("promtool", args, directory.path(), "").unwrap();
    promtool(&["check", "rules", "rules.yaml"]);
    promtool(&["test", "rules", "tests.yaml"]);
}

/// Those about pipelines, runs, reports and the archive; others are about the programs themselves.
#[test]
fn each_alert_about_runs_has_a_test() {
    let rules = rules();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let of_programs =
        ["ReconcileErrors", "QueueWaits", "ServerErrors", "FailedLogins", "VersionSkew"];
    for alert in rules.iter().map(|rule| rule["alert"].as_str().unwrap()) {
        let is_of_programs = of_programs.iter().any(|name| alert == format!("Ompipe{name}"));
        let is_tested = TESTS.contains(&format!("alertname: {alert}\n"));
        assert_ne!(is_of_programs, is_tested, "{alert}");
    }
}
