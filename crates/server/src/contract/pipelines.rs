//! `deploy`, `delete`, `enable`, `disable`: the pipelines themselves.

use axum::extract::State;
use ompipe_client::{Deployed, PipelineServiceClient};
use ompipe_core::{IngestionPipeline, PipelineIdentity};
use serde_json::Value;
use tracing::{info, warn};

use super::{Answer, Asked, dag_id, deployed, done};
use crate::app::{App, Shared};
use crate::document::Document;

/// Deploys the pipeline that is the body. What is left out of it is asked of the OpenMetadata server
/// in its name, so a deploy fails when that does not answer, and changes nothing.
pub(super) async fn deploy(State(app): State<Shared>, Document(body): Document) -> Answer {
    let pipeline = IngestionPipeline::read(&body)?;
    drop(body);
    warn_of_namesakes(&app, &pipeline.identity).await;
    let deployed = app.client.deploy_pipeline(pipeline, None).await?;
    info!(pipeline = deployed.pipeline.fully_qualified_name, "deployed");
    Ok(done(describe(&deployed)))
}

/// Requests name pipelines by their plain name, which another service's pipeline may have too. Each
/// has its objects, and schedules of both go on; but a request for "the" pipeline will be refused.
async fn warn_of_namesakes(app: &App, pipeline: &PipelineIdentity) {
    let namesakes = app.client.named(&pipeline.name).await.unwrap_or_default();
    for other in namesakes.iter().filter(|other| !other.is_same_pipeline(pipeline)) {
        let (deployed, other) = (&pipeline.fully_qualified_name, &other.fully_qualified_name);
        warn!(deployed, other, "two pipelines have one name: requests by name will be refused");
    }
}

fn describe(deployed: &Deployed) -> String {
    let Deployed { pipeline, namespace, schedule, next_run, .. } = deployed;
    let name = &pipeline.name;
    let when = match (schedule, next_run) {
        (Some(schedule), Some(next)) => format!("it runs at {schedule}, next at {next}"),
        (Some(schedule), None) => format!("its schedule {schedule} is switched off"),
        (None, _) => "it runs on demand".to_owned(),
    };
    format!("pipeline {name:?} is deployed to namespace {namespace}; {when}")
}

/// Removes the pipeline of that name; one that is not there is removed already.
pub(super) async fn delete(State(app): State<Shared>, asked: Asked) -> Answer {
    let name = asked.name()?;
    let Some(identity) = deployed(&app, name).await? else {
        return Ok(done(format!("there is no {name:?}")));
    };
    app.client.delete_pipeline(&identity).await?;
    info!(pipeline = identity.fully_qualified_name, "deleted");
    Ok(done(format!("pipeline {name:?} is deleted")))
}

/// Switches the schedule on.
pub(super) async fn enable(State(app): State<Shared>, Document(body): Document) -> Answer {
    toggle(&app, &body, true).await
}

/// Switches the schedule off. Runs that have started go on.
pub(super) async fn disable(State(app): State<Shared>, Document(body): Document) -> Answer {
    toggle(&app, &body, false).await
}

/// An unknown pipeline is a 404: the server then knows that it is not deployed (contract §3.4).
async fn toggle(app: &App, body: &Value, enabled: bool) -> Answer {
    let identity = app.client.find(dag_id(body)?).await?;
    let toggled = app.client.toggle_ingestion(&identity, enabled).await?;
    let name = &identity.name;
    let state = if enabled { "on" } else { "off" };
    Ok(done(if toggled.schedules.is_empty() {
        format!("pipeline {name:?} has no schedule to switch {state}")
    } else {
        format!("the schedule of pipeline {name:?} is {state}")
    }))
}
