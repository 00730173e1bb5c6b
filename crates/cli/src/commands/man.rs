//! `ompipe man`: the manual pages, from the same definition as the help.

use std::path::Path;

use clap_mangen::Man;

use crate::args;
use crate::failure::{Exit, Failure};
use crate::output;

/// What manual pages have that a help text does not.
const ABOUT_ALL: &str = r#".SH "EXIT STATUS"
.TP
0
Done. A run that was followed or waited for succeeded.
.TP
1
That run failed. \fBdiff\fR: there are differences. \fBdoctor\fR: something is wrong.
.TP
2
The usage, the configuration or the input is wrong.
.TP
3
The cluster or a server did not do its part.
.TP
4
Of \fBexit\-handler\fR: OpenMetadata refuses the report for good.
.TP
130
Interrupted. A run that was followed goes on.
.SH FILES
.TP
~/.kube/config
The cluster, unless KUBECONFIG, \fB\-\-kubeconfig\fR or the configuration names another.
.SH ENVIRONMENT
Each option says which variable can be used instead. In addition:
.TP
OPENMETADATA_JWT_TOKEN
The token of the ingestion bot, instead of \fB\-\-token\-file\fR.
.TP
KUBECONFIG
Kubeconfig files, as kubectl reads them.
.TP
NO_COLOR
Prints no colours if it is set.
.TP
HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY
Proxies for calls to OpenMetadata, and outside of pods for calls to Kubernetes.
.SH "SEE ALSO"
\fBompipe\fR(1), \fBkubectl\fR(1)
"#;

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
    let commands = std::iter::once(root).chain(root.get_subcommands());
    let pages = commands.map(page).collect::<Result<String, Failure>>()?;
    output::print((pages + ABOUT_ALL).trim_end())
}

/// A page for each command, under the name by which the others refer to it.
fn write_pages(root: &clap::Command, directory: &Path) -> Result<(), Failure> {
    let unwritable = |error: std::io::Error| {
        Failure::usage(format_args!("cannot write to {}: {error}", directory.display()))
    };
    std::fs::create_dir_all(directory).map_err(unwritable)?;
    let pages = root.get_subcommands().filter(|command| !command.is_hide_set());
    for command in std::iter::once(root).chain(pages) {
        let file = directory.join(Man::new(command.clone()).get_filename());
        std::fs::write(&file, page(command)? + ABOUT_ALL).map_err(unwritable)?;
    }
    Ok(())
}

/// The page of a command, with its examples under their usual heading.
fn page(command: &clap::Command) -> Result<String, Failure> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n"))
}
