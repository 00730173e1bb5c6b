//! The arguments and variables of `ompipe operator`, as they were typed or set.

use std::path::PathBuf;

/// Arguments of `ompipe operator`, as they were typed or set. [`super::Settings::read`] checks them.
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

    /// Whether the ends of runs that are plain Jobs are reported too: true or false. By default true.
    /// Without the rights for Jobs, set false.
    #[arg(
        long,
        value_name = "BOOL",
        env = "REPORT_JOBS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub report_jobs: Option<String>,

    /// Where logs and records of runs are archived: `s3://bucket/prefix`, `gs://…`, `az://…` or
    /// `file:///directory`. By default nowhere. It comes from the option of the same name that every
    /// command has.
    #[arg(skip)]
    pub logs_archive_url: Option<String>,

    /// Days that archived logs are kept, 0 to 3650; 0 keeps them forever. By default 30.
    #[arg(long, value_name = "N", env = "LOGS_RETENTION_DAYS")]
    pub logs_retention_days: Option<String>,

    /// Days that records of runs are kept, 0 to 3650; 0 keeps them forever. By default 365.
    #[arg(long, value_name = "N", env = "RECORDS_RETENTION_DAYS")]
    pub records_retention_days: Option<String>,

    /// Most MiB of a run's log that are archived, 0 to 65535; 0 is any number. Beyond it only the last
    /// lines are. By default 16384.
    #[arg(long, value_name = "N", env = "LOGS_MAX_MIB_PER_RUN")]
    pub logs_max_mib_per_run: Option<String>,

    /// Most GiB of all archived logs, 0 to 65535; 0 is any number. Beyond it the oldest are deleted. By
    /// default 0.
    #[arg(long, value_name = "N", env = "LOGS_MAX_GIB")]
    pub logs_max_gib: Option<String>,

    /// Whether the secrets of a run are masked in its log: an option of every command.
    #[arg(skip)]
    pub logs_redact: Option<String>,

    /// Threads that run the operator, 1 to 64. By default 1: more cost a fifth more CPU time for each run.
    #[arg(long, value_name = "N", env = "WORKER_THREADS")]
    pub worker_threads: Option<String>,

    /// OpenMetadata servers that the operator may report to, besides those of deployed pipelines:
    /// URLs separated by commas, of which scheme, host and port count. ALL is every server. By
    /// default ALL.
    #[arg(long, value_name = "URLS", env = "ALLOWED_SERVERS")]
    pub allowed_servers: Option<String>,

    /// What the pods of OMJobs may reach of their node: baseline, as the Pod Security Standards have
    /// it, or privileged, which leaves it to the cluster's admission. By default baseline.
    #[arg(long, value_name = "LEVEL", env = "POD_POLICY")]
    pub pod_policy: Option<String>,

    /// Service accounts that no pod of an OMJob may have, NAMESPACE/NAME separated by commas: those
    /// of ompipe itself.
    #[arg(long, value_name = "ACCOUNTS", env = "RESERVED_SERVICE_ACCOUNTS")]
    pub reserved_service_accounts: Option<String>,

    /// Service accounts that pods of OMJobs may have, names separated by commas. By default any that
    /// is not reserved.
    #[arg(long, value_name = "NAMES", env = "ALLOWED_SERVICE_ACCOUNTS")]
    pub allowed_service_accounts: Option<String>,

    /// The kubeconfig to use. By default that of KUBECONFIG or ~/.kube/config, else the pod's
    /// service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Let go of every object and end, before the operator is uninstalled.
    #[arg(long)]
    pub drain: bool,

    /// Time that a drain gives to runs under way, 0 to 3600. By default 0: the drain releases them at once.
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
