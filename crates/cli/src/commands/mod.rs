//! One file for each command.

mod completions;
mod config;
mod crds;
mod delete;
mod deploy;
mod diff;
mod doctor;
mod each;
mod exit_handler;
mod fix;
mod get;
mod history;
mod kill;
mod list;
mod logs;
mod long_running;
mod man;
mod operator;
mod orphans;
mod rbac;
mod render;
mod report;
mod retry;
mod run;
mod serve;
mod status;
mod target;
mod test_connection;
mod toggle;
mod version;
mod wait;
mod watch;

pub(crate) use operator::execute as run_operator;
pub(crate) use serve::execute as serve;

use crate::args::{Args, Call, Output};
use crate::failure::{Exit, Failure};

/// Refuses a format that a command has no result for, before it does anything.
pub(crate) fn check_output(output: Output, call: &Call) -> Result<(), Failure> {
    let has_name = matches!(
        call,
        Call::Deploy(_)
            | Call::Run(_)
            | Call::Retry(_)
            | Call::Wait(_)
            | Call::Status(_)
            | Call::History(_)
            | Call::List(_)
            | Call::Get(_)
            | Call::Pause(_)
            | Call::Resume(_)
            | Call::Toggle(_)
            | Call::Kill(_)
            | Call::Delete(_)
    );
    if output == Output::Name && !has_name {
        return Err(Failure::usage("--output name is not for this command, which names nothing"));
    }
    Ok(())
}

/// Does what the arguments ask for.
pub(crate) async fn execute(args: &Args, call: &Call) -> Result<Exit, Failure> {
    match call {
        Call::Deploy(deploy) => deploy::execute(args, deploy).await,
        Call::Diff(source) => diff::execute(args, source).await,
        Call::Run(run) => run::execute(args, run).await,
        Call::Retry(retry) => retry::execute(args, retry).await,
        Call::Wait(wait) => wait::execute(args, wait).await,
        Call::Status(status) => status::execute(args, status).await,
        Call::Logs(logs) => logs::execute(args, logs).await,
        Call::History(history) => history::execute(args, history).await,
        Call::List(list) => list::execute(args, list).await,
        Call::Get(targets) => get::execute(args, targets).await,
        Call::Pause(targets) => toggle::execute(args, targets, false).await,
        Call::Resume(targets) => toggle::execute(args, targets, true).await,
        Call::Toggle(toggle) => toggle::execute(args, &toggle.targets, toggle.state.enable).await,
        Call::Kill(kill) => kill::execute(args, kill).await,
        Call::Delete(targets) => delete::execute(args, targets).await,
        Call::Orphans { delete } => orphans::execute(args, *delete).await,
        Call::TestConnection(test) => test_connection::execute(args, test).await,
        Call::Doctor(doctor) => doctor::execute(args, doctor).await,
        Call::Render(render) => render::execute(args, render).await,
        Call::Config(command) => config::execute(args, command),
        Call::Crds => crds::execute(args.output),
        Call::ExitHandler => exit_handler::execute().await,
        Call::Rbac { operator } => rbac::execute(args, *operator),
        Call::Version { client } => version::execute(args, *client).await,
        Call::Man { directory } => man::execute(directory.as_deref()),
        Call::Completions { shell } => completions::execute(*shell),
    }
}
