//! The signals that a container's first process gets.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// The signals that are caught.
pub(super) struct Signals {
    child: Stream,
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
    quit: Stream,
    user1: Stream,
    user2: Stream,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next signal to pass on; `None` when a process ended.
    ///
    /// SIGINT becomes SIGTERM: the ingestion framework takes it for the end of its work and reports
    /// success with nothing stored, and some images have it as their stop signal.
    pub(super) async fn next(&mut self) -> Option<Signal> {
        tokio::select! {
            _ = self.child.recv() => None,
            _ = self.terminate.recv() => Some(Signal::TERM),
            _ = self.interrupt.recv() => Some(Signal::TERM),
            _ = self.hangup.recv() => Some(Signal::HUP),
            _ = self.quit.recv() => Some(Signal::QUIT),
            _ = self.user1.recv() => Some(Signal::USR1),
            _ = self.user2.recv() => Some(Signal::USR2),
        }
    }
}
