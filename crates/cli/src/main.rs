//! `ompipe`: parse, wire, print. What it does is in the crates below it.

mod args;
mod commands;
mod failure;
mod inputs;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use args::Args;
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let args = Args::parse();
    start_log(&args);
    match execute(&args) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(args.output),
    }
}

/// One thread: the work is waiting for servers.
fn execute(args: &Args) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
    // Both HTTP clients find this one; without it each linked provider would claim to be the one.
    // An error means that it is installed already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    runtime.block_on(commands::execute(args))
}

/// What libraries and ompipe log goes to stderr, so that it never mixes with output.
fn start_log(args: &Args) {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(&args.log))
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
