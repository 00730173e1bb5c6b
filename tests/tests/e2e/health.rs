//! The health check: what is right, and what is wrong with every remedy, in time.

use std::collections::{BTreeMap, BTreeSet};

use ompipe_client::{
    K8sPipelineClient, PipelineServiceClient, ServiceStatus, rights_needed, rights_of_doctor,
};
use ompipe_core::config::{K8sPipelineClientConfig, Mode};
use ompipe_core::yaml;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Duration, Instant, timeout};

use crate::access::{documented_rules, limited_kubeconfig};
use crate::support::{Scene, bed, install_crds};

/// The answer to a caller with this kubeconfig and these further parameters.
async fn status(scene: &Scene, kubeconfig: &str, parameters: &Value) -> ServiceStatus {
    let mut all = parameters.clone();
    all["kubeconfigPath"] = kubeconfig.into();
    let text = std::fs::read_to_string(scene.config(&all)).unwrap();
    let document = yaml::parse(&text).unwrap();
    let config = K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap().config;
    let client = K8sPipelineClient::connect(config, None).await.unwrap();
    client.get_service_status().await
}

#[tokio::test]
async fn everything_is_there_in_both_modes() {
    let scene = Scene::new("health").await;
    install_crds(&scene.client).await;
    let kubeconfig = limited_kubeconfig(&scene, "caller", &documented_rules()).await;
    for operator in [false, true] {
        let status = status(&scene, &kubeconfig, &json!({ "useOMJobOperator": operator })).await;
        assert!(status.healthy, "{status:?}");
        assert_eq!(status.platform, "Kubernetes");
        assert!(status.version.unwrap().starts_with("v1."));
    }
    scene.end().await;
}

#[tokio::test]
async fn every_missing_right_is_named() {
    let scene = Scene::new("health").await;
    let mut rules = documented_rules();
    let batch = |rule: &&mut Value| rule["resources"] == json!(["jobs"]);
    let jobs = rules.as_array_mut().unwrap().iter_mut().find(batch).unwrap();
    jobs["verbs"] = json!(["get", "list", "watch"]);
    rules.as_array_mut().unwrap().retain(|rule| rule["resources"] != json!(["omjobs"]));
    let kubeconfig = limited_kubeconfig(&scene, "caller", &rules).await;
    let job_mode = status(&scene, &kubeconfig, &json!({})).await;
    let missing: Vec<String> = job_mode.missing.iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["create jobs.batch", "patch jobs.batch", "delete jobs.batch"]);
    assert!(!job_mode.healthy && job_mode.reason.contains("create jobs.batch"), "{job_mode:?}");
    let operator_mode = status(&scene, &kubeconfig, &json!({ "useOMJobOperator": true })).await;
    assert!(operator_mode.reason.contains("list omjobs.pipelines"), "{operator_mode:?}");
    scene.end().await;
}

#[tokio::test]
async fn a_missing_namespace_is_told() {
    let scene = Scene::new("health").await;
    let parameters = json!({ "namespace": "no-such-namespace" });
    let status = status(&scene, &bed().kubeconfig, &parameters).await;
    assert!(!status.healthy);
    assert_eq!(status.reason, "there is no namespace no-such-namespace: create it");
    scene.end().await;
}

#[tokio::test]
async fn an_api_that_does_not_answer_is_told_in_time() {
    let scene = Scene::new("health").await;
    // Connections are taken, and nothing is ever said.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let kubeconfig = scene.file(
        "silent.kubeconfig",
        &json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{address}") } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "users": [{ "name": "u", "user": {} }],
        }),
    );
    let start = Instant::now();
    let patience = Duration::from_secs(30);
    let status = timeout(patience, status(&scene, &kubeconfig, &json!({}))).await.unwrap();
    assert!(!status.healthy && status.reason.contains("does not answer"), "{status:?}");
    // The limit is five seconds; the rest is for a machine that does other work.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    scene.end().await;
}

#[tokio::test]
async fn a_client_that_is_switched_off_says_so() {
    let scene = Scene::new("health").await;
    let block = json!({ "pipelineServiceClientConfiguration": { "enabled": false } });
    let mut config = K8sPipelineClientConfig::read(&block, &BTreeMap::new()).unwrap().config;
    config.cluster = ompipe_core::config::ClusterAccess::File(bed().kubeconfig.clone());
    let client = K8sPipelineClient::connect(config, None).await.unwrap();
    let status = client.get_service_status().await;
    assert_eq!((status.healthy, status.platform.as_str()), (true, "disabled"));
    assert_eq!(client.get_host_ip(), None);
    scene.end().await;
}

#[test]
fn the_documented_role_grants_what_is_needed_and_no_more() {
    let needed = rights_needed(Mode::Operator).chain(rights_of_doctor());
    let needed: BTreeSet<String> = needed.map(|right| right.to_string()).collect();
    let mut granted = BTreeSet::new();
    for rule in documented_rules().as_array().unwrap() {
        for resource in rule["resources"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                let group = rule["apiGroups"][0].as_str().unwrap();
                let dot = if group.is_empty() { "" } else { "." };
                let (verb, resource) = (verb.as_str().unwrap(), resource.as_str().unwrap());
                granted.insert(format!("{verb} {resource}{dot}{group}"));
            }
        }
    }
    assert_eq!(granted, needed);
}
