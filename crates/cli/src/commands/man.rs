//! `ompipe man`: the manual pages, from the same definition as the help.

use std::path::Path;

use clap_mangen::Man;

use crate::args;
use crate::failure::{Exit, Failure};
use crate::output;

pub(super) fn execute(directory: Option<&Path>) -> Result<Exit, Failure> {
    let mut root = args::command();
    // Gives every subcommand its full name.
    root.build();
    match directory {
        Some(directory) => write_pages(&root, directory)?,
        None => print_page(&root)?,
    }
    Ok(Exit::Success)
}

/// Everything on one page.
fn print_page(root: &clap::Command) -> Result<(), Failure> {
    let mut page = Vec::new();
    Man::new(root.clone()).render(&mut page)?;
    for command in root.get_subcommands() {
        Man::new(command.clone()).render(&mut page)?;
    }
    output::print(String::from_utf8_lossy(&page).trim_end())
}

/// A page for each command, under the name by which the others refer to it.
fn write_pages(root: &clap::Command, directory: &Path) -> Result<(), Failure> {
    let unwritable = |error: std::io::Error| {
        Failure::usage(format_args!("cannot write to {}: {error}", directory.display()))
    };
    std::fs::create_dir_all(directory).map_err(unwritable)?;
    let pages = root.get_subcommands().filter(|command| !command.is_hide_set());
    for command in std::iter::once(root).chain(pages) {
        let page = Man::new(command.clone());
        let file = directory.join(page.get_filename());
        let mut text = Vec::new();
        page.render(&mut text)?;
        std::fs::write(&file, text).map_err(unwritable)?;
    }
    Ok(())
}
