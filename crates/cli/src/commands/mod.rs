//! One file for each command.

mod completions;
mod config;
mod crds;
mod delete;
mod deploy;
mod doctor;
mod kill;
mod list;
mod logs;
mod man;
mod render;
mod run;
mod status;
mod target;
mod test_connection;
mod toggle;

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
        Command::Toggle(toggle) => toggle::execute(args, toggle).await,
        Command::Kill(kill) => kill::execute(args, kill).await,
        Command::Delete(target) => delete::execute(args, target).await,
        Command::TestConnection(test) => test_connection::execute(args, test).await,
        Command::Doctor(doctor) => doctor::execute(args, doctor).await,
        Command::Render(render) => render::execute(args, render).await,
        Command::Config(command) => config::execute(args, command),
        Command::Crds => crds::execute(args.output),
        Command::Man => man::execute(),
        Command::Completions { shell } => completions::execute(*shell),
    }
}
