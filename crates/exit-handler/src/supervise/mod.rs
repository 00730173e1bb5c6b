//! The supervisor: the first process of a worker's container.
//!
//! ```text
//! signals ──► supervisor ──► the worker's process group
//!                 │ ◄── ended, with an exit code (and every orphan, reaped)
//!                 ├──► what is left of the group is killed
//!                 └──► the end is reported, then the exit code handed on
//! ```
//! Why it is there: Python as the first process of a container ignores SIGTERM, so that a stop would
//! take the whole grace period; and a preStop hook sees neither exit codes nor crashes.
//!
//! While the worker runs this waits for signals and does nothing else, to stay small.

mod memory;
mod signals;
mod worker;

use std::time::Duration;

use jiff::Timestamp;
use ompipe_core::omjob::{End, Reason};
use rustix::process::Signal;
use tokio::time::{Instant, sleep_until};

use self::memory::OomKills;
use self::signals::Signals;
use self::worker::Worker;
use crate::clock;

/// Exit codes of a program that is missing, or cannot be started, as shells have them.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// What to supervise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The worker's program and its arguments.
    pub command: Vec<String>,
    /// The pod's grace period. A worker that ignores a stop gets a quarter of it; the rest is for
    /// the report.
    pub grace: Duration,
}

/// How a supervised worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervised {
    /// When it began.
    pub began: Timestamp,
    /// How.
    pub end: End,
    /// When the kubelet kills the container, where somebody asked for the end: by SIGTERM, or SIGINT in
    /// its place.
    pub killed_at: Option<Instant>,
    /// The exit code to hand on: the worker's, or 128 and the number of the signal that ended it.
    pub code: u8,
}

impl Supervised {
    /// Whether somebody asked for the end.
    pub(crate) const fn was_stopped(&self) -> bool {
        self.killed_at.is_some()
    }
}

/// Runs the worker to its end.
///
/// # Errors
/// When no signal can be caught, so that nothing could be supervised.
pub async fn supervise(order: &Order) -> std::io::Result<Supervised> {
    // Before the worker starts, so that no signal is lost. A handler ends with `exec`, so that the
    // worker has none of them.
    let mut signals = Signals::catch()?;
    let (began, kills) = (clock::now(), OomKills::so_far());
    Ok(match Worker::start(&order.command) {
        Ok(worker) => {
            let (code, stopped) = until_end(&worker, &mut signals, order.grace / 4).await;
            let killed_at = stopped.map(|at| at + order.grace);
            worker.kill_rest();
            let end = End::of_process(code.into(), kills.have_risen(), Some(clock::now()));
            Supervised { began, end, killed_at, code }
        }
        Err(error) => never_started(&order.command, &error, began),
    })
}

/// Passes signals on until the worker is over; its exit code, and when it was asked to end.
async fn until_end(
    worker: &Worker,
    signals: &mut Signals,
    patience: Duration,
) -> (u8, Option<Instant>) {
    let (mut stopped, mut kill_at) = (None, None);
    loop {
        if let Some(code) = worker.reap() {
            return (code, stopped);
        }
        let last_moment = kill_at.unwrap_or_else(Instant::now);
        tokio::select! {
            signal = signals.next() => {
                if signal == Some(Signal::TERM) && stopped.is_none() {
                    let now = Instant::now();
                    (stopped, kill_at) = (Some(now), Some(now + patience));
                }
                if let Some(signal) = signal {
                    worker.pass_on(signal);
                }
            }
            () = sleep_until(last_moment), if kill_at.is_some() => {
                kill_at = None;
                worker.pass_on(Signal::KILL);
            }
        }
    }
}

fn never_started(command: &[String], error: &std::io::Error, began: Timestamp) -> Supervised {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let code = if missing { NOT_FOUND } else { NOT_EXECUTABLE };
    let program = command.first().map_or("", String::as_str);
    let message = format!("{program} cannot be started: {error}");
    let end = End::without_code(Reason::ContainerConfig, message);
    let end = End { exit_code: Some(code.into()), finished: Some(began), ..end };
    Supervised { began, end, killed_at: None, code }
}
