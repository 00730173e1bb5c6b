//! How an attempt ended, and why it waits: a reason of the closed set, with a sentence.

use jiff::Timestamp;

use super::Reason;
use super::log_error::last_error;

/// Exit codes after which no other attempt follows, in either mode: 2 is that of a config or an
/// argument that is not valid, and Python's for a file that it cannot open; the others are the
/// shell's and the container runtime's for a program that cannot be started.
pub const FINAL_EXIT_CODES: [i32; 4] = [2, 126, 127, 128];

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
            (code, None) if FINAL_EXIT_CODES.contains(&code) => {
                (Reason::BadConfig, format!("ended with exit code {code}{}", meaning(code)))
            }
            (code, None) => (Reason::Error, format!("ended with exit code {code}")),
        };
        Self { reason, exit_code: Some(exit_code), signal, message, finished }
    }

    /// The same end with the last error of the worker's log, and the class of failure that it means.
    /// Of an end that was not the worker's own making the log cannot tell more.
    #[must_use]
    pub fn with_log(self, log: &str) -> Self {
        let knows_nothing = matches!(self.reason, Reason::Error | Reason::BadConfig);
        let Some(cause) = last_error(log).filter(|_| knows_nothing) else { return self };
        if self.message.contains(&cause.message) {
            return self;
        }
        let is_final = self.reason == Reason::BadConfig;
        let reason = if is_final { self.reason } else { cause.reason };
        Self { reason, message: format!("{}: {}", self.message, cause.message), ..self }
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

    /// True when no other attempt can end better: the worker's config or its command is wrong.
    #[must_use]
    pub fn is_final(&self) -> bool {
        let is_code = self.exit_code.is_some_and(|code| FINAL_EXIT_CODES.contains(&code));
        self.reason == Reason::BadConfig || (self.reason == Reason::ContainerConfig && is_code)
    }

    /// True when the process ended with exit code 0.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        matches!(self.exit_code, Some(0))
    }
}

/// The meaning of an exit code of [`FINAL_EXIT_CODES`].
const fn meaning(code: i32) -> &'static str {
    match code {
        2 => ", which means that a config or an argument is not valid",
        126 => ", which means that the command cannot be executed",
        127 => ", which means that the command does not exist",
        _ => ", which means that the container cannot be started",
    }
}

/// The signal behind an exit code: 128 plus its number, as in shells.
pub(crate) fn signal_of(exit_code: i32) -> Option<i32> {
    (129..=192).contains(&exit_code).then(|| exit_code - 128)
}
