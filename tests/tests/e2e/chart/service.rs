//! OpenMetadata's way through a whole release: calls of the Service from a pod, runs, their ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, LogParams, PostParams};
use ompipe_tests::standin::PipelineState;
use rstest::rstest;
use serde_json::{Value, json};

use super::installed::{Home, helm};
use crate::operator::Stage;
use crate::support::{eventually, from};

/// What a pod says that sends `/request` to a Service and prints the answer. The shell's own sockets do.
/// A new Service has its name and its way only when DNS and kube-proxy have heard of it.
const ASK: &str = "for _ in {1..60}; do \
    if exec 3<>/dev/tcp/$HOST/8080; then cat /request/request >&3 && exec cat <&3; fi; \
    sleep 1; done 2>/dev/null; exit 1";

impl Home {
    /// Values of a whole release.
    fn whole(&self, use_om_job_operator: bool) -> Value {
        let mut values = self.operator(&json!({}));
        values["server"] = json!({
            "credentials": { "username": "openmetadata", "password": "correct-horse" },
            "resources": { "requests": { "cpu": "5m", "memory": "32Mi" }, "limits": { "memory": "256Mi" } },
        });
        let k8s = &mut values["pipelineServiceClientConfig"]["k8s"];
        k8s["useOMJobOperator"] = json!(use_om_job_operator);
        k8s["extraEnvVars"] = json!(["WORKER_MAIN:echo hello from the worker"]);
        values
    }

    /// What the server answers to OpenMetadata's call from a pod in the runs' namespace.
    async fn ask(&self, name: &str, method: &str, path: &str, body: &str) -> String {
        let credentials = "b3Blbm1ldGFkYXRhOmNvcnJlY3QtaG9yc2U="; // openmetadata:correct-horse
        let host = format!("blue-ompipe-server.{}", self.namespace);
        let length = body.len();
        let request = format!(
            "{method} /api/v1/openmetadata/{path} HTTP/1.1\r\nHost: {host}:8080\r\n\
             Authorization: Basic {credentials}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let scene = &self.stage.scene;
        let post = PostParams::default();
        let map: ConfigMap =
            from(json!({ "metadata": { "name": name }, "data": { "request": request } }));
        scene.api().create(&post, &map).await.unwrap();
        let mut container = Stage::container(ASK);
        container["command"] = json!(["bash", "-c", ASK]);
        container["env"] = json!([{ "name": "HOST", "value": host }]);
        container["volumeMounts"] = json!([{ "name": "request", "mountPath": "/request" }]);
        let pod: Pod = from(json!({
            "metadata": { "name": name },
            "spec": {
                "restartPolicy": "Never", "containers": [container],
                "volumes": [{ "name": "request", "configMap": { "name": name } }],
            },
        }));
        scene.api().create(&post, &pod).await.unwrap();
        self.answer(name).await
    }

    async fn answer(&self, name: &str) -> String {
        let pods = self.stage.pods();
        eventually("the end of a call", || async {
            let pod = pods.get(name).await.map_err(|error| error.to_string())?;
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if matches!(phase, Some("Succeeded" | "Failed")) {
                Ok(())
            } else {
                Err(format!("{phase:?}"))
            }
        })
        .await;
        pods.logs(name, &LogParams::default()).await.unwrap()
    }
}

/// It takes a minute: Helm installs the chart, and a run goes through it.
#[rstest]
#[case::jobs(false)]
#[case::om_jobs(true)]
#[tokio::test]
async fn a_pipeline_is_deployed_and_run_through_the_service(#[case] use_om_job_operator: bool) {
    let home = Home::new("chartservice").await;
    let scene = &home.stage.scene;
    scene.add_nightly();
    let release = home.release("blue");
    let values = home.whole(use_om_job_operator);
    helm(&release, move |release| release.install(&values)).await;
    let tested = helm(&release, ompipe_tests::helm::Release::test).await;
    assert!(tested.contains("ok     cluster: Kubernetes is available"), "{tested}");
    assert!(!tested.contains("FAIL"), "{tested}");

    let pipeline = std::fs::read_to_string(scene.pipeline("nightly", &json!({}))).unwrap();
    let deployed = home.ask("deploy", "POST", "deploy", &pipeline).await;
    assert!(deployed.starts_with("HTTP/1.1 200 OK"), "{deployed}");
    let started = home.ask("trigger", "POST", "trigger", r#"{"dag_id":"nightly"}"#).await;
    assert!(started.starts_with("HTTP/1.1 200 OK"), "{started}");
    let states =
        || scene.standin.rows("shop.nightly").into_iter().map(|row| row["pipelineState"].clone());
    eventually("the end of the run", || async {
        let states: Vec<Value> = states().collect();
        if states == [json!(PipelineState::Success)] { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;
    // The operator reports the end that the API shows; a kubelet may have the last line a moment later.
    let calls = AtomicUsize::new(0);
    eventually("the log of the run", || async {
        let name = format!("logs-{}", calls.fetch_add(1, Ordering::Relaxed));
        let query = "last_dag_logs?dag_id=nightly&task_id=ingestion_task";
        let log = home.ask(&name, "GET", query, "").await;
        if log.contains("hello from the worker") { Ok(()) } else { Err(log) }
    })
    .await;
    let deleted = home.ask("delete", "DELETE", "delete?dag_id=nightly", "").await;
    assert!(deleted.starts_with("HTTP/1.1 200 OK"), "{deleted}");
    helm(&release, ompipe_tests::helm::Release::uninstall).await;
    home.end().await;
}

/// `helm test` of a release, which has to fail.
async fn failed_test(release: &ompipe_tests::helm::Release) -> String {
    let release = release.clone();
    let tested = tokio::task::spawn_blocking(move || release.test()).await.unwrap();
    tested.map_or_else(|failed| failed.to_string(), |said| panic!("it passed: {said}"))
}

/// What docs/install.md says that `helm test` checks: OpenMetadata, the account of the runs, the rights.
/// It takes most of a minute: a test pod runs for each thing that is taken away.
#[tokio::test]
async fn helm_test_fails_for_each_thing_that_it_checks() {
    let home = Home::new("charttest").await;
    let release = home.release("blue");
    let mut values = home.whole(false);
    values["omjobOperator"] = json!({ "enabled": false });
    values["server"]["replicas"] = json!(1);
    values["pipelineServiceClientConfig"]["metadataApiEndpoint"] = "http://127.0.0.1:1/api".into();
    helm(&release, move |release| release.install(&values)).await;
    let said = failed_test(&release).await;
    assert!(said.contains("FAIL   OpenMetadata: "), "{said}");
    assert!(
        said.contains("ok     cluster: ") && said.contains("ok     service account: "),
        "{said}"
    );

    let scene = &home.stage.scene;
    let delete = DeleteParams::default();
    scene.api::<ServiceAccount>().delete("blue-ompipe-ingestion", &delete).await.unwrap();
    let said = failed_test(&release).await;
    assert!(said.contains("FAIL   service account: "), "{said}");

    scene.api::<RoleBinding>().delete("blue-ompipe-server", &delete).await.unwrap();
    let said = failed_test(&release).await;
    assert!(said.contains("FAIL   cluster: ") && said.contains("rights are missing"), "{said}");
    helm(&release, ompipe_tests::helm::Release::uninstall).await;
    home.end().await;
}
