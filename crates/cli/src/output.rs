//! What is printed where: results to stdout, everything about them to stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{Table, TableStyle};
use jiff::{SignedDuration, Timestamp};
use ompipe_client::{Change, Written};
use ompipe_core::printable::{self, PrintableLog};
use ompipe_core::{PipelineState, yaml};
use serde::Serialize;

use crate::args::Output;
use crate::failure::Failure;

/// Tells the user something beside the result. That stderr is gone is no reason to stop.
pub(crate) fn note(message: impl Display) {
    let message = message.to_string();
    let is_seen = io::stderr().is_terminal();
    let message = if is_seen { printable::lines(&message) } else { message.into() };
    drop(writeln!(io::stderr().lock(), "{message}"));
}

/// Prints a result to stdout. A reader that has gone away has seen enough. On a terminal, characters do
/// nothing that a terminal would obey; a pipe gets the text as it is.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    let text = text.to_string();
    let is_seen = io::stdout().is_terminal();
    print_as_it_is(if is_seen { printable::lines(&text) } else { text.into() })
}

fn print_as_it_is(text: impl Display) -> Result<(), Failure> {
    ignore_closed(writeln!(io::stdout().lock(), "{text}"))
}

/// A text for people: in it, what comes from elsewhere is escaped, and what has a colour keeps it.
#[derive(Debug)]
pub(crate) struct Painted(String);

impl Painted {
    /// Prints it as a result.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        print_as_it_is(&self.0)
    }

    /// Prints it as a result; false when the reader of a pipe has gone away.
    pub(crate) fn print_to_reader(&self) -> Result<bool, Failure> {
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{}", self.0).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => Ok(written.map(|()| true)?),
        }
    }

    /// Of a table, the rows that are wanted, and its header if that is.
    pub(crate) fn of_rows(&self, header: bool, is_wanted: impl Fn(usize) -> bool) -> Self {
        let mut lines = self.0.lines();
        let first = lines.next().filter(|_| header);
        let rows = (0..).zip(lines).filter(|(row, _)| is_wanted(*row)).map(|(_, line)| line);
        Self(first.into_iter().chain(rows).collect::<Vec<_>>().join("\n"))
    }

    pub(crate) fn without_last_newline(mut self) -> Self {
        self.0.truncate(self.0.trim_end_matches('\n').len());
        self
    }

    /// A line as it is, without a colour.
    pub(crate) fn plain(text: &str) -> Self {
        Self(printable::lines(text).into_owned())
    }
}

impl FromIterator<Self> for Painted {
    fn from_iter<I: IntoIterator<Item = Self>>(parts: I) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }
}

impl From<String> for Painted {
    fn from(text: String) -> Self {
        let is_seen = io::stdout().is_terminal();
        Self(if is_seen { printable::lines(&text).into_owned() } else { text })
    }
}

/// Writes a log to stdout or stderr: on a terminal without characters that it would obey, unless they
/// are asked for.
#[derive(Debug)]
pub(crate) struct LogWriter<W> {
    to: W,
    /// `None` where the log is written as it is.
    printable: Option<PrintableLog>,
}

impl<W: Write + IsTerminal> LogWriter<W> {
    pub(crate) fn new(to: W, is_raw: bool) -> Self {
        let is_seen = to.is_terminal() && !is_raw;
        Self { to, printable: is_seen.then(PrintableLog::default) }
    }
}

impl<W: Write> Write for LogWriter<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match &mut self.printable {
            Some(printable) => self.to.write_all(printable.push(piece).as_bytes())?,
            None => self.to.write_all(piece)?,
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Prints a result for programs: as YAML if that is the format, else as JSON.
pub(crate) fn print_structured(output: Output, result: &impl Serialize) -> Result<(), Failure> {
    structured(output, result)?.print()
}

/// A result for programs, as a text.
pub(crate) fn structured(output: Output, result: &impl Serialize) -> Result<Painted, Failure> {
    if output != Output::Yaml {
        let text = serde_json::to_string_pretty(result).map_err(io::Error::from)?;
        return Ok(Painted(printable::json(&text)));
    }
    // By way of a JSON value, since that is what both formats hold.
    let value = serde_json::to_value(result).map_err(io::Error::from)?;
    let text = yaml::render_readable(&value).map_err(Failure::usage)?;
    Ok(Painted::from(text.trim_end().to_owned()))
}

/// Prints a result for people or programs.
pub(crate) fn show<T: Serialize, D: Into<Painted>>(
    output: Output,
    result: &T,
    describe: impl FnOnce(&T) -> D,
) -> Result<(), Failure> {
    if output.is_structured() {
        print_structured(output, result)
    } else {
        describe(result).into().print()
    }
}

/// As [`show`], of a result that has a name.
pub(crate) fn show_named<T: Serialize, D: Into<Painted>>(
    output: Output,
    result: &T,
    name: impl FnOnce(&T) -> String,
    describe: impl FnOnce(&T) -> D,
) -> Result<(), Failure> {
    if output == Output::Name { print(name(result)) } else { show(output, result, describe) }
}

/// A pipe whose reader has gone away is no failure (as in `ompipe logs … | head`).
pub(crate) fn ignore_closed(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// A table without lines, as kubectl prints them, and like there without active characters in any cell,
/// also where a pager shows it.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| printable::line(&cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// How good something is, which colours show on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Active,
    Warning,
    Bad,
}

impl Tone {
    /// That of a run's state.
    pub(crate) const fn of(state: PipelineState) -> Self {
        match state {
            PipelineState::Success => Self::Good,
            PipelineState::Running | PipelineState::Queued => Self::Active,
            PipelineState::PartialSuccess | PipelineState::Stopped => Self::Warning,
            PipelineState::Failed => Self::Bad,
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Active => AnsiColor::Cyan.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// True when stdout is a terminal that shows colours, and nobody has asked for none (`NO_COLOR`).
pub(crate) fn has_colours() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// A word in its colour.
pub(crate) fn paint(text: &str, tone: Tone) -> Painted {
    let style = tone.style();
    let text = printable::lines(text);
    Painted(if has_colours() { format!("{style}{text}{style:#}") } else { text.into_owned() })
}

/// A table with a coloured word in each row: the last time that the word stands there. Colours come
/// after the widths, which they must not count for.
pub(crate) fn painted(table: &str, words: &[(String, Tone)]) -> Painted {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default().to_owned();
    let rows = lines.zip(words).map(|(line, (word, tone))| match line.rfind(word.as_str()) {
        Some(at) => {
            let (before, rest) = line.split_at(at);
            format!("{before}{}{}", paint(word, *tone).0, &rest[word.len()..])
        }
        None => line.to_owned(),
    });
    Painted(std::iter::once(header).chain(rows).collect::<Vec<_>>().join("\n"))
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

#[expect(clippy::disallowed_methods, reason = "a command is the outermost caller")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
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
    fn a_cell_does_nothing_to_a_terminal() {
        let printed = table(["NAME", "AGE"], [["a\x1b[8m\nb".to_owned(), "1s".to_owned()]]);
        assert_eq!(printed, "NAME              AGE\na\\u{1b}[8m\\u{a}b  1s");
    }

    #[test]
    fn rows_of_a_table_are_chosen_with_or_without_its_header() {
        let table = Painted("NAME\na\nb\nc".to_owned());
        assert_eq!(table.of_rows(true, |row| row == 1).0, "NAME\nb");
        assert_eq!(table.of_rows(false, |row| row != 1).0, "a\nc");
    }

    #[test]
    fn tables_have_no_lines() {
        let printed = table(["NAME", "AGE"], [["a".to_owned(), "1s".to_owned()]]);
        assert_eq!(printed, "NAME  AGE\na     1s");
    }
}
