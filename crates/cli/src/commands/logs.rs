//! `ompipe logs`.

use std::io::{self, Write};

use ompipe_client::{Error, K8sPipelineClient, PipelineServiceClient};
use ompipe_core::{PipelineIdentity, RunId};

use super::{run, target};
use crate::args::{Args, LogsArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

pub(super) async fn execute(args: &Args, logs: &LogsArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let pipeline = target::identity(&client, &logs.target).await?;
    if logs.follow {
        return follow(args, &client, &pipeline, logs.run).await;
    }
    let mut stdout = io::stdout().lock();
    let announce = |attempt: usize, pod: &str| {
        output::note(format_args!("attempt {attempt}, log of pod {pod}:"));
    };
    let written =
        client.write_logs(&pipeline, logs.run, announce, |piece| stdout.write_all(piece)).await;
    match written {
        Err(Error::LogSink(error)) => output::ignore_closed(Err(error))?,
        written => drop(written?),
    }
    output::ignore_closed(stdout.flush())?;
    Ok(Exit::Success)
}

async fn follow(
    args: &Args,
    client: &K8sPipelineClient,
    pipeline: &PipelineIdentity,
    wanted: Option<RunId>,
) -> Result<Exit, Failure> {
    let runs = client.pipeline_runs(pipeline).await?;
    let chosen = match wanted {
        Some(wanted) => runs.into_iter().find(|run| run.run_id == wanted),
        None => runs.into_iter().next(),
    };
    let Some(chosen) = chosen else {
        return Err(Error::no_run(pipeline, wanted).into());
    };
    let ended = run::follow(client, args.output, &chosen.job, chosen.run_id).await?;
    run::tell_ended(args.output, &ended, None)
}
