//! The main job: the real ingestion framework reads a real PostgreSQL and tells the stand-in.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use ompipe_core::RunId;
use ompipe_tests::postgres::SAMPLE_TABLES;
use ompipe_tests::standin::PipelineState;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{PASSWORD, Scene, bed};

/// The real image, and memory for it.
fn real() -> Value {
    json!({
        "ingestionImage": bed().ingestion_image,
        "resources": { "requests": { "cpu": "100m", "memory": "256Mi" }, "limits": { "memory": "1Gi" } },
    })
}

/// A metadata pipeline of the sample database as the stand-in has it; the password may be wrong.
fn pipeline_on_the_server(scene: &Scene, password: &str) -> Value {
    let mut connection = bed().sample();
    password.clone_into(&mut connection.password);
    let service = scene.standin.add_postgres_service("shop_pg", &connection).unwrap();
    let fields = json!({
        "name": "shop_metadata",
        "pipelineType": "metadata",
        "sourceConfig": { "config": {
            "type": "DatabaseMetadata",
            "schemaFilterPattern": { "includes": ["catalog", "sales"] },
        }},
        "airflowConfig": { "scheduleInterval": "0 3 * * *" },
    });
    scene.standin.add_pipeline("databaseService", &service, &fields).unwrap()
}

const FQN: &str = "shop_pg.shop_metadata";

#[tokio::test]
async fn a_metadata_ingestion_succeeds() {
    let scene = Scene::new("ingestion").await;
    pipeline_on_the_server(&scene, PASSWORD);
    let config = scene.config(&real());
    let token = scene.text_file("token", scene.standin.token());
    // From the server by name: pipeline, service and connection are all looked up.
    let deploy = ["deploy", "-c", &config, "--fqn", FQN, "--token-file", &token];
    scene.ompipe(&deploy).await.good();
    let id = RunId::random().to_string();
    let run = ["run", "-c", &config, FQN, "--run-id", &id, "--follow"];
    let outcome = scene.ompipe(&run).await.good();
    assert!(outcome.stdout.contains("Success %: 100.0"), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("OpenMetadata has it as success"), "{}", outcome.stderr);

    let mut tables = scene.standin.tables();
    tables.sort();
    let expected: Vec<String> =
        SAMPLE_TABLES.iter().map(|table| format!("shop_pg.{table}")).collect();
    assert_eq!(tables, expected);
    let states = scene.standin.states(FQN, id.parse().unwrap());
    assert_eq!(states, [PipelineState::Running, PipelineState::Success]);
    let status = scene.ompipe(&["status", "-c", &config, FQN, "-o", "json"]).await.good().json();
    assert_eq!((&status[0]["runId"], &status[0]["state"]), (&json!(id), &json!("success")));
    assert_eq!(
        (&status[0]["openmetadata"], &status[0]["exitCode"]),
        (&json!("success"), &json!(0))
    );
    let logs = scene.ompipe(&["logs", "-c", &config, FQN]).await.good();
    assert_eq!(logs.stdout, outcome.stdout);
    scene.end().await;
}

/// It takes half a minute: the ingestion framework starts and reads a large config.
#[tokio::test]
async fn a_config_that_no_variable_can_hold_is_delivered_as_a_file() {
    let scene = Scene::new("file").await;
    let mut pipeline = scene.standin.deployable(&pipeline_on_the_server(&scene, PASSWORD));
    let many: Vec<String> = (0..8000).map(|number| format!("^no_such_table_{number}$")).collect();
    pipeline["sourceConfig"]["config"]["tableFilterPattern"] = json!({ "excludes": many });
    let file = scene.file("pipeline.json", &pipeline);
    let config = scene.config(&real());
    let refused = scene.ompipe(&["deploy", "-c", &config, "-f", &file]).await.ended_with(2);
    assert!(refused.stderr.contains("an environment variable holds at most 131064"), "{refused:?}");
    let mut parameters = real();
    parameters["configDelivery"] = "file".into();
    let config = scene.config(&parameters);
    scene.ompipe(&["deploy", "-c", &config, "-f", &file]).await.good();
    let id = RunId::random().to_string();
    scene.ompipe(&["run", "-c", &config, FQN, "--run-id", &id, "--follow"]).await.good();
    let states = scene.standin.states(FQN, id.parse().unwrap());
    assert_eq!(states, [PipelineState::Running, PipelineState::Success]);
    scene.end().await;
}

/// It takes half a minute: the ingestion framework starts, and tries the connection more than once.
#[tokio::test]
async fn a_wrong_password_fails_the_run_and_the_program_says_so() {
    let scene = Scene::new("password").await;
    pipeline_on_the_server(&scene, "wrong-password");
    let config = scene.config(&real());
    let token = ("OPENMETADATA_JWT_TOKEN", scene.standin.token());
    let id = RunId::random().to_string();
    let run = ["run", "-c", &config, "--fqn", FQN, "--run-id", &id, "--follow", "-o", "json"];
    let outcome = scene.ompipe_with(&run, &[token]).await.ended_with(1);
    let report = outcome.json();
    assert_eq!(report["run"]["state"], "failed", "{report}");
    assert_eq!(
        (&report["run"]["reason"], &report["run"]["exitCode"]),
        (&json!("Error"), &json!(1))
    );
    assert!(outcome.stderr.contains("password authentication failed"), "{}", outcome.stderr);
    // The worker leaves `running` behind; the shell around it reports the end.
    let states = scene.standin.states(FQN, id.parse().unwrap());
    assert_eq!(states, [PipelineState::Running, PipelineState::Failed]);
    assert_eq!(report["openmetadata"], "failed");
    scene.end().await;
}

#[tokio::test]
async fn a_schedule_fires_and_the_run_goes_by_the_uid_of_its_job() {
    let scene = Scene::new("schedule").await;
    let mut pipeline = scene.standin.deployable(&pipeline_on_the_server(&scene, PASSWORD));
    pipeline["airflowConfig"] = json!({ "scheduleInterval": "* * * * *" });
    let file = scene.file("pipeline.json", &pipeline);
    let config = scene.config(&real());
    scene.ompipe(&["deploy", "-c", &config, "-f", &file]).await.good();
    let minutes = Duration::from_mins(5);
    let run: Uuid = scene
        .standin
        .until("a row of a scheduled run", minutes, |world| {
            world.rows(FQN).first().and_then(|row| row["runId"].as_str()?.parse().ok())
        })
        .await
        .unwrap();
    // One run is enough: a disabled pipeline fires no more.
    pipeline["enabled"] = false.into();
    scene.file("pipeline.json", &pipeline);
    scene.ompipe(&["deploy", "-c", &config, "-f", &file]).await.good();
    let uids: Vec<String> =
        scene.ours::<Job>().await.values().filter_map(ResourceExt::uid).collect();
    assert!(uids.contains(&run.to_string()), "{run} is none of {uids:?}");
    scene.standin.until_state(FQN, run, PipelineState::Success, minutes).await.unwrap();
    assert_eq!(scene.standin.states(FQN, run), [PipelineState::Running, PipelineState::Success]);
    let run = run.to_string();
    let status = ["status", "-c", &config, FQN, "--run", &run, "-o", "json"];
    let status = scene.ompipe(&status).await.good().json();
    assert_eq!(status[0]["scheduled"], true);
    scene.end().await;
}
