//! What the page changes: each action is asked once more, guarded against other sites, and noted.
//!
//! A form carries the token of a cookie that no other site can read or set (`SameSite=Strict`). No
//! replica keeps anything of it.

use axum::extract::{ConnectInfo, Form, FromRequestParts, Path};
use axum::response::{Html, IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use maud::html;
use ompipe_client::{PipelineServiceClient, RunRequest};
use ompipe_core::{PipelineIdentity, RunId};
use serde::Deserialize;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::info;
use uuid::Uuid;

use super::parts::Place;
use super::text::{visible, visible_text};
use super::{Refused, Visit};
use crate::app::{App, Shared};
use crate::contract;
use crate::credentials::presented;

const TOKEN: &str = "ompipe_csrf";

#[derive(Clone, Copy)]
enum Action {
    Run,
    Pause,
    Resume,
    Kill,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Kill => "kill",
        }
    }

    const fn question(self) -> &'static str {
        match self {
            Self::Run => "Start a run of this pipeline now?",
            Self::Pause => "Pause the schedule of this pipeline? Runs that go on are not touched.",
            Self::Resume => "Resume the schedule of this pipeline?",
            Self::Kill => "Kill this run? What it has not stored yet is lost.",
        }
    }

    const fn button(self) -> &'static str {
        match self {
            Self::Run => "Run now",
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Kill => "Kill the run",
        }
    }
}

pub(super) async fn ask_run(visit: Visit) -> Result<Response, Refused> {
    ask(&visit, Action::Run)
}

pub(super) async fn ask_pause(visit: Visit) -> Result<Response, Refused> {
    ask(&visit, Action::Pause)
}

pub(super) async fn ask_resume(visit: Visit) -> Result<Response, Refused> {
    ask(&visit, Action::Resume)
}

pub(super) async fn ask_kill(visit: Visit) -> Result<Response, Refused> {
    visit.run()?;
    ask(&visit, Action::Kill)
}

fn ask(visit: &Visit, action: Action) -> Result<Response, Refused> {
    let (site, pipeline) = (visit.site(), visit.part("pipeline"));
    visit.pipeline()?;
    let token = Uuid::new_v4().to_string();
    let back = match action {
        Action::Kill => format!("{}/runs/{}", site.pipeline_path(pipeline), visit.run()?.run_id),
        Action::Run | Action::Pause | Action::Resume => site.pipeline_path(pipeline),
    };
    let body = html! {
        h1 { (action.button()) }
        p { (action.question()) }
        dl.facts {
            dt { "Pipeline" } dd { (visible(pipeline)) }
            @if matches!(action, Action::Kill) { dt { "Run" } dd { code { (visible_text(visit.part("runId"))) } } }
        }
        form method="post" {
            input type="hidden" name="token" value=(token);
            button.danger[matches!(action, Action::Kill)] type="submit" { (action.button()) }
            " " a href=(back) { "Cancel" }
        }
    };
    let page = site.page(Place::Pipelines, action.button(), &body);
    let path = visit.app.api.path("/");
    let cookie = format!("{TOKEN}={token}; Path={path}; HttpOnly; SameSite=Strict; Max-Age=3600");
    Ok(([(SET_COOKIE, cookie)], Html(page.into_string())).into_response())
}

#[derive(Deserialize)]
pub(super) struct Confirmed {
    token: String,
}

/// A confirmed action: the caller, and what is meant.
pub(super) struct Order {
    app: Shared,
    peer: SocketAddr,
    headers: HeaderMap,
    pipeline: PipelineIdentity,
    run: Option<RunId>,
}

impl FromRequestParts<Shared> for Order {
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        app: &Shared,
    ) -> Result<Self, Refused> {
        let bad = || Refused(StatusCode::BAD_REQUEST, "the request cannot be read".to_owned());
        let app = Arc::clone(app);
        let ConnectInfo(peer) =
            ConnectInfo::<SocketAddr>::from_request_parts(parts, &()).await.map_err(|_| bad())?;
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, &()).await;
        let Path(path) = path.map_err(|_| bad())?;
        let pipeline = app.client.find(path.get("pipeline").ok_or_else(bad)?).await?;
        let run = path.get("runId").map(|run| run.parse().map_err(|_| bad())).transpose()?;
        Ok(Self { app, peer, headers: parts.headers.clone(), pipeline, run })
    }
}

impl Order {
    /// Refuses a form that this page did not make for this browser; else notes who ordered what.
    fn confirm(&self, action: Action, form: &Confirmed) -> Result<(), Refused> {
        if !is_confirmed(&self.headers, &form.token) {
            let detail = "the form is too old, or not of this page: go back and try again";
            return Err(Refused(StatusCode::FORBIDDEN, detail.to_owned()));
        }
        let run = self.run.map(|run| run.to_string());
        let pipeline = visible_text(&self.pipeline.fully_qualified_name);
        info!(target: "ompipe::audit", action = action.as_str(), user = user_of(&self.headers), peer = %self.peer, pipeline, run, "ordered on the page");
        Ok(())
    }

    fn back(&self, run: Option<RunId>) -> Response {
        let name = percent_encoding::utf8_percent_encode(
            &self.pipeline.fully_qualified_name,
            percent_encoding::NON_ALPHANUMERIC,
        );
        let run = run.map(|run| format!("/runs/{run}")).unwrap_or_default();
        Redirect::to(&self.app.api.path(&format!("/pipelines/{name}{run}"))).into_response()
    }
}

fn is_confirmed(headers: &HeaderMap, token: &str) -> bool {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
    let mut tokens = cookies
        .flat_map(|cookie| cookie.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix(TOKEN)?.strip_prefix('='));
    !token.is_empty() && tokens.any(|known| known == token)
}

/// Who is logged in, for the log.
fn user_of(headers: &HeaderMap) -> String {
    let basic = presented(headers, "Basic").and_then(|basic| STANDARD.decode(basic).ok());
    let basic = basic.and_then(|basic| String::from_utf8(basic).ok());
    let user = basic.and_then(|basic| Some(visible_text(basic.split_once(':')?.0)));
    user.unwrap_or_else(|| "the bearer of a token".to_owned())
}

pub(super) async fn run(order: Order, Form(form): Form<Confirmed>) -> Result<Response, Refused> {
    order.confirm(Action::Run, &form)?;
    let run = RunId::random();
    contract::start(&order.app, &order.pipeline, RunRequest::queued(run)).await?;
    order.app.board.forget().await;
    Ok(order.back(Some(run)))
}

pub(super) async fn pause(order: Order, Form(form): Form<Confirmed>) -> Result<Response, Refused> {
    order.confirm(Action::Pause, &form)?;
    switch(&order.app, &order.pipeline, false).await?;
    Ok(order.back(None))
}

pub(super) async fn resume(order: Order, Form(form): Form<Confirmed>) -> Result<Response, Refused> {
    order.confirm(Action::Resume, &form)?;
    switch(&order.app, &order.pipeline, true).await?;
    Ok(order.back(None))
}

async fn switch(app: &App, pipeline: &PipelineIdentity, enabled: bool) -> Result<(), Refused> {
    app.client.toggle_ingestion(pipeline, enabled).await?;
    app.board.forget().await;
    Ok(())
}

pub(super) async fn kill(order: Order, Form(form): Form<Confirmed>) -> Result<Response, Refused> {
    order.confirm(Action::Kill, &form)?;
    if let Some(run) = order.run {
        order.app.client.kill_ingestion_run(&order.pipeline, run).await?;
    }
    order.app.board.forget().await;
    Ok(order.back(order.run))
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ompipe_csrf=a", "a", true)]
    #[case("x=1; ompipe_csrf=a", "a", true)]
    #[case("ompipe_csrf=b", "a", false)]
    #[case("ompipe_csrf=", "", false)]
    #[case("other_ompipe_csrf=a", "a", false)]
    fn a_form_carries_the_token_of_its_cookie(
        #[case] cookie: &str,
        #[case] token: &str,
        #[case] expected: bool,
    ) {
        let headers = HeaderMap::from_iter([(COOKIE, cookie.parse().unwrap())]);
        assert_eq!(is_confirmed(&headers, token), expected);
    }

    #[test]
    fn the_audit_line_names_the_user_and_never_the_password() {
        let value = format!("Basic {}", STANDARD.encode("anna:se:cret"));
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(user_of(&headers), "anna");
    }
}
