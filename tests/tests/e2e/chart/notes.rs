//! The notes of an installation. Helm asks a cluster for its version before it shows them.

use ompipe_core::yaml;
use ompipe_tests::helm::Release;
use serde_json::{Value, json};

use super::installed::helm;
use crate::support::bed;

async fn notes(more: Value) -> String {
    let release = Release::of_cluster("release", "ns", &bed().kubeconfig);
    helm(&release, move |release| release.notes(&more)).await
}

fn credentials() -> Value {
    json!({ "username": "openmetadata", "password": "s3cret" })
}

#[tokio::test]
async fn they_tell_the_setting_to_change() {
    let said = notes(json!({ "server": { "credentials": credentials() } })).await;
    for line in [
        "          apiEndpoint: http://release-ompipe-server.ns:8080\n",
        "            username: openmetadata\n",
        "              secretRef: release-ompipe-server-credentials\n",
        "PIPELINE_SERVICE_CLIENT_ENDPOINT=http://release-ompipe-server.ns:8080",
    ] {
        assert!(said.contains(line), "{line:?} in {said}");
    }
    assert!(!said.contains("s3cret"), "{said}");
    let server = json!({
        "credentials": { "existingSecret": "mine" }, "tls": { "existingSecret": "t" }, "basePath": "/ompipe",
    });
    let said = notes(json!({ "server": server })).await;
    assert!(said.contains("apiEndpoint: https://release-ompipe-server.ns:8080/ompipe\n"), "{said}");
    // As docs/install.md makes the Secret.
    assert!(said.contains("secretRef: mine\n") && said.contains("secretKey: password"), "{said}");
}

/// The keys that OpenMetadata's chart reads for its Airflow client: since 1.12 below `airflow`, before
/// that in the block itself.
#[tokio::test]
async fn the_settings_are_keys_that_openmetadatas_chart_reads() {
    const READ: [&str; 4] = ["className", "apiEndpoint", "auth", "verifySsl"];
    const OF_AUTH: [&str; 3] = ["enabled", "username", "password"];
    let said = notes(json!({ "server": { "credentials": credentials() } })).await;
    let blocks: Vec<Value> = said
        .split("\n\n")
        .filter(|part| part.starts_with("  openmetadata:"))
        .map(|part| {
            yaml::parse(part).unwrap()["openmetadata"]["config"]["pipelineServiceClientConfig"]
                .clone()
        })
        .collect();
    let [since_1_12, before] = &blocks[..] else { panic!("{said}") };
    assert_eq!(since_1_12["type"], "airflow");
    let of_block = since_1_12.as_object().unwrap().keys();
    assert_eq!(of_block.collect::<Vec<_>>(), ["airflow", "enabled", "type"]);
    for (settings, own) in [(&since_1_12["airflow"], &[][..]), (before, &["enabled"])] {
        let known = |key: &str| READ.contains(&key) || own.contains(&key);
        assert!(settings.as_object().unwrap().keys().all(|key| known(key)), "{settings}");
        assert_eq!(settings["apiEndpoint"], "http://release-ompipe-server.ns:8080");
        let auth = settings["auth"].as_object().unwrap();
        assert!(auth.keys().all(|key| OF_AUTH.contains(&key.as_str())), "{settings}");
        assert_eq!(auth["username"], "openmetadata");
        assert_eq!(auth["password"]["secretKey"], "password");
    }
    assert_eq!(since_1_12["airflow"]["auth"]["enabled"], true);
}

#[tokio::test]
async fn they_tell_what_was_given_and_changes_nothing() {
    let mut values = yaml::parse(include_str!("../../../../charts/values/upstream.yaml")).unwrap();
    values["server"] = json!({ "credentials": credentials() });
    let said = notes(values).await;
    for line in [
        "- omjobOperator.image is not used",
        "- omjobOperator.env.pollingIntervalSeconds is not used",
        "- pipelineServiceClientConfig.apiEndpoint is not used: it concerns the OpenMetadata server alone.",
        "- openmetadata.config.database is not used: it belongs to OpenMetadata's chart.",
        "ingestion-base:latest. A worker of another release than the OpenMetadata server may fail",
    ] {
        assert!(said.contains(line), "{line:?} in {said}");
    }
}
