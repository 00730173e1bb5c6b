//! What can be typed. Credentials never can: they come from files, the environment or the pipeline.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use ompipe_core::RunId;
use ompipe_operator::settings::OperatorArgs;
use ompipe_server::settings::ServeArgs;

/// Runs OpenMetadata ingestion pipelines on Kubernetes.
///
/// Exit codes: 0 success, 1 the run failed, 2 usage or input, 3 cluster or server, 4 (of
/// exit-handler) OpenMetadata refuses the report for good.
#[derive(Debug, Parser)]
#[command(name = "ompipe", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Args {
    /// Configuration: a YAML file with the block pipelineServiceClientConfiguration. Without one,
    /// every parameter has its default.
    #[arg(short, long, global = true, value_name = "FILE", env = "OMPIPE_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Namespace to use instead of the configured one.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,

    /// File with the ingestion bot's token, for pipelines that come without one. The environment
    /// variable `OPENMETADATA_JWT_TOKEN` does as well.
    #[arg(long, global = true, value_name = "FILE", env = "OMPIPE_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// What to log to stderr, such as debug or `ompipe_client=debug`. By default warn.
    #[arg(long, global = true, value_name = "FILTER", env = "OMPIPE_LOG")]
    pub(crate) log: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Call(Call),
    /// Run the operator: the controllers of OMJob and CronOMJob. Ends with SIGTERM or SIGINT.
    Operator(Box<OperatorArgs>),
    /// Serve as the pipeline service of an OpenMetadata server, and our own API. Ends with SIGTERM or
    /// SIGINT.
    Serve(Box<ServeArgs>),
}

/// What is done once, and ends.
#[derive(Debug, Subcommand)]
pub(crate) enum Call {
    /// Store a pipeline in the cluster, so that it runs on its schedule and on demand.
    Deploy(Source),
    /// Run a pipeline now.
    Run(RunArgs),
    /// Show the runs of a pipeline.
    Status(StatusArgs),
    /// Print the log of a run.
    Logs(LogsArgs),
    /// Show the deployed pipelines.
    List,
    /// Switch the schedule of a pipeline on or off. Runs that have started go on.
    Toggle(ToggleArgs),
    /// Stop the runs of a pipeline that have not ended.
    Kill(KillArgs),
    /// Remove a pipeline: its schedule, its runs, its config and secrets.
    Delete(Target),
    /// Run an automation workflow, such as a test of a connection, and show its result.
    TestConnection(TestConnectionArgs),
    /// Find out what keeps ompipe, a pipeline or a run from working, and what to do about it.
    Doctor(DoctorArgs),
    /// Print the Kubernetes objects that deploy, or a run, would apply. Needs no cluster.
    Render(RenderArgs),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the custom resource definitions that operator mode needs, for kubectl apply.
    Crds,
    /// Report how a run ended, from inside its pod or one beside it. Reads the environment that
    /// pods of runs have: config, pipelineRunId, pipelineStatus, jobName, namespace.
    ExitHandler,
    /// Print the manual page, for man -l.
    Man,
    /// Print a script that completes ompipe's arguments in a shell.
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

/// A pipeline that is deployed, or one from a file or the server.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Target {
    /// Name or fully qualified name of a deployed pipeline.
    #[arg(value_name = "PIPELINE")]
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

    /// What this run has different, as JSON or YAML: appConfigOverride, sourceConfigOverride,
    /// testCases; - is stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) overrides: Option<PathBuf>,

    /// Stream the run's log and end with its result: exit code 0 when it succeeds, 1 when it
    /// fails. With --output json the log goes to stderr.
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) target: Target,

    /// Show this run only.
    #[arg(long, value_name = "UUID")]
    pub(crate) run: Option<RunId>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) target: Target,

    /// The run; the latest when not given.
    #[arg(long, value_name = "UUID")]
    pub(crate) run: Option<RunId>,

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
    #[arg(long, conflicts_with_all = ["attempt", "container"])]
    pub(crate) follow: bool,
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
    pub(crate) target: Target,

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
    pub(crate) target: Target,

    /// Stop this run only.
    #[arg(long, value_name = "UUID")]
    pub(crate) run: Option<RunId>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TestConnectionArgs {
    /// The automation workflow as JSON or YAML, as the OpenMetadata API returns it; - is stdin.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    /// Name or fully qualified name of a deployed pipeline; without one, ompipe and the cluster are
    /// examined only.
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipeline: Option<String>,

    /// Examine this run of it; the latest when not given.
    #[arg(long, value_name = "UUID", requires = "pipeline")]
    pub(crate) run: Option<RunId>,
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
    /// Check the configuration and tell everything that is wrong with it.
    Check,
    /// List every parameter with its default and what it does.
    Reference,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        super::Args::command().debug_assert();
    }
}
