//! The contract of the configuration on a real API server: what the table of
//! `ompipe_tests::contract` promises stands on the live objects, and goes with its key.

mod definitions;
mod keys;
mod restricted;

use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use ompipe_api::StagePodSpec;
use ompipe_client::K8sPipelineClient;
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::yaml;
use serde_json::{Value, json};

use crate::support::{Scene, bed};

/// Objects of a kind as the API server has them: a typed reader would hide what it does not know.
fn raw<K: kube::Resource<DynamicType = ()>>(scene: &Scene) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<K>(&());
    Api::namespaced_with(scene.client.clone(), &scene.namespace, &kind)
}

/// One such object.
async fn live<K: kube::Resource<DynamicType = ()>>(scene: &Scene, name: &str) -> Value {
    serde_json::to_value(raw::<K>(scene).get(name).await.unwrap()).unwrap()
}

/// The pod that an operator makes of a stage.
fn pod_of(stage: &Value) -> Value {
    let spec: StagePodSpec = serde_json::from_value(stage.clone()).unwrap();
    serde_json::to_value(spec.to_template()).unwrap()
}

/// A pipeline with a schedule that does not fire while a test runs.
fn scheduled() -> Value {
    json!({ "airflowConfig": { "scheduleInterval": ompipe_tests::contract::SCHEDULE } })
}

/// A client with these parameters, for what the program has no command for.
async fn client(scene: &Scene, parameters: &Value) -> K8sPipelineClient {
    let mut parameters = parameters.clone();
    parameters["kubeconfigPath"] = bed().kubeconfig.as_str().into();
    let text = std::fs::read_to_string(scene.config(&parameters)).unwrap();
    let document = yaml::parse(&text).unwrap();
    let checked = K8sPipelineClientConfig::read(&document, &std::collections::BTreeMap::new());
    K8sPipelineClient::connect(checked.unwrap().config, None).await.unwrap()
}
