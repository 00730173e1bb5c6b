//! A release in a namespace of its own, which takes restricted pods only, beside that of the runs.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use ompipe_tests::helm::Release;
use serde_json::{Value, json};

use crate::operator::Stage;
use crate::support::{Bed, bed, eventually, from};

/// The stage of the runs, and where releases for it are installed.
pub(super) struct Home {
    pub(super) stage: Stage,
    pub(super) namespace: String,
}

/// Name and tag of an image.
fn image(reference: &str) -> Value {
    let (repository, tag) = reference.rsplit_once(':').unwrap();
    json!({ "repository": repository, "tag": tag })
}

impl Home {
    pub(super) async fn new(name: &str) -> Self {
        let stage = Stage::new(name).await;
        let namespace = format!("{}-home", stage.scene.namespace);
        let object = from(json!({ "metadata": {
            "name": namespace, "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
        }}));
        let home = Self { stage, namespace };
        home.namespaces().create(&PostParams::default(), &object).await.unwrap();
        home
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.stage.scene.client.clone())
    }

    /// A release here.
    pub(super) fn release(&self, name: &str) -> Release {
        Release::of_cluster(name, &self.namespace, &self.stage.scene.kubeconfig)
    }

    /// Values of an operator for the runs' namespace; `more` of the operator's go over them.
    pub(super) fn operator(&self, more: &Value) -> Value {
        let mut operator = json!({
            "leaseDurationSeconds": 3,
            "drain": { "timeoutSeconds": 1 },
            "resources": { "requests": { "cpu": "5m", "memory": "32Mi" }, "limits": { "memory": "192Mi" } },
        });
        operator.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut values = self.values();
        values["omjobOperator"] = operator;
        values["server"] = json!({ "enabled": false });
        values
    }

    /// What every release here needs.
    fn values(&self) -> Value {
        json!({
            "image": image(&bed().ompipe_image),
            "exitHandler": { "image": image(&Bed::exit_handler_image()) },
            "pipelineServiceClientConfig": {
                "metadataApiEndpoint": self.stage.scene.standin.url(),
                "k8s": {
                    "namespace": self.stage.scene.namespace, "ingestionImage": bed().worker_image,
                    "backoffLimit": 0,
                    "resources": { "requests": { "cpu": "10m", "memory": "64Mi" }, "limits": { "memory": "1Gi" } },
                },
            },
        })
    }

    /// Objects of a kind here.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.stage.scene.client.clone(), &self.namespace)
    }

    /// Deletes both namespaces, and waits until the one of the releases is gone: nothing holds it.
    pub(super) async fn end(self) {
        let namespaces = self.namespaces();
        namespaces.delete(&self.namespace, &DeleteParams::background()).await.unwrap();
        eventually("the end of the namespace", || async {
            let found = namespaces.get_opt(&self.namespace).await.map_err(|e| e.to_string())?;
            found
                .map_or(Ok(()), |found| Err(format!("{:?} {:?}", found.status, found.finalizers())))
        })
        .await;
        self.stage.scene.end().await;
    }
}

/// Runs helm, which blocks, beside the test.
pub(super) async fn helm<T: Send + 'static>(
    release: &Release,
    call: impl FnOnce(&Release) -> anyhow::Result<T> + Send + 'static,
) -> T {
    let release = release.clone();
    let done = tokio::task::spawn_blocking(move || call(&release)).await.unwrap();
    done.unwrap_or_else(|error| panic!("{error}"))
}
