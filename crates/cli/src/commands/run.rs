//! `ompipe run`.

use std::io::{self, Write};

use ompipe_client::{K8sPipelineClient, PipelineServiceClient, RunObserver, RunRequest, Started};
use ompipe_core::run::EndReporter;
use ompipe_core::{PipelineState, Run, RunId, ServerConnection, WorkloadKind};
use serde_json::json;

use super::status::openmetadata_state;
use super::{report, target};
use crate::args::{Args, Output, RunArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, output, progress};

pub(super) async fn execute(args: &Args, run: &RunArgs) -> Result<Exit, Failure> {
    let overrides = inputs::overrides(run.overrides.as_deref())?;
    let client = inputs::client(args).await?;
    let (pipeline, stored) = target::pipeline(&client, &run.target).await?;
    let service = inputs::service(run.service.as_deref())?.or(stored);
    let id = run.run_id.unwrap_or_else(RunId::random);
    let connection = pipeline.server_connection.clone();
    let only_deployed = run.target.pipeline.is_some();
    let request = RunRequest { overrides, only_deployed, ..id.into() };
    let start = client.run_pipeline(pipeline, service, request);
    let started = progress::during("starting the run", start).await?;
    finish(args, &client, &started, connection.as_ref(), run.follow).await
}

/// Tells that a run has started, or follows it to its end.
pub(super) async fn finish(
    args: &Args,
    client: &K8sPipelineClient,
    started: &Started,
    connection: Option<&ServerConnection>,
    follow: bool,
) -> Result<Exit, Failure> {
    if !follow {
        let name = |started: &Started| started.run_id.to_string();
        output::show_named(args.output, started, name, describe_started)?;
        return Ok(Exit::Success);
    }
    let ended = follow_started(client, args.output, started, Some(&started.pipeline)).await?;
    let is_reported = ended.end_reporter == EndReporter::Operator;
    if let Some(connection) = connection.filter(|_| !is_reported) {
        report::end_of(connection, &started.pipeline, &ended).await;
    }
    let row = openmetadata_state(connection, &started.pipeline, started.run_id).await;
    tell_ended(args.output, &ended, row)
}

fn describe_started(started: &Started) -> String {
    let Started { run_id, pipeline, kind, job_name, .. } = started;
    format!("run {run_id} of pipeline {pipeline} started as {} {job_name}", kind.as_str())
}

/// As [`follow`], of a run that has just been started.
pub(super) async fn follow_started(
    client: &K8sPipelineClient,
    output: Output,
    started: &Started,
    pipeline: Option<&str>,
) -> Result<Run, Failure> {
    let Started { run_id, kind, job_name, .. } = started;
    output::note(format_args!("run {run_id} started as {} {job_name}", kind.as_str()));
    follow(client, output, Followed { kind: *kind, job: job_name, run: *run_id, pipeline }).await
}

/// A run to follow.
#[derive(Clone, Copy)]
pub(super) struct Followed<'a> {
    pub(super) kind: WorkloadKind,
    pub(super) job: &'a str,
    pub(super) run: RunId,
    /// FQN of its pipeline, if it is a pipeline's.
    pub(super) pipeline: Option<&'a str>,
}

/// Streams a run's log and waits for its end.
pub(super) async fn follow(
    client: &K8sPipelineClient,
    output: Output,
    followed: Followed<'_>,
) -> Result<Run, Failure> {
    let log_to_stderr = output.is_structured() || output == Output::Name;
    let log: Box<dyn Write + Send> = if log_to_stderr {
        Box::new(output::LogWriter::new(io::stderr(), false))
    } else {
        Box::new(output::LogWriter::new(io::stdout(), false))
    };
    let mut terminal = Terminal { log, last: None };
    let Followed { kind, job, run, .. } = followed;
    tokio::select! {
        ended = client.follow(kind, job, run, &mut terminal) => Ok(ended?),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Err(Failure::interrupted(goes_on(followed)))
        }
    }
}

/// What somebody who has stopped watching should know.
fn goes_on(followed: Followed<'_>) -> String {
    let run = followed.run;
    let Some(pipeline) = followed.pipeline else {
        return format!("\nrun {run} goes on");
    };
    let short = run.short();
    format!(
        "\nrun {run} goes on\n  follow it: ompipe logs {pipeline} --run {short} --follow\n  wait for \
         it: ompipe wait {pipeline} --run {short}\n  stop it:   ompipe kill {pipeline} --run {short}"
    )
}

/// Prints how a followed run ended; the exit code says it as well.
pub(super) fn tell_ended(
    output: Output,
    run: &Run,
    row: Option<PipelineState>,
) -> Result<Exit, Failure> {
    match output {
        Output::Json | Output::Yaml => {
            output::print_structured(output, &json!({ "run": run, "openmetadata": row }))?;
        }
        Output::Name => output::print(run.run_id)?,
        Output::Table | Output::Wide => {
            output::note(format_args!("run {} ended: {}", run.run_id, describe(run)));
            if let Some(row) = row {
                output::note(format_args!("OpenMetadata has it as {row}"));
            }
        }
    }
    Ok(if run.state == PipelineState::Success { Exit::Success } else { Exit::RunFailed })
}

pub(super) fn describe(run: &Run) -> String {
    let reason = run.reason.map(|reason| format!(" ({})", reason.as_str()));
    let message = run.message.as_deref().map(|message| format!(": {message}"));
    format!("{}{}{}", run.state_in_words(), reason.unwrap_or_default(), message.unwrap_or_default())
}

/// Shows a run: its log on stdout, what happens to it on stderr.
struct Terminal {
    log: Box<dyn Write + Send>,
    last: Option<String>,
}

impl RunObserver for Terminal {
    fn changed(&mut self, run: &Run) {
        let now = describe(run);
        if !run.state.is_terminal() && self.last.as_ref() != Some(&now) {
            output::note(format_args!("run is {now}"));
            self.last = Some(now);
        }
    }

    fn warning(&mut self, message: &str) {
        output::note(format_args!("Kubernetes warns: {message}"));
    }

    fn attempt(&mut self, attempt: usize, pod: &str) {
        output::note(format_args!("attempt {attempt}, log of pod {pod}:"));
    }

    fn log(&mut self, piece: &[u8]) -> io::Result<()> {
        self.log.write_all(piece)?;
        self.log.flush()
    }
}
