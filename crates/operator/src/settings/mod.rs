//! What the operator is told: arguments and environment, checked at once.
//!
//! The variables are those of upstream's Java operator, so that its deployment works unchanged, and
//! some of ours. An empty one counts as not set: Helm charts cannot leave one out.

mod args;
mod values;

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use ompipe_core::kubernetes::{Namespace, ObjectName};
use ompipe_core::pod_policy::{Account, PodPolicy};
use ompipe_core::{Problem, Problems};

use values::{List, OnByDefault};

pub use args::OperatorArgs;
pub(crate) use values::origin;
pub use values::{
    AllowedServers, ArchiveUrl, DrainTimeout, HealthCheckPort, LeaseDuration, LeaseName, LogFormat,
    LogLevel, LogsLimit, LogsRetention, MetricsPort, ReconciliationThreads, RecordsRetention,
    RequeueDelay, RunLogLimit, WatchNamespaces, WorkerThreads,
};

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
    /// Whether the ends of plain Jobs are reported too.
    pub report_jobs: bool,
    /// Where and how logs and records are archived, if they are.
    pub logs_archive: Option<LogsArchive>,
    /// Servers that ends are reported to.
    pub allowed_servers: AllowedServers,
    /// What the pods of `OMJob`s may have.
    pub pod_policy: PodPolicy,
    /// Threads of the runtime.
    pub worker_threads: WorkerThreads,
    /// The kubeconfig to use instead of the one that is found.
    pub kubeconfig: Option<PathBuf>,
    /// Let go of every object and end.
    pub drain: bool,
    /// Time that a drain gives to runs under way.
    pub drain_timeout: DrainTimeout,
}

/// Where and how logs and records are archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsArchive {
    /// Where.
    pub url: ArchiveUrl,
    /// Days that logs are kept.
    pub logs_retention: LogsRetention,
    /// Days that records are kept.
    pub records_retention: RecordsRetention,
    /// Most of a run's log.
    pub run_limit: RunLogLimit,
    /// Most of all logs.
    pub limit: LogsLimit,
    /// Whether the secrets of a run are masked in its log.
    pub redact: bool,
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
            report_jobs: self.read::<OnByDefault>("REPORT_JOBS", args.report_jobs.as_deref()).0,
            logs_archive: self.logs_archive(args),
            allowed_servers: self.read("ALLOWED_SERVERS", args.allowed_servers.as_deref()),
            pod_policy: self.pod_policy(args),
            worker_threads: self.read("WORKER_THREADS", args.worker_threads.as_deref()),
            kubeconfig: args.kubeconfig.clone(),
            drain: args.drain,
            drain_timeout: self
                .read("DRAIN_TIMEOUT_SECONDS", args.drain_timeout_seconds.as_deref()),
        }
    }

    fn logs_archive(&mut self, args: &OperatorArgs) -> Option<LogsArchive> {
        let url = self.value("LOGS_ARCHIVE_URL", args.logs_archive_url.as_deref());
        let logs_retention = self.read("LOGS_RETENTION_DAYS", args.logs_retention_days.as_deref());
        let records_retention =
            self.read("RECORDS_RETENTION_DAYS", args.records_retention_days.as_deref());
        let redact = self.read::<OnByDefault>("LOGS_REDACT", args.logs_redact.as_deref()).0;
        let run_limit = self.read("LOGS_MAX_MIB_PER_RUN", args.logs_max_mib_per_run.as_deref());
        let limit = self.read("LOGS_MAX_GIB", args.logs_max_gib.as_deref());
        let url = url?;
        Some(LogsArchive { url, logs_retention, records_retention, run_limit, limit, redact })
    }

    fn pod_policy(&mut self, args: &OperatorArgs) -> PodPolicy {
        let reserved = args.reserved_service_accounts.as_deref();
        let reserved: List<Account> = self.read("RESERVED_SERVICE_ACCOUNTS", reserved);
        let allowed = args.allowed_service_accounts.as_deref();
        let allowed: List<ObjectName> = self.read("ALLOWED_SERVICE_ACCOUNTS", allowed);
        PodPolicy {
            level: self.read("POD_POLICY", args.pod_policy.as_deref()),
            reserved_accounts: reserved.0,
            allowed_accounts: allowed.0,
        }
    }

    fn election(&mut self, args: &OperatorArgs) -> Option<Election> {
        let elect: OnByDefault = self.read("LEADER_ELECT", args.leader_elect.as_deref());
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{Args, Command};
    use rstest::rstest;

    use super::*;

    /// The arguments with this variable set.
    fn with(variable: &str, value: &str) -> OperatorArgs {
        let mut args = OperatorArgs::default();
        let field = match variable {
            "WATCH_NAMESPACES" => &mut args.watch_namespaces,
            "OPERATOR_NAMESPACE" => &mut args.operator_namespace,
            "POD_NAMESPACE" => &mut args.pod_namespace,
            "RECONCILIATION_THREADS" => &mut args.reconciliation_threads,
            "REQUEUE_DELAY_SECONDS" => &mut args.requeue_delay_seconds,
            "POLLING_INTERVAL_SECONDS" => &mut args.polling_interval_seconds,
            "HEALTH_CHECK_PORT" => &mut args.health_check_port,
            "METRICS_PORT" => &mut args.metrics_port,
            "LOG_LEVEL" => &mut args.log_level,
            "LOG_FORMAT" => &mut args.log_format,
            "LEADER_ELECT" => &mut args.leader_elect,
            "DRAIN_TIMEOUT_SECONDS" => &mut args.drain_timeout_seconds,
            "LEASE_NAME" => &mut args.lease_name,
            "LEASE_DURATION_SECONDS" => &mut args.lease_duration_seconds,
            "REPORT_JOBS" => &mut args.report_jobs,
            "LOGS_ARCHIVE_URL" => &mut args.logs_archive_url,
            "LOGS_RETENTION_DAYS" => &mut args.logs_retention_days,
            "RECORDS_RETENTION_DAYS" => &mut args.records_retention_days,
            "LOGS_REDACT" => &mut args.logs_redact,
            "LOGS_MAX_MIB_PER_RUN" => &mut args.logs_max_mib_per_run,
            "LOGS_MAX_GIB" => &mut args.logs_max_gib,
            "WORKER_THREADS" => &mut args.worker_threads,
            "ALLOWED_SERVERS" => &mut args.allowed_servers,
            "POD_POLICY" => &mut args.pod_policy,
            "RESERVED_SERVICE_ACCOUNTS" => &mut args.reserved_service_accounts,
            "ALLOWED_SERVICE_ACCOUNTS" => &mut args.allowed_service_accounts,
            other => panic!("{other}"),
        };
        *field = Some(value.to_owned());
        args
    }

    fn read(args: &OperatorArgs) -> Settings {
        Settings::read(args).unwrap().settings
    }

    #[test]
    fn defaults() {
        let Checked { settings, notices } = Settings::read(&OperatorArgs::default()).unwrap();
        assert_eq!(notices, Vec::<String>::new());
        assert_eq!(settings.watch_namespaces, WatchNamespaces::Own);
        assert_eq!(settings.reconciliation_threads.get(), 64);
        assert_eq!(settings.requeue_delay.get(), Duration::from_secs(30));
        assert_eq!((settings.health_check_port.get(), settings.metrics_port.get()), (8080, 8081));
        assert_eq!(settings.log_level.as_filter(), "info");
        assert_eq!(settings.log_format, LogFormat::Json);
        assert_eq!(settings.worker_threads.get(), 1);
        assert!(settings.report_jobs);
        let election = settings.election.unwrap();
        assert_eq!(election.lease_name.as_str(), "ompipe-operator");
        assert_eq!(election.lease_duration.get(), Duration::from_secs(15));
    }

    #[test]
    fn logs_are_archived_where_a_url_says_so() {
        assert_eq!(read(&OperatorArgs::default()).logs_archive, None);
        let archive = read(&with("LOGS_ARCHIVE_URL", "s3://logs/prefix")).logs_archive.unwrap();
        assert_eq!(archive.url.as_str(), "s3://logs/prefix");
        assert_eq!((archive.logs_retention.get(), archive.records_retention.get()), (30, 365));
        assert!(archive.redact);
        assert_eq!((archive.run_limit.get(), archive.limit.get()), (16_384, 0));
    }

    #[rstest]
    #[case("", "its own namespace")]
    #[case(" , ", "its own namespace")]
    #[case("ALL", "ALL")]
    #[case("team-a", "team-a")]
    #[case(" team-b, team-a,team-b,", "team-a,team-b")]
    // A namespace may be called so.
    #[case("all", "all")]
    fn namespaces(#[case] value: &str, #[case] expected: &str) {
        let settings = read(&with("WATCH_NAMESPACES", value));
        assert_eq!(settings.watch_namespaces.to_string(), expected);
    }

    #[rstest]
    #[case("INFO", "info")]
    #[case("Off", "off")]
    #[case("DEBUG", "info,ompipe=debug")]
    #[case("warn,ompipe_operator=trace", "warn,ompipe_operator=trace")]
    #[case("ompipe[reconcile{name=x}]=debug", "ompipe[reconcile{name=x}]=debug")]
    fn log_levels(#[case] value: &str, #[case] expected: &str) {
        assert_eq!(read(&with("LOG_LEVEL", value)).log_level.as_filter(), expected);
    }

    #[rstest]
    #[case("WATCH_NAMESPACES", "ALL,team-a", "must be either ALL or names of namespaces, not both")]
    #[case(
        "WATCH_NAMESPACES",
        "team-a,Team B",
        r#""Team B" is no name of a namespace: must be ALL, or names separated by commas"#
    )]
    #[case(
        "OPERATOR_NAMESPACE",
        "a.b",
        "must be a DNS label: 1 to 63 lower-case letters, digits and inner hyphens"
    )]
    #[case("RECONCILIATION_THREADS", "0", "must be a number from 1 to 1024")]
    #[case("RECONCILIATION_THREADS", "1025", "must be a number from 1 to 1024")]
    #[case("RECONCILIATION_THREADS", "five", "must be a number from 1 to 1024")]
    #[case("REQUEUE_DELAY_SECONDS", "-1", "must be a number of seconds from 1 to 3600")]
    #[case("REQUEUE_DELAY_SECONDS", "99999999999", "must be a number of seconds from 1 to 3600")]
    #[case("HEALTH_CHECK_PORT", "0", "must be a port from 1 to 65535")]
    #[case("METRICS_PORT", "65536", "must be a port from 1 to 65535")]
    #[case(
        "LOG_LEVEL",
        "INFOO",
        "must be one of error, warn, info, debug, trace, off, or filters \
        separated by commas, such as info,ompipe_operator=debug"
    )]
    #[case(
        "LOG_LEVEL",
        "info,ompipe=loud",
        "must be one of error, warn, info, debug, trace, off, \
        or filters separated by commas, such as info,ompipe_operator=debug"
    )]
    #[case("LOG_FORMAT", "xml", "must be json or text")]
    #[case("LEADER_ELECT", "yes", "must be true or false")]
    #[case("REPORT_JOBS", "off", "must be true or false")]
    #[case("LEASE_DURATION_SECONDS", "2", "must be a number of seconds from 3 to 600")]
    #[case(
        "LEASE_NAME",
        "My Lease",
        "must be a DNS subdomain: 1 to 253 lower-case letters, \
        digits, inner hyphens and dots"
    )]
    #[case("WORKER_THREADS", "65", "must be a number from 1 to 64")]
    #[case("LOGS_ARCHIVE_URL", "ftp://host", "must begin with s3://, gs://, az:// or file://")]
    #[case("LOGS_RETENTION_DAYS", "-1", "must be a number of days from 0 to 3650")]
    #[case("RECORDS_RETENTION_DAYS", "1y", "must be a number of days from 0 to 3650")]
    #[case("LOGS_MAX_MIB_PER_RUN", "65536", "must be a number of MiB from 0 to 65535")]
    #[case("LOGS_MAX_GIB", "1.5", "must be a number of GiB from 0 to 65535")]
    #[case("LOGS_REDACT", "yes", "must be true or false")]
    #[case(
        "ALLOWED_SERVERS",
        "openmetadata:8585",
        "must be ALL, or URLs of servers such as http://openmetadata:8585, separated by commas"
    )]
    #[case("POD_POLICY", "restricted", "must be baseline or privileged")]
    #[case(
        "RESERVED_SERVICE_ACCOUNTS",
        "ompipe-operator",
        "must be service accounts as NAMESPACE/NAME, separated by commas"
    )]
    #[case(
        "ALLOWED_SERVICE_ACCOUNTS",
        "Runs",
        "must be a DNS subdomain: 1 to 253 lower-case letters, digits, inner hyphens and dots"
    )]
    fn problems(#[case] variable: &str, #[case] value: &str, #[case] remedy: &str) {
        let problems = Settings::read(&with(variable, value)).unwrap_err().list;
        let flag = variable.to_lowercase().replace('_', "-");
        let expected = format!("{variable} (--{flag}) = {value:?}: {remedy}");
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let args = OperatorArgs {
            watch_namespaces: Some("UPPER".into()),
            health_check_port: Some("http".into()),
            lease_duration_seconds: Some("1h".into()),
            ..OperatorArgs::default()
        };
        let problems = Settings::read(&args).unwrap_err();
        assert_eq!(problems.list.len(), 3, "{problems}");
    }

    /// What a problem calls a setting can be typed so, and is the variable's name as well.
    #[test]
    fn flags_are_called_as_their_variables() {
        let command = OperatorArgs::augment_args(Command::new("operator"));
        let called = command.get_arguments().filter_map(|arg| {
            let variable = arg.get_env()?.to_str().unwrap().to_owned();
            Some((arg.get_long().unwrap().to_owned(), variable))
        });
        let called: Vec<(String, String)> = called.collect();
        assert_eq!(called.len(), 26);
        for (flag, variable) in called {
            assert_eq!(flag, variable.to_lowercase().replace('_', "-"));
        }
    }

    #[rstest]
    #[case("", "http://anything/api", true)]
    #[case("ALL", "http://anything/api", true)]
    #[case("http://om:8585/api, https://om.example.com", "http://om:8585/other", true)]
    #[case("http://om:8585/api, https://om.example.com", "https://om.example.com:443/api", true)]
    #[case("http://om:8585/api", "https://om:8585/api", false)]
    #[case("http://om:8585/api", "http://om:8586/api", false)]
    #[case("http://om:8585/api", "http://om.evil:8585/api", false)]
    #[case("http://om:8585/api", "http://om:8585@evil/api", false)]
    fn allowed_servers(#[case] value: &str, #[case] endpoint: &str, #[case] expected: bool) {
        let settings = read(&with("ALLOWED_SERVERS", value));
        assert_eq!(settings.allowed_servers.allow(endpoint), expected);
    }

    #[test]
    fn polling_is_accepted_and_said_to_be_ignored() {
        let notices = Settings::read(&with("POLLING_INTERVAL_SECONDS", "10")).unwrap().notices;
        assert!(notices[0].starts_with("POLLING_INTERVAL_SECONDS is ignored"), "{notices:?}");
    }

    #[rstest]
    #[case(&[("OPERATOR_NAMESPACE", "a"), ("POD_NAMESPACE", "b")], Some("a"))]
    #[case(&[("OPERATOR_NAMESPACE", ""), ("POD_NAMESPACE", "b")], Some("b"))]
    #[case(&[], None)]
    fn its_own_namespace(#[case] set: &[(&str, &str)], #[case] expected: Option<&str>) {
        let value = |name| set.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        let args = OperatorArgs {
            operator_namespace: value("OPERATOR_NAMESPACE"),
            pod_namespace: value("POD_NAMESPACE"),
            ..OperatorArgs::default()
        };
        let namespace = read(&args).operator_namespace;
        assert_eq!(namespace.as_ref().map(Namespace::as_str), expected);
    }

    #[test]
    fn without_election_there_is_no_lease() {
        assert_eq!(read(&with("LEADER_ELECT", "false")).election, None);
    }

    #[test]
    fn a_container_is_the_same_after_a_restart_in_its_pod() {
        let args = OperatorArgs {
            pod_name: Some("operator-0".into()),
            pod_uid: Some("7d1f".into()),
            ..OperatorArgs::default()
        };
        assert_eq!(read(&args).election.unwrap().identity, "operator-0_7d1f");
        let nobody = || read(&OperatorArgs::default()).election.unwrap().identity;
        assert_ne!(nobody(), nobody());
    }
}
