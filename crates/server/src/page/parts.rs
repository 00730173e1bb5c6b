//! What several pages show.

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use ompipe_core::PipelineState;
use ompipe_core::archive::RunRecord;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::text::{exactly, span, visible, visible_text, when};
use crate::board::{STRIP, Snapshot};
use crate::settings::BasePath;

/// Where the page is, and of when what it shows is.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    base: &'a BasePath,
    namespace: &'a str,
    pub(super) snapshot: &'a Snapshot,
}

/// Which of the places of the menu a page belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Overview,
    Pipelines,
}

impl<'a> Site<'a> {
    pub(super) const fn new(
        base: &'a BasePath,
        namespace: &'a str,
        snapshot: &'a Snapshot,
    ) -> Self {
        Self { base, namespace, snapshot }
    }

    pub(super) const fn now(&self) -> Timestamp {
        self.snapshot.now
    }

    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) fn pipeline_path(&self, pipeline: &str) -> String {
        let name = utf8_percent_encode(pipeline, NON_ALPHANUMERIC);
        self.path(&format!("/pipelines/{name}"))
    }

    pub(super) fn run_path(&self, pipeline: &str, run: &RunRecord) -> String {
        format!("{}/runs/{}", self.pipeline_path(pipeline), run.run_id)
    }

    /// A whole page. What is in `body` is renewed while it is looked at.
    pub(super) fn page(&self, place: Place, title: &str, body: &Markup) -> Markup {
        let current = |this: Place| (this == place).then_some("page");
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (visible_text(title)) " · ompipe" }
                    link rel="stylesheet" href=(self.path("/assets/page.css"));
                    script type="module" src=(self.path("/assets/page.js")) {}
                }
                body {
                    a.skip href="#content" { "Skip to the content" }
                    header {
                        a.brand href=(self.path("/")) { "ompipe" }
                        nav aria-label="Pages" {
                            a href=(self.path("/")) aria-current=[current(Place::Overview)] { "Overview" }
                            a href=(self.path("/pipelines")) aria-current=[current(Place::Pipelines)] { "Pipelines" }
                            a href=(self.path("/api/v1/")) { "API" }
                        }
                    }
                    main #content { (body) }
                    footer {
                        "Namespace " (self.namespace) " · as of " time datetime=(self.now().to_string()) { (exactly(self.now())) }
                        " · times are in UTC, schedules in their own zone"
                    }
                }
            }
        }
    }

    /// The last runs of a pipeline, the newest at the right: the colour is the state, the height the
    /// duration.
    pub(super) fn strip(&self, pipeline: &str) -> Markup {
        let mut runs: Vec<&RunRecord> = self.snapshot.runs_of(pipeline).take(STRIP).collect();
        runs.reverse();
        let longest = runs.iter().filter_map(|run| self.seconds(run)).max().unwrap_or(1).max(1);
        let label = strip_label(&runs);
        html! {
            svg.strip viewBox="0 0 150 24" width="150" height="24" role="group" aria-label=(label) {
                @for (index, run) in runs.iter().enumerate() {
                    @let height = 4 + self.seconds(run).unwrap_or(0) * 20 / longest;
                    a href=(self.run_path(pipeline, run)) tabindex="-1" aria-hidden="true" {
                        rect class=(run.state.as_str()) x=(index * 6) y=(24 - height) width="5" height=(height) {
                            title { (run.state) ", " (self.took_text(run)) }
                        }
                    }
                }
            }
        }
    }

    /// How long a run took, or takes since it was asked for.
    pub(super) fn took_text(&self, run: &RunRecord) -> String {
        let end = run.finished.unwrap_or_else(|| self.now());
        run.created.map_or_else(|| "–".to_owned(), |created| span(end.duration_since(created)))
    }

    fn seconds(&self, run: &RunRecord) -> Option<i64> {
        let end = run.finished.unwrap_or_else(|| self.now());
        Some(end.duration_since(run.created?).as_secs().max(0))
    }

    /// A table of runs.
    pub(super) fn runs<'r>(
        &self,
        runs: impl IntoIterator<Item = &'r RunRecord>,
        with_pipeline: bool,
    ) -> Markup {
        html! {
            div.scroll tabindex="0" role="region" aria-label="Runs" {
                table {
                    thead { tr {
                        th scope="col" { "State" }
                        @if with_pipeline { th scope="col" { "Pipeline" } }
                        th scope="col" { "Run" } th scope="col" { "Began" } th scope="col" { "Took" }
                        th scope="col" { "Attempts" } th scope="col" { "Why" }
                    } }
                    tbody { @for run in runs { (self.run_row(run, with_pipeline)) } }
                }
            }
        }
    }

    fn run_row(&self, run: &RunRecord, with_pipeline: bool) -> Markup {
        let pipeline = run.pipeline.as_deref().unwrap_or_default();
        html! {
            tr {
                td { (chip(run.state)) }
                @if with_pipeline { td { a href=(self.pipeline_path(pipeline)) { (visible(pipeline)) } } }
                td { a href=(self.run_path(pipeline, run)) { code { (run.run_id.short()) } } }
                td { @if let Some(created) = run.created { (when(created, self.now())) } }
                td { (self.took_text(run)) }
                td.number { (run.attempts.len()) }
                td.why { (why(run)) }
            }
        }
    }
}

/// A state in its colour and its word.
pub(super) fn chip(state: PipelineState) -> Markup {
    html! { span class={ "chip " (state.as_str()) } { (words(state)) } }
}

const fn words(state: PipelineState) -> &'static str {
    match state {
        PipelineState::Queued => "queued",
        PipelineState::Running => "running",
        PipelineState::Success => "success",
        PipelineState::PartialSuccess => "partial success",
        PipelineState::Failed => "failed",
        PipelineState::Stopped => "stopped",
    }
}

/// Why a run waits or failed.
pub(super) fn why(run: &RunRecord) -> Markup {
    html! {
        @if let Some(reason) = &run.reason { b { (visible(reason)) } " " }
        @if let Some(message) = &run.message { (visible(&first_line(message))) }
    }
}

fn first_line(message: &str) -> String {
    const MOST: usize = 200;
    let line = message.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(MOST).collect();
    if cut.len() < line.len() { format!("{cut}…") } else { cut }
}

fn strip_label(runs: &[&RunRecord]) -> String {
    let count = |wanted| runs.iter().filter(|run| run.state == wanted).count();
    let failed = count(PipelineState::Failed);
    match runs.last() {
        None => "no runs".to_owned(),
        Some(last) => {
            format!("last {} runs, {failed} failed, the latest {}", runs.len(), words(last.state))
        }
    }
}
