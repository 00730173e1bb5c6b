//! What is printed where: results to stdout, everything about them to stderr.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{Table, TableStyle};
use jiff::{SignedDuration, Timestamp};
use ompipe_client::{Change, Written};
use serde::Serialize;

use crate::args::Output;
use crate::failure::Failure;

/// Tells the user something beside the result. That stderr is gone is no reason to stop.
pub(crate) fn note(message: impl Display) {
    drop(writeln!(io::stderr().lock(), "{message}"));
}

/// Prints a result to stdout. A reader that has gone away has seen enough.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    ignore_closed(writeln!(io::stdout().lock(), "{text}"))
}

/// Prints a result as JSON.
pub(crate) fn print_json(result: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(result).map_err(io::Error::from)?;
    print(text)
}

/// Prints a result for people or scripts.
pub(crate) fn show<T: Serialize>(
    output: Output,
    result: &T,
    describe: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match output {
        Output::Json => print_json(result),
        Output::Table => print(describe(result)),
    }
}

/// A pipe whose reader has gone away is no failure (as in `ompipe logs … | head`).
pub(crate) fn ignore_closed(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// A table without lines, as kubectl prints them.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table.trim_fmt()
}

/// A cell for what may be absent.
pub(crate) fn cell(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A line about an object that was written.
pub(crate) fn written(object: &Written) -> String {
    let change = match object.change {
        Change::Created => "created",
        Change::Configured => "configured",
        Change::Unchanged => "unchanged",
        Change::Deleted => "deleted",
    };
    format!("  {:<9} {} {change}", object.kind, object.name)
}

/// How long ago, in the one or two units that matter.
pub(crate) fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    cell(since.map(|since| span(now.duration_since(since))))
}

/// A length of time, in the one or two units that matter.
pub(crate) fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match (seconds / 86_400, seconds / 3600, seconds / 60) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{}m", minutes % 60),
        (days, hours, _) => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(-5, "0s")]
    #[case(42, "42s")]
    #[case(61, "1m1s")]
    #[case(3_600, "1h0m")]
    #[case(90_000, "1d1h")]
    fn spans(#[case] seconds: i64, #[case] expected: &str) {
        assert_eq!(span(SignedDuration::from_secs(seconds)), expected);
    }

    #[test]
    fn tables_have_no_lines() {
        let printed = table(["NAME", "AGE"], [["a".to_owned(), "1s".to_owned()]]);
        assert_eq!(printed, "NAME   AGE\na      1s");
    }
}
