//! Two services behind one address: whichever answers, the answer is the same.

use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use ompipe_tests::api_proxy::{ApiProxy, Stop};
use serde_json::{Value, json};

use super::{PATIENT, deployable, shop};
use crate::support::{Answer, Serving, VERSION};

/// Sends each request to another of the two.
struct Alternating {
    replicas: [Serving; 2],
    next: AtomicUsize,
}

impl Alternating {
    fn next(&self) -> &Serving {
        &self.replicas[self.next.fetch_add(1, Ordering::Relaxed) % 2]
    }

    async fn post(&self, operation: &str, body: &Value) -> Answer {
        self.next().post(operation, body).await
    }
}

#[tokio::test]
async fn what_one_did_the_other_knows_at_once() {
    let scene = shop("http-pair").await;
    let (parameters, section) =
        (json!({ "extraEnvVars": [PATIENT] }), json!({ "openMetadataVersion": VERSION }));
    let start = || Serving::with(&scene, &parameters, &section);
    let pair = Alternating { replicas: [start().await, start().await], next: AtomicUsize::new(0) };
    let scheduled = json!({ "airflowConfig": { "scheduleInterval": "@daily" } });
    for round in 0..2 {
        let name = format!("nightly-{round}");
        let named = json!({ "dag_id": name });
        pair.post("deploy", &deployable(&scene, &name, &scheduled)).await.is(200);
        let started = pair.post("trigger", &named).await.is(200).json();
        let waits = pair.post("trigger", &named).await.is(200).json();
        assert!(waits["message"].as_str().unwrap().contains("waits"), "{started} {waits}");
        pair.post("disable", &named).await.is(200);
        pair.post("enable", &named).await.is(200);
        let killed = pair.post("kill", &named).await.is(200).json();
        let id = started["runId"].as_str().unwrap();
        assert!(killed["message"].as_str().unwrap().contains(id), "{killed}");
        // An odd number of requests in a round: the next one begins with the other replica.
        pair.next().get("health-auth", &[]).await.is(200);
        pair.next().delete(&name).await.is(200);
    }
    assert!(scene.ours::<CronJob>().await.is_empty() && scene.ours::<Secret>().await.is_empty());
    scene.end().await;
}

#[tokio::test]
async fn a_deploy_that_one_died_in_is_done_by_the_other() {
    let scene = shop("http-dies").await;
    let scheduled = json!({ "airflowConfig": { "scheduleInterval": "@daily" } });
    let body = deployable(&scene, "nightly", &scheduled);
    let survivor = Serving::start(&scene).await;
    let mut writes = 0;
    // Each round dies one write later in the deploy, until there is no such write.
    loop {
        let proxy = ApiProxy::start(scene.client.clone()).await.unwrap();
        let kubeconfig = scene.file("proxy.kubeconfig", &proxy.kubeconfig());
        let mut victim = Serving::start_with_access(&scene, &kubeconfig).await;
        proxy.stop_at_object_write(Stop::After, writes);
        let changed = deployable(&scene, "nightly", &json!({ "displayName": writes.to_string() }));
        let request =
            victim.request(reqwest::Method::POST, &format!("{}/deploy", crate::support::PREFIX));
        let died = tokio::select! {
            answer = request.body(changed.to_string()).send() => {
                assert_eq!(answer.unwrap().status(), 200);
                false
            }
            () = proxy.stopped() => true,
        };
        victim.kill().await;
        survivor.post("deploy", &body).await.is(200);
        survivor.post("trigger", &json!({ "dag_id": "nightly" })).await.is(200);
        assert_eq!(scene.ours::<CronJob>().await.len(), 1);
        assert_eq!(scene.ours::<ConfigMap>().await.len(), 1);
        if !died {
            break;
        }
        writes += 1;
    }
    assert!(
        writes >= 3,
        "a deploy writes a Secret, a ConfigMap and a CronJob, not {writes} objects"
    );
    survivor.delete("nightly").await.is(200);
    assert!(
        scene.ours::<Job>().await.values().all(|job| job.metadata.deletion_timestamp.is_some())
    );
    assert!(scene.ours::<Secret>().await.is_empty() && scene.ours::<CronJob>().await.is_empty());
    scene.end().await;
}
