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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => 0.into(),
            Exit::RunFailed => 1.into(),
            Exit::Input => 2.into(),
            Exit::Server => 3.into(),
            Exit::Hopeless => HOPELESS.into(),
        }
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    problems: Vec<Problem>,
}

impl Failure {
    /// The input, the configuration or the way of calling is at fault.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { exit: Exit::Input, message: message.to_string(), problems: Vec::new() }
    }

    /// Prints the failure for people or scripts. A reader of stdout that has gone away is none.
    pub(crate) fn report(self, output: Output) -> ExitCode {
        match output {
            Output::Table => output::note(format_args!("error: {}", self.message)),
            Output::Json => {
                let problems = &self.problems;
                output::note(json!({ "error": self.message, "problems": problems }));
            }
        }
        self.exit.into()
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self { exit: Exit::Input, message: problems.to_string(), problems: problems.list }
    }
}

impl From<ompipe_client::Error> for Failure {
    fn from(error: ompipe_client::Error) -> Self {
        let exit = if error.is_input() { Exit::Input } else { Exit::Server };
        match error {
            ompipe_client::Error::Invalid(problems) => problems.into(),
            error => Self { exit, message: error.to_string(), problems: Vec::new() },
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
        Self { exit, message: error.to_string(), problems: Vec::new() }
    }
}

impl From<ompipe_operator::Error> for Failure {
    fn from(error: ompipe_operator::Error) -> Self {
        Self { exit: Exit::Server, message: error.to_string(), problems: Vec::new() }
    }
}

impl From<ompipe_server::Error> for Failure {
    fn from(error: ompipe_server::Error) -> Self {
        let exit = if error.is_input() { Exit::Input } else { Exit::Server };
        Self { exit, message: error.to_string(), problems: Vec::new() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { exit: Exit::Server, message: error.to_string(), problems: Vec::new() }
    }
}
