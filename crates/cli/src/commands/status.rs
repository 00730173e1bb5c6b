//! `ompipe status`: the runs of a pipeline, as Kubernetes and as OpenMetadata have them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use ompipe_client::{Error, K8sPipelineClient, PipelineServiceClient};
use ompipe_core::job::Reported;
use ompipe_core::{PipelineIdentity, PipelineState, Run, RunId, ServerConnection};
use ompipe_openmetadata::{OpenMetadata, PipelineStatus};
use serde::Serialize;

use super::target;
use crate::args::{Args, Output, StatusArgs};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

/// What OpenMetadata has of a run is worth this wait, not more.
const COURTESY: Duration = Duration::from_secs(5);

/// A run and what OpenMetadata has of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(flatten)]
    run: Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    openmetadata: Option<PipelineState>,
}

pub(super) async fn execute(args: &Args, status: &StatusArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let pipeline = target::identity(&client, &status.target).await?;
    let mut runs = client.pipeline_runs(&pipeline).await?;
    if let Some(wanted) = status.run {
        runs.retain(|run| run.run_id == wanted);
    }
    if status.run.is_some() && runs.is_empty() {
        return Err(Error::no_run(&pipeline, status.run).into());
    }
    let rows = openmetadata_states(&client, &pipeline, &runs).await;
    let state_of = |run: &Run| rows.get(&run.run_id.to_string()).copied();
    let rows = runs.into_iter().map(|run| Row { openmetadata: state_of(&run), run }).collect();
    print(args.output, &pipeline, rows)?;
    Ok(Exit::Success)
}

fn print(output: Output, pipeline: &PipelineIdentity, rows: Vec<Row>) -> Result<(), Failure> {
    if output == Output::Json {
        return output::print_json(&rows);
    }
    if rows.is_empty() {
        return output::print(format_args!(
            "pipeline {} never ran, or its runs are gone",
            pipeline.fully_qualified_name
        ));
    }
    let header = [
        "RUN ID",
        "STATE",
        "OPENMETADATA",
        "REPORTED",
        "REASON",
        "EXIT",
        "ATTEMPTS",
        "AGE",
        "TOOK",
        "OBJECT",
    ];
    let now = now();
    output::print(output::table(header, rows.into_iter().map(|row| cells(&row, now))))
}

fn cells(row: &Row, now: Timestamp) -> [String; 10] {
    let run = &row.run;
    let took =
        run.created.zip(run.finished).map(|(from, to)| output::span(to.duration_since(from)));
    [
        run.run_id.to_string(),
        run.state.to_string(),
        output::cell(row.openmetadata),
        output::cell(run.reported.as_ref().map(|reported| told(reported, now))),
        output::cell(run.reason.map(ompipe_core::Reason::as_str)),
        output::cell(run.exit_code),
        run.attempts.to_string(),
        output::age(run.created, now),
        output::cell(took),
        run.job.clone(),
    ]
}

/// Who reported the end, and how long ago.
fn told(reported: &Reported, now: Timestamp) -> String {
    format!("{} {} ago", reported.by.as_str(), output::age(Some(reported.at), now))
}

/// What OpenMetadata has of one run; nothing when it does not say.
pub(super) async fn openmetadata_state(
    connection: Option<&ServerConnection>,
    fqn: &str,
    run: RunId,
) -> Option<PipelineState> {
    let server = OpenMetadata::new(connection?).ok()?;
    let row = courtesy(server.status(fqn, run)).await??;
    Some(row.pipeline_state)
}

/// What OpenMetadata has of the runs. A server that does not answer is said so, not a failure:
/// what Kubernetes knows is the answer.
async fn openmetadata_states(
    client: &K8sPipelineClient,
    pipeline: &PipelineIdentity,
    runs: &[Run],
) -> BTreeMap<String, PipelineState> {
    let rows = openmetadata_rows(client, pipeline, runs).await.unwrap_or_default();
    rows.into_iter().map(|row| (row.run_id, row.pipeline_state)).collect()
}

async fn openmetadata_rows(
    client: &K8sPipelineClient,
    pipeline: &PipelineIdentity,
    runs: &[Run],
) -> Option<Vec<PipelineStatus>> {
    let oldest = runs.iter().filter_map(|run| run.created).min()?;
    let (stored, _) = client.load(pipeline).await.ok()?;
    let server = OpenMetadata::new(stored.server_connection.as_ref()?).ok()?;
    let until = now().as_millisecond();
    courtesy(server.statuses(&pipeline.fully_qualified_name, oldest.as_millisecond(), until)).await
}

pub(super) async fn courtesy<T>(
    call: impl Future<Output = Result<T, ompipe_openmetadata::Error>>,
) -> Option<T> {
    let problem = match tokio::time::timeout(COURTESY, call).await {
        Ok(Ok(answer)) => return Some(answer),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "OpenMetadata does not answer in time".to_owned(),
    };
    output::note(format_args!("note: {problem}"));
    None
}

#[expect(clippy::disallowed_methods, reason = "a command is the outermost caller")]
fn now() -> Timestamp {
    Timestamp::now()
}
