//! One pipeline: its runs, how long they took, when it runs next.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use ompipe_client::DeployedPipeline;
use ompipe_core::archive::RunRecord;
use ompipe_core::history::{Cursor, RunFilter, Statistics, page};

use super::overview::{figures, percent, reasons};
use super::parts::{Place, Site};
use super::pipelines::{last_success, schedule};
use super::text::{exactly, visible, when};
use super::{Shown, Visit, may_act, shown};

/// Runs of a page.
const ROWS: usize = 100;
/// Next runs that are shown.
const SLOTS: usize = 5;

pub(super) async fn show(visit: Visit) -> Shown {
    let (site, pipeline) = (visit.site(), visit.pipeline()?);
    let after = visit.asked("cursor").and_then(|cursor| cursor.parse().ok());
    let body = body(&site, pipeline, after, may_act(&visit.app));
    Ok(shown(site.page(Place::Pipelines, &pipeline.identity.fully_qualified_name, &body)))
}

pub(super) fn body(
    site: &Site<'_>,
    pipeline: &DeployedPipeline,
    after: Option<Cursor>,
    may_act: bool,
) -> Markup {
    let name = &pipeline.identity.fully_qualified_name;
    html! {
        h1 { (visible(name)) }
        @if may_act { (actions(site, pipeline)) }
        (facts(site, pipeline))
        (runs(site, name, after))
    }
}

fn actions(site: &Site<'_>, pipeline: &DeployedPipeline) -> Markup {
    let path = site.pipeline_path(&pipeline.identity.fully_qualified_name);
    let switch = if pipeline.suspended { ("resume", "Resume") } else { ("pause", "Pause") };
    html! {
        p.actions {
            a.button href={ (path) "/runs" } { "Run now" }
            @if pipeline.timetable.is_some() { " " a.button href={ (path) "/" (switch.0) } { (switch.1) } }
        }
    }
}

fn facts(site: &Site<'_>, pipeline: &DeployedPipeline) -> Markup {
    let name = &pipeline.identity.fully_qualified_name;
    let found = Statistics::of(site.snapshot.runs_of(name), &TimeZone::UTC);
    let failing = site.snapshot.failing_since(name);
    html! {
        (figures(&[
            ("Runs known", found.runs.to_string(), false),
            ("Success", percent(found.success_rate), false),
        ]))
        dl.facts {
            dt { "Type" } dd { (visible(&pipeline.pipeline_type)) }
            dt { "Schedule" } dd { (schedule(pipeline)) }
            dt { "Last success" } dd { (last_success(site, pipeline)) }
            @if let Some(since) = failing { dt { "Fails since" } dd.stale { (when(since, site.now())) } }
            dt { "Last runs" } dd { (site.strip(name)) }
            dt { "Next runs" } dd { (next(site, pipeline)) }
        }
        section aria-labelledby="reasons" { h2 #reasons { "Failures and durations" } (reasons(&found)) }
    }
}

fn next(site: &Site<'_>, pipeline: &DeployedPipeline) -> Markup {
    let schedule = pipeline.timetable.as_ref().filter(|_| !pipeline.suspended);
    let following = |time: &Timestamp| schedule.and_then(|schedule| schedule.next_after(*time));
    let slots = std::iter::successors(pipeline.next_run, following).take(SLOTS);
    html! {
        @if pipeline.next_run.is_none() { "none of itself" } @else {
            ol.slots { @for at in slots { li { (when(at, site.now())) " (" (exactly(at)) ")" } } }
        }
    }
}

fn runs(site: &Site<'_>, name: &str, after: Option<Cursor>) -> Markup {
    let own: Vec<RunRecord> = site.snapshot.runs_of(name).cloned().collect();
    let filter = RunFilter::default();
    let page = page(&own, &filter, after, ROWS);
    html! {
        section aria-labelledby="runs" {
            h2 #runs { "Runs" }
            @if page.runs.is_empty() { p { "No run is known." } } @else { (site.runs(page.runs, false)) }
            @if let Some(next) = page.next { a rel="next" href={ "?cursor=" (next) } { "Older runs →" } }
        }
    }
}
