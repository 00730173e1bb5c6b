//! `ompipe logs`.

use std::io::{self, Write};

use futures::TryStreamExt;
use futures::stream::BoxStream;
use ompipe_client::{Error, K8sPipelineClient, LogSelection, LogSource, LogStage};
use ompipe_core::log_lines::{LineQuery, time_or_age};
use ompipe_core::{PipelineIdentity, RunId};

use super::{run, target, wait};
use crate::args::{Args, LogContainer, LogLines, LogsArgs, Output};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

pub(super) async fn execute(args: &Args, logs: &LogsArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    if let Some(page) = &logs.page {
        return print_page(args.output, &client, logs, page).await;
    }
    let pipeline = target::identity_or_archived(&client, &logs.target).await?;
    let wanted = target::run(&client, &pipeline, logs.run.as_ref()).await?;
    if logs.follow {
        return follow(args, &client, &pipeline, wanted).await;
    }
    let query = query(logs)?;
    if logs.lines.previous || !query.is_everything() {
        let lines = client.log_lines(&pipeline, selection(logs, wanted), query).await?;
        return print_lines(lines, logs.raw).await;
    }
    let mut stdout = output::LogWriter::new(io::stdout().lock(), logs.raw);
    let announce = |source: &LogSource| {
        output::note(format_args!("attempt {}, log of pod {}:", source.attempt, source.pod));
    };
    let sink = |piece: &[u8]| stdout.write_all(piece);
    let written = client.write_logs(&pipeline, selection(logs, wanted), announce, sink).await;
    match written {
        Err(Error::LogSink(error)) => output::ignore_closed(Err(error))?,
        written => drop(written?),
    }
    output::ignore_closed(stdout.flush())?;
    Ok(Exit::Success)
}

fn selection(logs: &LogsArgs, run: Option<RunId>) -> LogSelection {
    let stage = match logs.container {
        LogContainer::Main => LogStage::Main,
        LogContainer::ExitHandler => LogStage::ExitHandler,
    };
    LogSelection { run, attempt: logs.attempt, stage, previous: logs.lines.previous }
}

fn query(logs: &LogsArgs) -> Result<LineQuery, Failure> {
    let LogLines { tail, since, grep, timestamps, .. } = &logs.lines;
    let since = since.as_deref().map(|since| {
        let found = time_or_age(since, output::now());
        found.map_err(|remedy| Failure::usage(format_args!("--since = {since:?}: {remedy}")))
    });
    let (tail, timestamps) = (*tail, *timestamps);
    Ok(LineQuery { tail, since: since.transpose()?, grep: grep.clone(), timestamps })
}

async fn print_lines(
    mut lines: BoxStream<'static, Result<Vec<u8>, Error>>,
    is_raw: bool,
) -> Result<Exit, Failure> {
    let mut stdout = output::LogWriter::new(io::stdout().lock(), is_raw);
    while let Some(text) = lines.try_next().await? {
        if let Err(error) = stdout.write_all(&text) {
            output::ignore_closed(Err(error))?;
            return Ok(Exit::Success);
        }
    }
    output::ignore_closed(stdout.flush())?;
    Ok(Exit::Success)
}

/// One page, as a person reads it or as OpenMetadata gets it.
async fn print_page(
    output: Output,
    client: &K8sPipelineClient,
    logs: &LogsArgs,
    page: &str,
) -> Result<Exit, Failure> {
    if output.is_structured() {
        let (pipeline, _) = target::pipeline(client, &logs.target).await?;
        let run = target::run(client, &pipeline.identity, logs.run.as_ref()).await?;
        let page = client.log_page(&pipeline.identity, selection(logs, run), Some(page)).await?;
        output::print_structured(output, &page.into_answer(pipeline.pipeline_type))?;
    } else {
        let pipeline = target::identity_or_archived(client, &logs.target).await?;
        let run = target::run(client, &pipeline, logs.run.as_ref()).await?;
        let page = client.log_page(&pipeline, selection(logs, run), Some(page)).await?;
        let mut stdout = output::LogWriter::new(io::stdout().lock(), logs.raw);
        output::ignore_closed(stdout.write_all(page.text.as_bytes()))?;
    }
    Ok(Exit::Success)
}

async fn follow(
    args: &Args,
    client: &K8sPipelineClient,
    pipeline: &PipelineIdentity,
    wanted: Option<RunId>,
) -> Result<Exit, Failure> {
    let chosen = wait::chosen(client, pipeline, wanted).await?;
    let followed = run::Followed {
        kind: chosen.kind,
        job: &chosen.job,
        run: chosen.run_id,
        pipeline: Some(&pipeline.fully_qualified_name),
    };
    let ended = run::follow(client, args.output, followed).await?;
    run::tell_ended(args.output, &ended, None)
}
