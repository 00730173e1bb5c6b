//! Starts the server, and stops it should the process that started it die.
//!
//! A killed test cannot clean up, and a parent-death signal is tied to the thread that spawned the
//! child, which in a test run ends with its test. So a small shell stands between: it starts the
//! server with `pg_ctl`, then reads from a pipe whose other end only we hold. A line on it means
//! that the server is somebody else's business now; the end of the pipe means that we are gone.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::Error;

/// `$0 start …` and `$0 stop …` are `pg_ctl` calls; `$@` of the script is the call without its verb.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
"$@" start --wait --silent >/dev/null </dev/null || exit 1
echo started
read -r release && exit 0
"$@" stop --wait --mode=immediate >/dev/null 2>&1
"#;

/// Holds the pipe that keeps the server alive.
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    /// Starts the server by `pg_ctl`, the command without its verb, and waits until it is ready.
    pub(super) fn start(pg_ctl: &Command) -> Result<Option<Self>, Error> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "postgres-guard"]).arg(pg_ctl.get_program());
        shell.args(pg_ctl.get_args());
        if let Some(directory) = pg_ctl.get_current_dir() {
            shell.current_dir(directory);
        }
        // Out of our process group, so that a signal to all of it does not end the guard with us.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let spawn = |source| Error::Spawn { program: OsStr::new("sh").to_owned(), source };
        let mut shell = shell.spawn().map_err(spawn)?;
        let mut line = String::new();
        if let Some(stdout) = shell.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(spawn)?;
        }
        if line == "started\n" {
            return Ok(Some(Self { shell }));
        }
        shell.wait().map_err(spawn)?;
        Ok(None)
    }

    /// Lets the server live on without us.
    pub(super) fn release(mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            // Fails only if the shell is gone, and then it releases nothing and stops nothing.
            let _ = pipe.write_all(b"release\n");
        }
        let _ = self.shell.wait();
    }
}
