//! The operator.

pub mod access;
mod clock;
pub mod endpoints;
pub mod health;
pub mod last_resort;
pub mod lease;
pub mod metrics;
pub mod settings;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use endpoints::Endpoints;
use health::Health;
use lease::{Leadership, Lease, LeaseSettings};
use metrics::Metrics;
use settings::Settings;

/// Why the operator cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be reached as told.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// A port cannot be opened.
    #[error(transparent)]
    Endpoints(#[from] endpoints::Error),
}

/// Works until `shutdown`, then lets go of the Lease.
///
/// # Errors
/// When it cannot start.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Error> {
    let ports = (settings.health_check_port.get(), settings.metrics_port.get());
    let endpoints = Endpoints::bind(ports.0, ports.1).await?;
    let metrics = Metrics::new();
    let client = access::connect(settings.kubeconfig.as_deref(), &metrics).await?;
    // What outlives the controllers: the Lease is let go when they are done, the endpoints last.
    let (released, ended) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    let leadership = match lease(&settings, &client) {
        None => Leadership::without_election(),
        Some(lease) => {
            let leadership = lease.leadership();
            tasks.spawn(lease.run(released.clone()));
            leadership
        }
    };
    let health = Health::new(leadership.clone());
    let mut serving = JoinSet::new();
    serving.spawn(health.clone().watch_api(client.clone(), ended.clone()));
    serving.spawn(endpoints.serve(health.clone(), metrics.clone(), ended.clone()));
    health.caches_synced();
    shutdown.cancelled().await;
    health.stopping();
    released.cancel();
    tasks.join_all().await;
    ended.cancel();
    serving.join_all().await;
    Ok(())
}

fn lease(settings: &Settings, client: &kube::Client) -> Option<Lease> {
    let election = settings.election.as_ref()?;
    let settings = LeaseSettings {
        namespace: settings.own_namespace(client).to_owned(),
        name: election.lease_name.as_str().to_owned(),
        identity: election.identity.clone(),
        duration: election.lease_duration.get(),
    };
    Some(Lease::new(client.clone(), settings))
}
