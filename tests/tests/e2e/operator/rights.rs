//! Every documented right is one that the operator uses: there is none without need. That they
//! suffice is shown where operators run with nothing else (`report`, `job_reports`).

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use ompipe_api::Phase;
use ompipe_tests::api_proxy::ApiProxy;
use ompipe_tests::rights::{Right, names};
use ompipe_tests::standin::Fault;
use serde_json::json;
use uuid::Uuid;

use super::report::{documented_rules, reported};
use super::{Operator, Stage};
use crate::support::{eventually, from};

/// Asked for by the API server of some clusters alone, when an owner reference is written (Kubernetes:
/// `OwnerReferencesPermissionEnforcement`). No request of the operator shows them.
const OF_OWNERS: [&str; 2] = [
    "update cronomjobs/finalizers.pipelines.openmetadata.org",
    "update omjobs/finalizers.pipelines.openmetadata.org",
];

impl Stage {
    /// A plain Job of ours, which fails and is reported although the first token is refused.
    async fn play_job(&self) {
        self.scene.standin.inject(Fault::status(401).times(1));
        let config = self.scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:exit 3"] }));
        let (pipeline, service) =
            (self.scene.pipeline("nightly", &json!({})), self.scene.service());
        for command in ["deploy", "run"] {
            let args = [command, "-c", &config, "-f", &pipeline, "--service", &service];
            self.scene.ompipe(&args).await.good();
        }
        eventually("a settled Job", || async {
            let jobs = self.scene.ours::<Job>().await;
            let settled =
                |job: &Job| job.annotations().contains_key("pipelines.openmetadata.org/reported");
            if jobs.values().any(settled) { Ok(()) } else { Err(format!("{jobs:?}")) }
        })
        .await;
    }

    /// An `OMJob` in whose way a pod of the same name stands, which goes later.
    async fn play_name_taken(&self) {
        let stranger: Pod = from(json!({
            "metadata": { "name": "late-main" },
            "spec": { "terminationGracePeriodSeconds": 0, "containers": [Self::container("sleep 600")] },
        }));
        self.pods().create(&PostParams::default(), &stranger).await.unwrap();
        self.run(
            "late",
            "sleep 60",
            json!({
                "activeDeadlineSeconds": 30, "ttlSecondsAfterFinished": 0,
            }),
        )
        .await;
        eventually("a repeated event", || async {
            let events = self.scene.api::<k8s_openapi::api::core::v1::Event>();
            let listed = events.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
            let repeated = listed.items.iter().any(|event| event.count > Some(1));
            if repeated { Ok(()) } else { Err(format!("{} events", listed.items.len())) }
        })
        .await;
        self.pods().delete("late-main", &DeleteParams::default()).await.unwrap();
        self.gone("late").await;
    }

    /// An `OMJob` that the operator reports for, with its config in a ConfigMap.
    async fn play_config_map(&self) {
        let config = json!({
            "ingestionPipelineFQN": "shop.nightly",
            "workflowConfig": { "openMetadataServerConfig": self.scene.standin.server_connection() },
        });
        let map: ConfigMap = from(
            json!({ "metadata": { "name": "map" }, "data": { "config": config.to_string() } }),
        );
        self.scene.api().create(&PostParams::default(), &map).await.unwrap();
        let mut main = Self::shell("exit 3");
        main["env"] = json!([
            { "name": "config", "valueFrom": { "configMapKeyRef": { "name": "map", "key": "config" } } },
            { "name": "pipelineRunId", "value": Uuid::new_v4().to_string() },
        ]);
        let fields = json!({
            "mainPodSpec": main, "exitHandlerSpec": Self::shell("exit 1"), "exitHandlerDeadlineSeconds": 3,
        });
        self.run("mapped", "", fields).await;
        self.job("mapped", "a report of the operator", reported).await;
    }

    async fn play_schedule(&self) {
        self.schedule("cron", "true", json!({})).await;
        self.trigger("cron", "now").await;
        let run = self.children("cron", 1).await.remove(0);
        self.phase(&run.name_any(), Phase::Succeeded).await;
    }
}

#[tokio::test]
async fn every_documented_right_is_used_and_no_other() {
    let stage = Stage::new("rights").await;
    let proxy = ApiProxy::start(stage.scene.client.clone()).await.unwrap();
    let kubeconfig = stage.scene.file("proxy.kubeconfig", &proxy.kubeconfig());
    let operator = Operator::start(&stage.scene, &[("KUBECONFIG", &kubeconfig)]);
    stage.run_that_cannot_report(Uuid::new_v4()).await;
    stage.job("run", "a report of the operator", reported).await;
    tokio::join!(stage.play_name_taken(), stage.play_config_map(), stage.play_schedule());
    stage.play_job().await;
    tokio::time::timeout(Duration::from_mins(1), operator.terminate()).await.unwrap();
    let calls = proxy.take_calls();
    let used = names(&calls.iter().filter_map(Right::of_call).collect::<Vec<_>>());
    let documented = names(&Right::of_rules(&documented_rules()));
    let unused: Vec<_> = documented.difference(&used).map(String::as_str).collect();
    assert_eq!(unused, OF_OWNERS, "documented, and used by nothing here");
    let missing: Vec<_> = used.difference(&documented).collect();
    assert!(missing.is_empty(), "used, and not documented: {missing:?}");
    stage.scene.end().await;
}
