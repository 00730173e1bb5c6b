//! How ompipe ends: with a code that says what failed, and a message that says what to do.

use std::fmt::Display;
use std::process::ExitCode;

use ompipe_core::report::HOPELESS;
use ompipe_core::{Problem, Problems};
use serde_json::json;

use crate::args::Output;
use crate::output;

/// The exit codes, which scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; a run that was followed succeeded.
    Success,
    /// A run that was followed failed.
    RunFailed,
    /// Usage, configuration or input.
    Input,
    /// Cluster or server.
    Server,
    /// OpenMetadata refuses a run's report, as it would another time.
    Hopeless,
    /// The user pressed Ctrl-C.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => 0.into(),
            Exit::RunFailed => 1.into(),
            Exit::Input => 2.into(),
            Exit::Server => 3.into(),
            Exit::Hopeless => HOPELESS.into(),
            Exit::Interrupted => 130.into(),
        }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    code: &'static str,
    message: String,
    problems: Vec<Problem>,
}

/// The last words of the types that our own API gives to problems, where it has the same ones.
const INVALID_INPUT: &str = "invalid-input";
const UNAVAILABLE: &str = "unavailable";
const USAGE: &str = "usage";
const INTERRUPTED: &str = "interrupted";

/// Tells that the arguments are not right, or prints the help or version that was asked for.
pub(crate) fn report_usage(refused: &clap::Error) -> ExitCode {
    if refused.use_stderr() && wants_json() {
        let text = refused.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        output::note(json!({ "error": message, "code": USAGE, "problems": [] }));
    } else {
        // That nobody reads it is no failure.
        drop(refused.print());
    }
    if refused.use_stderr() { Exit::Input.into() } else { Exit::Success.into() }
}

/// Whether JSON was asked for, of arguments that could not be read.
fn wants_json() -> bool {
    let words: Vec<_> = std::env::args_os().collect();
    let is_json = |word: &std::ffi::OsString| {
        ["-ojson", "-o=json", "--output=json"].iter().any(|spelling| word == spelling)
    };
    let is_pair = |pair: &[std::ffi::OsString]| {
        (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json"
    };
    words.iter().any(is_json) || words.windows(2).any(is_pair)
}

impl Failure {
    /// The input, the configuration or the way of calling is at fault.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Exit::Input, INVALID_INPUT, &message)
    }

    /// The cluster or a server is at fault.
    pub(crate) fn server(message: impl Display) -> Self {
        Self::new(Exit::Server, UNAVAILABLE, &message)
    }

    /// The user has pressed Ctrl-C; the message says what goes on and what can be done about it.
    pub(crate) fn interrupted(message: impl Display) -> Self {
        Self::new(Exit::Interrupted, INTERRUPTED, &message)
    }

    fn new(exit: Exit, code: &'static str, message: &dyn Display) -> Self {
        Self { exit, code, message: message.to_string(), problems: Vec::new() }
    }

    /// The same with a further sentence.
    pub(crate) fn hinting(mut self, hint: &str) -> Self {
        self.message = format!("{}. {hint}", self.message);
        self
    }

    /// The same, of a kind that scripts may ask for.
    pub(crate) fn coded(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    /// The same with what it is about in front.
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    /// How the program ends for it.
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints the failure for people or scripts.
    pub(crate) fn tell(&self, output: Output) {
        let Self { code, message, problems, .. } = self;
        if output.is_structured() {
            output::note(json!({ "error": message, "code": code, "problems": problems }));
        } else if self.exit == Exit::Interrupted {
            output::note(message);
        } else {
            output::note(format_args!("error: {message}"));
        }
    }

    /// The same, as the last thing that the program does.
    pub(crate) fn report(self, output: Output) -> ExitCode {
        self.tell(output);
        self.exit.into()
    }
}

/// The kind of an error, for scripts.
fn code_of(error: &ompipe_client::Error) -> &'static str {
    use ompipe_client::Error;
    match error {
        Error::NotDeployed { .. } => "no-such-pipeline",
        Error::Ambiguous { .. } => "ambiguous-name",
        Error::NoRuns(_) | Error::NoSuchRun { .. } | Error::RunDeleted(_) => "no-such-run",
        Error::NoLog { .. } | Error::NoSuchAttempt { .. } | Error::NoExitHandlerPod(_) => {
            "no-such-log"
        }
        Error::AlreadyRunning { .. } | Error::JobNameTaken { .. } => "conflict",
        Error::OpenMetadata { .. } => "openmetadata",
        Error::Kubernetes(error) if !error.may_pass() => "kubernetes",
        error if error.is_input() => INVALID_INPUT,
        _ => UNAVAILABLE,
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let told = Self::usage(&problems);
        Self { problems: problems.list, ..told }
    }
}

impl From<ompipe_client::Error> for Failure {
    fn from(error: ompipe_client::Error) -> Self {
        let exit = if error.is_input() { Exit::Input } else { Exit::Server };
        match error {
            ompipe_client::Error::Invalid(problems) => problems.into(),
            error => Self::new(exit, code_of(&error), &error),
        }
    }
}

impl From<ompipe_exit_handler::Error> for Failure {
    fn from(error: ompipe_exit_handler::Error) -> Self {
        let exit = match &error {
            error if error.is_input() => Exit::Input,
            error if error.is_refusal() => Exit::Hopeless,
            _ => Exit::Server,
        };
        let code = if exit == Exit::Input { INVALID_INPUT } else { UNAVAILABLE };
        Self::new(exit, code, &error)
    }
}

impl From<ompipe_operator::Error> for Failure {
    fn from(error: ompipe_operator::Error) -> Self {
        Self::server(error)
    }
}

impl From<ompipe_server::Error> for Failure {
    fn from(error: ompipe_server::Error) -> Self {
        if error.is_input() { Self::usage(error) } else { Self::server(error) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::server(error)
    }
}
