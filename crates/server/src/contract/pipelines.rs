//! `deploy`, `delete`, `enable`, `disable`: the pipelines themselves.

use axum::extract::State;
use ompipe_client::{Deployed, Error, PipelineServiceClient};
use ompipe_core::{IngestionPipeline, PipelineIdentity};
use serde_json::Value;
use tracing::{info, warn};

use super::{Answer, Asked, dag_id, done};
use crate::app::{App, Shared};
use crate::document::Document;
use crate::refusal::Refusal;

/// Deploys the pipeline that is the body. What is left out of it is asked of the OpenMetadata server
/// in its name, so a deploy fails when that does not answer, and changes nothing.
pub(super) async fn deploy(State(app): State<Shared>, Document(body, _share): Document) -> Answer {
    let pipeline = IngestionPipeline::read(&body)?;
    drop(body);
    warn_of_namesakes(&app, &pipeline.identity).await;
    let deployed = app.client.deploy_pipeline(pipeline, None).await?;
    info!(pipeline = deployed.pipeline.fully_qualified_name, "deployed");
    for notice in &deployed.notices {
        info!(pipeline = deployed.pipeline.fully_qualified_name, notice, "of this deploy");
    }
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
    let Deployed { pipeline, namespace, schedule, next_run, notices, .. } = deployed;
    let name = &pipeline.name;
    let when = match (schedule, next_run) {
        (Some(schedule), Some(next)) => format!("it runs at {schedule}, next at {next}"),
        (Some(schedule), None) => format!("its schedule {schedule} is switched off"),
        (None, _) => "it runs on demand".to_owned(),
    };
    let deployed = format!("pipeline {name:?} is deployed to namespace {namespace}; {when}");
    std::iter::once(&deployed).chain(notices).map(String::as_str).collect::<Vec<_>>().join("; ")
}

/// Removes the pipeline of that name; one that is not there is removed already. Of several with the
/// name those go that OpenMetadata no longer has.
pub(super) async fn delete(State(app): State<Shared>, asked: Asked) -> Answer {
    let name = asked.name()?;
    let doomed = match app.client.find(name).await {
        Ok(identity) => vec![identity],
        Err(Error::NotDeployed { .. }) => return Ok(done(format!("there is no {name:?}"))),
        Err(ambiguous @ Error::Ambiguous { .. }) => gone(&app, name, ambiguous).await?,
        Err(error) => return Err(error.into()),
    };
    for identity in &doomed {
        app.client.delete_pipeline(identity).await?;
        info!(pipeline = identity.fully_qualified_name, "deleted");
    }
    Ok(done(format!("pipeline {name:?} is deleted")))
}

/// Those of several pipelines with a name that OpenMetadata no longer has. A server may still have the
/// one that it is about to delete; then nothing is deleted now, and the regular check of all pipelines
/// removes it as soon as it is gone there.
async fn gone(app: &App, name: &str, ambiguous: Error) -> Result<Vec<PipelineIdentity>, Refusal> {
    let gone = app.client.find_gone(name).await?;
    if gone.is_empty() {
        app.client.note_deletion_asked(name).await?;
        app.look_for_orphans.notify_one();
        warn!(name, "several pipelines have this name: the deleted one goes when it is known");
        return Err(ambiguous.into());
    }
    Ok(gone)
}

/// Switches the schedule on.
pub(super) async fn enable(State(app): State<Shared>, Document(body, _share): Document) -> Answer {
    toggle(&app, &body, true).await
}

/// Switches the schedule off. Runs that have started go on.
pub(super) async fn disable(State(app): State<Shared>, Document(body, _share): Document) -> Answer {
    toggle(&app, &body, false).await
}

/// An unknown pipeline is a 404: the server then knows that it is not deployed
/// (docs/contracts/openmetadata-http.md#enable-and-disable).
async fn toggle(app: &App, body: &Value, enabled: bool) -> Answer {
    let identity = app.client.find_known(dag_id(body)?).await?;
    let toggled = app.client.toggle_ingestion(&identity, enabled).await?;
    let name = &identity.name;
    let state = if enabled { "on" } else { "off" };
    Ok(done(if toggled.schedules.is_empty() {
        format!("pipeline {name:?} has no schedule to switch {state}")
    } else {
        format!("the schedule of pipeline {name:?} is {state}")
    }))
}
