//! `ompipe`: parse, wire, print. What it does is in the crates below it.

mod args;
mod commands;
mod complete;
mod failure;
mod inputs;
mod output;
mod progress;

use std::io::IsTerminal;
use std::process::ExitCode;

use args::{Args, Call, Command};
use failure::{Exit, Failure};

fn main() -> ExitCode {
    // Both HTTP clients find this one; without it each linked provider would claim to be the one.
    // An error means that it is installed already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    complete::answer();
    let args = match Args::read() {
        Ok(args) => args,
        Err(refused) => return failure::report_usage(&refused),
    };
    let done = match &args.command {
        Command::Call(call) => execute(&args, call),
        Command::Operator(operator) => commands::run_operator(&args, operator),
        Command::Serve(serve) => commands::serve(&args, serve),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(args.output),
    }
}

/// One thread: the work is waiting for servers.
fn execute(args: &Args, call: &Call) -> Result<Exit, Failure> {
    start_log(args);
    commands::check_output(args.output, call)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        inputs::fetch_config(args).await?;
        commands::execute(args, call).await
    })
}

/// What libraries and ompipe log goes to stderr, so that it never mixes with output.
fn start_log(args: &Args) {
    // What these two log as an error, our own message says.
    const QUIET: &str = "kube_client::client::builder=off,rustls_platform_verifier=off,warn";
    let filter = args.log.as_deref().unwrap_or(QUIET);
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
