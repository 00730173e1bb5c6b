//! `ompipe logs`.

use std::io::{self, Write};

use ompipe_client::{
    Error, K8sPipelineClient, LogSelection, LogSource, LogStage, PipelineServiceClient,
};
use ompipe_core::{PipelineIdentity, RunId};

use super::{run, target};
use crate::args::{Args, LogContainer, LogsArgs, Output};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

pub(super) async fn execute(args: &Args, logs: &LogsArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    if let Some(page) = &logs.page {
        return print_page(args.output, &client, logs, page).await;
    }
    let pipeline = target::identity(&client, &logs.target).await?;
    if logs.follow {
        return follow(args, &client, &pipeline, logs.run).await;
    }
    let mut stdout = io::stdout().lock();
    let announce = |source: &LogSource| {
        output::note(format_args!("attempt {}, log of pod {}:", source.attempt, source.pod));
    };
    let sink = |piece: &[u8]| stdout.write_all(piece);
    let written = client.write_logs(&pipeline, selection(logs), announce, sink).await;
    match written {
        Err(Error::LogSink(error)) => output::ignore_closed(Err(error))?,
        written => drop(written?),
    }
    output::ignore_closed(stdout.flush())?;
    Ok(Exit::Success)
}

fn selection(logs: &LogsArgs) -> LogSelection {
    let stage = match logs.container {
        LogContainer::Main => LogStage::Main,
        LogContainer::ExitHandler => LogStage::ExitHandler,
    };
    LogSelection { run: logs.run, attempt: logs.attempt, stage }
}

/// One page, as a person reads it or as OpenMetadata gets it.
async fn print_page(
    output: Output,
    client: &K8sPipelineClient,
    logs: &LogsArgs,
    page: &str,
) -> Result<Exit, Failure> {
    match output {
        Output::Json => {
            let (pipeline, _) = target::pipeline(client, &logs.target).await?;
            let page = client.log_page(&pipeline.identity, selection(logs), Some(page)).await?;
            output::print_json(&page.into_answer(pipeline.pipeline_type))?;
        }
        Output::Table => {
            let pipeline = target::identity(client, &logs.target).await?;
            let page = client.log_page(&pipeline, selection(logs), Some(page)).await?;
            output::ignore_closed(io::stdout().lock().write_all(page.text.as_bytes()))?;
        }
    }
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
    let ended = run::follow(client, args.output, chosen.kind, &chosen.job, chosen.run_id).await?;
    run::tell_ended(args.output, &ended, None)
}
