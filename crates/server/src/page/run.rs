//! One run: where its time went, its attempts, why it failed and what to do, its log.

use jiff::Timestamp;
use maud::{Markup, html};
use ompipe_core::archive::{AttemptRecord, RunRecord};
use ompipe_core::diagnosis;
use ompipe_core::history::{Span, timeline};

use super::parts::{Place, Site, chip};
use super::text::{exactly, span, visible, when};
use super::{Shown, Visit, may_act, shown};

pub(super) async fn show(visit: Visit) -> Shown {
    let (site, run) = (visit.site(), visit.run()?);
    let pipeline = visit.part("pipeline");
    let title = format!("Run {} of {pipeline}", run.run_id.short());
    let body = body(&site, pipeline, run, may_act(&visit.app));
    Ok(shown(site.page(Place::Pipelines, &title, &body)))
}

pub(super) fn body(site: &Site<'_>, pipeline: &str, run: &RunRecord, may_act: bool) -> Markup {
    html! {
        h1 { "Run " code { (run.run_id.short()) } " " (chip(run.state)) }
        p { a href=(site.pipeline_path(pipeline)) { (visible(pipeline)) } }
        @if may_act && !run.state.is_terminal() {
            p.actions { a.button href={ (site.run_path(pipeline, run)) "/kill" } { "Kill" } }
        }
        (reason(run))
        (facts(site, run))
        (times(site, run))
        (attempts(run))
        (log(site, pipeline, run))
    }
}

fn reason(run: &RunRecord) -> Markup {
    let Some(reason) = &run.reason else { return html! {} };
    html! {
        section.reason aria-labelledby="why" {
            h2 #why { (visible(reason)) }
            @if let Some(message) = &run.message { p { (visible(message)) } }
            @if let Some(remedy) = diagnosis::remedy_of(reason) { p { b { "What to do: " } (remedy) } }
        }
    }
}

fn facts(site: &Site<'_>, run: &RunRecord) -> Markup {
    html! {
        dl.facts {
            dt { "Run id" } dd { code { (run.run_id) } }
            dt { "Began" } dd { @if let Some(at) = run.created { (exactly(at)) " (" (when(at, site.now())) ")" } }
            dt { "Took" } dd { (site.took_text(run)) }
            dt { "Object" } dd { (run.kind) " " code { (visible(&run.object)) } }
            @if let Some(revision) = &run.config_revision { dt { "Config" } dd { code { (visible(revision)) } } }
            dt { "OpenMetadata told" } dd {
                @if let Some(by) = &run.reported_by { "by " (visible(by)) } @else { "not seen" }
                @if let Some(at) = run.reported_at { ", " (exactly(at)) }
            }
        }
    }
}

/// The parts of the run's time as bars of one line.
fn times(site: &Site<'_>, run: &RunRecord) -> Markup {
    let spans = timeline(run);
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return html! {} };
    let end = last.to.unwrap_or_else(|| site.now());
    let whole = end.duration_since(first.from).as_millis().max(1);
    let position = |at: Timestamp| at.duration_since(first.from).as_millis().max(0) * 400 / whole;
    html! {
        section aria-labelledby="times" {
            h2 #times { "Where the time went" }
            div.scroll tabindex="0" role="region" aria-label="Timeline" {
                table.bars {
                    tbody { @for one in &spans {
                        @let to = one.to.unwrap_or(end);
                        tr {
                            th scope="row" { (name_of(one)) }
                            td { svg viewBox="0 0 400 14" width="400" height="14" aria-hidden="true" {
                                rect class={ "phase-" (one.phase.as_str()) } x=(position(one.from)) y="1"
                                    width=((position(to) - position(one.from)).max(2)) height="12" {}
                            } }
                            td.number { (span(to.duration_since(one.from))) @if one.to.is_none() { ", goes on" } }
                        }
                    } }
                }
            }
        }
    }
}

fn name_of(span: &Span) -> String {
    let phase = span.phase.as_str();
    span.attempt.map_or_else(|| phase.to_owned(), |attempt| format!("{phase}, attempt {attempt}"))
}

fn attempts(run: &RunRecord) -> Markup {
    html! {
        section aria-labelledby="attempts" {
            h2 #attempts { "Attempts" }
            @if run.attempts.is_empty() { p { "No pod of it was seen." } } @else {
                div.scroll tabindex="0" role="region" aria-label="Attempts" {
                    table {
                        thead { tr {
                            th scope="col" { "No." } th scope="col" { "Pod" } th scope="col" { "Node" } th scope="col" { "Began" }
                            th scope="col" { "Ended" } th scope="col" { "Exit code" } th scope="col" { "Reason" }
                        } }
                        tbody { @for (index, one) in run.attempts.iter().enumerate() { (attempt(index + 1, one)) } }
                    }
                }
            }
        }
    }
}

fn attempt(number: usize, attempt: &AttemptRecord) -> Markup {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "–".to_owned(), exactly);
    html! {
        tr {
            td.number { (number) }
            td { code { (visible(&attempt.pod)) } }
            td { (visible(attempt.node.as_deref().unwrap_or("–"))) }
            td { (time(attempt.started.or(attempt.created))) }
            td { (time(attempt.finished)) }
            td.number { @if let Some(code) = attempt.exit_code { (code) } @else { "–" } }
            td { (visible(attempt.reason.as_deref().unwrap_or("–"))) }
        }
    }
}

/// The script fills it: it follows the log while the run goes on.
fn log(site: &Site<'_>, pipeline: &str, run: &RunRecord) -> Markup {
    let run_path = site.run_path(pipeline, run);
    let prefix = site.path("");
    let logs =
        format!("{prefix}/api/v1{}/logs", run_path.strip_prefix(&prefix).unwrap_or(&run_path));
    let follow = (!run.state.is_terminal()).then(|| format!("{logs}/follow"));
    html! {
        section aria-labelledby="log-title" {
            h2 #log-title { "Log" }
            div.tools {
                label { "Search " input #log-search type="search" autocomplete="off"; }
                button #log-error type="button" { "First error" }
                label { input #log-tail type="checkbox" checked; " stay at the end" }
                a href=(logs) download={ (run.run_id) ".log" } { "Download" }
            }
            p #log-status role="status" {}
            pre #log data-log=(logs) data-follow=[follow] tabindex="0" role="log" aria-labelledby="log-title" aria-live="off" {}
        }
    }
}
