//! `ompipe test-connection`: runs an automation workflow and shows what came of it.

use ompipe_client::{K8sPipelineClient, PipelineServiceClient};
use ompipe_core::{AutomationWorkflow, PipelineState, Run, RunId};
use ompipe_openmetadata::{AutomationResult, OpenMetadata};
use serde_json::json;

use super::{run, status};
use crate::args::{Args, Output, TestConnectionArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, test: &TestConnectionArgs) -> Result<Exit, Failure> {
    let workflow = inputs::automation(&test.file)?;
    let client = inputs::client(args).await?;
    let start = client.run_automations_workflow(workflow.clone(), RunId::random());
    let started = progress::during("starting the test", start).await?;
    let ended = run::follow_started(&client, args.output, &started, None).await?;
    let result = result(&client, &workflow).await;
    print(args.output, &ended, result.as_ref())?;
    let is_good = ended.state == PipelineState::Success
        && result.is_none_or(|result| result.status == "Successful");
    Ok(if is_good { Exit::Success } else { Exit::RunFailed })
}

/// What the worker wrote to OpenMetadata; nothing when the server does not say.
async fn result(
    client: &K8sPipelineClient,
    workflow: &AutomationWorkflow,
) -> Option<AutomationResult> {
    let configured = client.preparation().connection();
    let connection = workflow.entity().server_connection.clone().or(configured)?;
    let connection = client.preparation().callable(connection);
    let server = OpenMetadata::new(&connection).ok()?;
    status::courtesy(server.automation_result(&workflow.entity().fully_qualified_name)).await?
}

fn print(output: Output, run: &Run, result: Option<&AutomationResult>) -> Result<(), Failure> {
    if output.is_structured() {
        return output::print_structured(output, &json!({ "run": run, "result": result }));
    }
    let Some(result) = result else {
        return output::print(format_args!("the test ended: {}", run.state));
    };
    for step in &result.steps {
        let mark = if step.passed { "passed" } else { "failed" };
        let message = step.message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        output::print(format_args!("  {mark} {}{message}", step.name))?;
    }
    output::print(format_args!("the test ended: {}", result.status))
}
