//! `ompipe list`.

use ompipe_client::DeployedPipeline;

use crate::args::{Args, Output};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

pub(super) async fn execute(args: &Args) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let pipelines = client.pipelines().await?;
    match args.output {
        Output::Json => output::print_json(&pipelines)?,
        Output::Table if pipelines.is_empty() => output::print("no pipeline is deployed")?,
        Output::Table => {
            let header = ["NAME", "TYPE", "SCHEDULE", "NEXT RUN", "LAST RUN", "LAST STATE"];
            output::print(output::table(header, pipelines.iter().map(cells)))?;
        }
    }
    Ok(Exit::Success)
}

fn cells(pipeline: &DeployedPipeline) -> [String; 6] {
    let schedule = match (&pipeline.schedule, pipeline.suspended) {
        (Some(schedule), false) => schedule.clone(),
        (Some(schedule), true) => format!("{schedule} (disabled)"),
        (None, _) => "on demand".to_owned(),
    };
    let last_run = pipeline.last_run.as_ref();
    [
        pipeline.identity.fully_qualified_name.clone(),
        pipeline.pipeline_type.clone(),
        schedule,
        output::cell(pipeline.next_run),
        output::cell(last_run.and_then(|run| run.created)),
        output::cell(last_run.map(|run| run.state)),
    ]
}
