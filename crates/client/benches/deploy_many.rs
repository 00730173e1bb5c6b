//! Deploys many pipelines at once, as a server does after an upgrade, and prints how long that
//! took: `cargo bench -p ompipe-client --bench deploy_many -- CONFIG COUNT`. `make bench` runs it.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its result and has nobody to hand errors to"
)]

use std::collections::BTreeMap;

use futures::future;
use ompipe_client::{K8sPipelineClient, PipelineServiceClient};
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::{IngestionPipeline, Service, yaml};
use serde_json::json;
use tokio::time::Instant;

fn pipeline(number: usize) -> IngestionPipeline {
    IngestionPipeline::read(&json!({
        "name": format!("bulk-{number}"),
        "pipelineType": "metadata",
        "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
        "airflowConfig": { "scheduleInterval": "0 3 * * *" },
        "service": { "type": "databaseService", "name": "shop" },
        "openMetadataServerConnection": {
            "hostPort": "http://127.0.0.1:8585/api", "securityConfig": { "jwtToken": "token-of-the-benchmark" },
        },
    }))
    .unwrap()
}

#[tokio::main]
async fn main() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let (config, count) = (arguments.next().unwrap(), arguments.next().unwrap());
    let document = yaml::parse(&std::fs::read_to_string(config).unwrap()).unwrap();
    let config = K8sPipelineClientConfig::read(&document, &BTreeMap::new()).unwrap().config;
    let client = K8sPipelineClient::connect(config, None).await.unwrap();
    let service = Service::read(&json!({ "name": "shop", "serviceType": "Postgres" })).unwrap();
    let start = Instant::now();
    let deploys = (0..count.parse().unwrap())
        .map(|number| client.deploy_pipeline(pipeline(number), Some(service.clone())));
    future::try_join_all(deploys).await.unwrap();
    println!("{:.2}", start.elapsed().as_secs_f64());
}
