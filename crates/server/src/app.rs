//! What every request may need.

use std::net::SocketAddr;
use std::sync::Arc;

use ompipe_client::{Error, K8sPipelineClient, LogSelection};
use ompipe_core::PipelineIdentity;
use ompipe_core::logs::LogPage;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::api::Api;
use crate::credentials::{Credentials, FailedLogins};
use crate::metrics::Metrics;
use crate::reloaded::Reloaded;
use crate::version::VersionSource;

/// What every request may need; shared, and without a state that another replica would lack.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) client: K8sPipelineClient,
    pub(crate) version: VersionSource,
    pub(crate) credentials: Reloaded<Credentials>,
    pub(crate) failed_logins: FailedLogins,
    pub(crate) metrics: Metrics,
    pub(crate) api: Api,
    /// Places for requests under way.
    pub(crate) places: Semaphore,
    /// Turns of [`App::log_page`].
    pub(crate) page_turns: Semaphore,
    /// Cancelled once the server is about to end.
    pub(crate) stop: CancellationToken,
}

impl App {
    /// Notes a login that failed; true when that address had too many.
    pub(crate) fn login_failed(&self, peer: SocketAddr) -> bool {
        debug!(%peer, "a login failed");
        self.metrics.login_failed();
        self.failed_logins.one_more(peer.ip())
    }

    /// A page of a log. Each is held whole, so that only so many are read at the same time.
    ///
    /// # Errors
    /// As [`K8sPipelineClient::log_page`].
    pub(crate) async fn log_page(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
        after: Option<&str>,
    ) -> Result<LogPage, Error> {
        let _turn = self.page_turns.acquire().await;
        self.client.log_page(pipeline, selection, after).await
    }
}

/// The application, as handlers get it.
pub(crate) type Shared = Arc<App>;
