//! `ompipe completions`.

use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::complete::VARIABLE;
use crate::failure::{Exit, Failure};
use crate::output;

/// The script calls this program for every completion, so it never goes out of date.
pub(super) fn execute(shell: Shell) -> Result<Exit, Failure> {
    let name = shell.to_string();
    let completer = Shells::builtins().completer(&name).map(|found| {
        let mut script = Vec::new();
        let written = found.write_registration(VARIABLE, "ompipe", "ompipe", "ompipe", &mut script);
        written.map(|()| script)
    });
    let script = completer.ok_or_else(|| Failure::usage(format_args!("{name} is not known")))??;
    output::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}
