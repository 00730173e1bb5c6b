//! What the operator is told: arguments and environment, checked at once.
//!
//! The variables are those of upstream's Java operator, so that its deployment works unchanged, and
//! some of ours. An empty one counts as not set: Helm charts cannot leave one out.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ompipe_core::kubernetes::{Namespace, ObjectName};
use ompipe_core::{Problem, Problems};

/// Arguments of `ompipe operator`, as they were typed or set. [`Settings::read`] checks them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OperatorArgs {
    /// Namespaces to work in, separated by commas; ALL is the whole cluster. By default its own.
    #[arg(long, value_name = "NAMES", env = "WATCH_NAMESPACES")]
    pub watch_namespaces: Option<String>,

    /// The operator's own namespace, which also has its Lease. By default that of its pod, else
    /// that of the kubeconfig.
    #[arg(long, value_name = "NAME", env = "OPERATOR_NAMESPACE")]
    pub operator_namespace: Option<String>,

    /// Objects that are dealt with at the same time, 1 to 1024. By default 64.
    #[arg(long, value_name = "N", env = "RECONCILIATION_THREADS")]
    pub reconciliation_threads: Option<String>,

    /// Longest wait before an object is tried again after an error, 1 to 3600. By default 30.
    #[arg(long, value_name = "N", env = "REQUEUE_DELAY_SECONDS")]
    pub requeue_delay_seconds: Option<String>,

    /// Ignored: the operator watches and has no need to poll. Upstream's charts set it.
    #[arg(long, value_name = "N", env = "POLLING_INTERVAL_SECONDS", hide = true)]
    pub polling_interval_seconds: Option<String>,

    /// Port of /healthz, /readyz and /metrics. By default 8080.
    #[arg(long, value_name = "PORT", env = "HEALTH_CHECK_PORT")]
    pub health_check_port: Option<String>,

    /// Port of /metrics alone; may be the same. By default 8081.
    #[arg(long, value_name = "PORT", env = "METRICS_PORT")]
    pub metrics_port: Option<String>,

    /// What to log: error, warn, info, debug, trace, off, or filters such as
    /// `info,ompipe_operator=debug`. By default info.
    #[arg(long, value_name = "FILTER", env = "LOG_LEVEL")]
    pub log_level: Option<String>,

    /// How to log: json or text. By default json.
    #[arg(long, value_name = "FORMAT", env = "LOG_FORMAT")]
    pub log_format: Option<String>,

    /// Whether several replicas choose one that acts: true or false. By default true. With false
    /// there must never be two.
    #[arg(
        long,
        value_name = "BOOL",
        env = "LEADER_ELECT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub leader_elect: Option<String>,

    /// Name of the Lease. By default ompipe-operator.
    #[arg(long, value_name = "NAME", env = "LEASE_NAME")]
    pub lease_name: Option<String>,

    /// How long the other replicas wait for a leader that is silent, 3 to 600. By default 15.
    #[arg(long, value_name = "N", env = "LEASE_DURATION_SECONDS")]
    pub lease_duration_seconds: Option<String>,

    /// Threads that run the operator, 1 to 64. By default 2.
    #[arg(long, value_name = "N", env = "WORKER_THREADS")]
    pub worker_threads: Option<String>,

    /// The kubeconfig to use. By default that of KUBECONFIG or ~/.kube/config, else the pod's
    /// service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Let go of every object and end, before the operator is uninstalled.
    #[arg(long)]
    pub drain: bool,

    /// Time that a drain gives to runs under way, 0 to 3600. By default 0: they are let go at once.
    #[arg(long, value_name = "N", env = "DRAIN_TIMEOUT_SECONDS")]
    pub drain_timeout_seconds: Option<String>,

    /// Name of the operator's pod, from the downward API.
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide = true)]
    pub pod_name: Option<String>,

    /// Namespace of the operator's pod, from the downward API.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,

    /// UID of the operator's pod, from the downward API.
    #[arg(long, value_name = "UID", env = "POD_UID", hide = true)]
    pub pod_uid: Option<String>,
}

/// Everything that the operator was told, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it works.
    pub watch_namespaces: WatchNamespaces,
    /// Its own namespace, if it was told. [`Settings::own_namespace`] knows it in every case.
    pub operator_namespace: Option<Namespace>,
    /// Objects that are dealt with at the same time.
    pub reconciliation_threads: ReconciliationThreads,
    /// Longest wait before an object is tried again after an error.
    pub requeue_delay: RequeueDelay,
    /// Port of the health endpoints and of the metrics.
    pub health_check_port: HealthCheckPort,
    /// Port of the metrics alone; may be the same.
    pub metrics_port: MetricsPort,
    /// What is logged.
    pub log_level: LogLevel,
    /// How.
    pub log_format: LogFormat,
    /// Which Lease decides who acts; `None` where there is one replica only.
    pub election: Option<Election>,
    /// Threads of the runtime.
    pub worker_threads: WorkerThreads,
    /// The kubeconfig to use instead of the one that is found.
    pub kubeconfig: Option<PathBuf>,
    /// Let go of every object and end.
    pub drain: bool,
    /// Time that a drain gives to runs under way.
    pub drain_timeout: DrainTimeout,
}

/// The election of the replica that acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Name of the Lease.
    pub lease_name: LeaseName,
    /// How long the other replicas wait for a leader that is silent.
    pub lease_duration: LeaseDuration,
    /// Who this process is in the Lease.
    pub identity: String,
}

/// Namespaces that the operator works in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchNamespaces {
    /// Its own.
    #[default]
    Own,
    /// These.
    Listed(BTreeSet<Namespace>),
    /// The whole cluster.
    All,
}

/// Settings that are in order, and what the user should know about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The settings.
    pub settings: Settings,
    /// What was accepted and does not do what one may expect.
    pub notices: Vec<String>,
}

impl Settings {
    /// Checks the arguments.
    ///
    /// # Errors
    /// Every problem at once, each with its variable, the value, and what is allowed.
    pub fn read(args: &OperatorArgs) -> Result<Checked, Problems> {
        let mut reader = Reader::default();
        let settings = reader.settings(args);
        if !reader.problems.is_empty() {
            return Err(Problems { subject: "operator's settings", list: reader.problems });
        }
        let polling = is_set(args.polling_interval_seconds.as_deref())
            .map(|_| "POLLING_INTERVAL_SECONDS is ignored: the operator watches, it does not poll");
        Ok(Checked { settings, notices: polling.map(str::to_owned).into_iter().collect() })
    }

    /// The operator's own namespace: the one that it was told, else the client's: that of the
    /// service account or of the kubeconfig.
    #[must_use]
    pub fn own_namespace<'a>(&'a self, client: &'a kube::Client) -> &'a str {
        let told = self.operator_namespace.as_ref().map(Namespace::as_str);
        told.unwrap_or_else(|| client.default_namespace())
    }
}

/// Reads arguments and notes every problem instead of stopping at the first.
#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
}

impl Reader {
    fn settings(&mut self, args: &OperatorArgs) -> Settings {
        let own = self.value("OPERATOR_NAMESPACE", args.operator_namespace.as_deref());
        let of_pod = self.value("POD_NAMESPACE", args.pod_namespace.as_deref());
        Settings {
            watch_namespaces: self.read("WATCH_NAMESPACES", args.watch_namespaces.as_deref()),
            operator_namespace: own.or(of_pod),
            reconciliation_threads: self
                .read("RECONCILIATION_THREADS", args.reconciliation_threads.as_deref()),
            requeue_delay: self
                .read("REQUEUE_DELAY_SECONDS", args.requeue_delay_seconds.as_deref()),
            health_check_port: self.read("HEALTH_CHECK_PORT", args.health_check_port.as_deref()),
            metrics_port: self.read("METRICS_PORT", args.metrics_port.as_deref()),
            log_level: self.read("LOG_LEVEL", args.log_level.as_deref()),
            log_format: self.read("LOG_FORMAT", args.log_format.as_deref()),
            election: self.election(args),
            worker_threads: self.read("WORKER_THREADS", args.worker_threads.as_deref()),
            kubeconfig: args.kubeconfig.clone(),
            drain: args.drain,
            drain_timeout: self
                .read("DRAIN_TIMEOUT_SECONDS", args.drain_timeout_seconds.as_deref()),
        }
    }

    fn election(&mut self, args: &OperatorArgs) -> Option<Election> {
        let elect: LeaderElect = self.read("LEADER_ELECT", args.leader_elect.as_deref());
        let lease_name = self.read("LEASE_NAME", args.lease_name.as_deref());
        let lease_duration =
            self.read("LEASE_DURATION_SECONDS", args.lease_duration_seconds.as_deref());
        elect.0.then(|| Election { lease_name, lease_duration, identity: identity(args) })
    }

    fn read<T: FromStr<Err: Display> + Default>(
        &mut self,
        variable: &str,
        value: Option<&str>,
    ) -> T {
        self.value(variable, value).unwrap_or_default()
    }

    /// The value, if it is set and right.
    fn value<T: FromStr<Err: Display>>(
        &mut self,
        variable: &str,
        value: Option<&str>,
    ) -> Option<T> {
        let text = is_set(value)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(remedy) => {
                let flag = variable.to_lowercase().replace('_', "-");
                let field = format!("{variable} (--{flag})");
                self.problems.push(Problem::new(field, &text.into(), remedy.to_string()));
                None
            }
        }
    }
}

fn is_set(value: Option<&str>) -> Option<&str> {
    value.map(str::trim).filter(|text| !text.is_empty())
}

/// Who this process is in the Lease. A container that is started again in its pod is the same one,
/// so it does not have to wait for itself. Without a UID nothing tells two processes apart.
fn identity(args: &OperatorArgs) -> String {
    let name = is_set(args.pod_name.as_deref()).unwrap_or("ompipe-operator");
    match is_set(args.pod_uid.as_deref()) {
        Some(uid) => format!("{name}_{uid}"),
        None => format!("{name}_{}", uuid::Uuid::new_v4()),
    }
}

impl FromStr for WatchNamespaces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> =
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        match names[..] {
            [] => Ok(Self::Own),
            // No namespace has capital letters in its name.
            ["ALL"] => Ok(Self::All),
            _ if names.contains(&"ALL") => {
                Err("must be either ALL or names of namespaces, not both".to_owned())
            }
            _ => names.into_iter().map(listed).collect::<Result<_, _>>().map(Self::Listed),
        }
    }
}

fn listed(name: &str) -> Result<Namespace, String> {
    name.parse().map_err(|_| {
        format!("{name:?} is no name of a namespace: must be ALL, or names separated by commas")
    })
}

/// Defines a whole number within bounds.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $range:expr, $default:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(u16);

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let number: Option<u16> = text.parse().ok().filter(|n| $range.contains(n));
                let (least, most) = ($range.start(), $range.end());
                number.map(Self).ok_or_else(|| format!("must be {} from {least} to {most}", $what))
            }
        }
    };
}

bounded! {
    /// Objects that are dealt with at the same time. Each waits for the API server most of the
    /// time, so there may be many more than threads.
    ReconciliationThreads, 1..=1024, 64, "a number"
}

bounded! {
    /// Longest wait before an object is tried again after an error.
    RequeueDelay, 1..=3600, 30, "a number of seconds"
}

bounded! {
    /// How long the other replicas wait for a leader that is silent.
    LeaseDuration, 3..=600, 15, "a number of seconds"
}

bounded! {
    /// Time that a drain gives to runs under way.
    DrainTimeout, 0..=3600, 0, "a number of seconds"
}

bounded! {
    /// Port of the health endpoints and of the metrics.
    HealthCheckPort, 1..=65535, 8080, "a port"
}

bounded! {
    /// Port of the metrics alone.
    MetricsPort, 1..=65535, 8081, "a port"
}

bounded! {
    /// Threads of the runtime.
    WorkerThreads, 1..=64, 2, "a number"
}

impl ReconciliationThreads {
    /// How many.
    #[must_use]
    pub fn get(self) -> usize {
        self.0.into()
    }
}

impl WorkerThreads {
    /// How many.
    #[must_use]
    pub fn get(self) -> usize {
        self.0.into()
    }
}

impl HealthCheckPort {
    /// Which.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl MetricsPort {
    /// Which.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl RequeueDelay {
    /// How long.
    #[must_use]
    pub fn get(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl DrainTimeout {
    /// How long.
    #[must_use]
    pub fn get(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl LeaseDuration {
    /// How long.
    #[must_use]
    pub fn get(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

struct LeaderElect(bool);

impl Default for LeaderElect {
    fn default() -> Self {
        Self(true)
    }
}

impl FromStr for LeaderElect {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "must be true or false")
    }
}

/// Name of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseName(String);

impl LeaseName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LeaseName {
    fn default() -> Self {
        Self("ompipe-operator".to_owned())
    }
}

impl FromStr for LeaseName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|name: ObjectName| Self(name.as_str().to_owned()))
    }
}

/// What is logged, in the words of `tracing_subscriber::EnvFilter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

/// The levels that a filter may name.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl LogLevel {
    /// The filter.
    #[must_use]
    pub fn as_filter(&self) -> &str {
        &self.0
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            // The libraries below say too much at these levels; a filter can still ask for it.
            "debug" | "trace" => Ok(Self(format!("info,ompipe={lower}"))),
            level if LEVELS.contains(&level) => Ok(Self(lower)),
            _ if text.split(',').all(is_directive) => Ok(Self(text.to_owned())),
            _ => {
                Err("must be one of error, warn, info, debug, trace, off, or filters separated by \
                      commas, such as info,ompipe_operator=debug")
            }
        }
    }
}

/// A level, or a target with one. The filter itself takes a misspelt level for a target.
fn is_directive(text: &str) -> bool {
    let level = text.rsplit_once('=').map_or(text, |(_, level)| level);
    LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
}

/// How the operator logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object for each line.
    #[default]
    Json,
    /// For people.
    Text,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("must be json or text"),
        }
    }
}

impl fmt::Display for WatchNamespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("its own namespace"),
            Self::All => f.write_str("ALL"),
            Self::Listed(names) => {
                let names: Vec<&str> = names.iter().map(Namespace::as_str).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}
