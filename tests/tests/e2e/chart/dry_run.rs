//! The API server takes every object of the chart.

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, discovery};
use ompipe_core::yaml;
use ompipe_tests::helm::{Release, documents};
use serde_json::json;

use crate::support::{Scene, from, install_crds};

#[tokio::test]
async fn the_api_server_takes_everything_that_can_be_switched_on() {
    let scene = Scene::new("chartdry").await;
    install_crds(&scene.client).await;
    let account = from(json!({ "metadata": { "name": "release-ompipe-server" } }));
    let accounts = scene.api::<k8s_openapi::api::core::v1::ServiceAccount>();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let mut values = yaml::parse(include_str!("../../../../charts/values/full.yaml")).unwrap();
    values["omjobOperator"]["watchNamespaces"] = json!([scene.namespace]);
    values["pipelineServiceClientConfig"]["k8s"]["namespace"] = json!(scene.namespace);
    let text = Release::rendered("release", &scene.namespace).template(&values, &[]).unwrap();
    let mut taken = 0;
    for document in documents(&text) {
        let object: DynamicObject = from(yaml::parse(document).unwrap());
        let kind = object.types.clone().unwrap();
        // Prometheus' operator is not here.
        if kind.api_version.starts_with("monitoring.coreos.com/") {
            continue;
        }
        let kind = GroupVersionKind::try_from(&kind).unwrap();
        let (resource, capabilities) = discovery::pinned_kind(&scene.client, &kind).await.unwrap();
        let api: Api<DynamicObject> = match capabilities.scope {
            discovery::Scope::Cluster => Api::all_with(scene.client.clone(), &resource),
            discovery::Scope::Namespaced => {
                Api::namespaced_with(scene.client.clone(), &scene.namespace, &resource)
            }
        };
        let name = object.metadata.name.clone().unwrap();
        let strictly =
            PatchParams { dry_run: true, ..PatchParams::apply("ompipe-tests").validation_strict() };
        let answer = api.patch(&name, &strictly, &Patch::Apply(&object)).await;
        answer.unwrap_or_else(|error| panic!("{} {name}: {error}", kind.kind));
        taken += 1;
    }
    assert!(taken > 25, "{taken}");
    scene.end().await;
}
