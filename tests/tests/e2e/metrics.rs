//! Metrics about pipelines, in both modes at once: a real Prometheus scrapes a server and an operator
//! while runs end well, fail and go on, and its alerts name those that fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use ompipe_core::yaml;
use ompipe_tests::helm::{Release, documents};
use ompipe_tests::metrics;
use ompipe_tests::prometheus::{Prometheus, tool};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::operator::Operator;
use crate::support::{Scene, Serving, eventually, install_crds};

/// A worker that ends as its pipeline is called.
const WORKER: &str = "WORKER_MAIN:case \"$config\" in *patient*) trap 'exit 143' TERM; sleep 600 & wait ;; \
    *bad*) echo 'ValueError: bad value'; exit 1 ;; esac";
const MODES: [(&str, bool); 2] = [("job", false), ("operator", true)];
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Deploys a pipeline for each end in a mode, and runs each once.
async fn run_all(scene: &Scene, service: &Value, mode: &str, operator: bool) {
    let parameters = json!({
        "extraEnvVars": [WORKER], "useOMJobOperator": operator, "activeDeadlineSeconds": 600,
    });
    let config = scene.file(&format!("{mode}.yaml"), &scene.config_document(&parameters));
    for end in ["good", "bad", "patient"] {
        let name = format!("{mode}-{end}");
        let fields = json!({
            "name": name, "pipelineType": "metadata",
            "airflowConfig": { "scheduleInterval": "0 3 * * *", "retries": 0 },
            "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
        });
        let entity = scene.standin.add_pipeline("databaseService", service, &fields).unwrap();
        let pipeline = scene.file(&format!("{name}.json"), &scene.standin.deployable(&entity));
        for command in ["deploy", "run"] {
            scene.ompipe(&[command, "-c", &config, "-f", &pipeline]).await.good();
        }
    }
}

/// A page of metrics in the format that `accept` names.
async fn page(url: &str, accept: &str) -> String {
    let answer = Client::new().get(url).header("Accept", accept).send().await.unwrap();
    answer.error_for_status().unwrap().text().await.unwrap()
}

/// Waits until the page has all these lines.
async fn has_lines(url: &str, lines: &[String]) {
    eventually("series of the runs", || async {
        let page = page(url, "text/plain").await;
        let missing: Vec<_> =
            lines.iter().filter(|line| !page.lines().any(|found| found == *line)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:#?} in {page}")) }
    })
    .await;
}

fn lines_of(mode: &str) -> Vec<String> {
    vec![
        format!(
            r#"ompipe_runs_ended_total{{mode="{mode}",type="metadata",state="success",reason=""}} 1"#
        ),
        format!(
            r#"ompipe_runs_ended_total{{mode="{mode}",type="metadata",state="failed",reason="Error"}} 1"#
        ),
        format!(r#"ompipe_run_duration_seconds_count{{mode="{mode}",type="metadata"}} 2"#),
        format!(r#"ompipe_run_queue_seconds_count{{mode="{mode}",type="metadata"}} 2"#),
        format!(r#"ompipe_runs_unfinished{{mode="{mode}",state="running"}} 1"#),
        format!(
            r#"ompipe_pipeline_last_run_state{{pipeline="shop.{mode}-good",state="success"}} 1"#
        ),
        format!(r#"ompipe_pipeline_last_run_state{{pipeline="shop.{mode}-bad",state="failed"}} 1"#),
        format!(
            r#"ompipe_pipeline_last_run_state{{pipeline="shop.{mode}-patient",state="running"}} 1"#
        ),
    ]
}

/// Our alerts, and both programs as Prometheus' operator would find them.
fn configure(directory: &TempDir, targets: &[(&str, &str)]) {
    let values = yaml::parse(include_str!("../../../charts/values/full.yaml")).unwrap();
    let text = Release::rendered("release", "ns").template(&values, &[]).unwrap();
    let objects = documents(&text).map(|text| yaml::parse(text).unwrap());
    let rules = objects.into_iter().find(|object: &Value| object["kind"] == "PrometheusRule");
    fs::write(directory.path().join("rules.yaml"), rules.unwrap()["spec"].to_string()).unwrap();
    let scrape = targets.iter().map(|(component, address)| {
        let service = format!("release-ompipe-{component}");
        let labels = json!({ "namespace": "ns", "service": service, "pod": format!("{service}-0") });
        json!({ "job_name": component, "static_configs": [{ "targets": [address], "labels": labels }] })
    });
    let config = json!({
        "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
        "rule_files": ["rules.yaml"],
        "scrape_configs": scrape.collect::<Vec<_>>(),
    });
    fs::write(directory.path().join("prometheus.yml"), config.to_string()).unwrap();
}

/// Waits until Prometheus has scraped both and has an alert about each pipeline that fails.
async fn alerts_about_failures(prometheus: Prometheus) {
    let prometheus = std::sync::Mutex::new(prometheus);
    eventually("alerts about the pipelines that fail", || async {
        let mut prometheus = prometheus.lock().unwrap();
        if !prometheus.is_ready().unwrap() {
            return Err("Prometheus is not ready".to_owned());
        }
        let up = prometheus.query("sum(up)", None).map_err(|error| error.to_string())?;
        let alerts = prometheus.alerts().map_err(|error| error.to_string())?;
        let mut failing: Vec<&str> = alerts
            .iter()
            .filter(|alert| alert["labels"]["alertname"] == "OmpipePipelineFailing")
            .filter_map(|alert| alert["labels"]["pipeline"].as_str())
            .collect();
        failing.sort_unstable();
        let all = up.first().is_some_and(|up| up["value"][1] == "2");
        let expected = ["shop.job-bad", "shop.operator-bad"];
        if all && failing == expected { Ok(()) } else { Err(format!("{up:?} {alerts:?}")) }
    })
    .await;
}

/// Compares the families of pages with those of the recordings that the board is tested with; keeps the
/// pages, to be the next recordings.
fn compare(pages: &[(&str, String)]) {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let kept = repository.join("../.build/recorded");
    fs::create_dir_all(&kept).unwrap();
    for (name, page) in pages {
        fs::write(kept.join(name), page).unwrap();
    }
    for (name, page) in pages {
        let recorded = fs::read_to_string(repository.join("prometheus").join(name)).unwrap();
        let families = |page: &str| -> BTreeSet<String> {
            metrics::families(page).map(|(name, kind)| format!("{name} {kind}")).collect()
        };
        let remedy = "copy .build/recorded to tests/prometheus";
        assert_eq!(families(page), families(&recorded), "{name}: {remedy}");
    }
}

#[tokio::test]
async fn prometheus_sees_runs_of_both_modes_and_alerts_about_those_that_fail() {
    let scene = Scene::new("metrics").await;
    install_crds(&scene.client).await;
    let service = scene.standin.add_service("databaseService", "shop", "Postgres", &json!({}));
    let service = service.unwrap();
    let operator = Operator::start(&scene, &[]);
    operator.ready("leader").await;
    let serving = Serving::start(&scene).await;
    let of_server = format!("http://{}/metrics", serving.health);
    let of_operator = operator.metrics_url();
    // Only what ends after this is counted.
    page(&of_server, "text/plain").await;
    for (mode, operator) in MODES {
        run_all(&scene, &service, mode, operator).await;
    }
    let lines: Vec<_> = MODES.iter().flat_map(|(mode, _)| lines_of(mode)).collect();
    has_lines(&of_server, &lines).await;
    serving.get("health-auth", &[]).await.is(200);
    eventually("a report of an end", || async {
        let reports = operator.metric("ompipe_operator_reports_total{result=\"done\"}").await;
        if reports > 0.0 { Ok(()) } else { Err(reports.to_string()) }
    })
    .await;

    let directory = TempDir::new().unwrap();
    for url in [&of_server, &of_operator] {
        let text = page(url, "text/plain").await;
        tool("promtool", &["check", "metrics"], directory.path(), &text).unwrap();
    }
    let host = |url: &str| url.split('/').nth(2).unwrap().to_owned();
    let targets = [("server", &*host(&of_server)), ("operator", &*host(&of_operator))];
    configure(&directory, &targets);
    alerts_about_failures(Prometheus::start(directory.path()).unwrap()).await;
    let server = page(&of_server, OPEN_METRICS).await;
    let operator = page(&of_operator, OPEN_METRICS).await;
    compare(&[("server.om", server), ("operator.om", operator)]);
    scene.end().await;
}
