//! `ompipe history`: the runs that there were, also those that the cluster no longer has.

use jiff::Timestamp;
use ompipe_client::Window;
use ompipe_core::archive::{RunRecord, Trigger};
use ompipe_core::log_lines::time_or_age;

use crate::args::{Args, HistoryArgs, Output};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

/// How many runs are looked at for each that is shown, where some are left out.
const FILTERED: usize = 100;

pub(super) async fn execute(args: &Args, history: &HistoryArgs) -> Result<Exit, Failure> {
    let now = output::now();
    let bound = |option, text: &Option<String>| {
        text.as_deref().map(|text| bound(option, text, now)).transpose()
    };
    let since = bound("--since", &history.since)?;
    let window = Window { since, until: bound("--until", &history.until)? };
    let client = inputs::client(args).await?;
    // As many have to be read as may be left out.
    let filters = history.state.is_some() || history.reason.is_some();
    let read = if filters { history.limit.saturating_mul(FILTERED) } else { history.limit };
    let mut runs = if let Some(name) = &history.pipeline {
        client.history_of(&client.find_or_archived(name).await?, window, read).await?
    } else if client.archive_url().is_some() {
        client.archived_runs_of(window, read).await?
    } else {
        let text = "without an archive (--logs-archive-url) name a pipeline, whose runs the cluster \
                    has";
        return Err(Failure::usage(text));
    };
    runs.retain(|run| is_wanted(history, run));
    runs.truncate(history.limit);
    print(args.output, &runs, now)?;
    Ok(Exit::Success)
}

fn is_wanted(history: &HistoryArgs, run: &RunRecord) -> bool {
    let is_reason =
        |wanted: &String| run.reason.as_ref().is_some_and(|one| one.eq_ignore_ascii_case(wanted));
    history.state.is_none_or(|wanted| run.state == wanted)
        && history.reason.as_ref().is_none_or(is_reason)
}

fn bound(option: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let found = time_or_age(text, now);
    found.map_err(|remedy| Failure::usage(format_args!("{option} = {text:?}: {remedy}")))
}

fn print(output: Output, runs: &[RunRecord], now: Timestamp) -> Result<(), Failure> {
    if output.is_structured() {
        return output::print_structured(output, &runs);
    }
    if output == Output::Name {
        return runs.iter().try_for_each(|run| output::print(run.run_id));
    }
    if runs.is_empty() {
        return output::print("no such run is on record");
    }
    let header = [
        "RUN ID",
        "PIPELINE",
        "STATE",
        "REASON",
        "EXIT",
        "ATTEMPTS",
        "TRIGGER",
        "AGE",
        "TOOK",
        "REPORTED BY",
    ];
    output::print(output::table(header, runs.iter().map(|run| cells(run, now))))
}

fn cells(run: &RunRecord, now: Timestamp) -> [String; 10] {
    let took =
        run.created.zip(run.finished).map(|(from, to)| output::span(to.duration_since(from)));
    let trigger = match run.trigger {
        Trigger::Schedule => "schedule",
        Trigger::OnDemand => "on demand",
    };
    [
        run.run_id.to_string(),
        output::cell(run.pipeline.as_ref()),
        run.state.to_string(),
        output::cell(run.reason.as_ref()),
        output::cell(run.exit_code),
        run.attempts.len().to_string(),
        trigger.to_owned(),
        output::age(run.created, now),
        output::cell(took),
        output::cell(run.reported_by.as_ref()),
    ]
}
