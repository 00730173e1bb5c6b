//! The API server takes every object of the chart, and of the plain manifests.

use std::fs;
use std::path::Path;
use std::process::Command;

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, discovery};
use ompipe_core::yaml;
use ompipe_tests::helm::{Release, documents, repository};
use serde_json::json;

use crate::support::{Scene, from, install_crds};

impl Scene {
    /// Applies objects without carrying it out; how many there were.
    async fn takes(&self, stream: &str) -> usize {
        let mut taken = 0;
        for document in documents(stream) {
            let object: DynamicObject = from(yaml::parse(document).unwrap());
            let types = object.types.clone().unwrap();
            // Prometheus' operator is not here, and the namespace is.
            if types.api_version.starts_with("monitoring.coreos.com/") || types.kind == "Namespace"
            {
                continue;
            }
            let kind = GroupVersionKind::try_from(&types).unwrap();
            let (resource, about) = discovery::pinned_kind(&self.client, &kind).await.unwrap();
            let api: Api<DynamicObject> = match about.scope {
                discovery::Scope::Cluster => Api::all_with(self.client.clone(), &resource),
                discovery::Scope::Namespaced => {
                    Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
                }
            };
            let name = object.metadata.name.clone().unwrap();
            let dry = PatchParams { dry_run: true, ..PatchParams::apply("ompipe-tests") };
            let answer = api.patch(&name, &dry.validation_strict(), &Patch::Apply(&object)).await;
            answer.unwrap_or_else(|error| panic!("{} {name}: {error}", types.kind));
            taken += 1;
        }
        taken
    }
}

#[tokio::test]
async fn the_api_server_takes_everything_that_can_be_switched_on() {
    let scene = Scene::new("chartdry").await;
    install_crds(&scene.client).await;
    // A pod, which is the test of the release, is refused without its account.
    let account = from(json!({ "metadata": { "name": "release-ompipe-server" } }));
    let accounts = scene.api::<k8s_openapi::api::core::v1::ServiceAccount>();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let mut values = yaml::parse(include_str!("../../../../charts/values/full.yaml")).unwrap();
    values["omjobOperator"]["watchNamespaces"] = json!([scene.namespace]);
    values["pipelineServiceClientConfig"]["k8s"]["namespace"] = json!(scene.namespace);
    let text = Release::rendered("release", &scene.namespace).template(&values, &[]).unwrap();
    let taken = scene.takes(&text).await;
    assert!(taken > 25, "{taken}");
    scene.end().await;
}

/// What `kubectl kustomize` makes of a directory.
fn kustomized(directory: &Path) -> String {
    let variable = |name: &str| std::env::var(name).unwrap();
    let output = Command::new(variable("OMPIPE_TEST_SANDBOX"))
        .env("OMPIPE_SANDBOX_DIR", variable("OMPIPE_TEST_BREAKABLE"))
        .args(["kubectl", "kustomize"])
        .arg(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_api_server_takes_the_plain_manifests_in_any_namespace() {
    let scene = Scene::new("chartplain").await;
    let directory = tempfile::tempdir().unwrap();
    let (base, overlay) = (directory.path().join("base"), directory.path().join("overlay"));
    for path in [&base, &overlay] {
        fs::create_dir(path).unwrap();
    }
    for file in fs::read_dir(repository("deploy")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), base.join(file.file_name())).unwrap();
    }
    fs::copy(base.join("server-credentials.example"), base.join("server-credentials")).unwrap();
    let own = format!("namespace: {}\nresources: [../base]\n", scene.namespace);
    fs::write(overlay.join("kustomization.yaml"), own).unwrap();
    let text = kustomized(&overlay);
    assert!(!text.contains("namespace: ompipe\n"), "{text}");
    let taken = scene.takes(&text).await;
    assert!(taken > 15, "{taken}");
    scene.end().await;
}
