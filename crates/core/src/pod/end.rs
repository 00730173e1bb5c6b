//! How an attempt ended, and why it waits: a reason of the closed set, with a sentence.

use jiff::Timestamp;

use super::Reason;

/// What keeps a stage from starting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trouble {
    /// Its kind.
    pub reason: Reason,
    /// The same in a sentence, mostly of Kubernetes.
    pub message: String,
}

impl Trouble {
    /// A trouble with its sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// How an attempt or a stage ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// Why.
    pub reason: Reason,
    /// Exit code of the container, when it ran.
    pub exit_code: Option<i32>,
    /// The signal that ended it, when one did.
    pub signal: Option<i32>,
    /// A sentence for people.
    pub message: String,
    /// When, as the kubelet saw it.
    pub finished: Option<Timestamp>,
}

impl End {
    /// An end of which no container can tell.
    pub fn without_code(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, exit_code: None, signal: None, message: message.into(), finished: None }
    }

    /// The end of a process by its exit code, 128 and the number for a signal. The kernel's want of
    /// memory counts whether it ended the process itself or what the process could not do without.
    #[must_use]
    pub fn of_process(exit_code: i32, out_of_memory: bool, finished: Option<Timestamp>) -> Self {
        let signal = signal_of(exit_code);
        let (reason, message) = match (exit_code, signal) {
            (0, _) => (Reason::Completed, "ended with exit code 0".to_owned()),
            _ if out_of_memory => {
                (Reason::OomKilled, "used more memory than resources.limits.memory allows".into())
            }
            (code, Some(signal)) => {
                (Reason::Signal, format!("ended by signal {signal} (exit code {code})"))
            }
            (code, None) => (Reason::Error, format!("ended with exit code {code}")),
        };
        Self { reason, exit_code: Some(exit_code), signal, message, finished }
    }

    /// What a trouble becomes when the wait is over.
    #[must_use]
    pub fn of_trouble(trouble: &Trouble) -> Self {
        Self::without_code(trouble.reason, trouble.message.clone())
    }

    /// The end that upstream's operator recorded: an exit code at best.
    #[must_use]
    pub fn adopted(exit_code: Option<i32>) -> Self {
        let signal = exit_code.and_then(signal_of);
        let reason = match (exit_code, signal) {
            (Some(0), _) => Reason::Completed,
            (Some(_), Some(_)) => Reason::Signal,
            (Some(_), None) => Reason::Error,
            (None, _) => Reason::Unknown,
        };
        let message = "it ended under another operator".to_owned();
        Self { reason, exit_code, signal, message, finished: None }
    }

    /// True when the process ended with exit code 0.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        matches!(self.exit_code, Some(0))
    }
}

/// The signal that an exit code stands for: 128 and its number, as shells have it.
pub(crate) fn signal_of(exit_code: i32) -> Option<i32> {
    (129..=192).contains(&exit_code).then(|| exit_code - 128)
}
