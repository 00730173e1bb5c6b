//! The `ValidatingAdmissionPolicy` of the chart refuses what the operator would refuse, and nothing else.

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use ompipe_api::{CronOMJob, OMJob, StagePodSpec};
use ompipe_core::pod_policy::PodPolicy;
use ompipe_core::yaml;
use ompipe_tests::helm::{Release, documents};
use serde_json::{Value, json};

use crate::support::{Scene, eventually, from, install_crds};

const RELEASE: &str = "release";

#[expect(clippy::needless_pass_by_value, reason = "every caller makes the value in place")]
fn template(spec: Value) -> Value {
    json!({ "image": "i", "podTemplate": { "spec": spec } })
}

/// Stages of runs: those of Argo Workflows' advisories, of the Pod Security Standards, and ordinary ones.
fn stages() -> Vec<Value> {
    let mut stages = vec![
        json!({ "image": "i" }),
        template(json!({})),
        template(json!({ "hostNetwork": false, "serviceAccountName": "runs", "volumes": [
            { "name": "t", "projected": { "sources": [{ "serviceAccountToken": { "path": "t", "audience": "a" } }] } },
            { "name": "e", "emptyDir": {} },
        ]})),
        template(json!({ "hostNetwork": true })),
        template(json!({ "hostPID": true })),
        template(json!({ "hostIPC": true })),
        template(
            json!({ "volumes": [{ "name": "e", "emptyDir": {} }, { "name": "h", "hostPath": { "path": "/" } }] }),
        ),
        template(json!({ "ephemeralContainers": [{ "name": "e", "image": "i" }] })),
        template(json!({ "securityContext": { "windowsOptions": { "hostProcess": true } } })),
        template(json!({ "securityContext": { "seccompProfile": { "type": "Unconfined" } } })),
        template(json!({ "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } } })),
        template(json!({ "securityContext": { "appArmorProfile": { "type": "Unconfined" } } })),
        template(json!({ "securityContext": { "seLinuxOptions": { "type": "spc_t" } } })),
        template(
            json!({ "securityContext": { "sysctls": [{ "name": "kernel.msgmax", "value": "1" }] } }),
        ),
        template(
            json!({ "securityContext": { "sysctls": [{ "name": "net.ipv4.tcp_syncookies", "value": "1" }] } }),
        ),
        template(json!({ "serviceAccountName": "release-ompipe-operator" })),
        template(json!({ "serviceAccount": "release-ompipe-server" })),
        template(
            json!({ "serviceAccountName": "release-ompipe-operator", "automountServiceAccountToken": false,
            "volumes": [{ "name": "t", "projected": { "sources": [{ "serviceAccountToken": { "path": "t" } }] } }] }),
        ),
        json!({ "image": "i", "serviceAccountName": "release-ompipe-operator" }),
        json!({ "image": "i", "serviceAccountName": "release-ompipe-operator",
            "podTemplate": { "spec": { "serviceAccountName": "runs" } } }),
        json!({ "image": "i", "securityContext": { "seccompProfile": { "type": "Unconfined" } } }),
        json!({ "image": "i", "annotations": { "container.apparmor.security.beta.kubernetes.io/main": "unconfined" } }),
        json!({ "image": "i", "annotations": { "container.apparmor.security.beta.kubernetes.io/main": "runtime/default" } }),
        json!({ "image": "i", "podTemplate": { "metadata": { "annotations": {
            "container.apparmor.security.beta.kubernetes.io/main": "unconfined" } } } }),
    ];
    let contexts = [
        json!({ "privileged": true }),
        json!({ "privileged": false, "capabilities": { "drop": ["ALL"], "add": ["CHOWN"] } }),
        json!({ "capabilities": { "add": ["CHOWN", "NET_RAW"] } }),
        json!({ "procMount": "Unmasked" }),
        json!({ "seccompProfile": { "type": "Unconfined" } }),
        json!({ "appArmorProfile": { "type": "Unconfined" } }),
        json!({ "seLinuxOptions": { "user": "system_u" } }),
        json!({ "windowsOptions": { "hostProcess": true } }),
    ];
    let others = [
        json!({ "ports": [{ "containerPort": 80, "hostPort": 80 }] }),
        json!({ "ports": [{ "containerPort": 80 }] }),
        json!({ "livenessProbe": { "httpGet": { "host": "169.254.169.254", "port": 80 } } }),
        json!({ "livenessProbe": { "httpGet": { "path": "/", "port": 80 } } }),
        json!({ "lifecycle": { "postStart": { "tcpSocket": { "host": "10.0.0.1", "port": 1 } } } }),
    ];
    let contexts = contexts.map(|context| json!({ "securityContext": context }));
    for fields in contexts.into_iter().chain(others) {
        for (list, name) in [("containers", "main"), ("containers", "c"), ("initContainers", "c")] {
            let mut container = fields.clone();
            container["name"] = name.into();
            container["image"] = "i".into();
            stages.push(template(json!({ list: [container] })));
        }
    }
    stages
}

/// The chart's policy, as a document of each kind.
fn policy(namespace: &str) -> Vec<Value> {
    let values = json!({
        "server": { "credentials": { "username": "u", "password": "p-of-the-test" } },
        "pipelineServiceClientConfig": { "k8s": { "namespace": namespace, "ingestionImage": "x:1" } },
        "omjobOperator": { "podPolicy": { "admissionPolicy": { "enabled": true } } },
    });
    let text = Release::rendered(RELEASE, namespace)
        .template(&values, &["--show-only", "templates/podpolicy.yaml"])
        .unwrap();
    documents(&text).map(|document| yaml::parse(document).unwrap()).collect()
}

fn api_of(scene: &Scene, object: &Value) -> Api<DynamicObject> {
    let kind = object["kind"].as_str().unwrap();
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
    let plural = match kind.kind.as_str() {
        "ValidatingAdmissionPolicy" => "validatingadmissionpolicies",
        _ => "validatingadmissionpolicybindings",
    };
    Api::all_with(scene.client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural))
}

/// True when the API server takes the object, which is not made.
async fn is_taken<K>(scene: &Scene, object: &Value) -> Result<(), String>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let api = Api::<DynamicObject>::namespaced_with(
        scene.client.clone(),
        &scene.namespace,
        &ApiResource::erase::<K>(&()),
    );
    let taken = api.create(&dry_run, &from(object.clone())).await;
    taken.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn it_refuses_what_the_operator_refuses_and_nothing_else() {
    let scene = Scene::new("podpolicy").await;
    install_crds(&scene.client).await;
    let documents = policy(&scene.namespace);
    assert_eq!(documents.len(), 2);
    for document in &documents {
        let params = PatchParams::apply("test").force();
        let name = document["metadata"]["name"].as_str().unwrap();
        api_of(&scene, document).patch(name, &params, &Patch::Apply(document)).await.unwrap();
    }
    let reserved = ["operator", "server"]
        .map(|one| format!("{}/{RELEASE}-ompipe-{one}", scene.namespace).parse().unwrap());
    let ours = PodPolicy { reserved_accounts: reserved.into(), ..PodPolicy::default() };
    let omjob = |stage: &Value| {
        json!({ "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob",
            "metadata": { "name": "x" }, "spec": { "mainPodSpec": stage } })
    };
    // The API server takes a moment to know a policy.
    let thief = omjob(&template(json!({ "hostPID": true })));
    eventually("a policy that counts", || async {
        match is_taken::<OMJob>(&scene, &thief).await {
            Ok(()) => Err("it is taken".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await;
    for stage in stages() {
        let read: StagePodSpec = serde_json::from_value(stage.clone()).unwrap();
        let made = read.to_template();
        let pod = k8s_openapi::api::core::v1::Pod {
            metadata: made.metadata.unwrap_or_default(),
            spec: made.spec,
            status: None,
        };
        let expected = ours.violations(&scene.namespace, &pod);
        let schedule = json!({ "apiVersion": "pipelines.openmetadata.org/v1", "kind": "CronOMJob",
            "metadata": { "name": "x" }, "spec": { "schedule": "0 0 * * *", "omJobSpec": {
                "mainPodSpec": { "image": "i" }, "exitHandlerSpec": stage.clone() } } });
        let said = [
            is_taken::<OMJob>(&scene, &omjob(&stage)).await,
            is_taken::<CronOMJob>(&scene, &schedule).await,
        ];
        for taken in said {
            assert_eq!(taken.is_ok(), expected.is_empty(), "{stage}: {expected:?}, {taken:?}");
            if let Err(why) = taken {
                assert!(why.contains("must") && !why.contains("no such"), "{why}");
            }
        }
    }
    for document in &documents {
        let name = document["metadata"]["name"].as_str().unwrap();
        api_of(&scene, document).delete(name, &DeleteParams::default()).await.unwrap();
    }
    let left = api_of(&scene, &documents[0]).list(&ListParams::default()).await.unwrap();
    assert!(left.iter().all(|one| !one.name_any().starts_with(&scene.namespace)));
    scene.end().await;
}
