//! The operator: carries `OMJob`s out in two stages, always, and makes `CronOMJob`s' runs.
//!
//! ```text
//!                 ┌── lease ── who acts
//!  scope (one for each watched namespace)
//!    caches  OMJobs · pods · CronOMJobs ──► omjob, cronomjob ──► writes, behind the lease
//!                                                │
//!                 events, metrics, health ◄──────┘
//!
//!    caches  Jobs · their pods ──► jobs, the reporter of plain runs, beside the others
//! ```
//!
//! The decisions are pure and live in `ompipe-core`; here is what they cost: watches, writes, timers.
//! All state is in Kubernetes: this process may be killed at any time.

pub mod access;
mod apart;
mod archive;
mod by_owner;
mod clock;
mod context;
mod create;
mod cronomjob;
mod diagnosis;
mod drain;
pub mod endpoints;
mod error;
mod events;
pub mod health;
mod jobs;
mod last_resort;
pub mod lease;
mod letting_go;
pub mod metrics;
mod omjob;
mod pages;
mod queue;
mod ready;
mod retry;
mod scope;
mod servers;
pub mod settings;
mod tracking;
mod view;
mod warning;
mod writes;
mod written;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::Client;
use ompipe_archive::{Archive, Keep};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use archive::{Archiver, Archiving};
use context::Context;
use endpoints::Endpoints;
use events::Events;
use health::Health;
use jobs::Reporter;
use lease::{Leadership, Lease, LeaseSettings, Purpose};
use metrics::Metrics;
use scope::Scope;
use servers::Servers;
use settings::Settings;
use writes::Writes;

/// Why the operator cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be reached as told.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// A port cannot be opened.
    #[error(transparent)]
    Endpoints(#[from] endpoints::Error),
    /// The archive of logs cannot be used as told.
    #[error("LOGS_ARCHIVE_URL (--logs-archive-url): {0}")]
    Archive(#[from] ompipe_archive::BadUrl),
    /// A part that works beside the controllers ended, by a panic for instance.
    #[error("{0} ended before the operator; see the log")]
    TaskEnded(&'static str),
    /// A drain may not see the Jobs that it should let go of, and would wait for ever.
    #[error(
        "cannot release Jobs: {0}; give the operator the rights that `ompipe rbac --operator` prints, or set \
         REPORT_JOBS=false where no operator has ever reported Jobs"
    )]
    DrainWithoutRights(#[source] Box<kube::Error>),
}

/// Works until `shutdown`, brings what it does to its end, and lets go of the Lease.
///
/// # Errors
/// When it cannot start.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), Error> {
    let ports = (settings.health_check_port.get(), settings.metrics_port.get());
    let endpoints = Endpoints::bind(ports.0, ports.1).await?;
    let metrics = Metrics::new();
    let archiving = archiving(&settings)?;
    let client = access::connect(settings.kubeconfig.as_deref(), &metrics).await?;
    if settings.drain && settings.report_jobs {
        let scopes = Scope::all(&settings, &client);
        jobs::require_rights(&scopes, &client).await.map_err(Error::DrainWithoutRights)?;
    }
    // What outlives the controllers: the Lease is let go when they are done, the endpoints last.
    let (released, ended) = (CancellationToken::new(), CancellationToken::new());
    let mut electing = JoinSet::new();
    let leadership = match lease(&settings, &client) {
        None => Leadership::without_election(),
        Some(lease) => {
            let leadership = lease.leadership();
            electing.spawn(lease.run(released.clone()));
            leadership
        }
    };
    let health = Health::new(leadership.clone());
    let mut serving = JoinSet::new();
    serving.spawn(health.clone().watch_api(client.clone(), ended.clone()));
    serving.spawn(endpoints.serve(health.clone(), metrics.clone(), ended.clone()));
    let writes = Writes::new(client, leadership);
    let control = control(&settings, archiving, &writes, &metrics, &health, &shutdown);
    unless_a_task_ends(control, &mut electing, &mut serving).await?;
    health.stopping();
    released.cancel();
    electing.join_all().await;
    ended.cancel();
    serving.join_all().await;
    Ok(())
}

/// Runs `control` to its end. A task beside it that ends first is an error, after which Kubernetes starts
/// the container again: without the election this replica would never lead, and without the endpoints
/// nobody would see that it is unwell.
async fn unless_a_task_ends(
    control: impl Future<Output = ()>,
    electing: &mut JoinSet<()>,
    serving: &mut JoinSet<()>,
) -> Result<(), Error> {
    tokio::select! {
        () = control => Ok(()),
        Some(_) = electing.join_next() => Err(Error::TaskEnded("the election")),
        Some(_) = serving.join_next() => Err(Error::TaskEnded("the endpoints")),
    }
}

/// Runs the controllers of every scope until `shutdown`.
async fn control(
    settings: &Settings,
    archiving: Option<Archiving>,
    writes: &Writes,
    metrics: &Metrics,
    health: &Health,
    shutdown: &CancellationToken,
) {
    let (events, telling) = Events::new(writes.client().clone());
    let mut tasks = JoinSet::new();
    let scopes = Scope::all(settings, writes.client());
    let all_scopes = scopes.clone();
    let unsynced = Arc::new(AtomicUsize::new(scopes.len()));
    let servers = Servers::default();
    let (mut contexts, mut reporters) = (Vec::new(), Vec::new());
    for scope in scopes {
        let archiver = archiving.clone().map(Archiver::new);
        let (context, triggers) = Context::new(
            writes.clone(),
            events.clone(),
            metrics.clone(),
            servers.clone(),
            archiver.as_ref().map(|(archiver, _)| Arc::clone(archiver)),
            settings,
        );
        let context = Arc::new(context);
        contexts.push(Arc::clone(&context));
        let mut of_jobs = None;
        if settings.report_jobs {
            let (reporter, feed) = Reporter::new(Arc::clone(&context), settings);
            reporters.push(Arc::clone(&reporter));
            of_jobs = Some(Arc::clone(&reporter));
            tasks.spawn(jobs::run(scope.clone(), reporter, feed, shutdown.clone()));
        }
        if let Some((archiver, records)) = archiver {
            let work = archive::Work { archiver, context: Arc::clone(&context), reporter: of_jobs };
            tasks.spawn(archive::run(work, records, shutdown.clone()));
        }
        let (health, unsynced) = (health.clone(), Arc::clone(&unsynced));
        let synced = move || {
            if unsynced.fetch_sub(1, Ordering::AcqRel) == 1 {
                health.caches_synced();
            }
        };
        tasks.spawn(scope::run(scope, context, triggers, synced, shutdown.clone()));
    }
    let one = contexts.first().cloned();
    metrics.on_scrape(move |metrics| context::count(&contexts, &reporters, metrics));
    // The events end with the last that may tell one; what is not told by then is lost.
    drop(events);
    tokio::select! {
        _ = tasks.join_all() => {}
        () = telling => {}
    }
    if let Some(context) = one.filter(|_| !settings.drain) {
        let own = settings.own_namespace(writes.client());
        letting_go::if_namespace_ends(own, &all_scopes, &context, settings.report_jobs).await;
    }
}

/// How logs are archived, if they are. A drain lets everything go at once.
fn archiving(settings: &Settings) -> Result<Option<Archiving>, Error> {
    let Some(told) = settings.logs_archive.as_ref().filter(|_| !settings.drain) else {
        return Ok(None);
    };
    let archive = Archive::from_environment(told.url.as_str())?;
    let keep = Keep {
        logs: archive::days(told.logs_retention.get()),
        records: archive::days(told.records_retention.get()),
    };
    let bytes = |count: u64, shift: u32| (count > 0).then_some(count << shift);
    let (most_per_run, most) = (bytes(told.run_limit.get(), 20), bytes(told.limit.get(), 30));
    Ok(Some(Archiving { archive, keep, redact: told.redact, most_per_run, most }))
}

fn lease(settings: &Settings, client: &Client) -> Option<Lease> {
    let election = settings.election.as_ref()?;
    let settings = LeaseSettings {
        namespace: settings.own_namespace(client).to_owned(),
        name: election.lease_name.as_str().to_owned(),
        identity: election.identity.clone(),
        duration: election.lease_duration.get(),
        purpose: if settings.drain { Purpose::Retire } else { Purpose::Lead },
    };
    Some(Lease::new(client.clone(), settings))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn running() -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(pending());
        tasks
    }

    fn ended() -> JoinSet<()> {
        let mut tasks = running();
        tasks.spawn(ready(()));
        tasks
    }

    fn panicked() -> JoinSet<()> {
        let mut tasks = running();
        tasks.spawn(async { panic!("a test") });
        tasks
    }

    #[rstest::rstest]
    #[case::election_ended(ended(), running(), "the election")]
    #[case::election_panicked(panicked(), running(), "the election")]
    #[case::endpoints_ended(running(), ended(), "the endpoints")]
    #[case::endpoints_panicked(running(), panicked(), "the endpoints")]
    #[case::endpoints_without_an_election(JoinSet::new(), panicked(), "the endpoints")]
    #[tokio::test]
    async fn a_background_task_that_ends_ends_the_operator(
        #[case] mut electing: JoinSet<()>,
        #[case] mut serving: JoinSet<()>,
        #[case] expected: &str,
    ) {
        let result = unless_a_task_ends(pending(), &mut electing, &mut serving).await;
        assert!(matches!(result, Err(Error::TaskEnded(task)) if task == expected), "{result:?}");
    }

    #[tokio::test]
    async fn controllers_that_end_are_no_error_while_the_tasks_run() {
        assert!(unless_a_task_ends(ready(()), &mut running(), &mut JoinSet::new()).await.is_ok());
    }
}
