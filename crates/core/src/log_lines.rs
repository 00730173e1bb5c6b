//! Which lines of a log somebody wants: the last ones, those since a time, those that match. A reader
//! needs the memory of the lines that it keeps, whatever the size of the log.

use std::collections::VecDeque;
use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use regex::bytes::{Regex, RegexBuilder};

use crate::archive::{TimedLine, whole_milliseconds};

/// Most lines that are kept from the end of a log.
pub const MOST_LINES: usize = 100_000;
/// Most bytes that are kept from the end of a log. Lines before that are left out.
const MOST_BYTES: usize = 16 << 20;
/// Longest pattern.
const LONGEST_PATTERN: usize = 1000;
/// Most memory of a pattern, and of its search.
const PATTERN_MEMORY: usize = 1 << 20;

/// Which lines are wanted, and how they are shown. The default is all of them as they are.
#[derive(Clone, Debug, Default)]
pub struct LineQuery {
    /// So many of the last ones.
    pub tail: Option<usize>,
    /// Those that were written at or after a time.
    pub since: Option<Timestamp>,
    /// Those that match.
    pub grep: Option<Pattern>,
    /// Whether each begins with its time.
    pub timestamps: bool,
}

impl LineQuery {
    /// True when the log is wanted whole and as it is.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.tail.is_none() && self.since.is_none() && self.grep.is_none() && !self.timestamps
    }

    /// Appends a line as it is to be shown, if it is wanted; whether it is. `begins` is false for the
    /// rest of a line whose beginning was another piece.
    pub fn show(&self, line: TimedLine<'_>, begins: bool, into: &mut Vec<u8>) -> bool {
        if !self.wants(line) {
            return false;
        }
        if let Some(time) =
            line.time.and_then(whole_milliseconds).filter(|_| self.timestamps && begins)
        {
            into.extend_from_slice(format!("{time:.3} ").as_bytes());
        }
        into.extend_from_slice(line.text);
        true
    }

    fn wants(&self, line: TimedLine<'_>) -> bool {
        // What has no time may be that old or not.
        let is_early = |since| line.time.is_some_and(|time| time < since);
        !self.since.is_some_and(is_early)
            && self.grep.as_ref().is_none_or(|pattern| pattern.matches(line.text))
    }
}

/// A regular expression that is searched for in lines, in time that grows with the line alone.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    fn matches(&self, line: &[u8]) -> bool {
        self.0.is_match(line.trim_ascii_end())
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_PATTERN {
            return Err(format!("must have {LONGEST_PATTERN} bytes at most"));
        }
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(PATTERN_MEMORY).dfa_size_limit(PATTERN_MEMORY);
        let built = builder.build().map(Self);
        built.map_err(|error| format!("must be a regular expression: {error}"))
    }
}

/// The last lines of a text that is read from its beginning.
#[derive(Debug)]
pub struct LastLines {
    most: usize,
    bytes: usize,
    lines: VecDeque<Vec<u8>>,
}

impl LastLines {
    /// Keeps so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most: most.min(MOST_LINES), bytes: 0, lines: VecDeque::new() }
    }

    /// Takes the next line.
    pub fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > self.most || self.bytes > MOST_BYTES {
            let Some(first) = self.lines.pop_front() else { break };
            self.bytes -= first.len();
        }
    }

    /// Puts lines before those that there are, of which the last ones count.
    pub fn put_before(&mut self, earlier: Self) {
        for line in earlier.lines.into_iter().rev() {
            if self.is_full() || self.bytes + line.len() > MOST_BYTES {
                break;
            }
            self.bytes += line.len();
            self.lines.push_front(line);
        }
    }

    /// How many more there may be.
    #[must_use]
    pub fn room(&self) -> usize {
        self.most.saturating_sub(self.lines.len())
    }

    /// True when what comes before would be left out.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.room() == 0 || self.bytes >= MOST_BYTES
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn into_text(self) -> Vec<u8> {
        self.lines.into_iter().flatten().collect()
    }
}

/// A time as people give it: itself, or so long ago.
///
/// # Errors
/// It is neither; the remedy in words.
pub fn time_or_age(text: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let span: Option<Span> = text.parse().ok();
    let ago = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let begin = ago.map(SignedDuration::abs).and_then(|ago| now.checked_sub(ago).ok());
    begin.ok_or("must be a time such as 2026-01-31T00:00:00Z, or so long ago such as 7d or 12h")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::archive::TimedText;

    const NOW: &str = "2026-11-28T12:00:00Z";

    #[rstest]
    #[case("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z")]
    #[case("7d", "2026-11-21T12:00:00Z")]
    #[case("1d 12h", "2026-11-27T00:00:00Z")]
    fn a_beginning_is_a_time_or_so_long_ago(#[case] text: &str, #[case] expected: &str) {
        let found = time_or_age(text, NOW.parse().unwrap()).ok();
        assert_eq!(found, expected.parse().ok());
    }

    #[rstest]
    #[case("yesterday")]
    #[case("7 apples")]
    #[case("3 months")]
    fn what_is_neither_is_refused(#[case] text: &str) {
        assert!(time_or_age(text, NOW.parse().unwrap()).is_err());
    }

    fn log() -> TimedText {
        let mut log = TimedText::default();
        log.push(None, b"before\n");
        for (second, word) in [(10, "one"), (20, "two"), (30, "three")] {
            let time = Timestamp::from_millisecond(second * 1000 + 7).ok();
            log.push(time, format!("{word}\n").as_bytes());
        }
        log
    }

    fn shown(query: &LineQuery) -> String {
        let mut text = Vec::new();
        for line in log().lines() {
            query.show(line, true, &mut text);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_are_those_since_a_time_that_match() {
        let since = Timestamp::from_second(20).ok();
        let query = LineQuery { since, ..LineQuery::default() };
        assert_eq!(shown(&query), "before\ntwo\nthree\n");
        let query = LineQuery { grep: Some("^t.*e$".parse().unwrap()), ..query };
        assert_eq!(shown(&query), "three\n");
        let query = LineQuery { timestamps: true, ..query };
        assert_eq!(shown(&query), "1970-01-01T00:00:30.007Z three\n");
    }

    #[rstest]
    #[case("(")]
    #[case("a{1000}{1000}")]
    fn a_pattern_that_is_none_or_too_large_is_refused(#[case] text: &str) {
        assert!(text.parse::<Pattern>().is_err());
        assert!("x".repeat(LONGEST_PATTERN + 1).parse::<Pattern>().is_err());
    }

    #[test]
    fn the_last_lines_are_kept_within_bounds() {
        let mut last = LastLines::new(2);
        for line in ["one\n", "two\n", "three\n"] {
            last.push(line.into());
        }
        assert!(last.is_full());
        assert_eq!(last.into_text(), b"two\nthree\n");
        let (mut last, mut earlier) = (LastLines::new(3), LastLines::new(3));
        last.push(b"c\n".to_vec());
        for line in ["x\n", "a\n", "b\n"] {
            earlier.push(line.into());
        }
        last.put_before(earlier);
        assert_eq!(last.into_text(), b"a\nb\nc\n");
        let mut large = LastLines::new(9);
        (0..3).for_each(|_| large.push(vec![b'x'; MOST_BYTES / 2]));
        assert_eq!(large.into_text().len(), MOST_BYTES);
    }
}
