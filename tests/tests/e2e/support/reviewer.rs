//! A server that answers the admission reviews of the API server.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use ompipe_tests::tls::TlsListener;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::bed::bed;

/// A webhook's address, certificate and tasks. It ends with the test.
pub(crate) struct Reviewer {
    client_config: Value,
    _serving: JoinSet<()>,
}

impl Reviewer {
    /// Begins to answer requests with what `review` makes of one: a response without its `uid`. Without a response it
    /// answers 503, as a webhook that is not up.
    pub(crate) async fn start(
        review: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        let (listener, certificate) = TlsListener::bind(bed().host).await.unwrap();
        let url = format!("https://{}/", axum::serve::Listener::local_addr(&listener).unwrap());
        let routes = Router::new().route("/", post(answer)).with_state(Review(Arc::new(review)));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let client_config = json!({ "url": url, "caBundle": base64(&certificate) });
        Self { client_config, _serving: serving }
    }

    /// An entry of a webhook configuration that sends what `rules` select in one namespace here.
    pub(crate) fn webhook(&self, namespace: &str, rules: &Value) -> Value {
        json!({
            "name": "webhook.ompipe.test", "sideEffects": "None", "timeoutSeconds": 5,
            "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
            "clientConfig": self.client_config,
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
            "rules": rules,
        })
    }
}

#[derive(Clone)]
struct Review(Arc<ReviewFn>);

/// Makes a response of a request.
type ReviewFn = dyn Fn(&Value) -> Option<Value> + Send + Sync;

async fn answer(
    State(Review(review)): State<Review>,
    Json(asked): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let mut response = review(&asked["request"]).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    response["uid"] = asked["request"]["uid"].clone();
    let kind = "AdmissionReview";
    Ok(Json(json!({ "apiVersion": "admission.k8s.io/v1", "kind": kind, "response": response })))
}

/// A text as `caBundle` and `patch` take it.
pub(super) fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
