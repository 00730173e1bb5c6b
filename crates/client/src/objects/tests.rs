//! Golden manifests, and what is secret. Where each key of the configuration lands is the table
//! of `ompipe_tests::contract`.

use std::collections::BTreeMap;

use ompipe_core::yaml;
use rstest::rstest;
use serde_json::{Value, json};

use super::secret::read_pipeline;
use super::*;
use crate::manifest::{Manifests, Visibility};

const TOKEN: &str = "t0ps3cret-token-of-the-bot";

fn config(parameters: &Value) -> K8sPipelineClientConfig {
    let document = json!({ "pipelineServiceClientConfiguration": { "parameters": parameters } });
    K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap().config
}

fn runnable() -> RunnablePipeline {
    runnable_with(&json!({ "scheduleInterval": "0 2 * * 0" }))
}

fn runnable_with(airflow_config: &Value) -> RunnablePipeline {
    let pipeline = IngestionPipeline::read(&json!({
        "id": "11111111-2222-3333-4444-555555555555",
        "name": "mysql-pipeline",
        "pipelineType": "metadata",
        "fullyQualifiedName": "mysql.mysql-pipeline",
        "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
        "airflowConfig": airflow_config,
        "service": { "type": "databaseService", "name": "mysql" },
        "openMetadataServerConnection": {
            "hostPort": "http://openmetadata-server:8585/api", "securityConfig": { "jwtToken": TOKEN },
        },
    }))
    .unwrap();
    let service = Service::read(&json!({ "name": "mysql", "serviceType": "Mysql" })).unwrap();
    let workflow = WorkflowConfig::build(&pipeline, Some(&service)).unwrap();
    RunnablePipeline { pipeline, service: Some(service), workflow }
}

fn run() -> RunId {
    "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap()
}

fn slug() -> Slug {
    Slug::candidates("mysql-pipeline", "mysql.mysql-pipeline").next().unwrap()
}

/// Builds the objects and hands them to `check`.
fn with_objects<T>(parameters: &Value, check: impl FnOnce(&Objects<'_>) -> T) -> T {
    let (config, runnable, slug) = (config(parameters), runnable(), slug());
    check(&Objects::new(&config, &runnable, &slug))
}

#[test]
fn what_deploy_applies() {
    let manifests = with_objects(&json!({}), |objects| Manifests::of_deploy(objects).unwrap());
    insta::assert_snapshot!(manifests.to_yaml(Visibility::Masked));
}

#[test]
fn what_a_run_applies() {
    let manifests = with_objects(&json!({}), |objects| Manifests::of_run(objects, run()).unwrap());
    insta::assert_snapshot!(manifests.to_yaml(Visibility::Masked));
}

#[test]
fn a_variable_that_looks_like_a_credential_comes_from_the_secret() {
    let parameters = json!({ "extraEnvVars": ["DB_PASSWORD:hunter2"] });
    with_objects(&parameters, |objects| {
        let job = serde_json::to_string(&objects.job(run())).unwrap();
        assert!(!job.contains("hunter2") && job.contains("\"key\":\"env.DB_PASSWORD\""), "{job}");
        assert_eq!(objects.revision_secret().data.unwrap()["env.DB_PASSWORD"].0, b"hunter2");
    });
    let of = |parameters: &Value| with_objects(parameters, |objects| objects.revision().to_owned());
    assert_ne!(of(&parameters), of(&json!({})), "another value is another revision");
}

#[test]
fn nothing_secret_is_outside_of_secrets() {
    with_objects(&json!({}), |objects| {
        let public = [
            serde_json::to_string(&objects.config_map()).unwrap(),
            serde_json::to_string(&objects.cron_job()).unwrap(),
            serde_json::to_string(&objects.job(run())).unwrap(),
            serde_json::to_string(&objects.pipeline_secret().metadata).unwrap(),
            serde_json::to_string(&objects.revision_secret().metadata).unwrap(),
            Manifests::of_deploy(objects).unwrap().to_yaml(Visibility::Masked),
        ];
        assert!(public.iter().all(|text| !text.contains(TOKEN)));
        let shown = Manifests::of_deploy(objects).unwrap().to_yaml(Visibility::ShowSecrets);
        assert!(shown.contains(TOKEN));
    });
}

/// The pipeline with another server connection.
fn connected(
    change: impl FnOnce(ompipe_core::ServerConnection) -> ompipe_core::ServerConnection,
) -> RunnablePipeline {
    let RunnablePipeline { mut pipeline, service, .. } = runnable();
    let connection = change(pipeline.server_connection.clone().unwrap());
    pipeline = pipeline.with_server_connection(connection);
    let workflow = WorkflowConfig::build(&pipeline, service.as_ref()).unwrap();
    RunnablePipeline { pipeline, service, workflow }
}

#[test]
fn a_token_of_our_own_is_told_by_the_secret_and_the_worker_keeps_its_reference() {
    let reference = |_| {
        let (host, verify) = ("http://om/api", ompipe_core::VerifySsl::NoSsl);
        let token = "own-token-0123".into();
        ompipe_core::ServerConnection::new(host, "secret:/om/bot", verify).with_token(&token)
    };
    let (config, runnable, slug) = (config(&json!({})), connected(reference), slug());
    let objects = Objects::new(&config, &runnable, &slug);
    let data = objects.revision_secret().data.unwrap();
    assert_eq!(data["OMPIPE_REPORT_TOKEN"].0, b"own-token-0123");
    let worker = String::from_utf8(data["config"].0.clone()).unwrap();
    assert!(worker.contains("secret:/om/bot") && !worker.contains("own-token"), "{worker}");
    let job = serde_json::to_value(objects.job(run())).unwrap();
    let env = &job["spec"]["template"]["spec"]["containers"][0]["env"];
    let token =
        env.as_array().unwrap().iter().find(|e| e["name"] == "OMPIPE_REPORT_TOKEN").unwrap();
    assert_eq!(token["valueFrom"]["secretKeyRef"]["key"], "OMPIPE_REPORT_TOKEN");
    let shown = Manifests::of_deploy(&objects).unwrap().to_yaml(Visibility::Masked);
    assert!(!shown.contains("own-token-0123"), "{shown}");
}

#[test]
fn a_configured_authority_is_a_file_of_the_pod() {
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let trusting = |own: ompipe_core::ServerConnection| {
        own.with_authority_file(ompipe_core::CA_FILE).trusting(pem)
    };
    let (config, runnable, slug) = (config(&json!({})), connected(trusting), slug());
    let objects = Objects::new(&config, &runnable, &slug);
    assert_eq!(objects.revision_secret().data.unwrap()["ca.crt"].0, pem.as_bytes());
    let job = serde_json::to_value(objects.job(run())).unwrap();
    let spec = &job["spec"]["template"]["spec"];
    let volume = &spec["volumes"][0];
    assert_eq!(volume["secret"]["items"], json!([{ "key": "ca.crt", "path": "ca.crt" }]));
    let mount = &spec["containers"][0]["volumeMounts"][0];
    assert_eq!((&mount["name"], &mount["mountPath"]), (&volume["name"], &json!("/etc/ompipe-ca")));
}

/// An automation and an application whose connection is what `change` makes of a plain one.
fn tasks(
    change: impl Fn(ompipe_core::ServerConnection) -> ompipe_core::ServerConnection,
) -> (ompipe_core::AutomationWorkflow, ompipe_core::Application) {
    let entity = json!({
        "name": "test-1", "workflowType": "TEST_CONNECTION", "request": {},
        "appType": "external", "sourcePythonClass": "a.B",
        "openMetadataServerConnection": {
            "hostPort": "https://om/api", "sslConfig": { "caCertificate": ompipe_core::CA_FILE },
            "securityConfig": { "jwtToken": "secret:/om/bot" },
        },
    });
    let connect = |given: Option<ompipe_core::ServerConnection>| given.map(&change);
    let automation = ompipe_core::AutomationWorkflow::read(&entity).unwrap();
    let application = ompipe_core::Application::read(&entity).unwrap();
    (automation.connected(None, connect), application.connected(None, connect))
}

#[test]
fn an_automation_and_an_application_get_authority_and_token_as_an_ingestion_does() {
    let (pem, token) = ("-----BEGIN CERTIFICATE-----", "own-token-0123");
    let change =
        |given: ompipe_core::ServerConnection| given.with_token(&token.into()).trusting(pem);
    let ((automation, application), config) = (tasks(change), config(&json!({})));
    let objects = [
        TaskObjects::of_automation(&config, &automation, run()),
        TaskObjects::of_application(&config, &application, run()),
    ];
    for objects in &objects {
        let data = objects.secret(OwnerReference::default()).data.unwrap();
        assert_eq!(data["ca.crt"].0, pem.as_bytes());
        assert_eq!(data["OMPIPE_REPORT_TOKEN"].0, token.as_bytes());
        let entity: Value = serde_json::from_slice(&data["config"].0).unwrap();
        let given = &entity["openMetadataServerConnection"];
        assert_eq!(
            given["securityConfig"]["jwtToken"], "secret:/om/bot",
            "the worker keeps its own"
        );
        let pod = serde_json::to_value(objects.job()).unwrap()["spec"]["template"]["spec"].take();
        assert_eq!(pod["containers"][0]["volumeMounts"][0]["mountPath"], "/etc/ompipe-ca");
    }
    let has_token = objects.map(|objects| {
        serde_json::to_string(&objects.job()).unwrap().contains("OMPIPE_REPORT_TOKEN")
    });
    assert_eq!(has_token, [true, false], "an application reports its own end");
}

#[test]
fn a_secret_of_one_object_is_masked_in_every_other() {
    let mut runnable = runnable();
    let password = "correct-horse-battery";
    runnable.pipeline = IngestionPipeline::read(&{
        let mut document = runnable.pipeline.document();
        document["description"] = format!("the password is {password}").into();
        document
    })
    .unwrap();
    let service =
        json!({ "name": "mysql", "serviceType": "Mysql", "connection": { "password": password } });
    runnable.service = Some(Service::read(&service).unwrap());
    let (config, slug) = (config(&json!({})), slug());
    let objects = Objects::new(&config, &runnable, &slug);
    let yaml = Manifests::of_deploy(&objects).unwrap().to_yaml(Visibility::Masked);
    assert!(!yaml.contains(password), "{yaml}");
}

#[test]
fn a_pipeline_reads_back_from_its_secret() {
    with_objects(&json!({}), |objects| {
        let (pipeline, service) = read_pipeline(&objects.pipeline_secret()).unwrap();
        assert_eq!(pipeline.document(), objects.pipeline().document());
        assert_eq!(service.unwrap().service_type, "Mysql");
    });
}

#[test]
fn a_disabled_pipeline_has_a_suspended_schedule() {
    let mut runnable = runnable();
    runnable.pipeline.enabled = false;
    let (config, slug) = (config(&json!({})), slug());
    let cron_job = Objects::new(&config, &runnable, &slug).cron_job().unwrap();
    assert_eq!(cron_job.spec.unwrap().suspend, Some(true));
}

/// The pipeline's own settings win over the configured ones; `retries: 0` is what the UI sends of a
/// form that nobody changed.
#[rstest]
#[case::its_own(json!({ "retries": 1, "workflowTimeout": 600 }), (1, 600))]
#[case::of_the_ui(json!({ "retries": 0 }), (3, 7200))]
#[case::none(json!({}), (3, 7200))]
fn retries_and_timeout_of_a_pipeline_count_in_both_modes(
    #[case] airflow_config: Value,
    #[case] expected: (i32, i64),
) {
    let (config, runnable, slug) = (config(&json!({})), runnable_with(&airflow_config), slug());
    let objects = Objects::new(&config, &runnable, &slug);
    let job = objects.job(run()).spec.unwrap();
    assert_eq!(
        (job.backoff_limit, job.active_deadline_seconds),
        (Some(expected.0), Some(expected.1))
    );
    let om_job = objects.om_job(run()).spec;
    assert_eq!(
        (om_job.backoff_limit, om_job.active_deadline_seconds),
        (Some(expected.0), Some(expected.1))
    );
}

#[test]
fn rendered_documents_parse() {
    let text = with_objects(&json!({}), |objects| {
        Manifests::of_deploy(objects).unwrap().to_yaml(Visibility::ShowSecrets)
    });
    let kinds: Vec<String> = text
        .split("---\n")
        .filter(|document| !document.trim().is_empty())
        .map(|document| yaml::parse(document).unwrap()["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["Secret", "Secret", "ConfigMap", "CronJob"]);
}
