//! What a tenant who may create `OMJob`s, and nothing else, must not be able to do by the operator.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, PostParams};
use ompipe_api::{OMJob, Phase};
use ompipe_core::labels;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::stage::{condition, phase, reason};
use super::{Operator, Stage};
use crate::support::from;

const FQN: &str = "shop.nightly";

impl Stage {
    /// Waits for the sentence why a run's end is not reported yet.
    async fn outstanding(&self, name: &str) -> String {
        let message = |job: &OMJob| {
            let conditions = job.status.iter().flat_map(|status| &status.conditions);
            let mut reported = conditions.filter(|condition| condition.type_ == "Reported");
            reported.next().map(|condition| condition.message.clone()).unwrap_or_default()
        };
        // Before the first try there is no sentence.
        let is = |job: &OMJob| {
            condition(job, "Reported") == "False Outstanding" && !message(job).is_empty()
        };
        message(&self.job(name, "a report that is outstanding", is).await)
    }

    /// A run that fails and has this config as a literal.
    async fn failing_with(&self, name: &str, id: Uuid, config: &Value, labels: Value) {
        let mut main = Self::shell("exit 1");
        main["env"] = json!([
            { "name": "config", "value": config.to_string().replace('$', "$$") },
            { "name": "pipelineRunId", "value": id.to_string() },
        ]);
        let job = from(json!({
            "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob",
            "metadata": { "name": name, "labels": labels }, "spec": { "mainPodSpec": main },
        }));
        self.jobs().create(&PostParams::default(), &job).await.unwrap();
    }

    fn known_pipeline(&self) -> Value {
        let standin = &self.scene.standin;
        let service =
            standin.add_service("databaseService", "shop", "Postgres", &json!({})).unwrap();
        let fields = json!({ "name": "nightly", "pipelineType": "metadata", "airflowConfig": {} });
        standin.add_pipeline("databaseService", &service, &fields).unwrap()
    }

    fn config(&self) -> Value {
        json!({
            "ingestionPipelineFQN": FQN,
            "workflowConfig": { "openMetadataServerConfig": self.scene.standin.server_connection() },
        })
    }
}

#[rstest]
#[case::node(
    "bound-node",
    json!({ "podTemplate": { "spec": {
        "hostPID": true, "volumes": [{ "name": "host", "hostPath": { "path": "/" } }],
        "containers": [{ "name": "main", "securityContext": { "privileged": true, "runAsUser": 0 } }],
    }}}),
    &["hostPID", "volumes[host].hostPath", "containers[main].securityContext.privileged"]
)]
#[case::init(
    "bound-init",
    json!({ "podTemplate": { "spec": { "initContainers": [{
        "name": "first", "image": "i", "securityContext": { "privileged": true },
    }]}}}),
    &["initContainers[first].securityContext.privileged"]
)]
#[case::account(
    "bound-account",
    json!({ "serviceAccountName": "robot", "podTemplate": { "spec": { "automountServiceAccountToken": true } } }),
    &["serviceAccountName robot is ompipe's own"]
)]
#[case::older_field(
    "bound-older",
    json!({ "podTemplate": { "spec": { "serviceAccount": "robot" } } }),
    &["serviceAccountName robot is ompipe's own"]
)]
#[tokio::test]
async fn a_pod_that_reaches_its_node_or_runs_as_ompipe_is_not_made(
    #[case] name: &str,
    #[case] fields: Value,
    #[case] expected: &[&str],
) {
    let stage = Stage::new(name).await;
    let reserved = format!("{}/robot", stage.scene.namespace);
    let _operator = Operator::start(&stage.scene, &[("RESERVED_SERVICE_ACCOUNTS", &reserved)]);
    let mut main = Stage::shell("true");
    main.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    stage.run("thief", "", json!({ "mainPodSpec": main })).await;
    let job = stage.over("thief").await;
    assert_eq!((phase(&job), reason(&job)), (Some(Phase::Failed), "Admission"));
    let message = job.status.unwrap().message.unwrap();
    for part in expected {
        assert!(message.contains(part), "{message}");
    }
    let pods = stage.pods().list(&ListParams::default()).await.unwrap();
    let mains = pods.items.iter().filter_map(|pod| pod.metadata.name.as_deref());
    assert_eq!(mains.filter(|name| name.contains("main")).count(), 0);
    stage.scene.end().await;
}

#[tokio::test]
async fn a_config_written_by_hand_makes_no_use_of_a_pipelines_token() {
    let stage = Stage::new("bound-forged").await;
    let (standin, id) = (&stage.scene.standin, "5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb02");
    let mut entity = stage.known_pipeline();
    entity["openMetadataServerConnection"] = standin.server_connection();
    let deployed: Secret = from(json!({
        "metadata": { "name": "om-secret-nightly", "labels": { (labels::PIPELINE_ID): id } },
        "stringData": { "pipeline": entity.to_string() },
    }));
    stage.scene.api().create(&PostParams::default(), &deployed).await.unwrap();
    let _operator = Operator::start(&stage.scene, &[]);
    let mut config = stage.config();
    config["workflowConfig"]["openMetadataServerConfig"]["securityConfig"] =
        json!({ "jwtToken": "wrong" });
    let run = Uuid::new_v4();
    stage.failing_with("forger", run, &config, json!({ (labels::PIPELINE_ID): id })).await;
    let message = stage.outstanding("forger").await;
    assert!(message.contains("refuses the bot's token"), "{message}");
    assert!(standin.states(FQN, run).is_empty());
    stage.scene.end().await;
}

#[tokio::test]
async fn a_server_that_is_not_allowed_is_not_called() {
    let stage = Stage::new("bound-server").await;
    stage.known_pipeline();
    let allowed = [("ALLOWED_SERVERS", "http://openmetadata.example.com/api")];
    let _operator = Operator::start(&stage.scene, &allowed);
    stage.failing_with("scan", Uuid::new_v4(), &stage.config(), json!({})).await;
    let message = stage.outstanding("scan").await;
    assert!(message.contains("omjobOperator.reporting.allowedServers"), "{message}");
    assert!(stage.scene.standin.requests().is_empty());
    stage.scene.end().await;
}

#[tokio::test]
async fn metadata_services_and_files_are_not_touched_for_a_run() {
    let stage = Stage::new("bound-files").await;
    stage.known_pipeline();
    let _operator = Operator::start(&stage.scene, &[]);
    let mut config = stage.config();
    let connection = &mut config["workflowConfig"]["openMetadataServerConfig"];
    connection["hostPort"] = "http://169.254.169.254/api".into();
    stage.failing_with("metadata", Uuid::new_v4(), &config, json!({})).await;
    let over = stage.over("metadata").await;
    assert_eq!(condition(&over, "Reported"), "False GivenUp");
    let (mut config, run) = (stage.config(), Uuid::new_v4());
    let connection = &mut config["workflowConfig"]["openMetadataServerConfig"];
    connection["verifySSL"] = "validate".into();
    connection["sslConfig"] = json!({ "caCertificate": "/dev/zero" });
    stage.failing_with("zero", run, &config, json!({})).await;
    stage.over("zero").await;
    assert_eq!(stage.scene.standin.states(FQN, run).len(), 1);
    stage.scene.end().await;
}
