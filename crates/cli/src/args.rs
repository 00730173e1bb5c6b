//! What can be typed. Credentials never can: they come from files, the environment or the pipeline.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use ompipe_core::RunId;

/// Runs OpenMetadata ingestion pipelines on Kubernetes.
///
/// Exit codes: 0 success, 1 the run failed, 2 usage or input, 3 cluster or server.
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

    /// What to log to stderr, such as debug or `ompipe_client=debug`.
    #[arg(long, global = true, value_name = "FILTER", env = "OMPIPE_LOG", default_value = "warn")]
    pub(crate) log: String,

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
    /// Print the Kubernetes objects that deploy, or a run, would apply. Needs no cluster.
    Render(RenderArgs),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
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

    /// Wait for the run and stream its log until it ends.
    #[arg(long)]
    pub(crate) follow: bool,
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
