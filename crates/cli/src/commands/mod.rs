//! One file for each command.

mod completions;
mod config;
mod crds;
mod delete;
mod deploy;
mod doctor;
mod exit_handler;
mod kill;
mod list;
mod logs;
mod long_running;
mod man;
mod operator;
mod render;
mod run;
mod serve;
mod status;
mod target;
mod test_connection;
mod toggle;

pub(crate) use operator::execute as run_operator;
pub(crate) use serve::execute as serve;

use crate::args::{Args, Call};
use crate::failure::{Exit, Failure};

/// Does what the arguments ask for.
pub(crate) async fn execute(args: &Args, call: &Call) -> Result<Exit, Failure> {
    match call {
        Call::Deploy(source) => deploy::execute(args, source).await,
        Call::Run(run) => run::execute(args, run).await,
        Call::Status(status) => status::execute(args, status).await,
        Call::Logs(logs) => logs::execute(args, logs).await,
        Call::List => list::execute(args).await,
        Call::Toggle(toggle) => toggle::execute(args, toggle).await,
        Call::Kill(kill) => kill::execute(args, kill).await,
        Call::Delete(target) => delete::execute(args, target).await,
        Call::TestConnection(test) => test_connection::execute(args, test).await,
        Call::Doctor(doctor) => doctor::execute(args, doctor).await,
        Call::Render(render) => render::execute(args, render).await,
        Call::Config(command) => config::execute(args, command),
        Call::Crds => crds::execute(args.output),
        Call::ExitHandler => exit_handler::execute().await,
        Call::Man => man::execute(),
        Call::Completions { shell } => completions::execute(*shell),
    }
}
