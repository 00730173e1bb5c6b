//! What runs beside pipelines: a test of a connection with the real framework, and applications.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::DeleteParams;
use ompipe_api::OMJob;
use ompipe_client::PipelineServiceClient;
use ompipe_core::{Application, RunId};
use ompipe_tests::standin::World;
use rstest::rstest;
use serde_json::{Value, json};

use crate::access::library_with;
use crate::operator::Operator;
use crate::support::{Bed, PASSWORD, Scene, bed, eventually, install_crds};

/// An automation of the stand-in's server that tests the connection to the sample database.
async fn automation(scene: &Scene, password: &str) -> Value {
    let sample = bed().sample();
    let workflow = json!({
        "name": "test-connection-Postgres-1", "workflowType": "TEST_CONNECTION",
        "request": {
            "serviceType": "Database", "connectionType": "Postgres",
            "connection": { "config": {
                "type": "Postgres", "scheme": "postgresql+psycopg2", "username": sample.username,
                "authType": { "password": password }, "hostPort": sample.host_port, "database": sample.database,
            }},
        },
    });
    let url = format!("{}/v1/automations/workflows", scene.standin.url());
    let client = reqwest::Client::new();
    let stored = client.post(url).bearer_auth(scene.standin.token()).json(&workflow).send().await;
    let mut stored: Value = stored.unwrap().error_for_status().unwrap().json().await.unwrap();
    stored["openMetadataServerConnection"] = scene.standin.server_connection();
    stored
}

/// The real image, and memory for it.
fn real() -> Value {
    json!({
        "ingestionImage": bed().ingestion_image,
        "resources": { "requests": { "cpu": "100m", "memory": "256Mi" }, "limits": { "memory": "1Gi" } },
    })
}

#[rstest]
#[case::right(PASSWORD, 0, "Successful")]
#[case::wrong("wrong-password", 1, "Failed")]
#[tokio::test]
async fn a_connection_is_tested_and_its_secret_goes_with_its_job(
    #[case] password: &str,
    #[case] exit: i32,
    #[case] status: &str,
) {
    let scene = Scene::new("automation").await;
    scene.standin.add_postgres_service("shop", &bed().sample()).unwrap();
    let workflow = scene.file("workflow.json", &automation(&scene, password).await);
    let config = scene.config(&real());
    let test = ["test-connection", "-c", &config, "-f", &workflow];
    let outcome = scene.ompipe(&test).await.ended_with(exit);
    assert!(outcome.stdout.contains(&format!("the test ended: {status}")), "{outcome:?}");
    assert!(outcome.stdout.contains("CheckAccess"), "{outcome:?}");
    let jobs = scene.ours::<Job>().await;
    let (name, job) = jobs.iter().next().unwrap();
    assert!(name.starts_with("om-automation-test-connection-postgres-1-"), "{name}");
    assert_eq!(job.spec.as_ref().unwrap().backoff_limit, Some(0), "it is not tried again");
    for text in [json!(job), json!(scene.ours::<Pod>().await)].map(|object| object.to_string()) {
        assert!(!text.contains(password) && !text.contains(scene.standin.token()), "{text}");
    }
    assert!(scene.ours::<Secret>().await.contains_key(name), "the entity is in a Secret");
    scene.api::<Job>().delete(name, &DeleteParams::background()).await.unwrap();
    eventually("the end of the Secret", || async {
        let left = scene.ours::<Secret>().await;
        if left.is_empty() { Ok(()) } else { Err(format!("{:?}", left.keys())) }
    })
    .await;
    scene.end().await;
}

#[tokio::test]
async fn a_test_whose_worker_dies_fails_with_why() {
    let scene = Scene::new("automation").await;
    scene.restrict().await;
    let workflow = scene.file("workflow.json", &automation(&scene, PASSWORD).await);
    let config = scene.config(&json!({
        "exitHandlerImage": Bed::exit_handler_image(),
        "extraEnvVars": [{ "name": "WORKER_MAIN", "value": "kill -9 $$" }],
    }));
    let test = ["test-connection", "-c", &config, "-f", &workflow];
    let outcome = scene.ompipe(&test).await.ended_with(1);
    assert!(outcome.stdout.contains("the test ended: Failed"), "{outcome:?}");
    assert!(outcome.stdout.contains("Signal: ended by signal 9"), "{outcome:?}");
    scene.end().await;
}

#[tokio::test]
async fn the_operator_fails_a_test_whose_worker_died() {
    let scene = Scene::new("automation").await;
    install_crds(&scene.client).await;
    let operator = Operator::start(&scene, &[]);
    let workflow = automation(&scene, PASSWORD).await;
    let name = workflow["name"].as_str().unwrap().to_owned();
    let workflow = scene.file("workflow.json", &workflow);
    // Nothing in the pod reports.
    let config = scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:exit 3"] }));
    scene.ompipe(&["test-connection", "-c", &config, "-f", &workflow]).await.ended_with(1);
    let failed = |world: &World| {
        let workflow = world.entity("automations/workflows", &name)?;
        (workflow["status"] == "Failed").then_some(workflow)
    };
    let limit = Duration::from_mins(3);
    let workflow = scene.standin.until("a failed automation", limit, failed).await.unwrap();
    assert_eq!(workflow["response"]["steps"][0]["message"], "Error: ended with exit code 3");
    operator.terminate().await;
    scene.end().await;
}

fn application() -> Application {
    Application::read(&json!({
        "name": "Query Runner", "appType": "external", "sourcePythonClass": "x.Y",
        "privateConfiguration": { "token": "hunter2hunter2" },
    }))
    .unwrap()
}

#[tokio::test]
async fn an_application_runs_as_a_job() {
    let scene = Scene::new("application").await;
    let parameters =
        json!({ "extraEnvVars": ["WORKER_MAIN:echo \"$config\" | grep -q privateConfiguration"] });
    let client = library_with(&scene, &parameters).await;
    let run = RunId::random();
    let started = client.run_application_flow(application(), run).await.unwrap();
    let again = client.run_application_flow(application(), run).await.unwrap();
    assert_eq!(again.job_name, started.job_name, "one id is one run");
    let job = eventually("the end of the application", || async {
        let job = scene.api::<Job>().get(&started.job_name).await.unwrap();
        let succeeded = job.status.as_ref().and_then(|status| status.succeeded);
        if succeeded == Some(1) { Ok(job) } else { Err(format!("{:?}", job.status)) }
    })
    .await;
    assert_eq!(job.labels()["app.kubernetes.io/app-name"], "Query-Runner");
    assert!(!json!(job).to_string().contains("hunter2"));
    scene.end().await;
}

#[tokio::test]
async fn an_application_is_an_om_job_whose_exit_handler_does_nothing() {
    let scene = Scene::new("application").await;
    install_crds(&scene.client).await;
    let client = library_with(&scene, &json!({ "useOMJobOperator": true })).await;
    let started = client.run_application_flow(application(), RunId::random()).await.unwrap();
    let job = scene.api::<OMJob>().get(&started.job_name).await.unwrap();
    let command = job.spec.exit_handler_spec.unwrap().command.unwrap();
    assert_eq!(command, ["sh", "-c", "exit 0"]);
    let command = job.spec.main_pod_spec.command.unwrap();
    assert_eq!(command, ["python", "-m", "metadata.applications.runner"]);
    scene.end().await;
}
