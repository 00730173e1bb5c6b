//! `ompipe deploy`.

use ompipe_client::{Deployed, K8sPipelineClient, PipelineServiceClient};
use ompipe_core::{IngestionPipeline, Service};
use serde::Serialize;

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

/// Does something with each pipeline. One that fails keeps no other from its turn; the exit code is
/// that of the first failure.
pub(super) async fn each<T: Serialize>(
    args: &Args,
    sources: Vec<(IngestionPipeline, Option<Service>)>,
    name: fn(&T) -> String,
    describe: fn(&T) -> String,
    work: impl AsyncFn(IngestionPipeline, Option<Service>) -> Result<T, Failure>,
) -> Result<Exit, Failure> {
    let (mut done, mut exit, is_one) = (Vec::new(), Exit::Success, sources.len() == 1);
    for (pipeline, service) in sources {
        let fqn = pipeline.identity.fully_qualified_name.clone();
        match work(pipeline, service).await {
            Ok(result) if args.output.is_structured() && !is_one => done.push(result),
            Ok(result) => output::show_named(args.output, &result, name, describe)?,
            Err(failure) if is_one => return Err(failure),
            Err(failure) => {
                exit = if exit == Exit::Success { failure.exit() } else { exit };
                failure.about(&fqn).tell(args.output);
            }
        }
    }
    if args.output.is_structured() && !is_one {
        output::print_structured(args.output, &done)?;
    }
    Ok(exit)
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
