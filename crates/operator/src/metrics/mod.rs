//! What the operator counts and measures, for Prometheus. No object is named in a label.

mod labels;
mod last_report;
mod process;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use ompipe_core::cron::Missed;
use ompipe_core::job;
use ompipe_core::omjob::{Phase, Reason, Report, Stage};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use labels::{
    Cause, ControllerLabel, Ended, PhaseLabel, Reconciled, Request, ResultLabel, StageLabel,
    VerbLabel,
};

use last_report::LastReport;

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
    last_report: LastReport,
    oldest_unreported_end_age: Seconds,
    log_archive_failures: Counter,
    log_archive_retries: Counter,
    logs_followed: Gauge,
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
        Self { inner: Arc::new(Inner { registry, families, hooks: Mutex::default() }) }
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

    /// OpenMetadata accepted or rejected a report.
    pub fn reported(&self, report: &Report) {
        if *report == Report::Done {
            self.families().last_report.was_now();
        }
        self.families().reports.get_or_create(&ResultLabel::from(report)).inc();
    }

    /// The same of a run that is a Job.
    pub fn job_reported(&self, report: &job::Report) {
        if matches!(report, job::Report::Done { .. }) {
            self.families().last_report.was_now();
        }
        self.families().reports.get_or_create(&ResultLabel::from(report)).inc();
    }

    /// The oldest end that OpenMetadata does not know is that old now; `None` where it knows all.
    pub fn oldest_unreported_end(&self, age: Option<SignedDuration>) {
        self.families().oldest_unreported_end_age.set(age.map_or(0.0, seconds));
    }

    /// A log or record is not in the archive, and will not be.
    pub fn archive_failed(&self) {
        self.families().log_archive_failures.inc();
    }

    /// A log or record could not be archived, and that is tried again.
    pub fn archive_retried(&self) {
        self.families().log_archive_retries.inc();
    }

    /// So many logs are archived now.
    pub fn logs_followed(&self, count: usize) {
        self.families().logs_followed.set(gauge(count));
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
            last_report: LastReport::default(),
            oldest_unreported_end_age: Gauge::default(),
            log_archive_failures: Counter::default(),
            log_archive_retries: Counter::default(),
            logs_followed: Gauge::default(),
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
        self.register_archive(r);
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
        let help = "Time that an object waited in the work queue, by controller";
        r.register_with_unit("queue", help, Unit::Seconds, self.queue.clone());
        let help = "Requests to the API server, by verb and status code";
        r.register("api_requests", help, self.api_requests.clone());
        let help = "Time to the answer to a request, by verb; of a watch to its beginning";
        r.register_with_unit("api_request", help, Unit::Seconds, self.api_request.clone());
    }

    fn register_reports(&self, r: &mut Registry) {
        r.register("reports", "Reports to OpenMetadata, by result", self.reports.clone());
        r.register_collector(Box::new(self.last_report.clone()));
        let help = "Age of the oldest end that OpenMetadata does not know, 0 if there is none";
        let metric = self.oldest_unreported_end_age.clone();
        r.register_with_unit("oldest_unreported_end_age", help, Unit::Seconds, metric);
    }

    fn register_archive(&self, r: &mut Registry) {
        let help = "Logs and records of runs that are not in the archive, or not to their end";
        r.register("log_archive_failures", help, self.log_archive_failures.clone());
        let help = "Tries to archive a log or record that failed and are repeated";
        r.register("log_archive_retries", help, self.log_archive_retries.clone());
        r.register("logs_followed", "Logs that are archived now", self.logs_followed.clone());
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The series of a family, without the process's.
    fn series(metrics: &Metrics, name: &str) -> Vec<String> {
        let text = metrics.encode().unwrap();
        let is_meant = |line: &&str| line.starts_with(&format!("ompipe_operator_{name}"));
        text.lines().filter(is_meant).map(str::to_owned).collect()
    }

    /// Everything that can happen, once.
    fn eventful() -> Metrics {
        let m = Metrics::new();
        m.runs(Phase::Running, 7);
        m.on_scrape(|m| m.runs(Phase::Pending, 2));
        m.run_ended(Phase::Failed, Reason::OomKilled);
        m.main_pod_created(SignedDuration::from_millis(4));
        // The clocks of two hosts may differ.
        m.exit_pod_created(SignedDuration::from_millis(-9));
        m.reconciled(Controller::OmJob, ReconcileResult::Error, Duration::from_secs(2));
        m.queue_depth(Controller::CronOmJob, 3);
        m.dequeued(Controller::OmJob, Duration::from_secs(1));
        m.slot_fired();
        m.slot_missed(Missed::TooLate);
        m.reported(&Report::Unavailable("it said canary".to_owned()));
        m.oldest_unreported_end(Some(SignedDuration::from_secs(90)));
        m.leader(true);
        m
    }

    #[rstest]
    #[case(r#"runs{phase="Running"} 7"#)]
    #[case(r#"runs{phase="Pending"} 2"#)]
    #[case(r#"runs_ended_total{phase="Failed",reason="OOMKilled"} 1"#)]
    #[case(r#"pod_delay_seconds_bucket{le="0.0025",stage="main"} 0"#)]
    #[case(r#"pod_delay_seconds_bucket{le="0.005",stage="main"} 1"#)]
    #[case(r#"pod_delay_seconds_sum{stage="exit"} 0.0"#)]
    #[case(r#"reconcile_seconds_sum{controller="omjob",result="error"} 2.0"#)]
    #[case(r#"queue_depth{controller="cronomjob"} 3"#)]
    #[case(r#"queue_seconds_count{controller="omjob"} 1"#)]
    #[case("slots_fired_total 1")]
    #[case(r#"slots_missed_total{reason="too_late"} 1"#)]
    #[case(r#"reports_total{result="unavailable"} 1"#)]
    #[case("oldest_unreported_end_age_seconds 90.0")]
    #[case("leader 1")]
    fn what_happened_is_in_the_text(#[case] expected: &str) {
        let name = expected.split(['{', ' ']).next().unwrap();
        let series = series(&eventful(), name);
        assert!(series.contains(&format!("ompipe_operator_{expected}")), "{series:#?}");
    }

    #[test]
    fn what_servers_say_is_not() {
        assert!(!eventful().encode().unwrap().contains("canary"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_of_the_last_report_grows() {
        let metrics = Metrics::new();
        metrics.reported(&Report::Unavailable(String::new()));
        assert_eq!(series(&metrics, "last_report_age"), Vec::<String>::new());
        metrics.reported(&Report::Done);
        tokio::time::advance(Duration::from_secs(40)).await;
        let expected = "ompipe_operator_last_report_age_seconds 40.0";
        assert_eq!(series(&metrics, "last_report_age"), [expected]);
    }

    /// Rules of Prometheus: units and totals in the names, a text for each, an end mark.
    #[test]
    fn the_text_is_well_formed() {
        let metrics = Metrics::new();
        let text = metrics.encode().unwrap();
        assert!(text.ends_with("# EOF\n"));
        for name in ["process_resident_memory_bytes", "process_cpu_seconds_total"] {
            assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{text}");
        }
        let version = env!("CARGO_PKG_VERSION");
        for info in ["ompipe_operator_build_info", "omjob_operator_info"] {
            assert!(text.contains(&format!("{info}{{version=\"{version}\"}} 1\n")), "{text}");
        }
        assert!(text.contains("omjob_operator_ready 0\n"));
    }
}
