//! What fails now and since when, what runs and waits, what comes next, and how the week was.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use ompipe_client::DeployedPipeline;
use ompipe_core::PipelineState;
use ompipe_core::archive::RunRecord;
use ompipe_core::history::{Day, RunFilter, Statistics};

use super::parts::{Place, Site, why};
use super::text::{span, visible, visible_text, when};
use super::{Shown, Visit, shown};

/// Rows that each list shows at most.
const ROWS: usize = 100;
/// How far ahead the strip of next runs reaches.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// Next runs that are marked at most, of each pipeline and of all.
const SLOTS: (usize, usize) = (48, 2_000);

pub(super) async fn show(visit: Visit) -> Shown {
    let site = visit.site();
    Ok(shown(site.page(Place::Overview, "Overview", &body(&site))))
}

pub(super) fn body(site: &Site<'_>) -> Markup {
    let runs = &site.snapshot.runs;
    let of = |state| runs.iter().filter(move |run: &&RunRecord| run.state == state);
    let (running, queued) = (of(PipelineState::Running).count(), of(PipelineState::Queued).count());
    let failing = failing(site);
    let week = week(site);
    html! {
        h1 { "Overview" }
        (figures(&[
            ("Failing now", failing.len().to_string(), !failing.is_empty()),
            ("Running", running.to_string(), false),
            ("Waiting", queued.to_string(), false),
            ("Success, 7 days", percent(week.success_rate), false),
        ]))
        section aria-labelledby="failing" {
            h2 #failing { "Failing now" }
            @if failing.is_empty() { p { "No pipeline fails." } } @else { (failing_table(site, &failing)) }
        }
        section aria-labelledby="running" {
            h2 #running { "Running and waiting" }
            @if running + queued == 0 { p { "Nothing runs, and nothing waits." } } @else {
                (site.runs(of(PipelineState::Running).chain(of(PipelineState::Queued)).take(ROWS), true))
            }
        }
        section aria-labelledby="next" { h2 #next { "Next 24 hours" } (ahead(site)) }
        section aria-labelledby="week" { h2 #week { "Last 7 days" } (reasons(&week)) (days(&week.days)) }
    }
}

/// The pipelines whose last runs failed, with since when, the newest first.
fn failing<'s>(site: &Site<'s>) -> Vec<(&'s DeployedPipeline, Timestamp)> {
    let since = |pipeline: &'s DeployedPipeline| {
        let since = site.snapshot.failing_since(&pipeline.identity.fully_qualified_name)?;
        Some((pipeline, since))
    };
    let mut failing: Vec<_> = site.snapshot.pipelines.iter().filter_map(since).collect();
    failing.sort_by_key(|(_, since)| std::cmp::Reverse(*since));
    failing
}

fn failing_table(site: &Site<'_>, failing: &[(&DeployedPipeline, Timestamp)]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Pipelines that fail" {
            table {
                thead { tr {
                    th scope="col" { "Pipeline" } th scope="col" { "Fails since" } th scope="col" { "Last runs" }
                    th scope="col" { "Why" } th scope="col" { "Next run" }
                } }
                tbody {
                    @for (pipeline, since) in failing.iter().take(ROWS) {
                        @let name = &pipeline.identity.fully_qualified_name;
                        @let last = site.snapshot.runs_of(name).find(|run| run.state == PipelineState::Failed);
                        tr {
                            td { a href=(site.pipeline_path(name)) { (visible(name)) } }
                            td { (when(*since, site.now())) }
                            td { (site.strip(name)) }
                            td.why { @if let Some(run) = last {
                                a href=(site.run_path(name, run)) { "run " code { (run.run_id.short()) } } " " (why(run))
                            } }
                            td { @if let Some(next) = pipeline.next_run { (when(next, site.now())) } @else { "–" } }
                        }
                    }
                }
            }
        }
    }
}

fn week(site: &Site<'_>) -> Statistics {
    let since = site.now().checked_sub(SignedDuration::from_hours(7 * 24)).ok();
    let filter = RunFilter { since, ..RunFilter::default() };
    let runs = site.snapshot.runs.iter().filter(|run| filter.accepts(run));
    Statistics::of(runs, &TimeZone::UTC)
}

pub(super) fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.0} %", rate * 100.0))
}

/// Large figures, some of them a warning.
pub(super) fn figures(figures: &[(&str, String, bool)]) -> Markup {
    html! {
        dl.figures {
            @for (name, value, is_bad) in figures {
                div class=[is_bad.then_some("bad")] { dt { (name) } dd { (value) } }
            }
        }
    }
}

pub(super) fn reasons(found: &Statistics) -> Markup {
    let most = found.reasons.first().map_or(1, |reason| reason.runs);
    html! {
        @if found.reasons.is_empty() { p { "No run failed." } } @else {
            table.bars {
                caption { "Failures by reason" }
                tbody {
                    @for one in &found.reasons {
                        tr {
                            th scope="row" { (visible(&one.reason)) }
                            td { meter min="0" max=(most) value=(one.runs) aria-label=(visible_text(&one.reason)) {} }
                            td.number { (one.runs) }
                        }
                    }
                }
            }
        }
        @if let Some(took) = found.durations {
            p { "Half of the runs took at most " (seconds(took.p50)) ", 95 % at most " (seconds(took.p95)) "." }
        }
    }
}

fn seconds(count: i64) -> String {
    span(SignedDuration::from_secs(count))
}

/// Runs of each day, good ones below bad ones.
fn days(days: &[Day]) -> Markup {
    let most = days.iter().map(|day| day.succeeded + day.failed).max().unwrap_or(1).max(1);
    html! {
        table.bars {
            caption { "Runs by day" }
            tbody {
                @for day in days {
                    tr {
                        th scope="row" { (day.date) }
                        td {
                            svg viewBox="0 0 200 12" width="200" height="12" aria-hidden="true" {
                                rect.success x="0" y="0" width=(day.succeeded * 200 / most) height="12" {}
                                rect.failed x=(day.succeeded * 200 / most) y="0" width=(day.failed * 200 / most) height="12" {}
                            }
                        }
                        td.number { (day.succeeded) " good, " (day.failed) " failed" }
                    }
                }
            }
        }
    }
}

/// When pipelines run in the next day: a mark for each run on a line of 24 hours, and the first of them.
fn ahead(site: &Site<'_>) -> Markup {
    let slots = slots(site);
    let position = |at: Timestamp| at.duration_since(site.now()).as_secs() * 720 / AHEAD.as_secs();
    html! {
        @if slots.is_empty() { p { "No pipeline runs by itself in the next 24 hours." } } @else {
            svg.ahead viewBox="0 0 720 34" role="img" aria-label={ (slots.len()) " runs in the next 24 hours" } {
                line x1="0" y1="20" x2="720" y2="20" {}
                @for hour in (0..24).step_by(3) { text x=(hour * 30) y="33" { "+" (hour) " h" } }
                @for (at, name) in &slots { rect x=(position(*at)) y="6" width="2" height="14" { title { (visible_text(name)) } } }
            }
            ol.slots {
                @for (at, name) in slots.iter().take(10) {
                    li { (when(*at, site.now())) " " a href=(site.pipeline_path(name)) { (visible(name)) } }
                }
            }
        }
    }
}

pub(super) fn slots<'s>(site: &Site<'s>) -> Vec<(Timestamp, &'s str)> {
    let until = site.now().checked_add(AHEAD).unwrap_or(Timestamp::MAX);
    let (of_one, of_all) = SLOTS;
    let of_pipeline = |pipeline: &'s DeployedPipeline| {
        let schedule = pipeline.timetable.as_ref().filter(|_| !pipeline.suspended)?;
        let first = pipeline.next_run.filter(|next| *next <= until)?;
        let following =
            move |time: &Timestamp| schedule.next_after(*time).filter(|next| *next <= until);
        let name = pipeline.identity.fully_qualified_name.as_str();
        Some(std::iter::successors(Some(first), following).take(of_one).map(move |at| (at, name)))
    };
    let pipelines = site.snapshot.pipelines.iter();
    let mut slots: Vec<_> = pipelines.filter_map(of_pipeline).flatten().take(of_all).collect();
    slots.sort_unstable();
    slots
}
