//! `ompipe list`.

use jiff::Timestamp;
use ompipe_client::{DeployedPipeline, PipelineFilter};

use super::target;
use super::watch::{Rows, watch};
use crate::args::{Args, ListArgs, Output};
use crate::failure::{Exit, Failure};
use crate::inputs;
use crate::output::{self, Painted, Tone};

pub(super) async fn execute(args: &Args, list: &ListArgs) -> Result<Exit, Failure> {
    let client = inputs::client(args).await?;
    let filter =
        PipelineFilter { all_namespaces: list.all_namespaces, selector: list.selector.clone() };
    if list.watch {
        let rows = Rows {
            key: |one| format!("pipeline {} of namespace {}", fqn(one), one.namespace),
            name: |one| fqn(one).to_owned(),
            table: &|pipelines| table(args, list, pipelines),
        };
        let look = async || Ok(client.pipelines_of(&filter).await?);
        return watch(args.output, &client, &filter, &rows, look).await;
    }
    let pipelines = client.pipelines_of(&filter).await?;
    if args.output.is_structured() {
        output::print_structured(args.output, &pipelines)?;
    } else if args.output == Output::Name {
        pipelines.iter().map(fqn).try_for_each(output::print)?;
    } else if pipelines.is_empty() {
        output::print(if list.all_namespaces {
            "no pipeline is deployed in any namespace".to_owned()
        } else {
            target::nothing(&client, list.selector.as_deref())
        })?;
    } else {
        table(args, list, &pipelines).print()?;
    }
    Ok(Exit::Success)
}

fn fqn(pipeline: &DeployedPipeline) -> &str {
    &pipeline.identity.fully_qualified_name
}

fn table(args: &Args, list: &ListArgs, pipelines: &[DeployedPipeline]) -> Painted {
    let now = output::now();
    let text = match (args.output == Output::Wide, list.all_namespaces) {
        (true, _) => {
            let header = [
                "NAMESPACE",
                "NAME",
                "TYPE",
                "SCHEDULE",
                "ZONE",
                "NEXT RUN",
                "LAST RUN",
                "RUN",
                "REASON",
                "STATE",
            ];
            output::table(header, pipelines.iter().map(wide_cells))
        }
        (false, true) => {
            let header = ["NAMESPACE", "NAME", "TYPE", "SCHEDULE", "NEXT", "LAST", "STATE"];
            let cells = |one: &DeployedPipeline| {
                let [name, kind, schedule, next, last, state] = cells(one, now);
                [one.namespace.clone(), name, kind, schedule, next, last, state]
            };
            output::table(header, pipelines.iter().map(cells))
        }
        (false, false) => {
            let header = ["NAME", "TYPE", "SCHEDULE", "NEXT", "LAST", "STATE"];
            output::table(header, pipelines.iter().map(|one| cells(one, now)))
        }
    };
    output::painted(&text, &pipelines.iter().map(tone).collect::<Vec<_>>())
}

/// The word that is coloured in a row.
fn tone(pipeline: &DeployedPipeline) -> (String, Tone) {
    match &pipeline.last_run {
        Some(run) => (run.state_in_words(), Tone::of(run.state)),
        None => ("-".to_owned(), Tone::Active),
    }
}

/// Ages, and the schedule without its zone, so that a row fits 80 columns.
fn cells(pipeline: &DeployedPipeline, now: Timestamp) -> [String; 6] {
    let (cron, _) = schedule(pipeline);
    let next = match pipeline.next_run {
        Some(next) => output::span(next.duration_since(now)),
        None if pipeline.suspended => "paused".to_owned(),
        None => "-".to_owned(),
    };
    let last = pipeline.last_run.as_ref();
    [
        pipeline.identity.fully_qualified_name.clone(),
        pipeline.pipeline_type.clone(),
        cron,
        next,
        output::age(last.and_then(|run| run.created), now),
        tone(pipeline).0,
    ]
}

fn wide_cells(pipeline: &DeployedPipeline) -> [String; 10] {
    let (cron, zone) = schedule(pipeline);
    let last = pipeline.last_run.as_ref();
    let paused = || if pipeline.suspended { "paused".to_owned() } else { "-".to_owned() };
    [
        pipeline.namespace.clone(),
        pipeline.identity.fully_qualified_name.clone(),
        pipeline.pipeline_type.clone(),
        cron,
        zone,
        pipeline.next_run.map_or_else(paused, |next| next.to_string()),
        output::cell(last.and_then(|run| run.created)),
        output::cell(last.map(|run| run.run_id)),
        output::cell(last.and_then(|run| run.reason).map(ompipe_core::Reason::as_str)),
        tone(pipeline).0,
    ]
}

/// The schedule and its zone.
fn schedule(pipeline: &DeployedPipeline) -> (String, String) {
    match &pipeline.timetable {
        Some(schedule) => (schedule.as_cron().to_owned(), schedule.zone().to_string()),
        None => ("on demand".to_owned(), "-".to_owned()),
    }
}
