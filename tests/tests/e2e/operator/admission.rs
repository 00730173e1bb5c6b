//! Admission webhooks of others: one that refuses main pods, one that is not there for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use ompipe_api::{OMJob, Phase};
use serde_json::{Value, json};

use super::stage::{condition, phase, reason};
use super::{Operator, Stage};
use crate::support::{Reviewer, Scene, eventually, from};

/// A webhook for the workers' pods of one namespace.
pub(crate) struct Webhook {
    answers: Arc<AtomicBool>,
    configurations: Api<ValidatingWebhookConfiguration>,
    name: String,
    _reviewer: Reviewer,
}

impl Webhook {
    /// Begins to serve `response`, and asks the API server to call it.
    pub(crate) async fn start(scene: &Scene, answers: bool, response: Value) -> Self {
        let answers = Arc::new(AtomicBool::new(answers));
        let is_up = Arc::clone(&answers);
        let review = move |_: &Value| is_up.load(Ordering::Acquire).then(|| response.clone());
        let reviewer = Reviewer::start(review).await;
        let name = scene.namespace.clone();
        let configurations = Api::all(scene.client.clone());
        let rules = json!([{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"],
        }]);
        let mut webhook = reviewer.webhook(&name, &rules);
        // The exit handler's pods pass.
        webhook["objectSelector"] = json!({ "matchExpressions": [{
            "key": "omjob.pipelines.openmetadata.org/pod-type",
            "operator": "NotIn", "values": ["exit-handler"],
        }]});
        let configuration = from(json!({ "metadata": { "name": name }, "webhooks": [webhook] }));
        configurations.create(&PostParams::default(), &configuration).await.unwrap();
        Self { answers, configurations, name, _reviewer: reviewer }
    }

    /// Waits until the API server calls it: a new configuration takes a while.
    pub(crate) async fn in_force(&self, scene: &Scene) {
        let probe: Pod = from(json!({
            "metadata": { "name": "probe" },
            "spec": { "containers": [Stage::container("true")] },
        }));
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        eventually("a webhook in force", || async {
            match scene.api().create(&dry_run, &probe).await {
                Err(error) if error.to_string().contains("webhook") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    pub(crate) async fn remove(&self) {
        self.configurations.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }
}

pub(crate) fn denied() -> Value {
    let why = json!({ "message": "images of this registry are not signed" });
    json!({ "allowed": false, "status": why })
}

#[tokio::test]
async fn a_denial_is_the_end_of_the_run_in_the_webhooks_words() {
    let stage = Stage::new("denied").await;
    let webhook = Webhook::start(&stage.scene, true, denied()).await;
    webhook.in_force(&stage.scene).await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", "true", json!({})).await;
    let job = stage.over("run").await;
    webhook.remove().await;
    assert_eq!((phase(&job), reason(&job)), (Some(Phase::Failed), "Admission"));
    let message = job.status.unwrap().message.unwrap();
    assert!(message.contains("images of this registry are not signed"), "{message}");
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_webhook_that_is_not_there_is_waited_for() {
    let stage = Stage::new("nohook").await;
    let webhook = Webhook::start(&stage.scene, false, json!({ "allowed": true })).await;
    webhook.in_force(&stage.scene).await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", "true", json!({})).await;
    let waits = |job: &OMJob| condition(job, "Stalled") == "True ApiUnavailable";
    let job = stage.job("run", "a condition that says why", waits).await;
    assert_eq!(phase(&job), Some(Phase::Pending));
    webhook.answers.store(true, Ordering::Release);
    let job = stage.over("run").await;
    webhook.remove().await;
    assert_eq!(phase(&job), Some(Phase::Succeeded));
    stage.scene.end().await;
}
