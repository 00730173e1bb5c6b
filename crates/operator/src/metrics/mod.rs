//! What the operator counts and measures, for Prometheus. No object is named in a label.

mod labels;
mod process;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use ompipe_core::cron::Missed;
use ompipe_core::omjob::{Phase, Reason, Report, Stage};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use labels::{
    Cause, ControllerLabel, Ended, NoLabels, PhaseLabel, Reconciled, Request, ResultLabel,
    StageLabel, VerbLabel,
};

pub use labels::{Answer, Controller, ReconcileResult, Verb};

/// A handle on the metrics: cheap to clone, its methods are named after what happened.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

type Hook = Box<dyn Fn(&Metrics) + Send + Sync>;

struct Inner {
    registry: Registry,
    families: Families,
    last_report: Mutex<Option<Instant>>,
    hooks: Mutex<Vec<Hook>>,
}

type Seconds = Gauge<f64, AtomicU64>;
type Latencies<L> = Family<L, Histogram, fn() -> Histogram>;

/// Every family, named as in the text, without prefix and unit.
struct Families {
    runs: Family<PhaseLabel, Gauge>,
    runs_ended: Family<Ended, Counter>,
    pod_delay: Latencies<StageLabel>,
    reconcile: Latencies<Reconciled>,
    queue_depth: Family<ControllerLabel, Gauge>,
    queue: Latencies<ControllerLabel>,
    slots_fired: Counter,
    slots_missed: Family<Cause, Counter>,
    reports: Family<ResultLabel, Counter>,
    last_report_age: Family<NoLabels, Seconds>,
    oldest_unreported_end_age: Seconds,
    api_requests: Family<Request, Counter>,
    api_request: Latencies<VerbLabel>,
    leader: Gauge,
    ready: Gauge,
}

impl Metrics {
    /// Metrics of which nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        let families = Families::new();
        let mut registry = Registry::default();
        families.register(registry.sub_registry_with_prefix("ompipe_operator"));
        families.register_as_upstream(registry.sub_registry_with_prefix("omjob"));
        registry.register_collector(Box::new(process::Process));
        let (last_report, hooks) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { registry, families, last_report, hooks }) }
    }

    /// Calls this before each scrape, for what is easier counted then than followed all the time.
    pub fn on_scrape(&self, hook: impl Fn(&Self) + Send + Sync + 'static) {
        lock(&self.inner.hooks).push(Box::new(hook));
    }

    /// The metrics as text in the format `OpenMetrics`.
    ///
    /// # Errors
    /// None in practice: a `String` takes every text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        for hook in &*lock(&self.inner.hooks) {
            hook(self);
        }
        let last = *lock(&self.inner.last_report);
        if let Some(last) = last {
            let age = last.elapsed().as_secs_f64();
            self.families().last_report_age.get_or_create(&NoLabels {}).set(age);
        }
        let mut text = String::new();
        encode(&mut text, &self.inner.registry)?;
        Ok(text)
    }

    /// So many `OMJob`s are in that phase now.
    pub fn runs(&self, phase: Phase, count: usize) {
        let label = PhaseLabel { phase: phase.as_str() };
        self.families().runs.get_or_create(&label).set(gauge(count));
    }

    /// A run reached a terminal phase.
    pub fn run_ended(&self, phase: Phase, reason: Reason) {
        let labels = Ended { phase: phase.as_str(), reason: reason.as_str() };
        self.families().runs_ended.get_or_create(&labels).inc();
    }

    /// The first main pod of a run was made, so long after the `OMJob`.
    pub fn main_pod_created(&self, after: SignedDuration) {
        self.pod_created(Stage::Main, after);
    }

    /// The exit handler's pod was made, so long after main ended.
    pub fn exit_pod_created(&self, after: SignedDuration) {
        self.pod_created(Stage::Exit, after);
    }

    fn pod_created(&self, stage: Stage, after: SignedDuration) {
        self.families().pod_delay.get_or_create(&StageLabel::from(stage)).observe(seconds(after));
    }

    /// An object was dealt with.
    pub fn reconciled(&self, controller: Controller, result: ReconcileResult, took: Duration) {
        let labels = Reconciled { controller, result };
        self.families().reconcile.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// So many objects wait to be dealt with now.
    pub fn queue_depth(&self, controller: Controller, depth: usize) {
        let label = ControllerLabel { controller };
        self.families().queue_depth.get_or_create(&label).set(gauge(depth));
    }

    /// An object's turn came, so long after it was due.
    pub fn dequeued(&self, controller: Controller, waited: Duration) {
        let label = ControllerLabel { controller };
        self.families().queue.get_or_create(&label).observe(waited.as_secs_f64());
    }

    /// A slot of a `CronOMJob` became a run.
    pub fn slot_fired(&self) {
        self.families().slots_fired.inc();
    }

    /// A slot of a `CronOMJob` did not.
    pub fn slot_missed(&self, why: Missed) {
        self.families().slots_missed.get_or_create(&Cause::from(why)).inc();
    }

    /// OpenMetadata was told the end of a run, or would not hear it.
    pub fn reported(&self, report: &Report) {
        if *report == Report::Done {
            *lock(&self.inner.last_report) = Some(Instant::now());
        }
        self.families().reports.get_or_create(&ResultLabel::from(report)).inc();
    }

    /// The oldest end that OpenMetadata does not know is that old now; `None` where it knows all.
    pub fn oldest_unreported_end(&self, age: Option<SignedDuration>) {
        self.families().oldest_unreported_end_age.set(age.map_or(0.0, seconds));
    }

    /// The API server answered a request, or did not.
    pub fn api_answered(&self, verb: Verb, answer: Answer, took: Duration) {
        let families = self.families();
        families.api_requests.get_or_create(&Request { verb, code: answer }).inc();
        families.api_request.get_or_create(&VerbLabel { verb }).observe(took.as_secs_f64());
    }

    /// Whether this replica leads now.
    pub fn leader(&self, leads: bool) {
        self.families().leader.set(leads.into());
    }

    /// Whether this replica is ready now.
    pub fn ready(&self, ready: bool) {
        self.families().ready.set(ready.into());
    }

    fn families(&self) -> &Families {
        &self.inner.families
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Families {
    fn new() -> Self {
        Self {
            runs: Family::default(),
            runs_ended: Family::default(),
            pod_delay: Family::new_with_constructor(latency),
            reconcile: Family::new_with_constructor(latency),
            queue_depth: Family::default(),
            queue: Family::new_with_constructor(latency),
            slots_fired: Counter::default(),
            slots_missed: Family::default(),
            reports: Family::default(),
            last_report_age: Family::default(),
            oldest_unreported_end_age: Gauge::default(),
            api_requests: Family::default(),
            api_request: Family::new_with_constructor(latency),
            leader: Gauge::default(),
            ready: Gauge::default(),
        }
    }

    fn register(&self, r: &mut Registry) {
        self.register_runs(r);
        self.register_work(r);
        self.register_reports(r);
        r.register("leader", "1 if this replica leads", self.leader.clone());
        r.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }

    fn register_runs(&self, r: &mut Registry) {
        r.register("runs", "OMJobs by phase", self.runs.clone());
        r.register("runs_ended", "OMJobs that ended, by phase and reason", self.runs_ended.clone());
        let help = "Time to the creation of a pod: of the first main pod from that of the OMJob, \
                    of the exit handler's from the end of main";
        r.register_with_unit("pod_delay", help, Unit::Seconds, self.pod_delay.clone());
        r.register("slots_fired", "Slots of CronOMJobs that became runs", self.slots_fired.clone());
        r.register("slots_missed", "Slots that did not, by reason", self.slots_missed.clone());
    }

    fn register_work(&self, r: &mut Registry) {
        let help = "Time to deal with an object, by controller and result";
        r.register_with_unit("reconcile", help, Unit::Seconds, self.reconcile.clone());
        let help = "Objects that wait to be dealt with, by controller";
        r.register("queue_depth", help, self.queue_depth.clone());
        let help = "Time that an object waited for its turn, by controller";
        r.register_with_unit("queue", help, Unit::Seconds, self.queue.clone());
        let help = "Requests to the API server, by verb and status code";
        r.register("api_requests", help, self.api_requests.clone());
        let help = "Time to the answer to a request, by verb; of a watch to its beginning";
        r.register_with_unit("api_request", help, Unit::Seconds, self.api_request.clone());
    }

    fn register_reports(&self, r: &mut Registry) {
        r.register("reports", "Reports to OpenMetadata, by result", self.reports.clone());
        let help = "Age of the last report that OpenMetadata took, once there is one";
        r.register_with_unit("last_report_age", help, Unit::Seconds, self.last_report_age.clone());
        let help = "Age of the oldest end that OpenMetadata does not know, 0 if there is none";
        let metric = self.oldest_unreported_end_age.clone();
        r.register_with_unit("oldest_unreported_end_age", help, Unit::Seconds, metric);
    }

    /// The two metrics of upstream's operator, for alerts that rest on them.
    fn register_as_upstream(&self, r: &mut Registry) {
        r.register("operator_ready", "1 if this replica is ready", self.ready.clone());
        r.register("operator", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }
}

/// A histogram from a millisecond to a minute, each bucket about twice the one before.
fn latency() -> Histogram {
    const BOUNDS: [f64; 15] =
        [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
    Histogram::new(BOUNDS)
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Clocks of different hosts may make a time negative; it counts as none.
fn seconds(duration: SignedDuration) -> f64 {
    duration.as_secs_f64().max(0.0)
}

/// A panic elsewhere does not make the metrics unusable.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
