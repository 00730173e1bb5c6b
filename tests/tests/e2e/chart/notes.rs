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
        "        apiEndpoint: http://release-ompipe-server.ns:8080\n",
        "          username: openmetadata\n",
        "            secretRef: release-ompipe-server-credentials\n",
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
