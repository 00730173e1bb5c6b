//! All pipelines in a table, with search and filters in the address.

use maud::{Markup, html};
use ompipe_client::DeployedPipeline;
use ompipe_core::PipelineState;
use ompipe_core::history::service_of;

use super::parts::{Place, Site, chip};
use super::text::{visible, visible_text, when};
use super::{Shown, Visit, shown};

/// Rows of a page.
const ROWS: usize = 100;

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) text: String,
    pub(super) state: Option<PipelineState>,
    pub(super) kind: String,
    pub(super) service: String,
    pub(super) page: usize,
}

impl Wanted {
    fn of(visit: &Visit) -> Self {
        let text = |name| visit.asked(name).unwrap_or_default().to_owned();
        Self {
            text: text("q"),
            state: visit.asked("state").and_then(|state| serde_json::from_value(state.into()).ok()),
            kind: text("type"),
            service: text("service"),
            page: visit.asked("page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1),
        }
    }

    fn accepts(&self, site: &Site<'_>, pipeline: &DeployedPipeline) -> bool {
        let name = &pipeline.identity.fully_qualified_name;
        let is_text =
            self.text.is_empty() || name.to_lowercase().contains(&self.text.to_lowercase());
        let last = || site.snapshot.runs_of(name).next().map(|run| run.state);
        is_text
            && (self.kind.is_empty() || pipeline.pipeline_type == self.kind)
            && (self.service.is_empty() || service_of(name) == Some(self.service.as_str()))
            && self.state.is_none_or(|state| last() == Some(state))
    }

    fn query(&self, page: usize) -> String {
        let state = self.state.map(PipelineState::as_str).unwrap_or_default();
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let (text, kind, service) = (encode(&self.text), encode(&self.kind), encode(&self.service));
        format!("?q={text}&state={state}&type={kind}&service={service}&page={page}")
    }
}

pub(super) async fn show(visit: Visit) -> Shown {
    let (site, wanted) = (visit.site(), Wanted::of(&visit));
    Ok(shown(site.page(Place::Pipelines, "Pipelines", &body(&site, &wanted))))
}

pub(super) fn body(site: &Site<'_>, wanted: &Wanted) -> Markup {
    let meant: Vec<&DeployedPipeline> =
        site.snapshot.pipelines.iter().filter(|one| wanted.accepts(site, one)).collect();
    let begin = wanted.page.saturating_sub(1).saturating_mul(ROWS).min(meant.len());
    let rows = &meant[begin..meant.len().min(begin + ROWS)];
    html! {
        h1 { "Pipelines" }
        (form(site, wanted))
        p role="status" { (meant.len()) " of " (site.snapshot.pipelines.len()) " pipelines" }
        @if !rows.is_empty() { (table(site, rows)) }
        nav.pages aria-label="Pages of the list" {
            @if wanted.page > 1 { a rel="prev" href=(wanted.query(wanted.page - 1)) { "← Previous" } }
            @if begin + ROWS < meant.len() { a rel="next" href=(wanted.query(wanted.page + 1)) { "Next →" } }
        }
    }
}

fn form(site: &Site<'_>, wanted: &Wanted) -> Markup {
    let pipelines = &site.snapshot.pipelines;
    let mut kinds: Vec<&str> = pipelines.iter().map(|one| one.pipeline_type.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let service = |one: &'_ DeployedPipeline| {
        service_of(&one.identity.fully_qualified_name).map(str::to_owned)
    };
    let mut services: Vec<String> = pipelines.iter().filter_map(service).collect();
    services.sort_unstable();
    services.dedup();
    let states = ["queued", "running", "success", "partialSuccess", "failed", "stopped"];
    let state = wanted.state.map(PipelineState::as_str).unwrap_or_default();
    html! {
        form.filters method="get" role="search" {
            label { "Search " input type="search" name="q" value=(visible_text(&wanted.text)) maxlength="256"; }
            (choice("State", "state", states.into_iter(), state))
            (choice("Type", "type", kinds.into_iter(), &wanted.kind))
            (choice("Service", "service", services.iter().map(String::as_str), &wanted.service))
            button type="submit" { "Show" }
        }
    }
}

fn choice<'c>(
    label: &str,
    name: &str,
    choices: impl Iterator<Item = &'c str>,
    chosen: &str,
) -> Markup {
    html! {
        label { (label) " "
            select name=(name) {
                option value="" { "any" }
                @for one in choices { option value=(one) selected[one == chosen] { (visible_text(one)) } }
            }
        }
    }
}

fn table(site: &Site<'_>, rows: &[&DeployedPipeline]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Pipelines" {
            table {
                thead { tr {
                    th scope="col" { "Pipeline" } th scope="col" { "Type" } th scope="col" { "Schedule" }
                    th scope="col" { "Last runs" } th scope="col" { "State" } th scope="col" { "Last success" }
                    th scope="col" { "Next run" }
                } }
                tbody { @for pipeline in rows { (row(site, pipeline)) } }
            }
        }
    }
}

fn row(site: &Site<'_>, pipeline: &DeployedPipeline) -> Markup {
    let name = &pipeline.identity.fully_qualified_name;
    let last = site.snapshot.runs_of(name).next();
    html! {
        tr {
            td { a href=(site.pipeline_path(name)) { (visible(name)) } }
            td { (visible(&pipeline.pipeline_type)) }
            td { (schedule(pipeline)) }
            td { (site.strip(name)) }
            td { @if let Some(run) = last { (chip(run.state)) } @else { "never ran" } }
            td class=[site.snapshot.is_stale(pipeline).then_some("stale")] { (last_success(site, pipeline)) }
            td { @if let Some(next) = pipeline.next_run { (when(next, site.now())) } @else { "–" } }
        }
    }
}

pub(super) fn last_success(site: &Site<'_>, pipeline: &DeployedPipeline) -> Markup {
    let last = site.snapshot.last_success(&pipeline.identity.fully_qualified_name);
    html! {
        @if let Some(last) = last { (when(last, site.now())) } @else { "none known" }
        @if site.snapshot.is_stale(pipeline) { " (overdue)" }
    }
}

pub(super) fn schedule(pipeline: &DeployedPipeline) -> Markup {
    html! {
        @if let Some(schedule) = &pipeline.timetable {
            code { (schedule.as_cron()) } " " (schedule.zone())
            @if pipeline.suspended { " " span.chip.stopped { "paused" } }
        } @else { "on demand" }
    }
}
