//! The board for Grafana: a real Prometheus answers each of its queries with data, over metrics that a
//! server and an operator had after runs in both modes (`e2e::metrics` compares them with live ones).

use std::fs;
use std::time::Duration;

use ompipe_core::yaml;
use ompipe_tests::prometheus::{Prometheus, tool};
use ompipe_tests::recording::Recording;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::rendered::{Rendered, full};

const SERVER: &str = include_str!("../../prometheus/server.om");
const OPERATOR: &str = include_str!("../../prometheus/operator.om");
/// Three hours, at the end of which the queries are asked.
const RECORDING: Recording = Recording { times: FROM..=TO, step: 60 };
const FROM: i64 = 1_796_000_000;
const TO: i64 = FROM + 3 * 3600;

fn board() -> Value {
    let rendered = Rendered::of(&full());
    let board = rendered.one("ConfigMap", "release-ompipe-dashboard");
    yaml::parse(board["data"]["ompipe.json"].as_str().unwrap()).unwrap()
}

/// A Prometheus with the recording.
async fn prometheus(directory: &TempDir) -> Prometheus {
    let target = |component: &str| {
        let service = format!("release-ompipe-{component}");
        format!(r#"namespace="ns",service="{service}",pod="{service}-0",instance="{component}""#)
    };
    let server = RECORDING.samples(SERVER, &target("server"));
    let operator = RECORDING.samples(OPERATOR, &target("operator"));
    let path = directory.path();
    fs::write(path.join("recorded.om"), format!("{server}{operator}# EOF\n")).unwrap();
    let blocks = ["tsdb", "create-blocks-from", "openmetrics", "recorded.om", "data"];
    tool("promtool", &blocks, path, "").unwrap();
    fs::write(path.join("prometheus.yml"), json!({}).to_string()).unwrap();
    let mut prometheus = Prometheus::start(path).unwrap();
    let ready = async {
        while !prometheus.is_ready().unwrap() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_mins(1), ready).await.unwrap();
    prometheus
}

fn is_number(series: &Value) -> bool {
    series["value"][1].as_str().is_some_and(|value| !matches!(value, "NaN" | "+Inf" | "-Inf"))
}

#[tokio::test]
async fn every_query_of_the_board_has_data() {
    let directory = TempDir::new().unwrap();
    let prometheus = prometheus(&directory).await;
    let board = board();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(queries.len() > 30, "{queries:?}");
    for query in queries {
        let found = prometheus.query(&query.replace("$namespace", "ns"), Some(TO)).unwrap();
        assert!(found.iter().any(is_number), "{query}: {found:?}");
    }
    let variable = board["templating"]["list"][1]["query"]["query"].as_str().unwrap();
    let variable = variable.strip_prefix("label_values(").unwrap();
    let (selector, label) = variable.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
    assert_eq!(prometheus.label_values(selector, label).unwrap(), ["ns"]);
}

/// Runs of either mode are in the panels about runs: none of them asks for OMJobs alone.
#[tokio::test]
async fn the_panels_about_runs_show_both_modes() {
    let directory = TempDir::new().unwrap();
    let prometheus = prometheus(&directory).await;
    for (metric, label) in [("ompipe_runs_ended_total", "mode"), ("ompipe_runs_unfinished", "mode")]
    {
        let modes = prometheus.label_values(metric, label).unwrap();
        assert_eq!(modes, ["job", "operator"], "{metric}");
    }
    let failing = "ompipe_pipeline_failing_since_timestamp_seconds";
    let failing = prometheus.label_values(failing, "pipeline").unwrap();
    assert_eq!(failing, ["shop.job-bad", "shop.operator-bad"]);
}

/// What Grafana needs to draw a board: each panel once, with a place that no other has.
#[test]
fn panels_have_ids_and_places_of_their_own() {
    let board = board();
    let panels = board["panels"].as_array().unwrap();
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), panels.len());
    let places = panels.iter().map(|panel| {
        let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        (place("x")..place("x") + place("w"), place("y")..place("y") + place("h"))
    });
    let places: Vec<_> = places.collect();
    for (number, (x, y)) in places.iter().enumerate() {
        assert!(x.end <= 24, "{}", panels[number]);
        for (other_x, other_y) in &places[..number] {
            let apart = x.start >= other_x.end || other_x.start >= x.end;
            let above = y.start >= other_y.end || other_y.start >= y.end;
            assert!(apart || above, "{}", panels[number]);
        }
    }
}
