//! Runs the OpenMetadata stand-in until it is asked to stop.
#![expect(clippy::print_stdout, reason = "scripts read the URL from the first line")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use ompipe_tests::standin::{DEFAULT_TOKEN, DEFAULT_VERSION, Options, Standin};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for the OpenMetadata server, for tests and demos only.
///
/// Prints the URL of its API once it listens, and stops on SIGTERM or Ctrl-C.
#[derive(Debug, Parser)]
struct Arguments {
    /// Loopback or the address of the sandbox's bridge; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:8585")]
    bind: SocketAddr,
    /// File with the bearer token that requests must carry; else $`STANDIN_TOKEN`, else a constant.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// The version that the server says it has. The client refuses another major or minor one.
    #[arg(long, default_value = DEFAULT_VERSION)]
    server_version: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let token = match &arguments.token {
        Some(file) => read_token(file)?,
        None => std::env::var("STANDIN_TOKEN").unwrap_or_else(|_| DEFAULT_TOKEN.to_owned()),
    };
    let options = Options { bind: arguments.bind, token, version: arguments.server_version };
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let standin = Standin::start_with(options)?;
    println!("{}", standin.url());
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listen for Ctrl-C")?,
    }
    Ok(())
}

fn read_token(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("read the token from {}", file.display()))?;
    Ok(text.trim().to_owned())
}
