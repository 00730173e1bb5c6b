//! `run_automation`, `run_application`: what runs without a pipeline.

use axum::extract::State;
use ompipe_client::PipelineServiceClient;
use ompipe_core::{Application, AutomationWorkflow, RunId};
use tracing::info;

use super::{Answer, done};
use crate::app::Shared;
use crate::document::Document;

/// Starts an automation, such as a test of a connection, and does not wait for it: its result goes to
/// the workflow entity, where OpenMetadata looks for it
/// (docs/contracts/openmetadata-http.md#automations).
pub(super) async fn run_automation(
    State(app): State<Shared>,
    Document(body, _share): Document,
) -> Answer {
    let workflow = AutomationWorkflow::read(&body)?;
    drop(body);
    let started = app.client.run_automations_workflow(workflow, RunId::random()).await?;
    info!(automation = started.pipeline, job = started.job_name, "started");
    Ok(done(format!("automation {:?} is started as Job {}", started.pipeline, started.job_name)))
}

/// Starts an application that is not an ingestion pipeline.
pub(super) async fn run_application(
    State(app): State<Shared>,
    Document(body, _share): Document,
) -> Answer {
    let application = Application::read(&body)?;
    drop(body);
    let started = app.client.run_application_flow(application, RunId::random()).await?;
    info!(application = started.pipeline, job = started.job_name, "started");
    let kind = started.kind.as_str();
    Ok(done(format!(
        "application {:?} is started as {kind} {}",
        started.pipeline, started.job_name
    )))
}
