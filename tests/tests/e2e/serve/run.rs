//! A pipeline's life over HTTP alone, with the real ingestion framework on a real PostgreSQL.

use ompipe_core::RunId;
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
            "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
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
    let id = run.to_string().parse().unwrap();
    eventually("a success of the run", || async {
        let states = scene.standin.states("shop.nightly", id);
        let is_over = states.last().is_some_and(|state| format!("{state:?}") == "Success");
        if is_over { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;
    assert!(!scene.standin.tables().is_empty(), "the catalogue has the sample's tables");
    let text = serving.get("last_dag_logs", &logs).await.is(200).json();
    assert!(text["ingestion_task"].as_str().unwrap().contains("Workflow"), "{text}");
    serving.delete("nightly").await.is(200);
    scene.end().await;
}
