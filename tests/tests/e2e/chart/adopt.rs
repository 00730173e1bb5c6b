//! Taking the place of a chart that has the definitions as templates, as `docs/adopt-operator.md` says.
//! A ConfigMap stands for a definition: Helm makes no difference, and other tests need the definitions.

use std::fs;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use ompipe_tests::helm::Release;
use serde_json::json;

use super::installed::helm;
use crate::support::{Scene, bed};

const TEMPLATE: &str = "{{ if .Values.enabled }}\napiVersion: v1\nkind: ConfigMap\n\
                        metadata: { name: definition }\n{{ end }}\n";

#[tokio::test]
async fn a_template_that_is_annotated_in_the_cluster_outlives_its_switch() {
    let scene = Scene::new("chartadopt").await;
    let chart = tempfile::tempdir().unwrap();
    fs::create_dir(chart.path().join("templates")).unwrap();
    let about = "apiVersion: v2\nname: theirs\nversion: 0.1.0\n";
    fs::write(chart.path().join("Chart.yaml"), about).unwrap();
    fs::write(chart.path().join("templates/definition.yaml"), TEMPLATE).unwrap();
    let theirs = Release::of_cluster("theirs", &scene.namespace, &bed().kubeconfig)
        .of_chart(chart.path().to_str().unwrap());
    helm(&theirs, |release| release.install(&json!({ "enabled": true }))).await;
    let keep = json!({ "metadata": { "annotations": { "helm.sh/resource-policy": "keep" } } });
    let definitions = scene.api::<ConfigMap>();
    let params = PatchParams::default();
    definitions.patch("definition", &params, &Patch::Merge(&keep)).await.unwrap();
    helm(&theirs, |release| release.upgrade(&json!({ "enabled": false }))).await;
    let kept = definitions.get("definition").await.unwrap();
    // And back: the release takes what it left, and does not make it anew.
    helm(&theirs, |release| release.upgrade(&json!({ "enabled": true }))).await;
    assert_eq!(definitions.get("definition").await.unwrap().uid(), kept.uid());
    scene.end().await;
}
