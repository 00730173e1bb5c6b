//! `ompipe kill`.

use ompipe_client::{Killed, PipelineServiceClient};

use super::target;
use crate::args::{Args, KillArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, kill: &KillArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let pipeline = target::identity(&client, &kill.target).await?;
    let killed = progress::during("stopping", async {
        match kill.run {
            Some(run) => client.kill_ingestion_run(&pipeline, run).await,
            None => client.kill_ingestion(&pipeline).await,
        }
    })
    .await?;
    output::show(args.output, &killed, describe)?;
    Ok(Exit::Success)
}

fn describe(killed: &Killed) -> String {
    let fqn = &killed.pipeline.fully_qualified_name;
    if killed.runs.is_empty() {
        return format!("no run of pipeline {fqn} was left to stop");
    }
    let noun = if killed.runs.len() == 1 { "run" } else { "runs" };
    let lines = killed.runs.iter().map(|run| format!("\n  {} {}", run.run_id, run.job));
    format!(
        "stopping {} {noun} of pipeline {fqn}; pods end within their grace period{}",
        killed.runs.len(),
        lines.collect::<String>()
    )
}
