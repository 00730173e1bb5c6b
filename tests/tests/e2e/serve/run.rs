//! A pipeline's life over HTTP alone, with the real ingestion framework on a real PostgreSQL.

use ompipe_core::RunId;
use ompipe_tests::postgres::SAMPLE_TABLES;
use ompipe_tests::standin::PipelineState;
use serde_json::{Value, json};

use crate::support::{Scene, Serving, VERSION, bed, eventually};

/// A run of the real framework may take this much of a cluster.
fn parameters() -> Value {
    json!({
        "ingestionImage": bed().ingestion_image,
        "resources": { "requests": { "cpu": "100m", "memory": "512Mi" }, "limits": { "memory": "2Gi" } },
    })
}

#[tokio::test]
async fn deploy_trigger_logs_and_status_of_a_real_ingestion() {
    let scene = Scene::new("http-real").await;
    let service = scene.standin.add_postgres_service("shop", &bed().sample()).unwrap();
    let added = scene.standin.add_pipeline(
        "databaseService",
        &service,
        &json!({
            "name": "nightly", "pipelineType": "metadata", "airflowConfig": {},
            "sourceConfig": { "config": {
                "type": "DatabaseMetadata",
                "schemaFilterPattern": { "includes": ["catalog", "sales"] },
            } },
        }),
    );
    let body = scene.standin.deployable(&added.unwrap());
    let version = json!({ "openMetadataVersion": VERSION });
    let serving = Serving::with(&scene, &parameters(), &version).await;
    serving.post("deploy", &body).await.is(200);
    let run = RunId::random();
    let conf = json!({ "pipelineRunId": run.to_string() });
    serving.post("trigger", &json!({ "dag_id": "nightly", "conf": conf })).await.is(200);
    let logs = [("dag_id", "nightly"), ("task_id", "ingestion_task")];
    eventually("a log of the running worker", || async {
        let answer = serving.get("last_dag_logs", &logs).await.is(200).json();
        let text = answer["ingestion_task"].as_str().unwrap().to_owned();
        if text.is_empty() { Err(text) } else { Ok(()) }
    })
    .await;
    let id = run.into();
    eventually("the end of the run, with all tables in the catalogue", || async {
        let states = scene.standin.states("shop.nightly", id);
        // The worker says success before its last tables are stored.
        let tables = scene.standin.tables().len();
        let is_over = states.last() == Some(&PipelineState::Success);
        let seen = format!("{states:?}, {tables} tables");
        if is_over && tables == SAMPLE_TABLES.len() { Ok(()) } else { Err(seen) }
    })
    .await;
    let text = serving.get("last_dag_logs", &logs).await.is(200).json();
    assert!(text["ingestion_task"].as_str().unwrap().contains("Workflow"), "{text}");
    serving.delete("nightly").await.is(200);
    scene.end().await;
}
