//! Runs a PostgreSQL with the sample database until it is asked to stop, or leaves it running.
#![expect(clippy::print_stdout, reason = "scripts read the address from the first line")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Parser;
use ompipe_tests::postgres::Postgres;
use tokio::signal::unix::{SignalKind, signal};

/// A PostgreSQL with the sample database `shop`, for tests and demos only.
///
/// Prints `address:port` once the database can be read, and stops on SIGTERM or Ctrl-C.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directory for the data and the log.
    #[arg(long)]
    dir: PathBuf,
    /// Addresses to listen on: loopback or the sandbox's bridge. All get the same, free port.
    #[arg(long, default_values_t = [IpAddr::V4(Ipv4Addr::LOCALHOST)])]
    listen: Vec<IpAddr>,
    /// Leave the server running and end. If it runs already, print its address.
    #[arg(long, conflicts_with = "stop")]
    detach: bool,
    /// Stop the server that was left running in the directory.
    #[arg(long)]
    stop: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let running = Postgres::attach(&arguments.dir)?;
    match running {
        Some(server) if arguments.stop => server.stop()?,
        Some(server) if arguments.detach => println!("{}", server.address()),
        Some(server) => {
            bail!("a server runs in {} at {}", arguments.dir.display(), server.address())
        }
        None if arguments.stop => {}
        None => serve(&arguments).await?,
    }
    Ok(())
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    // The password from the environment only: arguments show in the process list.
    let password = std::env::var("SHOP_PASSWORD");
    let password = password.context("set SHOP_PASSWORD to the password of the role `ingest`")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let server = Postgres::start(&arguments.dir, &arguments.listen)?;
    server.load_sample(&password)?;
    println!("{}", server.address());
    if arguments.detach {
        server.detach();
        return Ok(());
    }
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listen for Ctrl-C")?,
    }
    server.stop()?;
    Ok(())
}
