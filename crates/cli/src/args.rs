//! What can be typed. Credentials never can: they come from files, the environment or the pipeline.

mod examples;
mod run_ref;

use std::path::PathBuf;
use std::sync::OnceLock;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args as ClapArgs, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use jiff::SignedDuration;
use ompipe_core::log_lines::Pattern;
use ompipe_core::{PipelineState, RunId};
use ompipe_operator::settings::OperatorArgs;
use ompipe_server::settings::ServeArgs;
use secrecy::SecretString;

use crate::complete;
pub(crate) use run_ref::RunRef;

/// Heading of the options that every command has.
const GLOBAL: &str = "Global options";

/// Runs OpenMetadata ingestion pipelines on Kubernetes.
///
/// Exit codes: 0 success, 1 the run failed (diff: there are differences; doctor: something is
/// wrong), 2 usage or input, 3 cluster or server, 4 (of exit-handler) OpenMetadata refuses the
/// report for good, 130 interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "ompipe",
    version,
    propagate_version = true,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = examples::OMPIPE
)]
pub(crate) struct Args {
    /// Configuration: a YAML file with the block pipelineServiceClientConfiguration. Without one,
    /// every parameter has its default.
    #[arg(short, long, global = true, value_name = "FILE", env = "OMPIPE_CONFIG", value_parser = path(), help_heading = GLOBAL)]
    pub(crate) config: Option<PathBuf>,

    /// Configuration that is kept in the cluster, such as that of the Helm chart: secret/NAME,
    /// secret/NAMESPACE/NAME or configmap/NAME, key config.yaml. Goes before --config.
    #[arg(long, global = true, value_name = "KIND/NAME", env = "OMPIPE_CONFIG_FROM", help_heading = GLOBAL)]
    pub(crate) config_from: Option<String>,

    /// The same, read, and the namespace that it is in.
    #[arg(skip)]
    pub(crate) fetched: OnceLock<(SecretString, String)>,

    /// Namespace to use instead of the configured one.
    #[arg(short, long, global = true, value_name = "NAME", help_heading = GLOBAL, add = ArgValueCompleter::new(complete::namespaces))]
    pub(crate) namespace: Option<String>,

    /// Kubeconfig to use instead of the configured one, of KUBECONFIG and ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE", value_parser = path(), help_heading = GLOBAL)]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig to use instead of the current one.
    #[arg(long, global = true, value_name = "NAME", help_heading = GLOBAL, add = ArgValueCompleter::new(complete::contexts))]
    pub(crate) context: Option<String>,

    /// Output format.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table, help_heading = GLOBAL)]
    pub(crate) output: Output,

    /// The OpenMetadata API as this machine reaches it, where metadataApiEndpoint is an address that
    /// only pods know.
    #[arg(long, global = true, value_name = "URL", env = "OMPIPE_SERVER", help_heading = GLOBAL)]
    pub(crate) server: Option<String>,

    /// File with the ingestion bot's token, for pipelines that come without one. The environment
    /// variable `OPENMETADATA_JWT_TOKEN` can be used instead.
    #[arg(long, global = true, value_name = "FILE", env = "OMPIPE_TOKEN_FILE", value_parser = path(), help_heading = GLOBAL)]
    pub(crate) token_file: Option<PathBuf>,

    /// Where the operator archives logs and records of runs: `s3://bucket/prefix`, `gs://…`, `az://…` or
    /// `file:///directory`. Without it, logs are read from pods only.
    #[arg(long, global = true, value_name = "URL", env = "LOGS_ARCHIVE_URL", help_heading = GLOBAL)]
    pub(crate) logs_archive_url: Option<String>,

    /// Whether the secrets of a run are masked in its log: true or false. By default true.
    #[arg(
        long,
        global = true,
        value_name = "BOOL",
        env = "LOGS_REDACT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = GLOBAL
    )]
    pub(crate) logs_redact: Option<String>,

    /// What to log to stderr, such as debug or `ompipe_client=debug`. By default warn.
    #[arg(long, global = true, value_name = "FILTER", env = "OMPIPE_LOG", help_heading = GLOBAL)]
    pub(crate) log: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Takes an empty path too, which a variable without a value gives.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Options that a command does not act on, which its help does not show.
const WITHOUT_EFFECT: [(&str, &[&str]); 7] = [
    (
        "man",
        &[
            "config",
            "config_from",
            "namespace",
            "kubeconfig",
            "context",
            "output",
            "server",
            "token_file",
            "log",
        ],
    ),
    (
        "completions",
        &[
            "config",
            "config_from",
            "namespace",
            "kubeconfig",
            "context",
            "output",
            "server",
            "token_file",
            "log",
        ],
    ),
    (
        "crds",
        &[
            "config",
            "config_from",
            "namespace",
            "kubeconfig",
            "context",
            "server",
            "token_file",
            "log",
        ],
    ),
    ("rbac", &["kubeconfig", "context", "server", "token_file", "log"]),
    (
        "exit-handler",
        &["config", "config_from", "namespace", "kubeconfig", "context", "server", "token_file"],
    ),
    (
        "operator",
        &["config", "config_from", "namespace", "context", "output", "server", "token_file"],
    ),
    ("serve", &["config_from", "output"]),
];

/// The whole command line, as help, manual page, completions and parser have it.
pub(crate) fn command() -> clap::Command {
    let mut command = Args::command();
    let globals: Vec<clap::Arg> = command.get_arguments().cloned().collect();
    for (name, hidden) in WITHOUT_EFFECT {
        let hidden = globals.iter().filter(|arg| hidden.contains(&arg.get_id().as_str()));
        // A command that has an option of that name does not get the global one.
        let hidden: Vec<clap::Arg> = hidden.map(|arg| arg.clone().hide(true)).collect();
        command = command.mut_subcommand(name, |of_command| of_command.args(hidden));
    }
    command
}

impl Args {
    /// What was typed.
    ///
    /// # Errors
    /// It is not right, or help or the version was asked for.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let mut command = command();
        let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
        let args = Self::from_arg_matches_mut(&mut matches);
        args.map(Self::without_empty_paths).map_err(|error| error.format(&mut command))
    }

    /// The arguments, in which an empty path counts as not given.
    pub(crate) fn without_empty_paths(mut self) -> Self {
        let given = |path: &PathBuf| !path.as_os_str().is_empty();
        self.config = self.config.filter(given);
        self.token_file = self.token_file.filter(given);
        self.logs_archive_url = self.logs_archive_url.filter(|url| !url.trim().is_empty());
        self.kubeconfig = self.kubeconfig.filter(given);
        self.config_from = self.config_from.filter(|from| !from.trim().is_empty());
        self.server = self.server.filter(|server| !server.trim().is_empty());
        self.log = self.log.filter(|filter| !filter.trim().is_empty());
        self
    }
}

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Human-readable, narrow enough for 80 columns.
    Table,
    /// Human-readable, with every column.
    Wide,
    /// Machine-readable.
    Json,
    /// The same as YAML.
    Yaml,
    /// Names only, one in each line.
    Name,
}

impl Output {
    /// True when a program reads the result.
    pub(crate) const fn is_structured(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Call(Call),
    /// Run the operator: the controllers of OMJob and CronOMJob. Ends with SIGTERM or SIGINT.
    #[command(after_help = examples::OPERATOR)]
    Operator(Box<OperatorArgs>),
    /// Serve as the pipeline service of an OpenMetadata server, and our own API. Ends with SIGTERM or
    /// SIGINT.
    #[command(after_help = examples::SERVE)]
    Serve(Box<ServeArgs>),
}

/// What is done once, and ends.
#[derive(Debug, Subcommand)]
pub(crate) enum Call {
    /// Deploy pipelines to the cluster, so that they run on their schedule and on demand.
    #[command(after_help = examples::DEPLOY)]
    Deploy(DeployArgs),
    /// Show what a deploy would change. Ends with exit code 1 if it would change something.
    #[command(after_help = examples::DIFF)]
    Diff(DeploySource),
    /// Run a pipeline now.
    #[command(after_help = examples::RUN)]
    Run(RunArgs),
    /// Run again what an earlier run did, with the config and overrides that it had.
    #[command(after_help = examples::RETRY)]
    Retry(RetryArgs),
    /// Wait until a run has ended, and end with its result.
    #[command(after_help = examples::WAIT)]
    Wait(WaitArgs),
    /// Show the runs of a pipeline.
    #[command(after_help = examples::STATUS)]
    Status(StatusArgs),
    /// Print the log of a run.
    #[command(after_help = examples::LOGS)]
    Logs(Box<LogsArgs>),
    /// Show past runs, also those that the cluster no longer has, if an archive keeps their records.
    #[command(after_help = examples::HISTORY)]
    History(HistoryArgs),
    /// List the deployed pipelines.
    #[command(visible_alias = "ls", after_help = examples::LIST)]
    List(ListArgs),
    /// Show what is deployed of a pipeline: schedule, image, revision, and its config, masked.
    #[command(after_help = examples::GET)]
    Get(Targets),
    /// Switch the schedule of pipelines off. Runs that have started go on.
    #[command(after_help = examples::PAUSE)]
    Pause(Targets),
    /// Switch the schedule of pipelines on again.
    #[command(after_help = examples::RESUME)]
    Resume(Targets),
    /// Switch the schedule of pipelines on or off: the previous spelling of pause and resume.
    #[command(after_help = examples::TOGGLE)]
    Toggle(ToggleArgs),
    /// Stop the runs of pipelines that have not ended.
    #[command(after_help = examples::KILL)]
    Kill(KillArgs),
    /// Remove pipelines: their schedules, runs, configs and secrets.
    #[command(after_help = examples::DELETE)]
    Delete(Targets),
    /// Show pipelines that OpenMetadata no longer has, or that are not deployed whole, and remove them
    /// if asked to.
    #[command(after_help = examples::ORPHANS)]
    Orphans {
        /// Remove what they have in the cluster.
        #[arg(long)]
        delete: bool,
    },
    /// Run an automation workflow, such as a test of a connection, and show its result.
    #[command(after_help = examples::TEST_CONNECTION)]
    TestConnection(TestConnectionArgs),
    /// Diagnose ompipe, a pipeline or a run, and suggest fixes.
    #[command(after_help = examples::DOCTOR)]
    Doctor(DoctorArgs),
    /// Print the Kubernetes objects that deploy, or a run, would apply. Needs no cluster.
    #[command(after_help = examples::RENDER)]
    Render(RenderArgs),
    /// Check and explain the configuration.
    #[command(subcommand, after_help = examples::CONFIG)]
    Config(ConfigCommand),
    /// Print the custom resource definitions that operator mode needs, for kubectl apply.
    #[command(after_help = examples::CRDS)]
    Crds,
    /// Print the namespace, Roles and service account that ompipe needs, for kubectl apply.
    #[command(after_help = examples::RBAC)]
    Rbac {
        /// The account and Role of `ompipe operator` in a namespace that it watches, instead.
        #[arg(long)]
        operator: bool,
    },
    /// Show the versions of ompipe, Kubernetes and OpenMetadata.
    #[command(after_help = examples::VERSION)]
    Version {
        /// Print only the version of this program, without any request.
        #[arg(long)]
        client: bool,
    },
    /// Report how a run ended, from inside its pod or the pod of its exit handler. Reads the environment
    /// that pods of runs have: config, pipelineRunId, pipelineStatus, jobName, namespace.
    #[command(after_help = examples::EXIT_HANDLER)]
    ExitHandler,
    /// Print the manual page, for man -l, or write one for each command.
    #[command(after_help = examples::MAN)]
    Man {
        /// Write ompipe.1, ompipe-deploy.1 and so on into this directory.
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Print a script that completes ompipe's arguments in a shell, also the names of pipelines,
    /// runs, namespaces and contexts.
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// A pipeline from a file or from the OpenMetadata server.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Definition {
    /// The ingestion pipeline as JSON or YAML, as the OpenMetadata API returns it; - is stdin.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Fully qualified name of a pipeline to fetch from the OpenMetadata server.
    #[arg(long, value_name = "NAME")]
    pub(crate) fqn: Option<String>,
}

/// A pipeline and its service.
#[derive(Debug, ClapArgs)]
pub(crate) struct Source {
    #[command(flatten)]
    pub(crate) definition: Definition,

    /// The pipeline's service entity as JSON or YAML; fetched from the server when not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) service: Option<PathBuf>,
}

/// Pipelines to deploy, and their services.
#[derive(Debug, ClapArgs)]
pub(crate) struct DeploySource {
    #[command(flatten)]
    pub(crate) definitions: Definitions,

    /// The pipelines' service entity as JSON or YAML; fetched from the server when not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) service: Option<PathBuf>,
}

/// Pipelines from files or from the OpenMetadata server.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Definitions {
    /// Ingestion pipelines as JSON or YAML, as the OpenMetadata API returns them: a file, which may
    /// hold several documents, or a directory with such files; - is stdin. May be repeated.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,

    /// Fully qualified name of a pipeline to fetch from the OpenMetadata server. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) fqn: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    pub(crate) source: DeploySource,

    /// Only show what would be done: server asks the API server to try it, client sends no request.
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "server")]
    pub(crate) dry_run: Option<DryRun>,
}

/// Who says what a deploy would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// The API server, which checks each object and keeps none.
    Server,
    /// This program alone, which prints the objects, as ompipe render does.
    Client,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    /// The pipelines of every namespace.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,

    /// Go on after the list, and print each pipeline that changes, until Ctrl-C.
    #[arg(short, long)]
    pub(crate) watch: bool,

    /// Only pipelines with these labels, as kubectl has them: key=value, key!=value, key in (a,b).
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
}

/// Pipelines that are deployed, or those of files or the server.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Targets {
    /// Names or fully qualified names of deployed pipelines.
    #[arg(value_name = "PIPELINE", add = ArgValueCompleter::new(complete::pipelines))]
    pub(crate) pipelines: Vec<String>,

    /// Every pipeline that is deployed in the namespace.
    #[arg(long)]
    pub(crate) all: bool,

    /// Every pipeline with these labels, as kubectl has them: key=value, key!=value, key in (a,b).
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,

    /// Ingestion pipelines as JSON or YAML: a file or a directory with files; - is stdin.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Fully qualified name of a pipeline to fetch from the OpenMetadata server.
    #[arg(long, value_name = "NAME")]
    pub(crate) fqn: Option<String>,
}

/// A pipeline that is deployed, or one from a file or the server.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// Name or fully qualified name of a deployed pipeline.
    #[arg(value_name = "PIPELINE", add = ArgValueCompleter::new(complete::pipelines))]
    pub(crate) pipeline: Option<String>,

    /// The ingestion pipeline as JSON or YAML, as the OpenMetadata API returns it; - is stdin.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Fully qualified name of a pipeline to fetch from the OpenMetadata server.
    #[arg(long, value_name = "NAME")]
    pub(crate) fqn: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) target: Target,

    /// The pipeline's service entity as JSON or YAML; fetched from the server when not given.
    #[arg(long, value_name = "FILE")]
    pub(crate) service: Option<PathBuf>,

    /// Id for the run; a random one when not given. The same id twice is one run.
    #[arg(long, value_name = "UUID")]
    pub(crate) run_id: Option<RunId>,

    /// Settings of this run only, as JSON or YAML: appConfigOverride, sourceConfigOverride,
    /// testCases; - is stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) overrides: Option<PathBuf>,

    /// Stream the run's log and end with its result: exit code 0 when it succeeds, 1 when it
    /// fails. With --output json the log goes to stderr.
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RetryArgs {
    /// Id of the run, or its first digits.
    #[arg(value_name = "RUN", add = ArgValueCompleter::new(complete::runs))]
    pub(crate) run: RunRef,

    /// Stream the new run's log and end with its result, as ompipe run does.
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub(crate) target: Target,

    /// The run, by its id or the first digits of it; the latest when not given.
    #[arg(long, value_name = "RUN", add = ArgValueCompleter::new(complete::runs))]
    pub(crate) run: Option<RunRef>,

    /// Wait no longer than this, such as 30s, 10m or 2h. By default as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub(crate) timeout: Option<std::time::Duration>,
}

fn timeout(text: &str) -> Result<std::time::Duration, &'static str> {
    let parsed = text.parse::<SignedDuration>().ok();
    parsed.and_then(|length| length.try_into().ok()).ok_or("must be a time such as 30s, 10m or 2h")
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) target: Target,

    /// Show this run only, by its id or the first digits of it.
    #[arg(long, value_name = "RUN", add = ArgValueCompleter::new(complete::runs))]
    pub(crate) run: Option<RunRef>,

    /// Go on after the list, and print each run that changes, until Ctrl-C.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// The pipeline of a log. Here -f is --follow, as everywhere else that logs are printed.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct LogsTarget {
    /// Name or fully qualified name of a deployed pipeline.
    #[arg(value_name = "PIPELINE", add = ArgValueCompleter::new(complete::pipelines))]
    pub(crate) pipeline: Option<String>,

    /// The ingestion pipeline as JSON or YAML, as the OpenMetadata API returns it; - is stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Fully qualified name of a pipeline to fetch from the OpenMetadata server.
    #[arg(long, value_name = "NAME")]
    pub(crate) fqn: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct HistoryArgs {
    /// Name or fully qualified name of a pipeline, also of one that was deleted since; without one, the
    /// archived runs of all.
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipeline: Option<String>,

    /// Show runs in this state only: queued, running, success, partialSuccess, failed or stopped.
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub(crate) state: Option<PipelineState>,

    /// Show runs only that began at or after this time, such as 2026-01-31T00:00:00Z, or so long ago,
    /// such as 7d or 12h.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,

    /// Show runs only that began before this time, or so long ago.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,

    /// Show runs only that waited or failed for this reason, such as `OOMKilled`.
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,

    /// Number of the newest runs to show.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

fn state(text: &str) -> Result<PipelineState, String> {
    let state = serde_json::from_value(serde_json::Value::String(text.to_owned()));
    let states = "must be one of queued, running, success, partialSuccess, failed, stopped";
    state.map_err(|_| states.to_owned())
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) target: LogsTarget,

    /// The run, by its id or the first digits of it; the latest when not given.
    #[arg(long, value_name = "RUN", add = ArgValueCompleter::new(complete::runs))]
    pub(crate) run: Option<RunRef>,

    /// This attempt only, from 1.
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<usize>,

    /// Which pods of the run.
    #[arg(long, value_enum, default_value_t = LogContainer::Main)]
    pub(crate) container: LogContainer,

    /// One page of 983040 bytes instead of the whole, from 0, as OpenMetadata asks for them. With
    /// --output json the answer that OpenMetadata gets.
    #[arg(long, value_name = "N", conflicts_with = "follow", allow_hyphen_values = true)]
    pub(crate) page: Option<String>,

    /// Wait for the run and stream its log until it ends.
    #[arg(short, long, conflicts_with_all = ["attempt", "container"])]
    pub(crate) follow: bool,

    /// Show a log on a terminal as it is, with the control characters in it. Otherwise they are shown as
    /// `\u{1b}`. A log that is piped is always as it is.
    #[arg(long, conflicts_with = "follow")]
    pub(crate) raw: bool,

    #[command(flatten)]
    pub(crate) lines: LogLines,
}

/// Which lines of a log.
#[derive(Debug, ClapArgs)]
pub(crate) struct LogLines {
    /// The attempt before the last one.
    #[arg(long, conflicts_with_all = ["attempt", "page", "follow"])]
    pub(crate) previous: bool,

    /// Number of the last lines to print, at most 100000 and 16 MiB.
    #[arg(long, value_name = "N", conflicts_with_all = ["page", "follow"])]
    pub(crate) tail: Option<usize>,

    /// Lines that were written at or after this time, such as 2026-01-31T00:00:00Z, or so long ago, such
    /// as 10m or 2h.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["page", "follow"])]
    pub(crate) since: Option<String>,

    /// Lines that match a regular expression. `(?i)` before it ignores case.
    #[arg(long, value_name = "PATTERN", conflicts_with_all = ["page", "follow"])]
    pub(crate) grep: Option<Pattern>,

    /// Begin each line with its time.
    #[arg(long, conflicts_with_all = ["page", "follow"])]
    pub(crate) timestamps: bool,
}

/// Which pods of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogContainer {
    /// Those of the ingestion.
    Main,
    /// Those of the exit handler, which only operator mode has.
    ExitHandler,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ToggleArgs {
    #[command(flatten)]
    pub(crate) targets: Targets,

    #[command(flatten)]
    pub(crate) state: ToggleState,
}

#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct ToggleState {
    /// The schedule fires.
    #[arg(long)]
    pub(crate) enable: bool,

    /// The schedule does not fire.
    #[arg(long)]
    pub(crate) disable: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    pub(crate) targets: Targets,

    /// Stop this run only, by its id or the first digits of it.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["all", "selector"], add = ArgValueCompleter::new(complete::runs))]
    pub(crate) run: Option<RunRef>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TestConnectionArgs {
    /// The automation workflow as JSON or YAML, as the OpenMetadata API returns it; - is stdin.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    /// Name or fully qualified name of a deployed pipeline. Without one, only ompipe, the cluster and
    /// OpenMetadata are checked.
    #[arg(value_name = "PIPELINE", add = ArgValueCompleter::new(complete::pipelines))]
    pub(crate) pipeline: Option<String>,

    /// Check this run of the pipeline, by its id or its first digits; the latest when not given.
    #[arg(long, value_name = "RUN", requires = "pipeline", add = ArgValueCompleter::new(complete::runs))]
    pub(crate) run: Option<RunRef>,

    /// First create the service account of the runs and its rights where they are absent, and report the
    /// end of the run if OpenMetadata does not have it. Changes nothing that exists.
    #[arg(long)]
    pub(crate) fix: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    pub(crate) source: Source,

    /// Render this run instead of the deployment.
    #[arg(long, value_name = "UUID")]
    pub(crate) run: Option<RunId>,

    /// Print secrets as they are instead of a placeholder.
    #[arg(long)]
    pub(crate) show_secrets: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration and list everything that is wrong with it.
    #[command(after_help = examples::CONFIG_CHECK)]
    Check,
    /// Show the value of each parameter, and where it comes from: default, file, environment or
    /// option. Secrets are masked.
    #[command(after_help = examples::CONFIG_SHOW)]
    Show,
    /// List every parameter with its default and what it does.
    #[command(after_help = examples::CONFIG_REFERENCE)]
    Reference,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    #[test]
    fn an_empty_path_is_not_given() {
        let words = ["ompipe", "--config", "", "--token-file", "", "--log", " ", "list"];
        let args = super::Args::parse_from(words).without_empty_paths();
        assert_eq!((args.config, args.token_file, args.log), (None, None, None));
    }

    #[test]
    fn the_definition_is_sound() {
        super::command().debug_assert();
    }

    /// Every command, also those of `config`.
    fn commands() -> Vec<clap::Command> {
        let mut command = super::command();
        command.build();
        let is_help = |of: &&clap::Command| of.get_name() == "help";
        let mut all = vec![command.clone()];
        for of in command.get_subcommands().filter(|of| !is_help(of)) {
            all.push(of.clone());
            all.extend(of.get_subcommands().filter(|of| !is_help(of)).cloned());
        }
        all
    }

    #[test]
    fn every_command_has_examples() {
        for of in commands() {
            let text = of.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(text.starts_with("Examples:\n  "), "{}: {text}", of.get_name());
            assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        }
    }

    /// An example that a change of the options breaks would mislead more than none.
    #[test]
    fn every_example_can_be_typed() {
        let texts = commands().into_iter().filter_map(|of| Some(of.get_after_help()?.to_string()));
        for line in texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
            let Some(example) = line.strip_prefix("  ompipe ") else { continue };
            // What is said about an example is two spaces away; what follows is the shell's.
            let typed = example.split("  ").next().unwrap_or_default();
            let typed = typed.split(['|', '>']).next().unwrap_or_default();
            let words = std::iter::once("ompipe").chain(typed.split_whitespace());
            if let Err(error) = super::command().try_get_matches_from(words) {
                panic!("{line}: {error}");
            }
        }
    }
}
