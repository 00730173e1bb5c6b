//! `ompipe man`: the manual page, from the same definition as the help.

use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::output;

pub(super) fn execute() -> Result<Exit, Failure> {
    let mut root = Args::command();
    // Gives every subcommand its full name.
    root.build();
    let mut page = Vec::new();
    Man::new(root.clone()).render(&mut page)?;
    for command in root.get_subcommands() {
        Man::new(command.clone()).render(&mut page)?;
    }
    output::print(String::from_utf8_lossy(&page).trim_end())?;
    Ok(Exit::Success)
}
