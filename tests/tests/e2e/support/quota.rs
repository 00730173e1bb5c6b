//! A quota that allows no pod.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::scene::{Scene, from};
use super::wait::eventually;

/// Makes the quota `q`, and waits until it is in force.
pub(crate) async fn no_pods_allowed(scene: &Scene) {
    let quotas: Api<ResourceQuota> = scene.api();
    let none = from(json!({ "metadata": { "name": "q" }, "spec": { "hard": { "pods": "0" } } }));
    quotas.create(&PostParams::default(), &none).await.unwrap();
    eventually("a quota in force", || async {
        let quota = quotas.get("q").await.unwrap();
        let hard = quota.status.and_then(|status| status.hard);
        hard.map(drop).ok_or_else(|| "not yet".to_owned())
    })
    .await;
}
