//! The configuration of Alertmanager in docs/notify.md, as Alertmanager's own tool reads it.

use std::fs;

use ompipe_tests::docs::{Kind, blocks};
use ompipe_tests::prometheus::tool;
use rstest::rstest;
use tempfile::TempDir;

use crate::rendered::{Rendered, full};

const DOCUMENT: &str = include_str!("../../../docs/notify.md");
const FILE: &str = "alertmanager.yaml";

fn file() -> String {
    let is_file = |kind: &Kind| matches!(kind, Kind::File(name) if name == FILE);
    blocks(DOCUMENT).into_iter().find(|block| is_file(&block.kind)).unwrap().text
}

fn amtool(args: &[&str]) -> String {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join(FILE), file()).unwrap();
    tool("amtool", args, directory.path(), "").unwrap()
}

#[test]
fn alertmanager_takes_the_file() {
    let said = amtool(&["check-config", FILE]);
    assert!(said.contains("SUCCESS"), "{said}");
}

#[rstest]
#[case(&["alertname=OmpipePipelineFailing", "pipeline=shop.nightly"], "data-team")]
#[case(&["alertname=OmpipePipelineFailing", "pipeline=finance.nightly"], "finance")]
#[case(&["alertname=OmpipeNoLeader", "severity=critical"], "platform-team")]
#[case(&["alertname=OmpipeSlotsMissed", "severity=info"], "nobody")]
fn each_alert_reaches_those_whom_it_concerns(#[case] labels: &[&str], #[case] receiver: &str) {
    let config = format!("--config.file={FILE}");
    let args = [&["config", "routes", "test", &config][..], labels].concat();
    assert_eq!(amtool(&args).trim(), receiver);
}

#[test]
fn every_alert_that_it_names_exists() {
    let rendered = Rendered::of(&full());
    let rules = rendered.one("PrometheusRule", "release-ompipe")["spec"].to_string();
    let file = file();
    let words = file.split(|c: char| !c.is_ascii_alphanumeric());
    let named: Vec<&str> = words.filter(|word| word.starts_with("Ompipe")).collect();
    assert!(named.len() > 5, "{named:?}");
    for alert in named {
        assert!(rules.contains(&format!("\"alert\":\"{alert}\"")), "{alert}");
    }
}
