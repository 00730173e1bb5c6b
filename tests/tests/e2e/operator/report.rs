//! The last resort: the operator reports what the exit handler cannot, with the documented rights,
//! and goes on until OpenMetadata answers.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use ompipe_api::OMJob;
use ompipe_tests::standin::{Fault, PipelineState};
use serde_json::{Value, json};
use uuid::Uuid;

use super::stage::condition;
use super::{Operator, Stage};
use crate::access::limited_kubeconfig;
use crate::support::from;

const FQN: &str = "shop.nightly";

/// The rules of the Role in the documents.
pub(crate) fn documented_rules() -> Value {
    let documents = include_str!("../../../../docs/operator-rbac.yaml").split("\n---\n");
    let mut objects = documents.map(|document| ompipe_core::yaml::parse(document).unwrap());
    objects.find(|object| object["kind"] == "Role").unwrap()["rules"].take()
}

impl Stage {
    /// A run of a pipeline that the stand-in knows, whose main and exit handler both fail.
    pub(crate) async fn run_that_cannot_report(&self, id: Uuid) {
        let standin = &self.scene.standin;
        let service =
            standin.add_service("databaseService", "shop", "Postgres", &json!({})).unwrap();
        let fields = json!({ "name": "nightly", "pipelineType": "metadata", "airflowConfig": {} });
        standin.add_pipeline("databaseService", &service, &fields).unwrap();
        let config = json!({
            "ingestionPipelineFQN": FQN,
            "workflowConfig": { "openMetadataServerConfig": standin.server_connection() },
        });
        let secret: Secret = from(json!({
            "metadata": { "name": "config" }, "stringData": { "config": config.to_string() },
        }));
        self.scene.api().create(&PostParams::default(), &secret).await.unwrap();
        let mut main = Self::shell("exit 3");
        let source = json!({ "secretKeyRef": { "name": "config", "key": "config" } });
        main["env"] = json!([
            { "name": "config", "valueFrom": source },
            { "name": "pipelineRunId", "value": id.to_string() },
        ]);
        let fails = json!({
            "mainPodSpec": main, "exitHandlerSpec": Self::shell("exit 1"),
            "exitHandlerDeadlineSeconds": 3,
        });
        self.run("run", "", fails).await;
    }
}

pub(super) fn reported(job: &OMJob) -> bool {
    condition(job, "Reported") == "True LastResort"
}

#[tokio::test]
async fn with_the_documented_rights() {
    let stage = Stage::new("lastresort").await;
    let kubeconfig = limited_kubeconfig(&stage.scene, "operator", &documented_rules()).await;
    let operator = Operator::start(&stage.scene, &[("KUBECONFIG", &kubeconfig)]);
    let id = Uuid::new_v4();
    stage.run_that_cannot_report(id).await;
    stage.job("run", "a report of the operator", reported).await;
    stage.over("run").await;
    assert_eq!(stage.scene.standin.states(FQN, id), [PipelineState::Failed]);
    operator.terminate().await;
    stage.scene.end().await;
}

#[tokio::test]
async fn through_an_outage_of_openmetadata_and_a_crash_of_the_operator() {
    let stage = Stage::new("outage").await;
    let fault = Fault::status(503).on("PUT", "*/pipelineStatus").lasting(Duration::from_secs(12));
    stage.scene.standin.inject(fault);
    let operator = Operator::start(&stage.scene, &[]);
    let id = Uuid::new_v4();
    stage.run_that_cannot_report(id).await;
    let outstanding = |job: &OMJob| condition(job, "Reported") == "False Outstanding";
    stage.job("run", "a report that is outstanding", outstanding).await;
    operator.kill().await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.job("run", "a report of the operator", reported).await;
    assert_eq!(stage.scene.standin.states(FQN, id), [PipelineState::Failed]);
    stage.scene.end().await;
}
