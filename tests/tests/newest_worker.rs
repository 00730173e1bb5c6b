//! The newest ingestion worker, which the image does not have yet: it runs the demo's pipeline once, with the config that
//! ompipe makes for its line, against a PostgreSQL and the stand-in of that line. No cluster has a part in it.
//! `worker/build` installs the worker.

#![expect(clippy::unwrap_used, reason = "a broken fixture fails the test at once")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ompipe_core::version::ReleaseLine;
use ompipe_core::{IngestionPipeline, Service, WorkflowConfig};
use ompipe_tests::helm::{built, repository};
use ompipe_tests::postgres::{Postgres, SAMPLE_TABLES};
use ompipe_tests::standin::{Options, PipelineState, PostgresConnection, Standin};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

/// Of the server, of the line of `worker/requirements.txt`.
const VERSION: &str = "2.0.7";
const RUN: Uuid = Uuid::from_u128(0x7a0c_11d2_8e3b_4a55_9c0e_5e4d_22f1_0b96);
const PASSWORD: &str = "made-up";

fn python() -> PathBuf {
    let python = built("worker/bin/python");
    assert!(python.exists(), "{} is missing: run tests/worker/build", python.display());
    python
}

/// The demo's pipeline in a server of that line, and the config that ompipe makes of it.
fn prepared(standin: &Standin, database: SocketAddr) -> (String, WorkflowConfig) {
    let connection = PostgresConnection {
        host_port: database.to_string(),
        database: "shop".to_owned(),
        username: "ingest".to_owned(),
        password: PASSWORD.to_owned(),
    };
    let service = standin.add_postgres_service("shop", &connection).unwrap();
    let fields: Value = serde_json::from_str(include_str!("../../demo/pipeline.json")).unwrap();
    let entity = standin.add_pipeline("databaseService", &service, &fields).unwrap();
    let pipeline = IngestionPipeline::read(&standin.deployable(&entity)).unwrap();
    let service = Service::read(&service).unwrap();
    let line = ReleaseLine::in_text(VERSION);
    let config = WorkflowConfig::build_for(line, &pipeline, Some(&service)).unwrap();
    (pipeline.identity.fully_qualified_name, config)
}

/// Some 20 seconds: the worker imports its hundred packages, uncompiled the first time.
#[tokio::test(flavor = "multi_thread")]
async fn the_worker_of_2_0_runs_the_pipeline_of_the_demo() {
    let directory = tempfile::tempdir().unwrap();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let postgres = Postgres::start(directory.path(), &[loopback]).unwrap();
    postgres.load_sample(PASSWORD).unwrap();
    let options = Options { version: VERSION.to_owned(), ..Options::new((loopback, 0).into()) };
    let standin = Standin::start_with(options).unwrap();
    let (fqn, config) = prepared(&standin, postgres.address());

    let mut worker = Command::new(python());
    worker.arg(repository("images/ingestion/main.py"));
    worker.env("config", config.text().expose_secret()).env("pipelineType", "metadata");
    worker.env("pipelineRunId", RUN.to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = worker.kill_on_drop(true).output().await.unwrap();
    let log = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);

    assert!(output.status.success(), "{log}");
    let states = standin.states(&fqn, RUN);
    assert_eq!(states, [PipelineState::Running, PipelineState::Success], "{log}");
    let mut tables = standin.tables();
    tables.sort();
    assert_eq!(tables, SAMPLE_TABLES.map(|table| format!("shop.{table}")));
    postgres.stop().unwrap();
}
