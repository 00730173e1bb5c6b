//! What every request may need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use ompipe_client::{Error, K8sPipelineClient, LogSelection};
use ompipe_core::PipelineIdentity;
use ompipe_core::logs::LogPage;
use ompipe_core::shares::Shares;
use ompipe_listener::Caller;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::api::Api;
use crate::board::Board;
use crate::credentials::Credentials;
use crate::guesses::{Failed, Guesses};
use crate::metrics::Metrics;
use crate::pipeline_metrics::PipelineMetrics;
use crate::places::Places;
use crate::reloaded::Reloaded;
use crate::settings::Ui;
use crate::version::VersionSource;

/// How long the reading of a page waits for its turn.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// Longest time for a page as a whole.
const PAGE_LIMIT: Duration = Duration::from_mins(1);

/// What every request may need; shared, and without a state that another replica would lack.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) client: K8sPipelineClient,
    pub(crate) version: VersionSource,
    pub(crate) credentials: Reloaded<Credentials>,
    pub(crate) guesses: Guesses,
    pub(crate) metrics: Metrics,
    pub(crate) api: Api,
    pub(crate) board: Board,
    pub(crate) ui: Ui,
    /// `None` where they are switched off.
    pub(crate) pipeline_metrics: Option<PipelineMetrics>,
    /// Places for requests under way.
    pub(crate) places: Places,
    /// How many of the places for logs each pipeline has.
    pub(crate) log_shares: Arc<Shares<String>>,
    /// Turns of [`App::log_page`].
    pub(crate) page_turns: Semaphore,
    /// Told when there may be pipelines that OpenMetadata no longer has.
    pub(crate) look_for_orphans: Notify,
    /// Cancelled once the server is about to end.
    pub(crate) stop: CancellationToken,
}

impl App {
    /// Whether credentials that this caller sends are looked at. One that sends none does not guess.
    pub(crate) fn may_log_in(&self, headers: &HeaderMap, peer: SocketAddr) -> bool {
        !headers.contains_key(AUTHORIZATION) || self.guesses.may_try(peer.ip())
    }

    /// Notes a login that failed; true when that address had too many.
    pub(crate) fn login_failed(&self, headers: &HeaderMap, peer: SocketAddr) -> bool {
        debug!(%peer, "a login failed");
        self.metrics.login_failed();
        if !headers.contains_key(AUTHORIZATION) {
            return false;
        }
        let failed = self.guesses.failed(peer.ip());
        if failed == Failed::Last {
            warn!(peer = %peer.ip(), "too many failed logins: this caller is refused for a minute");
        }
        failed == Failed::TooMany
    }

    /// Notes a login: this caller and this connection are known now.
    pub(crate) fn logged_in(&self, request: &Request, peer: SocketAddr) {
        self.guesses.succeeded(peer.ip());
        if let Some(caller) = request.extensions().get::<Caller>() {
            caller.has_logged_in();
        }
    }

    /// A page of a log. Each is held whole, so that only so many are read at the same time, once the
    /// node has begun to answer. What a node does not answer in time is an error.
    ///
    /// # Errors
    /// As [`K8sPipelineClient::log_page`], and [`Error::LogsBusy`].
    pub(crate) async fn log_page(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
        after: Option<&str>,
    ) -> Result<LogPage, Error> {
        let name = &pipeline.fully_qualified_name;
        let _share = self.log_shares.take(name).ok_or(Error::LogsBusy)?;
        let turn = async || match timeout(TURN_WAIT, self.page_turns.acquire()).await {
            Ok(turn) => Ok(turn),
            Err(_) => Err(Error::LogsBusy),
        };
        let page = self.client.log_page_in_turn(pipeline, selection, after, turn);
        timeout(PAGE_LIMIT, page).await.unwrap_or(Err(Error::LogsBusy))
    }
}

/// The application, as handlers get it.
pub(crate) type Shared = Arc<App>;
