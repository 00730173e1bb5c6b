//! `ompipe serve`: what an OpenMetadata server asks of its pipeline service, over HTTP alone.
//!
//! | File | Shows |
//! |---|---|
//! | `recorded` | the requests of the real Java client, byte for byte, are answered as it reads answers |
//! | `contract` | every row of the contract: codes, bodies, idempotence |
//! | `fairness` | what hangs and who is hostile holds a share |
//! | `queue` | runs that wait for their turn |
//! | `run` | a pipeline's life, with the real ingestion framework |
//! | `wire` | HTTP itself: logins, TLS, limits, bad input, an orderly end |
//! | `replicas` | two of them behind one address |

mod contract;
mod fairness;
mod queue;
mod recorded;
mod replicas;
mod run;
mod wire;

use ompipe_core::quote_fqn_part;
use serde_json::{Value, json};

use crate::support::Scene;

/// A worker that goes on until it is told to end.
pub(crate) const PATIENT: &str = "WORKER_MAIN:echo working; trap 'exit 1' TERM; sleep 600 & wait";

/// What a server sends to deploy the pipeline `shop.{name}`.
pub(crate) fn deployable(scene: &Scene, name: &str, fields: &Value) -> Value {
    let mut pipeline = json!({
        "name": name,
        "fullyQualifiedName": fqn("shop", name),
        "pipelineType": "metadata",
        "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
        "airflowConfig": { "maxActiveRuns": 1 },
        "service": { "id": "5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb02", "type": "databaseService", "name": "shop" },
        "openMetadataServerConnection": scene.standin.server_connection(),
        "enabled": true, "deployed": false, "fieldOfTheFuture": { "deep": [1] },
    });
    pipeline.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    pipeline
}

/// The FQN of a pipeline. OpenMetadata quotes a part that holds a dot.
fn fqn(service: &str, name: &str) -> String {
    format!("{service}.{}", quote_fqn_part(name))
}

/// A scene whose server has the service `shop`.
pub(crate) async fn shop(name: &str) -> Scene {
    let scene = Scene::new(name).await;
    scene.standin.add_service("databaseService", "shop", "Postgres", &json!({})).unwrap();
    scene
}
