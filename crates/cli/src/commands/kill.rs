//! `ompipe kill`.

use ompipe_client::{Killed, PipelineServiceClient};

use super::target::{self, Shown};
use crate::args::{Args, KillArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, progress};

pub(super) async fn execute(args: &Args, kill: &KillArgs) -> Result<Exit, Failure> {
    if kill.run.is_some() && kill.targets.pipelines.len() > 1 {
        return Err(Failure::usage("--run is for one pipeline"));
    }
    let client = inputs::client(args).await?;
    let shown = Shown { name: |killed: &Killed| fqn(killed).to_owned(), describe };
    target::each(args, &client, &kill.targets, shown, async |pipeline| {
        let run = target::run(&client, &pipeline, kill.run.as_ref()).await?;
        let stop = async {
            match run {
                Some(run) => client.kill_ingestion_run(&pipeline, run).await,
                None => client.kill_ingestion(&pipeline).await,
            }
        };
        Ok(progress::during("stopping", stop).await?)
    })
    .await
}

fn fqn(killed: &Killed) -> &str {
    &killed.pipeline.fully_qualified_name
}

fn describe(killed: &Killed) -> String {
    let fqn = fqn(killed);
    if killed.runs.is_empty() {
        return format!("pipeline {fqn} has no active runs");
    }
    let noun = if killed.runs.len() == 1 { "run" } else { "runs" };
    let lines = killed.runs.iter().map(|run| format!("\n  {} {}", run.run_id, run.job));
    format!(
        "stopping {} {noun} of pipeline {fqn}; pods end within their grace period{}",
        killed.runs.len(),
        lines.collect::<String>()
    )
}
