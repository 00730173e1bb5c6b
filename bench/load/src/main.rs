//! Makes `OMJob`s and says when everything that happens to them was seen.
//!
//! ```text
//!   make ──── creates OMJobs ────▶  API server  ◀──── an operator, another process
//!     │ asked, created                  │
//!     ▼                                 │ watches: OMJobs and pods of this wave
//!   journal ◀────────── watch ◀─────────┘
//!     └──▶ standard output: the times of every run, as JSON
//! ```
//!
//! Nothing here knows which operator it is. Times are of arrival at this process, in microseconds:
//! Kubernetes' own are whole seconds.
#![expect(clippy::print_stdout, reason = "the result is what this program is for")]

mod clock;
mod journal;
mod make;
mod omjob;
mod watch;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kube::Client;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::journal::{Journal, Milestone, Times};
use crate::make::Pace;
use crate::omjob::Wave;

/// Happenings that may wait until they are noted.
const BACKLOG: usize = 1 << 16;

/// Makes `OMJob`s at a pace, and prints when everything about them was seen.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    wave: Wave,
    #[command(flatten)]
    pace: Pace,
    /// What every run must have reached before this program ends.
    #[arg(long, value_enum, default_value_t = Milestone::Terminal)]
    until: Milestone,
    /// Seconds after which it ends all the same, and fails.
    #[arg(long, default_value_t = 600)]
    patience: u64,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    /// Whether every run got where it should.
    complete: bool,
    /// The times of every run, by its name.
    runs: &'a BTreeMap<String, Times>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let arguments = Arguments::parse();
    let client = Client::try_default().await?;
    let mut journal = Journal::new(arguments.until, arguments.pace.runs());
    let patience = Duration::from_secs(arguments.patience);
    let complete = match tokio::time::timeout(patience, run(&arguments, client, &mut journal)).await
    {
        Ok(result) => result.map(|()| true)?,
        Err(_) => false,
    };
    println!("{}", serde_json::to_string(&Outcome { complete, runs: journal.runs() })?);
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Notes what happens until every run is where it should be. The watches stand before the first
/// run is made.
async fn run(arguments: &Arguments, client: Client, journal: &mut Journal) -> anyhow::Result<()> {
    let (noted, mut happenings) = mpsc::channel(BACKLOG);
    let mut watches = watch::start(&client, &arguments.wave, &noted).await?;
    let (progress, unfinished) = tokio::sync::watch::channel(0);
    let making = make::all(client, &arguments.wave, &arguments.pace, &unfinished, noted);
    tokio::pin!(making);
    let mut made = false;
    while !(made && journal.complete()) {
        tokio::select! {
            result = &mut making, if !made => {
                result?;
                made = true;
            }
            Some(happening) = happenings.recv() => {
                journal.note(happening);
                progress.send_replace(journal.unfinished());
            }
            Some(ended) = watches.join_next() => ended??,
        }
    }
    Ok(())
}
