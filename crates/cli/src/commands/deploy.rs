//! `ompipe deploy`.

use ompipe_client::{Deployed, PipelineServiceClient};

use crate::args::{Args, Source};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, source: &Source) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let (pipeline, service) = inputs::source(source, client.preparation()).await?;
    let deploy = client.deploy_pipeline(pipeline, service);
    let deployed = progress::during("deploying", deploy).await?;
    output::show(args.output, &deployed, describe)?;
    Ok(Exit::Success)
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
