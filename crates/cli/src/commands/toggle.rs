//! `ompipe pause`, `ompipe resume` and `ompipe toggle`.

use ompipe_client::{PipelineServiceClient, Toggled};

use super::target::{self, Shown};
use crate::args::{Args, Targets};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, targets: &Targets, enable: bool) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let shown = Shown { name: |toggled: &Toggled| fqn(toggled).to_owned(), describe };
    target::each(args, &client, targets, shown, async |pipeline| {
        let switch = client.toggle_ingestion(&pipeline, enable);
        Ok(progress::during("switching the schedule", switch).await?)
    })
    .await
}

fn fqn(toggled: &Toggled) -> &str {
    &toggled.pipeline.fully_qualified_name
}

fn describe(toggled: &Toggled) -> String {
    let fqn = fqn(toggled);
    if toggled.schedules.is_empty() {
        return format!("pipeline {fqn} has no schedule: it runs on demand only");
    }
    let state = if toggled.enabled { "enabled" } else { "disabled" };
    let lines = toggled.schedules.iter().map(|schedule| format!("\n{}", output::written(schedule)));
    format!("the schedule of pipeline {fqn} is {state}{}", lines.collect::<String>())
}
