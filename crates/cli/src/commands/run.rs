//! `ompipe run`.

use std::io::{self, Write};

use ompipe_client::{K8sPipelineClient, PipelineServiceClient, RunObserver, RunRequest, Started};
use ompipe_core::{PipelineState, Run, RunId, WorkloadKind};
use serde_json::json;

use super::status::openmetadata_state;
use super::target;
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
    let start = client.run_pipeline(pipeline, service, RunRequest { overrides, ..id.into() });
    let started = progress::during("starting the run", start).await?;
    if !run.follow {
        output::show(args.output, &started, describe_started)?;
        return Ok(Exit::Success);
    }
    let ended = follow_started(&client, args.output, &started).await?;
    let row = openmetadata_state(connection.as_ref(), &started.pipeline, id).await;
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
) -> Result<Run, Failure> {
    let Started { run_id, kind, job_name, .. } = started;
    output::note(format_args!("run {run_id} started as {} {job_name}", kind.as_str()));
    follow(client, output, *kind, job_name, *run_id).await
}

/// Streams a run's log and waits for its end.
pub(super) async fn follow(
    client: &K8sPipelineClient,
    output: Output,
    kind: WorkloadKind,
    job_name: &str,
    run: RunId,
) -> Result<Run, Failure> {
    let mut terminal = Terminal { log_to_stderr: output == Output::Json, last: None };
    Ok(client.follow(kind, job_name, run, &mut terminal).await?)
}

/// Prints how a followed run ended; the exit code says it as well.
pub(super) fn tell_ended(
    output: Output,
    run: &Run,
    row: Option<PipelineState>,
) -> Result<Exit, Failure> {
    match output {
        Output::Json => output::print_json(&json!({ "run": run, "openmetadata": row }))?,
        Output::Table => {
            output::note(format_args!("run {} ended: {}", run.run_id, describe(run)));
            if let Some(row) = row {
                output::note(format_args!("OpenMetadata has it as {row}"));
            }
        }
    }
    Ok(if run.state == PipelineState::Success { Exit::Success } else { Exit::RunFailed })
}

fn describe(run: &Run) -> String {
    let reason = run.reason.map(|reason| format!(" ({})", reason.as_str()));
    let message = run.message.as_deref().map(|message| format!(": {message}"));
    format!("{}{}{}", run.state, reason.unwrap_or_default(), message.unwrap_or_default())
}

/// Shows a run: its log on stdout, what happens to it on stderr.
struct Terminal {
    log_to_stderr: bool,
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
        if self.log_to_stderr {
            io::stderr().lock().write_all(piece)
        } else {
            let mut stdout = io::stdout().lock();
            stdout.write_all(piece)?;
            stdout.flush()
        }
    }
}
