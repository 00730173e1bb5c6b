//! What both controllers of a scope share.

use std::sync::Arc;

use futures::Stream;
use jiff::SignedDuration;
use kube::runtime::reflector::{self, ObjectRef, Store};
use ompipe_core::omjob::{Phase, Stage, Status};
use ompipe_core::pod_policy::PodPolicy;
use tokio::sync::{Semaphore, watch};
use tokio::time::Duration;

use crate::archive::Archiver;
use crate::by_owner::ByOwner;
use crate::clock;
use crate::events::Events;
use crate::jobs::Reporter;
use crate::metrics::{Controller, Metrics};
use crate::queue::{Failures, Places, Queue};
use crate::scope::Triggers;
use crate::servers::Servers;
use crate::settings::{AllowedServers, Settings};
use crate::tracking::Pods;
use crate::view::{JobView, PodView, ScheduleView};
use crate::writes::Writes;
use crate::written::Written;

/// Schedules that are dealt with at once: on the hour, many are due.
const SCHEDULES: usize = 32;

/// Objects of up to 1.5 MiB that are in memory, each a few times, at the same time.
const LARGE_OBJECTS: usize = 4;

/// Everything that a reconcile needs besides the object.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) writes: Writes,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    /// Where ends are reported to.
    pub(crate) servers: Servers,
    /// Who archives logs and records, if anybody does.
    pub(crate) archiver: Option<Arc<Archiver>>,
    /// Which of them may be called.
    pub(crate) allowed_servers: AllowedServers,
    /// Which pods are made.
    pub(crate) pod_policy: PodPolicy,
    pub(crate) job_cache: Store<JobView>,
    /// Pods by the UID of their `OMJob`.
    pub(crate) pods: ByOwner<PodView>,
    /// `OMJob`s by the UID of their `CronOMJob`.
    pub(crate) children: ByOwner<JobView>,
    /// Our writes that the caches have not seen.
    pub(crate) written: Written,
    pub(crate) jobs: Queue<JobView>,
    pub(crate) schedules: Queue<ScheduleView>,
    pub(crate) job_failures: Failures<ObjectRef<JobView>>,
    pub(crate) schedule_failures: Failures<ObjectRef<ScheduleView>>,
    /// Objects too large to be kept that are read, and pods made of them, at the same time.
    pub(crate) large_objects: Semaphore,
    /// Nothing new is begun.
    pub(crate) draining: bool,
    /// Time that a drain gives to runs under way.
    pub(crate) drain_limit: Duration,
    /// Counts changes of `OMJob`s, for who waits for one.
    pub(crate) changes: watch::Sender<u64>,
}

impl Context {
    /// The context of a scope, and what triggers its controllers.
    pub(crate) fn new(
        writes: Writes,
        events: Events,
        metrics: Metrics,
        servers: Servers,
        archiver: Option<Arc<Archiver>>,
        settings: &Settings,
    ) -> (
        Self,
        Triggers<
            impl Stream<Item = ObjectRef<JobView>> + use<>,
            impl Stream<Item = ObjectRef<ScheduleView>> + use<>,
        >,
    ) {
        let (jobs, job_triggers) =
            Queue::new(Places::halved(settings.reconciliation_threads.get()));
        let (job_cache, cache_writer) = reflector::store();
        let (schedules, schedule_triggers) = Queue::new(Places::going_on(SCHEDULES));
        let longest = settings.requeue_delay.get();
        let context = Self {
            writes,
            events,
            metrics,
            servers,
            archiver,
            allowed_servers: settings.allowed_servers.clone(),
            pod_policy: settings.pod_policy.clone(),
            job_cache,
            pods: ByOwner::default(),
            children: ByOwner::default(),
            written: Written::default(),
            jobs,
            schedules,
            job_failures: Failures::new(longest),
            schedule_failures: Failures::new(longest),
            large_objects: Semaphore::new(LARGE_OBJECTS),
            draining: settings.drain,
            drain_limit: settings.drain_timeout.get(),
            changes: watch::Sender::new(0),
        };
        let triggers =
            Triggers { job_cache: cache_writer, jobs: job_triggers, schedules: schedule_triggers };
        (context, triggers)
    }

    /// The pods of `OMJob`s, to be written.
    pub(crate) fn attempts(&self) -> Pods<'_, PodView> {
        Pods { writes: &self.writes, cache: &self.pods, archiver: self.archiver.as_deref() }
    }

    /// Counts the end of a run.
    pub(crate) fn count(&self, before: &Status, after: &Status) {
        if after.phase.is_terminal() && !before.phase.is_terminal() {
            let reason = after.main.end.as_ref().map(|end| end.reason);
            reason.inspect(|reason| self.metrics.run_ended(after.phase, *reason));
        }
    }

    /// Counts a pod that was made, so long after what asked for it.
    pub(crate) fn pod_created(&self, stage: Stage, after: Option<Duration>) {
        let Some(after) = after.and_then(|after| SignedDuration::try_from(after).ok()) else {
            return;
        };
        match stage {
            Stage::Main => self.metrics.main_pod_created(after),
            Stage::Exit => self.metrics.exit_pod_created(after),
        }
    }
}

/// What is counted at each scrape.
pub(crate) fn count(contexts: &[Arc<Context>], reporters: &[Arc<Reporter>], metrics: &Metrics) {
    let sum = |depth: fn(&Context) -> usize| contexts.iter().map(|one| depth(one)).sum();
    metrics.queue_depth(Controller::OmJob, sum(|context| context.jobs.depth()));
    metrics.queue_depth(Controller::CronOmJob, sum(|context| context.schedules.depth()));
    let waiting = reporters.iter().map(|reporter| reporter.depth()).sum();
    metrics.queue_depth(Controller::Job, waiting);
    metrics.leader(contexts.iter().any(|context| context.writes.leadership().is_held()));
    let archivers = contexts.iter().filter_map(|context| context.archiver.as_ref());
    metrics.logs_followed(archivers.map(|archiver| archiver.followed()).sum());
    let jobs: Vec<_> = contexts.iter().flat_map(|context| context.job_cache.state()).collect();
    for phase in Phase::ALL {
        metrics.runs(phase, jobs.iter().filter(|job| job.record.phase == phase).count());
    }
    let of_omjobs = jobs.iter().filter_map(|job| job.unreported_since());
    let of_jobs = reporters.iter().filter_map(|reporter| reporter.unreported_since());
    let unreported = of_omjobs.chain(of_jobs).min();
    metrics.oldest_unreported_end(unreported.map(|since| clock::now().duration_since(since)));
}
