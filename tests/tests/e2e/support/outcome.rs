//! What a call of the program printed and how it ended.

use std::process::Output;

use serde_json::Value;

/// One call of `ompipe`.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Exit code.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, or a failed test when the call did not end well.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        self.ended_with(0)
    }

    /// The same, or a failed test when the call ended otherwise.
    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("not JSON ({error}):\n{}\nstderr:\n{}", self.stdout, self.stderr)
        })
    }
}
