//! What every request may need.

use std::sync::Arc;

use ompipe_client::K8sPipelineClient;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

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
    /// Turns of those who read a page of a log, which is held whole.
    pub(crate) page_turns: Semaphore,
    /// Cancelled once the server is about to end.
    pub(crate) stop: CancellationToken,
}

/// The application, as handlers get it.
pub(crate) type Shared = Arc<App>;
