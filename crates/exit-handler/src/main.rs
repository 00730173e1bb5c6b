//! `ompipe-exit`: a small static program that goes into pods. `report` is the exit handler.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use ompipe_exit_handler::{Error, leave_message};

/// The file's name wherever it is copied to.
const PROGRAM: &str = "ompipe-exit";

const USAGE: &str = "usage: ompipe-exit report | install DIRECTORY | --version

report    Report how the run that the environment tells of ended, unless OpenMetadata knows it.
          Reads config (or configFile), pipelineRunId, pipelineStatus, jobName, namespace.
install   Copy this program into a directory: how an init container hands it to the others.

Exit codes: 0 done, 2 usage or environment, 3 OpenMetadata did not take the report.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["report"] => report(),
        ["install", directory] => install(Path::new(directory)),
        ["--version"] => say(io::stdout(), concat!("ompipe-exit ", env!("CARGO_PKG_VERSION"))),
        ["--help"] => say(io::stdout(), USAGE),
        _ => {
            say(io::stderr(), USAGE);
            2.into()
        }
    }
}

fn report() -> ExitCode {
    // Both HTTP clients find this one. An error means that it is installed already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime
        .map(|runtime| runtime.block_on(ompipe_exit_handler::report(|name| env::var(name).ok())));
    match outcome {
        Ok(Ok(done)) => say(io::stderr(), &done),
        Ok(Err(error)) => fail(&error.to_string(), code(&error)),
        Err(error) => fail(&format!("cannot start: {error}"), 3),
    }
}

fn install(directory: &Path) -> ExitCode {
    let copied = env::current_exe().and_then(|own| fs::copy(own, directory.join(PROGRAM)));
    match copied {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot be copied into {}: {error}", directory.display()), 2),
    }
}

fn code(error: &Error) -> u8 {
    if error.is_input() { 2 } else { 3 }
}

fn fail(message: &str, code: u8) -> ExitCode {
    say(io::stderr(), message);
    leave_message(message);
    code.into()
}

/// A reader who has gone away is none of our business.
fn say(mut to: impl Write, text: &str) -> ExitCode {
    let _ = writeln!(to, "{}", text.trim_end());
    ExitCode::SUCCESS
}
