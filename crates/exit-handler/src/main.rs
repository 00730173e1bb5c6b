//! `ompipe-exit`: a small static program that goes into pods. `report` is the exit handler,
//! `supervise` the first process of a worker's container.

mod arguments;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use ompipe_core::report::HOPELESS;
use ompipe_exit_handler::{Error, Order, Supervised, leave_message};
use tokio::runtime::{Builder, Runtime};

use self::arguments::Supervise;

/// The file's name wherever it is copied to.
const PROGRAM: &str = "ompipe-exit";

const USAGE: &str = "usage: ompipe-exit report | supervise [OPTION...] -- COMMAND... | install DIRECTORY | --version

report      Report how the run that the environment tells of ended, unless OpenMetadata knows it.
            Reads config (or configFile), pipelineRunId, pipelineStatus, jobName, namespace.
supervise   Run a worker as the first process of its container: pass signals on, wait for orphans,
            report the end as `report` does, and end with the worker's exit code.
    --grace-seconds N   grace period of the pod, 60 unless given: a worker that ignores SIGTERM for
                        a quarter of it is killed
    --no-report         leave the report to others
install     Copy this program into a directory: how an init container hands it to the others.

Exit codes: 0 done, 2 usage or environment, 3 OpenMetadata did not take the report in time, 4 it
refuses the report or the token, so that another try would not help; of supervise, those of the
worker, 128 and the number of a signal that ended it, 126 or 127 when it cannot start.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["report"] => report(),
        ["supervise", ref options @ ..] => match Supervise::read(options) {
            Some(Supervise { order, reports }) => supervise(&order, reports),
            None => usage(),
        },
        ["install", directory] => install(Path::new(directory)),
        ["--version"] => say(io::stdout(), concat!("ompipe-exit ", env!("CARGO_PKG_VERSION"))),
        ["--help"] => say(io::stdout(), USAGE),
        _ => usage(),
    }
}

fn report() -> ExitCode {
    let outcome = runtime().map(|runtime| {
        choose_tls();
        runtime.block_on(ompipe_exit_handler::report(variable))
    });
    match outcome {
        Ok(Ok(done)) => say(io::stderr(), &done),
        Ok(Err(error)) => fail(&error.to_string(), code(&error)),
        Err(error) => fail(&format!("cannot start: {error}"), 3),
    }
}

fn supervise(order: &Order, reports: bool) -> ExitCode {
    let supervised = runtime().and_then(|runtime| {
        let seen = runtime.block_on(ompipe_exit_handler::supervise(order))?;
        Ok((runtime, seen))
    });
    match supervised {
        Ok((runtime, seen)) => {
            if reports {
                report_supervised(&runtime, &seen);
            }
            seen.code.into()
        }
        Err(error) => fail(&format!("cannot supervise: {error}"), 3),
    }
}

/// The worker's exit code stays its own, whatever becomes of the report.
fn report_supervised(runtime: &Runtime, seen: &Supervised) {
    choose_tls();
    match runtime.block_on(ompipe_exit_handler::report_supervised(variable, seen)) {
        Ok(done) => drop(say(io::stderr(), &done)),
        Err(error) => {
            say(io::stderr(), &error.to_string());
            // Without a message, that of a worker that failed is the end of its log, which is more.
            if seen.end.succeeded() {
                leave_message(&error.to_string());
            }
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Both HTTP clients find this one. An error means that it is installed already.
fn choose_tls() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn usage() -> ExitCode {
    say(io::stderr(), USAGE);
    2.into()
}

fn install(directory: &Path) -> ExitCode {
    let copied = env::current_exe().and_then(|own| fs::copy(own, directory.join(PROGRAM)));
    match copied {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot be copied into {}: {error}", directory.display()), 2),
    }
}

fn code(error: &Error) -> u8 {
    match error {
        error if error.is_input() => 2,
        error if error.is_refusal() => HOPELESS,
        _ => 3,
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    say(io::stderr(), message);
    leave_message(message);
    code.into()
}

/// A closed pipe is ignored.
fn say(mut to: impl Write, text: &str) -> ExitCode {
    let _ = writeln!(to, "{}", text.trim_end());
    ExitCode::SUCCESS
}
