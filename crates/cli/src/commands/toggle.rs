//! `ompipe toggle`.

use ompipe_client::{PipelineServiceClient, Toggled};

use super::target;
use crate::args::{Args, ToggleArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, toggle: &ToggleArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let pipeline = target::identity(&client, &toggle.target).await?;
    let switch = client.toggle_ingestion(&pipeline, toggle.state.enable);
    let toggled = progress::during("switching the schedule", switch).await?;
    output::show(args.output, &toggled, describe)?;
    Ok(Exit::Success)
}

fn describe(toggled: &Toggled) -> String {
    let fqn = &toggled.pipeline.fully_qualified_name;
    if toggled.schedules.is_empty() {
        return format!("pipeline {fqn} has no schedule: it runs on demand only");
    }
    let state = if toggled.enabled { "enabled" } else { "disabled" };
    let lines = toggled.schedules.iter().map(|schedule| format!("\n{}", output::written(schedule)));
    format!("the schedule of pipeline {fqn} is {state}{}", lines.collect::<String>())
}
