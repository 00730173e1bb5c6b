//! One file for each command.

mod completions;
mod config;
mod deploy;
mod list;
mod logs;
mod render;
mod run;
mod status;
mod target;

use crate::args::{Args, Command};
use crate::failure::{Exit, Failure};

/// Does what the arguments ask for.
pub(crate) async fn execute(args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::Deploy(source) => deploy::execute(args, source).await,
        Command::Run(run) => run::execute(args, run).await,
        Command::Status(status) => status::execute(args, status).await,
        Command::Logs(logs) => logs::execute(args, logs).await,
        Command::List => list::execute(args).await,
        Command::Render(render) => render::execute(args, render).await,
        Command::Config(command) => config::execute(args, command),
        Command::Completions { shell } => completions::execute(*shell),
    }
}
