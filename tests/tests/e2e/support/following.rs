//! A call of the program that goes on while the test does something else.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use super::outcome::Outcome;

/// Longer than anything here takes on a slow machine that does other work.
const PATIENCE: Duration = Duration::from_mins(5);

/// A running call, whose output is read as it comes. It ends with the test at the latest.
pub(crate) struct Following {
    child: Child,
    stdout: BufReader<ChildStdout>,
    said: String,
}

impl Following {
    pub(crate) fn new(mut child: Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout, said: String::new() }
    }

    /// Reads until the call has printed this line.
    pub(crate) async fn until(&mut self, line: &str) {
        let wanted = format!("{line}\n");
        let read = async {
            loop {
                let mut next = String::new();
                let length = self.stdout.read_line(&mut next).await.unwrap();
                self.said.push_str(&next);
                assert!(length > 0, "it ended before it said {line:?}:\n{}", self.said);
                if next == wanted {
                    return;
                }
            }
        };
        timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("it never said {line:?}"));
    }

    /// Waits for the end of the call.
    pub(crate) async fn end(mut self) -> Outcome {
        let mut stderr = self.child.stderr.take().unwrap();
        let mut errors = String::new();
        let (rest, heard) = tokio::join!(
            self.stdout.read_to_string(&mut self.said),
            stderr.read_to_string(&mut errors)
        );
        rest.unwrap();
        heard.unwrap();
        let status: ExitStatus = self.child.wait().await.unwrap();
        Outcome { code: status.code(), stdout: self.said, stderr: errors }
    }
}
