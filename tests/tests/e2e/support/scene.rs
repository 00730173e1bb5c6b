//! A namespace of its own for each test, with an OpenMetadata stand-in and the files of a user.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use ompipe_core::RunId;
use ompipe_tests::standin::Standin;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

use super::bed::bed;
use super::following::Following;
use super::outcome::Outcome;

/// What a test plays in.
pub(crate) struct Scene {
    pub(crate) namespace: String,
    pub(crate) client: Client,
    pub(crate) standin: Standin,
    /// The cluster's.
    pub(crate) kubeconfig: String,
    dir: TempDir,
}

impl Scene {
    /// A namespace with the service account and rights that upstream documents.
    pub(crate) async fn new(name: &str) -> Self {
        Self::on(&bed().kubeconfig, bed().host, name).await
    }

    /// The same on another cluster, whose pods see this machine as `host`.
    pub(crate) async fn on(kubeconfig: &str, host: IpAddr, name: &str) -> Self {
        let namespace = format!("{name}-{}", &Uuid::new_v4().simple().to_string()[..6]);
        let scene = Self::of(kubeconfig, host, namespace).await;
        scene.create_namespace().await;
        scene
    }

    /// A scene in a namespace that is there, which goes on after the scene.
    pub(crate) async fn within(namespace: &str) -> Self {
        Self::of(&bed().kubeconfig, bed().host, namespace.to_owned()).await
    }

    async fn of(kubeconfig: &str, host: IpAddr, namespace: String) -> Self {
        // The second call of a process finds it installed.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let access = Kubeconfig::read_from(kubeconfig).unwrap();
        let access = Config::from_custom_kubeconfig(access, &KubeConfigOptions::default()).await;
        let client = Client::try_from(access.unwrap()).unwrap();
        let standin = Standin::start(SocketAddr::new(host, 0)).unwrap();
        let (kubeconfig, dir) = (kubeconfig.to_owned(), TempDir::new().unwrap());
        Self { namespace, client, standin, kubeconfig, dir }
    }

    async fn create_namespace(&self) {
        let post = PostParams::default();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = from(json!({ "metadata": { "name": self.namespace } }));
        namespaces.create(&post, &namespace).await.unwrap();
        let account: ServiceAccount =
            from(json!({ "metadata": { "name": "openmetadata-ingestion" } }));
        self.api().create(&post, &account).await.unwrap();
        self.grant("openmetadata-ingestion", &seed_rules()).await;
    }

    /// Gives a service account a role of its own.
    pub(crate) async fn grant(&self, account: &str, rules: &Value) {
        let post = PostParams::default();
        let role: Role = from(json!({ "metadata": { "name": account }, "rules": rules }));
        let binding: RoleBinding = from(json!({
            "metadata": { "name": account },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": self.namespace }],
        }));
        self.api().create(&post, &role).await.unwrap();
        self.api().create(&post, &binding).await.unwrap();
    }

    /// Lets the namespace take restricted pods only.
    pub(crate) async fn restrict(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let label = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        let patch = Patch::Merge(json!({ "metadata": { "labels": label } }));
        namespaces.patch(&self.namespace, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Lets OpenMetadata know the pipeline `shop.nightly`.
    pub(crate) fn add_nightly(&self) {
        let add = |fields: Value| {
            let service =
                self.standin.add_service("databaseService", "shop", "Postgres", &json!({}));
            self.standin.add_pipeline("databaseService", &service.unwrap(), &fields).unwrap()
        };
        add(json!({ "name": "nightly", "pipelineType": "metadata", "airflowConfig": {} }));
    }

    /// Lets OpenMetadata know `shop.nightly` with a schedule that does not come; the file of what it
    /// would send to deploy it.
    pub(crate) fn scheduled_nightly(&self) -> String {
        let service = self.standin.add_service("databaseService", "shop", "Postgres", &json!({}));
        let fields = json!({
            "name": "nightly", "pipelineType": "metadata",
            "airflowConfig": { "scheduleInterval": "0 2 * * 0" },
            "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
        });
        let entity = self.standin.add_pipeline("databaseService", &service.unwrap(), &fields);
        self.file("pipeline.json", &self.standin.deployable(&entity.unwrap()))
    }

    /// Writes a row of `shop.nightly` as a worker does.
    pub(crate) async fn write_row(&self, run: RunId, state: &str) {
        let row = json!({
            "runId": run.to_string(), "pipelineState": state, "timestamp": 1, "startDate": 1,
            "status": [{ "name": "Postgres", "records": 9 }],
        });
        let path = "v1/services/ingestionPipelines/shop.nightly/pipelineStatus";
        let put = reqwest::Client::new().put(format!("{}/{path}", self.standin.url()));
        let put = put.bearer_auth(self.standin.token()).json(&row);
        put.send().await.unwrap().error_for_status().unwrap();
    }

    /// Objects of a kind in the scene's namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Every object of a kind that ompipe made here, by name.
    pub(crate) async fn ours<K>(&self) -> BTreeMap<String, K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=ompipe");
        let listed = self.api::<K>().list(&ours).await.unwrap();
        listed.items.into_iter().map(|object| (object.name_any(), object)).collect()
    }

    /// A file with a JSON document.
    pub(crate) fn file(&self, name: &str, document: &Value) -> String {
        self.text_file(name, &document.to_string())
    }

    /// A file with a text.
    pub(crate) fn text_file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A configuration whose pods are small enough to run side by side; `parameters` override.
    pub(crate) fn config(&self, parameters: &Value) -> String {
        self.file("config.yaml", &self.config_document(parameters))
    }

    /// The same, not yet a file.
    pub(crate) fn config_document(&self, parameters: &Value) -> Value {
        let mut all = json!({
            "namespace": self.namespace,
            "ingestionImage": bed().worker_image,
            "resources": { "requests": { "cpu": "10m", "memory": "64Mi" }, "limits": { "memory": "1Gi" } },
            "backoffLimit": 0,
        });
        all.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        let block = json!({ "metadataApiEndpoint": self.standin.url(), "parameters": all });
        json!({ "pipelineServiceClientConfiguration": block })
    }

    /// A metadata pipeline of the stand-in's server as its file; `fields` override.
    pub(crate) fn pipeline(&self, name: &str, fields: &Value) -> String {
        let mut pipeline = json!({
            "name": name,
            "pipelineType": "metadata",
            "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
            "airflowConfig": {},
            "service": { "type": "databaseService", "name": "shop" },
            "openMetadataServerConnection": self.standin.server_connection(),
        });
        pipeline.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.file(&format!("{name}.json"), &pipeline)
    }

    /// The service of [`Self::pipeline`], for calls that should not ask the server.
    pub(crate) fn service(&self) -> String {
        self.file("service.json", &json!({ "name": "shop", "serviceType": "Postgres" }))
    }

    /// Runs the program with the bed's cluster.
    pub(crate) async fn ompipe(&self, args: &[&str]) -> Outcome {
        self.ompipe_with(args, &[]).await
    }

    /// As [`Self::ompipe`], with further environment.
    pub(crate) async fn ompipe_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Outcome {
        let mut command = Command::new(&bed().ompipe);
        command.env_clear().env("KUBECONFIG", &self.kubeconfig);
        command.envs(environment.iter().copied()).args(args).kill_on_drop(true);
        Outcome::of(&command.output().await.unwrap())
    }

    /// Starts the program and reads what it prints as it comes.
    pub(crate) fn follow(args: &[&str]) -> Following {
        Following::new(Self::ompipe_in_background(args))
    }

    /// Starts the program and leaves it running; it ends with the test at the latest.
    pub(crate) fn ompipe_in_background(args: &[&str]) -> tokio::process::Child {
        let mut command = Command::new(&bed().ompipe);
        command.env_clear().env("KUBECONFIG", &bed().kubeconfig).args(args).kill_on_drop(true);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    }

    /// Lets the namespace go. Pods that still run are not waited for.
    pub(crate) async fn end(self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        match namespaces.delete(&self.namespace, &DeleteParams::background()).await {
            // The test itself may have deleted it.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            deleted => drop(deleted.unwrap()),
        }
    }
}

/// An object from JSON.
pub(crate) fn from<K: DeserializeOwned>(document: Value) -> K {
    serde_json::from_value(document).unwrap()
}

/// The rights that upstream documents (docs/contracts/upstream-java-client.md#required-rights).
fn seed_rules() -> Value {
    let verbs = ["get", "list", "create", "update", "patch", "delete"];
    json!([
        { "apiGroups": [""], "resources": ["pods", "pods/log", "configmaps", "secrets", "events"], "verbs": verbs },
        { "apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": verbs },
    ])
}
