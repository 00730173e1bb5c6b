//! Lines out of a stream of bytes, new ones only.

use jiff::Timestamp;
use ompipe_core::archive::{Position, Resumed, Taken};

/// Longest line that is kept in memory; a longer one is taken in parts.
const LONGEST: usize = 256 << 10;

/// Lines of a log that is read again from a position on.
#[derive(Debug)]
pub(super) struct Lines {
    resumed: Resumed,
    line: Vec<u8>,
    /// Whether a part of the line was taken already, and its time, if it is new.
    within: bool,
    new: Option<Timestamp>,
}

impl Lines {
    pub(super) const fn at(position: Position) -> Self {
        Self { resumed: Resumed::at(position), line: Vec::new(), within: false, new: None }
    }

    pub(super) const fn position(&self) -> &Position {
        self.resumed.position()
    }

    /// Takes the next bytes; `sink` gets what is new, line by line with the times of the lines.
    pub(super) fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8], Timestamp)) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.take(&mut sink);
                self.within = false;
            } else if self.line.len() > LONGEST {
                self.new = self.take(&mut sink);
                self.within = true;
            }
        }
    }

    /// Ends the log: its last line may have no end.
    pub(super) fn finish(&mut self, mut sink: impl FnMut(&[u8], Timestamp)) {
        if !self.line.is_empty() {
            self.take(&mut sink);
        }
    }

    /// Takes what there is of the line; its time, if it is new.
    fn take(&mut self, sink: &mut impl FnMut(&[u8], Timestamp)) -> Option<Timestamp> {
        let line = std::mem::take(&mut self.line);
        if self.within {
            if let Some(time) = self.new {
                sink(&line, time);
            }
            return self.new;
        }
        match self.resumed.take(&line) {
            Taken::Known => None,
            Taken::Line(text, time) => {
                sink(text, time);
                Some(time)
            }
            Taken::AfterGap(text, from, to) => {
                let marker = format!(
                    "----- ompipe: lines from {from} to {to} may be missing: the log was rotated \
                     while nobody followed it -----\n"
                );
                sink(marker.as_bytes(), to);
                sink(text, to);
                Some(to)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &mut Lines, bytes: &[u8], piece: usize) -> String {
        let mut text = Vec::new();
        for piece in bytes.chunks(piece) {
            lines.push(piece, |new, _| text.extend_from_slice(new));
        }
        lines.finish(|new, _| text.extend_from_slice(new));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_lose_their_times_whatever_the_pieces() {
        let log =
            b"2026-11-28T23:17:06.1Z one\n2026-11-28T23:17:06.2Z two\n2026-11-28T23:17:06.3Z end";
        for piece in [1, 7, 1000] {
            let mut lines = Lines::at(Position::default());
            assert_eq!(read(&mut lines, log, piece), "one\ntwo\nend");
        }
    }

    #[test]
    fn a_line_that_is_very_long_is_whole_and_known_again() {
        let long = "x".repeat(3 * LONGEST);
        let log = format!("2026-11-28T23:17:06.1Z {long}\n2026-11-28T23:17:06.2Z two\n");
        let mut lines = Lines::at(Position::default());
        assert_eq!(read(&mut lines, log.as_bytes(), 10_000), format!("{long}\ntwo\n"));
        let mut again = Lines::at(lines.position().clone());
        assert_eq!(read(&mut again, log.as_bytes(), 10_000), "");
    }

    #[test]
    fn a_gap_is_told() {
        let mut lines = Lines::at(Position::default());
        read(&mut lines, b"2026-11-28T23:17:06Z one\n", 100);
        let mut again = Lines::at(lines.position().clone());
        let text = read(&mut again, b"2026-11-28T23:19:06Z later\n", 100);
        assert!(text.contains("from 2026-11-28T23:17:06Z to 2026-11-28T23:19:06Z"), "{text}");
        assert!(text.ends_with("-----\nlater\n"), "{text}");
    }
}
