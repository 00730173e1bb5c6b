//! Asks an HTTP service for the same document at a steady rate, over a few kept connections, as a
//! monitor does, and prints how long each answer took: one number of microseconds a line.
//!
//! A program of its own: an interpreter that asks a thousand times a second measures itself.
#![expect(clippy::print_stdout, reason = "the result is what this program is for")]

use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use futures::future::try_join_all;
use reqwest::{Client, Url};
use tokio::time::{Instant, sleep_until};

/// Asks a service at a steady rate, and prints the microseconds that each answer took.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to ask for.
    url: Url,
    /// HTTP Basic credentials, NAME:PASSWORD.
    #[arg(long)]
    login: String,
    /// Requests a second, over all connections.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// For how many seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Connections, each of which asks for the next when it has its answer.
    #[arg(long, default_value_t = 4)]
    connections: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let arguments = Arguments::parse();
    let begin = Instant::now() + Duration::from_millis(100);
    let all = (0..arguments.connections).map(|number| connection(&arguments, number, begin));
    for took in try_join_all(all).await?.concat() {
        println!("{}", took.as_micros());
    }
    Ok(())
}

/// Every so-manieth request, over one connection.
async fn connection(
    arguments: &Arguments,
    number: u32,
    begin: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let client = Client::builder().pool_max_idle_per_host(1).build()?;
    let (name, password) = arguments.login.split_once(':').context("--login NAME:PASSWORD")?;
    let pause = Duration::from_secs(1) / arguments.rate;
    let mut took = Vec::new();
    for turn in (number..arguments.rate * arguments.seconds).step_by(arguments.connections as usize)
    {
        sleep_until(begin + pause * turn).await;
        let asked = Instant::now();
        let request = client.get(arguments.url.clone()).basic_auth(name, Some(password));
        request.send().await?.error_for_status()?.bytes().await?;
        took.push(asked.elapsed());
    }
    Ok(took)
}
