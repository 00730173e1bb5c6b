//! A mutating webhook of others, such as a service mesh's: it changes what is created and applied in a namespace.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::bed::bed;
use super::reviewer::{Reviewer, base64};
use super::scene::{Scene, from};
use super::wait::eventually;

/// Annotation of everything that it changed.
pub(crate) const INJECTED: &str = "mesh.example/injected";

/// A webhook for one namespace. It gives every pod a native sidecar that runs until it is stopped, and annotates pods, Jobs
/// and CronJobs.
pub(crate) struct Injector {
    configurations: Api<MutatingWebhookConfiguration>,
    name: String,
    _reviewer: Reviewer,
}

impl Injector {
    /// Begins to change what is created, and waits until the API server calls it: a new configuration takes a while.
    pub(crate) async fn start(scene: &Scene) -> Self {
        let reviewer = Reviewer::start(|request| Some(injected(request))).await;
        let (name, configurations) = (scene.namespace.clone(), Api::all(scene.client.clone()));
        let rules = json!([
            rule("", "pods", &["CREATE"]),
            rule("batch", "jobs", &["CREATE"]),
            rule("batch", "cronjobs", &["CREATE", "UPDATE"]),
        ]);
        let webhook = reviewer.webhook(&name, &rules);
        let configuration = from(json!({ "metadata": { "name": name }, "webhooks": [webhook] }));
        configurations.create(&PostParams::default(), &configuration).await.unwrap();
        in_force(scene).await;
        Self { configurations, name, _reviewer: reviewer }
    }

    pub(crate) async fn remove(&self) {
        self.configurations.delete(&self.name, &DeleteParams::default()).await.unwrap();
    }
}

async fn in_force(scene: &Scene) {
    let probe: Pod = from(json!({
        "metadata": { "name": "probe" },
        "spec": { "containers": [{ "name": "main", "image": bed().worker_image }] },
    }));
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    eventually("a webhook in force", || async {
        let created = scene.api::<Pod>().create(&dry_run, &probe).await;
        let created = created.map_err(|error| error.to_string())?;
        if created.annotations().contains_key(INJECTED) { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
}

fn rule(group: &str, resources: &str, operations: &[&str]) -> Value {
    json!({
        "apiGroups": [group], "apiVersions": ["v1"], "resources": [resources],
        "operations": operations,
    })
}

/// The answer that lets an object in with the webhook's additions.
fn injected(request: &Value) -> Value {
    let object = &request["object"];
    let mut patch = vec![with_annotation("", object)];
    match request["kind"]["kind"].as_str().unwrap() {
        "Pod" => patch.push(with_sidecar(object)),
        "Job" => patch.push(with_annotation("/spec/template", &object["spec"]["template"])),
        _ => {}
    }
    let patch = base64(&Value::from(patch).to_string());
    json!({ "allowed": true, "patchType": "JSONPatch", "patch": patch })
}

fn with_annotation(at: &str, object: &Value) -> Value {
    let mut annotations =
        object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.insert(INJECTED.to_owned(), "yes".into());
    json!({ "op": "add", "path": format!("{at}/metadata/annotations"), "value": annotations })
}

fn with_sidecar(pod: &Value) -> Value {
    let mut containers = pod["spec"]["initContainers"].as_array().cloned().unwrap_or_default();
    containers.insert(
        0,
        json!({
            "name": "mesh", "image": bed().worker_image, "imagePullPolicy": "IfNotPresent",
            "restartPolicy": "Always",
            "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"],
            "resources": { "requests": { "cpu": "1m", "memory": "8Mi" } },
        }),
    );
    json!({ "op": "add", "path": "/spec/initContainers", "value": containers })
}
