//! `ompipe status`: the runs of a pipeline, as Kubernetes and as OpenMetadata have them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use ompipe_client::{Error, K8sPipelineClient, PipelineFilter};
use ompipe_core::job::Reported;
use ompipe_core::labels::PIPELINE_ID;
use ompipe_core::{PipelineIdentity, PipelineState, Run, RunId, ServerConnection};
use ompipe_openmetadata::{OpenMetadata, PipelineStatus};
use serde::Serialize;

use super::target;
use super::watch::{Rows, watch};
use crate::args::{Args, Output, StatusArgs};
use crate::failure::{Exit, Failure};
use crate::inputs;
use crate::output::{self, Painted, Tone};

/// What OpenMetadata has of a run is worth this wait, not more.
const COURTESY: Duration = Duration::from_secs(5);

/// Runs of the archive that are looked at.
const ARCHIVED: usize = 50;

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
    let pipeline = target::identity_or_archived(&client, &status.target).await?;
    let wanted = target::run(&client, &pipeline, status.run.as_ref()).await?;
    let look = async || rows(&client, &pipeline, wanted).await;
    if status.watch {
        let selector = format!("{PIPELINE_ID}={}", pipeline.id);
        let filter = PipelineFilter { selector: Some(selector), ..PipelineFilter::default() };
        let shown = Rows {
            key: |row: &Row| format!("run {}", row.run.run_id),
            name: |row| row.run.run_id.to_string(),
            table: &|rows| table(args.output, rows),
        };
        return watch(args.output, &client, &filter, &shown, look).await;
    }
    print(args.output, &pipeline, &look().await?)?;
    Ok(Exit::Success)
}

/// The runs of a pipeline, or the one that is wanted.
async fn rows(
    client: &K8sPipelineClient,
    pipeline: &PipelineIdentity,
    wanted: Option<RunId>,
) -> Result<Vec<Row>, Failure> {
    let mut runs = client.runs_with_archived(pipeline, ARCHIVED).await?;
    if let Some(wanted) = wanted {
        runs.retain(|run| run.run_id == wanted);
    }
    if wanted.is_some() && runs.is_empty() {
        return Err(Error::no_run(pipeline, wanted).into());
    }
    let states = openmetadata_states(client, pipeline, &runs).await;
    let state_of = |run: &Run| states.get(&run.run_id.to_string()).copied();
    Ok(runs.into_iter().map(|run| Row { openmetadata: state_of(&run), run }).collect())
}

fn print(output: Output, pipeline: &PipelineIdentity, rows: &[Row]) -> Result<(), Failure> {
    if output.is_structured() {
        return output::print_structured(output, &rows);
    }
    if output == Output::Name {
        return rows.iter().try_for_each(|row| output::print(row.run.run_id));
    }
    if rows.is_empty() {
        return output::print(format_args!(
            "no runs found for pipeline {}: it never ran, or its runs are gone",
            pipeline.fully_qualified_name
        ));
    }
    table(output, rows).print()
}

fn table(output: Output, rows: &[Row]) -> Painted {
    let now = output::now();
    let table = if output == Output::Wide {
        output::table(WIDE_HEADER, rows.iter().map(|row| wide_cells(row, now)))
    } else {
        output::table(HEADER, rows.iter().map(|row| cells(row, now)))
    };
    let tone = |row: &Row| (row.run.state_in_words(), Tone::of(row.run.state));
    output::painted(&table, &rows.iter().map(tone).collect::<Vec<_>>())
}

const HEADER: [&str; 7] = ["RUN", "AGE", "TOOK", "TRIES", "OPENMETADATA", "REASON", "STATE"];
const WIDE_HEADER: [&str; 10] = [
    "RUN ID",
    "AGE",
    "TOOK",
    "TRIES",
    "OPENMETADATA",
    "REPORTED",
    "REASON",
    "EXIT",
    "OBJECT",
    "STATE",
];

/// What fits 80 columns.
fn cells(row: &Row, now: Timestamp) -> [String; 7] {
    let run = &row.run;
    [
        run.run_id.short(),
        output::age(run.created, now),
        took(run),
        run.attempts.to_string(),
        output::cell(row.openmetadata),
        output::cell(run.reason.map(ompipe_core::Reason::as_str)),
        run.state_in_words(),
    ]
}

fn took(run: &Run) -> String {
    let times = run.created.zip(run.finished);
    output::cell(times.map(|(from, to)| output::span(to.duration_since(from))))
}

fn wide_cells(row: &Row, now: Timestamp) -> [String; 10] {
    let run = &row.run;
    [
        run.run_id.to_string(),
        output::age(run.created, now),
        took(run),
        run.attempts.to_string(),
        output::cell(row.openmetadata),
        output::cell(run.reported.as_ref().map(|reported| told(reported, now))),
        output::cell(run.reason.map(ompipe_core::Reason::as_str)),
        output::cell(run.exit_code),
        run.job.clone(),
        run.state_in_words(),
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
    let until = output::now().as_millisecond();
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
