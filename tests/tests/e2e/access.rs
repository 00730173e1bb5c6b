//! The ways to the cluster: kubeconfig by variable, path and content, and from inside.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::Api;
use kube::api::{LogParams, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::support::{Scene, bed, eventually, from};

/// A kubeconfig for a service account with these rights in the scene's namespace.
pub(crate) async fn limited_kubeconfig(scene: &Scene, account: &str, rules: &Value) -> String {
    let post = PostParams::default();
    let entity: ServiceAccount = from(json!({ "metadata": { "name": account } }));
    scene.api().create(&post, &entity).await.unwrap();
    scene.grant(account, rules).await;
    let request: TokenRequest = from(json!({ "spec": { "audiences": [] } }));
    let accounts: Api<ServiceAccount> = scene.api();
    let token = accounts.create_token_request(account, &post, &request).await.unwrap();
    let mut kubeconfig =
        serde_json::to_value(Kubeconfig::read_from(&scene.kubeconfig).unwrap()).unwrap();
    kubeconfig["users"][0]["user"] = json!({ "token": token.status.unwrap().token });
    scene.file(&format!("{account}.kubeconfig"), &kubeconfig)
}

#[tokio::test]
async fn by_variable_path_and_content() {
    let scene = Scene::new("access").await;
    let list = |config: &str| ["list".to_owned(), "-c".to_owned(), config.to_owned()];
    let nowhere = ("KUBECONFIG", "/no/such/file");
    let content = std::fs::read_to_string(&bed().kubeconfig).unwrap();
    let ways = [
        (json!({ "inCluster": false }), ("KUBECONFIG", bed().kubeconfig.as_str())),
        (json!({ "kubeconfigPath": bed().kubeconfig }), nowhere),
        (json!({ "kubeConfigContent": content }), nowhere),
    ];
    for (parameters, variable) in ways {
        let config = scene.config(&parameters);
        let args = list(&config);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let outcome = scene.ompipe_with(&args, &[variable]).await.good();
        let told = format!("no pipeline is deployed in namespace {}\n", scene.namespace);
        assert_eq!(outcome.stdout, told);
    }
    let config = scene.config(&json!({ "inCluster": true }));
    let outside = scene.ompipe(&["list", "-c", &config]).await.ended_with(3);
    assert!(outside.stderr.contains("no Kubernetes cluster to talk to"), "{}", outside.stderr);
    scene.end().await;
}

#[tokio::test]
async fn from_inside_with_the_rights_of_the_seed() {
    let scene = Scene::new("inside").await;
    let read = |file: String| std::fs::read_to_string(file).unwrap();
    let files: ConfigMap = from(json!({ "metadata": { "name": "files" }, "data": {
        "config.yaml": read(scene.config(&json!({ "inCluster": true }))),
        "pipeline.json": read(scene.pipeline("nightly", &json!({}))),
        "service.json": read(scene.service()),
    }}));
    let post = PostParams::default();
    scene.api().create(&post, &files).await.unwrap();
    let args = [
        "deploy",
        "-c",
        "/files/config.yaml",
        "-f",
        "/files/pipeline.json",
        "--service",
        "/files/service.json",
    ];
    let pod: Pod = from(json!({
        "metadata": { "name": "ompipe" },
        "spec": {
            "serviceAccountName": "openmetadata-ingestion", "restartPolicy": "Never",
            "containers": [{
                "name": "ompipe", "image": bed().ompipe_image, "imagePullPolicy": "IfNotPresent", "args": args,
                "volumeMounts": [{ "name": "files", "mountPath": "/files" }],
                "securityContext": {
                    "runAsNonRoot": true, "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                },
            }],
            "volumes": [{ "name": "files", "configMap": { "name": "files" } }],
        },
    }));
    scene.api().create(&post, &pod).await.unwrap();
    let phase = eventually("the end of the pod", || async {
        let pod = scene.api::<Pod>().get("ompipe").await.map_err(|e| e.to_string())?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        if ["Succeeded", "Failed"].contains(&phase.as_str()) {
            Ok(phase)
        } else {
            Err(format!("{:?}", pod.status))
        }
    })
    .await;
    let log = scene.api::<Pod>().logs("ompipe", &LogParams::default()).await.unwrap();
    assert_eq!(phase, "Succeeded", "{log}");
    assert!(log.contains("pipeline shop.nightly is deployed"), "{log}");
    assert!(scene.ours::<ConfigMap>().await.contains_key("om-config-nightly"));
    scene.end().await;
}

/// The rules of the Role `ompipe` in the documents.
pub(crate) fn documented_rules() -> Value {
    let documents = include_str!("../../../docs/rbac.yaml").split("\n---\n");
    let mut objects = documents.map(|document| ompipe_core::yaml::parse(document).unwrap());
    let is_ours = |o: &Value| o["kind"] == "Role" && o["metadata"]["name"] == "ompipe";
    objects.find(is_ours).unwrap()["rules"].take()
}

#[tokio::test]
async fn the_documented_rights_suffice_for_everything() {
    let scene = Scene::new("documented").await;
    let kubeconfig = limited_kubeconfig(&scene, "caller", &documented_rules()).await;
    let access = [("KUBECONFIG", kubeconfig.as_str())];
    let config = scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:echo hello"] }));
    let service = scene.service();
    let schedules = [
        json!({ "scheduleInterval": "@daily" }),
        json!({ "scheduleInterval": "@hourly" }),
        json!({}),
    ];
    for (number, schedule) in schedules.into_iter().enumerate() {
        let fields = json!({ "airflowConfig": schedule, "displayName": number.to_string() });
        let pipeline = scene.pipeline("nightly", &fields);
        let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service];
        let outcome = scene.ompipe_with(&deploy, &access).await.good();
        assert!(!outcome.stderr.contains("forbidden"), "{}", outcome.stderr);
    }
    let calls: [&[&str]; 4] =
        [&["run", "nightly", "--follow"], &["status", "nightly"], &["logs", "nightly"], &["list"]];
    for call in calls {
        let args = [call, &["-c", &config, "--log", "debug"]].concat();
        let outcome = scene.ompipe_with(&args, &access).await.good();
        assert!(!outcome.stderr.contains("forbidden"), "{call:?}: {}", outcome.stderr);
    }
    scene.end().await;
}

/// A client of the cluster, for tests that call the library.
pub(crate) async fn library(scene: &Scene) -> ompipe_client::K8sPipelineClient {
    library_with(scene, &json!({})).await
}

/// As [`library`], with further parameters.
pub(crate) async fn library_with(
    scene: &Scene,
    parameters: &Value,
) -> ompipe_client::K8sPipelineClient {
    let mut all = parameters.clone();
    all["kubeconfigPath"] = bed().kubeconfig.as_str().into();
    let text = std::fs::read_to_string(scene.config(&all)).unwrap();
    let document = ompipe_core::yaml::parse(&text).unwrap();
    let checked =
        ompipe_core::config::K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap();
    ompipe_client::K8sPipelineClient::connect(checked.config, None).await.unwrap()
}
