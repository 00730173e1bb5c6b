//! Admission webhooks of others: one that refuses main pods, one that is not there for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use ompipe_api::{OMJob, Phase};
use ompipe_tests::tls::TlsListener;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::stage::{condition, phase, reason};
use super::{Operator, Stage};
use crate::support::{Scene, bed, eventually, from};

/// A webhook for the workers' pods of one namespace.
pub(crate) struct Webhook {
    answers: Arc<AtomicBool>,
    configurations: Api<ValidatingWebhookConfiguration>,
    name: String,
    _serving: JoinSet<()>,
}

impl Webhook {
    /// Begins to serve `review`, and asks the API server to call it.
    pub(crate) async fn start(scene: &Scene, answers: bool, review: fn(&str) -> Value) -> Self {
        let (listener, certificate) = TlsListener::bind(bed().host).await.unwrap();
        let url = format!("https://{}/", axum::serve::Listener::local_addr(&listener).unwrap());
        let answers = Arc::new(AtomicBool::new(answers));
        let routes =
            Router::new().route("/", post(answer)).with_state((Arc::clone(&answers), review));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let name = scene.namespace.clone();
        let configurations = Api::all(scene.client.clone());
        let configuration = from(json!({
            "metadata": { "name": name },
            "webhooks": [{
                "name": "pods.ompipe.test", "sideEffects": "None", "timeoutSeconds": 5,
                "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
                "clientConfig": { "url": url, "caBundle": base64(&certificate) },
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } },
                // The exit handler's pods pass.
                "objectSelector": { "matchExpressions": [{
                    "key": "omjob.pipelines.openmetadata.org/pod-type",
                    "operator": "NotIn", "values": ["exit-handler"],
                }]},
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                    "operations": ["CREATE"],
                }],
            }],
        }));
        configurations.create(&PostParams::default(), &configuration).await.unwrap();
        Self { answers, configurations, name, _serving: serving }
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

type Serving = (Arc<AtomicBool>, fn(&str) -> Value);

async fn answer(
    State((answers, review)): State<Serving>,
    Json(asked): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    if !answers.load(Ordering::Acquire) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let uid = asked["request"]["uid"].as_str().unwrap();
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": review(uid),
    });
    Ok(Json(answer))
}

pub(crate) fn denied(uid: &str) -> Value {
    let why = json!({ "message": "images of this registry are not signed" });
    json!({ "uid": uid, "allowed": false, "status": why })
}

fn allowed(uid: &str) -> Value {
    json!({ "uid": uid, "allowed": true })
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn a_denial_is_the_end_of_the_run_in_the_webhooks_words() {
    let stage = Stage::new("denied").await;
    let webhook = Webhook::start(&stage.scene, true, denied).await;
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
    let webhook = Webhook::start(&stage.scene, false, allowed).await;
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
