//! The worker's process, its group, and the orphans that become children of a first process.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait};

/// What exit codes of signals are counted from.
const SIGNALLED: i32 = 128;

/// A running worker: the leader of a process group of its own, so that a signal reaches a program
/// that a shell started for it too.
pub(super) struct Worker {
    pid: Pid,
}

impl Worker {
    pub(super) fn start(command: &[String]) -> io::Result<Self> {
        let [program, arguments @ ..] = command else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no command is given"));
        };
        let child = Command::new(program).args(arguments).process_group(0).spawn()?;
        Ok(Self { pid: Pid::from_child(&child) })
    }

    /// Waits for every process that has ended; the worker's exit code when it is among them.
    pub(super) fn reap(&self) -> Option<u8> {
        let mut code = None;
        // An error means that there is no child at all.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                code = Some(code_of(status));
            }
        }
        code
    }

    /// Sends a signal to the worker's group. That it is over by now is no failure.
    pub(super) fn pass_on(&self, signal: Signal) {
        let _ = kill_process_group(self.pid, signal);
    }

    /// Ends what the worker left in its group: the run is over, and nothing may write a status of
    /// its own any more.
    pub(super) fn kill_rest(&self) {
        self.pass_on(Signal::KILL);
    }
}

fn code_of(status: WaitStatus) -> u8 {
    let signalled = || Some(SIGNALLED + status.terminating_signal()?);
    let code = status.exit_status().or_else(signalled);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
