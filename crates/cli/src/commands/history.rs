//! `ompipe history`: the runs that there were, also those that the cluster no longer has.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use ompipe_core::archive::{RunRecord, Trigger};

use crate::args::{Args, HistoryArgs, Output};
use crate::failure::{Exit, Failure};
use crate::{inputs, output};

pub(super) async fn execute(args: &Args, history: &HistoryArgs) -> Result<Exit, Failure> {
    let now = output::now();
    let since = history.since.as_deref().map(|since| begin(since, now)).transpose()?;
    let client = inputs::client(args).await?;
    let mut runs = if let Some(name) = &history.pipeline {
        client.history(&client.find(name).await?, since, history.limit).await?
    } else if client.archive_url().is_some() {
        client.archived_runs(since, history.limit).await?
    } else {
        let text = "without an archive (--logs-archive-url) name a pipeline, whose runs the cluster \
                    has";
        return Err(Failure::usage(text));
    };
    runs.retain(|run| is_wanted(history, run));
    print(args.output, &runs, now)?;
    Ok(Exit::Success)
}

fn is_wanted(history: &HistoryArgs, run: &RunRecord) -> bool {
    let is_reason =
        |wanted: &String| run.reason.as_ref().is_some_and(|one| one.eq_ignore_ascii_case(wanted));
    history.state.is_none_or(|wanted| run.state == wanted)
        && history.reason.as_ref().is_none_or(is_reason)
}

/// A time, or so long ago.
fn begin(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let span: Option<Span> = text.parse().ok();
    let ago = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let begin = ago.map(SignedDuration::abs).and_then(|ago| now.checked_sub(ago).ok());
    begin.ok_or_else(|| {
        let remedy =
            "must be a time such as 2026-01-31T00:00:00Z, or so long ago such as 7d or 12h";
        Failure::usage(format_args!("--since = {text:?}: {remedy}"))
    })
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: &str = "2026-11-28T12:00:00Z";

    #[rstest]
    #[case("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z")]
    #[case("7d", "2026-11-21T12:00:00Z")]
    #[case("1d 12h", "2026-11-27T00:00:00Z")]
    fn a_beginning_is_a_time_or_so_long_ago(#[case] text: &str, #[case] expected: &str) {
        let found = begin(text, NOW.parse().unwrap()).ok();
        assert_eq!(found, expected.parse().ok());
    }

    #[rstest]
    #[case("yesterday")]
    #[case("7 apples")]
    #[case("3 months")]
    fn what_is_neither_is_refused(#[case] text: &str) {
        assert!(begin(text, NOW.parse().unwrap()).is_err());
    }
}
