//! `ompipe deploy`.

use ompipe_client::{Deployed, K8sPipelineClient, PipelineServiceClient};
use ompipe_core::{IngestionPipeline, Service};

use super::each::each;
use super::{diff, render};
use crate::args::{Args, DeployArgs, DryRun};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, deploy: &DeployArgs) -> Result<Exit, Failure> {
    if deploy.dry_run == Some(DryRun::Client) {
        return render::deployments(args, &deploy.source).await;
    }
    let client = inputs::client(args).await?;
    // Everything is read before anything is done: a mistake in the last file stops the first too.
    let sources = inputs::sources(&deploy.source, client.preparation()).await?;
    if deploy.dry_run == Some(DryRun::Server) {
        return each(args, sources, diff::named, diff::describe, async |pipeline, service| {
            diff::plan(&client, pipeline, service).await
        })
        .await;
    }
    let named = |deployed: &Deployed| deployed.pipeline.fully_qualified_name.clone();
    each(args, sources, named, describe, async |pipeline, service| {
        deploy_one(&client, pipeline, service).await
    })
    .await
}

async fn deploy_one(
    client: &K8sPipelineClient,
    pipeline: IngestionPipeline,
    service: Option<Service>,
) -> Result<Deployed, Failure> {
    let deploy = client.deploy_pipeline(pipeline, service);
    let deployed = progress::during("deploying", deploy).await?;
    for notice in &deployed.notices {
        output::note(format_args!("note: {notice}"));
    }
    Ok(deployed)
}

fn describe(deployed: &Deployed) -> String {
    let mut lines = vec![format!(
        "pipeline {} is deployed in namespace {}",
        deployed.pipeline.fully_qualified_name, deployed.namespace
    )];
    lines.extend(deployed.objects.iter().map(output::written));
    lines.push(match (&deployed.schedule, deployed.next_run) {
        (Some(schedule), Some(next)) => format!("runs at {schedule}, next {next}"),
        (Some(schedule), None) => format!("would run at {schedule}, but is disabled"),
        (None, _) => "runs on demand only".to_owned(),
    });
    lines.join("\n")
}
