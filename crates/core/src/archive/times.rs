//! The times of the lines of a page, in few bytes: they are in the header of the page's gzip
//! members, where `zcat` passes them by.
//!
//! Numbers of variable length: first the milliseconds of the first time, then, for each further one,
//! the bytes since the one before and the milliseconds since then. Lines of the same millisecond have
//! one time together.

use jiff::Timestamp;

/// Text, and from which byte of it on which time counts. Before the first one no time is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimedText {
    /// The text.
    pub text: Vec<u8>,
    /// Offsets in the text, ascending, and their times in whole milliseconds.
    pub times: Vec<(usize, Timestamp)>,
}

/// A line of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedLine<'t> {
    /// When it was written, where that is known.
    pub time: Option<Timestamp>,
    /// The line with its end, if it has one here.
    pub text: &'t [u8],
}

impl TimedText {
    /// Appends text that was written then.
    pub fn push(&mut self, time: Option<Timestamp>, text: &[u8]) {
        let is_new = |time: &Timestamp| self.times.last().is_none_or(|(_, last)| last != time);
        if let Some(time) = time.and_then(whole_milliseconds).filter(is_new) {
            self.times.push((self.text.len(), time));
        }
        self.text.extend_from_slice(text);
    }

    /// Its lines. The first one may be the end of a line, the last one the beginning.
    #[must_use]
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = TimedLine<'_>> {
        let mut at = 0;
        let spans = self.text.split_inclusive(|&byte| byte == b'\n').map(move |text| {
            at += text.len();
            (at - text.len(), text)
        });
        // Offsets are counted from the beginning, whichever way the lines are read.
        let spans: Vec<_> = spans.collect();
        spans.into_iter().map(move |(at, text)| TimedLine { time: self.time_at(at), text })
    }

    /// The part between two offsets.
    #[must_use]
    pub fn part(&self, from: usize, to: usize) -> Self {
        let (to, from) = (to.min(self.text.len()), from.min(self.text.len()));
        let text = self.text.get(from..to).unwrap_or_default().to_vec();
        let first = self.time_at(from).map(|time| (0, time));
        let within = self.times.iter().filter(|(at, _)| (from + 1..to).contains(at));
        let later = within.map(|(at, time)| (at - from, *time));
        Self { text, times: first.into_iter().chain(later).collect() }
    }

    fn time_at(&self, offset: usize) -> Option<Timestamp> {
        let after = self.times.partition_point(|(at, _)| *at <= offset);
        self.times.get(after.checked_sub(1)?).map(|(_, time)| *time)
    }
}

/// A time without the part of it that is finer than milliseconds.
#[must_use]
pub fn whole_milliseconds(time: Timestamp) -> Option<Timestamp> {
    Timestamp::from_millisecond(time.as_nanosecond().div_euclid(1_000_000).try_into().ok()?).ok()
}

/// Writes times down.
#[derive(Debug, Default)]
pub struct TimesWriter {
    bytes: Vec<u8>,
    last: Option<(usize, i64)>,
}

impl TimesWriter {
    /// Notes that from this byte of the text on this time counts.
    pub fn note(&mut self, offset: usize, time: Timestamp) {
        let Some(time) = whole_milliseconds(time).map(Timestamp::as_millisecond) else { return };
        match self.last {
            Some((_, last)) if last == time => return,
            Some((at, last)) => {
                write(&mut self.bytes, offset.saturating_sub(at) as u64);
                write(&mut self.bytes, zigzag(time.wrapping_sub(last)));
            }
            None => {
                write(&mut self.bytes, offset as u64);
                write(&mut self.bytes, zigzag(time));
            }
        }
        self.last = Some((offset, time));
    }

    /// How much was written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True when no time was noted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was written; begins anew.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).bytes
    }
}

/// Reads times of a text that begins at `begin` of a page. What cannot be read is left out.
pub fn read_times(mut bytes: &[u8], begin: usize, into: &mut Vec<(usize, Timestamp)>) {
    let (mut at, mut time) = (begin, 0i64);
    while let Some((bytes_since, passed)) = read(&mut bytes).zip(read(&mut bytes)) {
        at = at.saturating_add(usize::try_from(bytes_since).unwrap_or(usize::MAX));
        time = time.wrapping_add(unzigzag(passed));
        let Ok(time) = Timestamp::from_millisecond(time) else { return };
        into.push((at, time));
    }
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

const fn zigzag(number: i64) -> u64 {
    (number.wrapping_shl(1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    proptest! {
        #[test]
        fn times_are_read_back(
            steps in prop::collection::vec((0usize..5000, -2000i64..100_000), 0..50),
            first in 0i64..2_000_000_000_000, begin in 0usize..1000,
        ) {
            let (mut writer, mut expected) = (TimesWriter::default(), Vec::new());
            let (mut offset, mut time) = (0, first);
            for (further, later) in steps {
                (offset, time) = (offset + further, time + later);
                if expected.last().is_none_or(|(_, last)| *last != at(time)) {
                    expected.push((begin + offset, at(time)));
                }
                writer.note(offset, at(time));
            }
            let mut found = Vec::new();
            read_times(&writer.take(), begin, &mut found);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn what_is_no_times_breaks_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut found = Vec::new();
            read_times(&bytes, 0, &mut found);
            prop_assert!(found.is_sorted_by_key(|(at, _)| *at));
        }
    }

    #[test]
    fn a_line_has_the_time_that_counts_at_its_beginning() {
        let mut text = TimedText::default();
        text.push(None, b"no time\n");
        text.push(Some(at(5)), b"one\ntwo\n");
        text.push(Some(at(9)), b"three");
        let lines: Vec<_> = text.lines().map(|line| (line.time, line.text)).collect();
        let expected: [(Option<Timestamp>, &[u8]); 4] = [
            (None, b"no time\n"),
            (Some(at(5)), b"one\n"),
            (Some(at(5)), b"two\n"),
            (Some(at(9)), b"three"),
        ];
        assert_eq!(lines, expected);
        let part = text.part(12, 99);
        let lines: Vec<_> = part.lines().map(|line| (line.time, line.text)).collect();
        assert_eq!(lines, expected[2..]);
    }
}
