//! Where following a log goes on. Kubernetes gives logs from a time on, in whole seconds, and knows no
//! offsets. So the lines of the last seconds are counted: after an interruption the log is asked for
//! from there, and as many lines are left out.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// By how much lines may be out of order: the runtime stamps stdout and stderr apart from each other.
const DISORDER: SignedDuration = SignedDuration::from_secs(1);

/// The lines of one second that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Second {
    /// Time of the first of them in the log.
    first: Timestamp,
    /// How many.
    lines: u64,
}

/// How far a log was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The latest time of a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<Timestamp>,
    /// The lines of the last seconds, by second.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    seconds: BTreeMap<i64, Second>,
}

impl Position {
    /// From when on to ask for the log; `None` is the beginning.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        let since = self.newest?.checked_sub(DISORDER).unwrap_or(Timestamp::MIN);
        Timestamp::from_second(since.as_second()).ok()
    }

    /// The latest time of a line.
    #[must_use]
    pub const fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    fn note(&mut self, time: Timestamp) {
        let first = Second { first: time, lines: 0 };
        self.seconds.entry(time.as_second()).or_insert(first).lines += 1;
        if self.newest.is_none_or(|newest| newest < time) {
            self.newest = Some(time);
            if let Some(since) = self.since() {
                self.seconds = self.seconds.split_off(&since.as_second());
            }
        }
    }
}

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<'l> {
    /// It was taken before, or is no line of the log.
    Known,
    /// It is new; the line without its time, and that.
    Line(&'l [u8], Timestamp),
    /// It is new, and lines before it may be missing: those between these times, of which the second
    /// one is its own.
    AfterGap(&'l [u8], Timestamp, Timestamp),
}

/// A log that is read again from [`Position::since`] on.
#[derive(Clone, Debug)]
pub struct Resumed {
    position: Position,
    known: Known,
}

/// How lines that were taken before are distinguished from new ones.
#[derive(Clone, Debug)]
enum Known {
    /// The first line will tell.
    Unclear,
    /// So many of each second are known.
    Counted(BTreeMap<i64, u64>),
    /// The beginning of what was asked for has gone: lines until this time are known.
    Until(Timestamp),
    /// None is.
    Nothing,
}

impl Resumed {
    /// Begins to read at a position.
    #[must_use]
    pub const fn at(position: Position) -> Self {
        let known = if position.newest.is_none() { Known::Nothing } else { Known::Unclear };
        Self { position, known }
    }

    /// How far the log is taken.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// Takes the next line, which begins with its time.
    pub fn take<'l>(&mut self, line: &'l [u8]) -> Taken<'l> {
        // What has no time is the kubelet's: it says so in the log's place when a log is gone.
        let Some((time, text)) = split_time(line) else { return Taken::Known };
        let gap = self.begin(time);
        if self.is_known(time) {
            return Taken::Known;
        }
        self.position.note(time);
        match gap {
            Some(from) => Taken::AfterGap(text, from, time),
            None => Taken::Line(text, time),
        }
    }

    /// Checks the first line: if the log does not begin as it did, its file was rotated. The
    /// beginning of the gap, if there is one.
    fn begin(&mut self, first: Timestamp) -> Option<Timestamp> {
        let (Known::Unclear, Some(newest)) = (&self.known, self.position.newest) else {
            return None;
        };
        let seconds = &self.position.seconds;
        let is_aligned = seconds.values().next().is_some_and(|second| second.first == first)
            || seconds.get(&first.as_second()).is_some_and(|second| second.first == first);
        if is_aligned {
            let counted = seconds.iter().map(|(second, taken)| (*second, taken.lines));
            self.known = Known::Counted(counted.collect());
            return None;
        }
        self.known = Known::Until(newest);
        (first > newest).then_some(newest)
    }

    fn is_known(&mut self, time: Timestamp) -> bool {
        match &mut self.known {
            Known::Unclear | Known::Nothing => false,
            Known::Until(newest) => time <= *newest,
            Known::Counted(left) => match left.get_mut(&time.as_second()) {
                Some(lines) if *lines > 0 => {
                    *lines -= 1;
                    true
                }
                Some(_) | None => false,
            },
        }
    }
}

/// The time before a line, and the line; `None` where there is no time.
#[must_use]
pub fn split_time(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    const LONGEST: usize = 40;
    let space = line.iter().take(LONGEST).position(|&byte| byte == b' ')?;
    let time = str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((time, &line[space + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A log as the runtime keeps it: lines with their times.
    type Log = Vec<(Timestamp, String)>;

    /// What Kubernetes answers: the lines from a time on, in the order of the file.
    fn ask(file: &[(Timestamp, String)], since: Option<Timestamp>) -> Vec<String> {
        let wanted = file.iter().filter(|(time, _)| since.is_none_or(|since| *time >= since));
        wanted.map(|(time, text)| format!("{time} {text}\n")).collect()
    }

    fn follow(position: Position, lines: &[String], into: &mut String) -> (Position, usize) {
        let (mut resumed, mut gaps) = (Resumed::at(position), 0);
        for line in lines {
            match resumed.take(line.as_bytes()) {
                Taken::Known => {}
                Taken::Line(text, _) => into.push_str(str::from_utf8(text).unwrap()),
                Taken::AfterGap(text, ..) => {
                    gaps += 1;
                    into.push_str(str::from_utf8(text).unwrap());
                }
            }
        }
        (resumed.position, gaps)
    }

    fn whole(log: &[(Timestamp, String)]) -> String {
        log.iter().flat_map(|(_, text)| [text.as_str(), "\n"]).collect()
    }

    /// Lines in bursts and pauses; some have equal times, some are out of order by less than a second.
    fn log() -> impl Strategy<Value = Log> {
        let step = prop_oneof![Just(0i64), 0i64..2_000_000, 0i64..3_000_000_000];
        let line = (step, 0i64..900_000_000, any::<bool>());
        prop::collection::vec(line, 1..120).prop_map(|steps| {
            let mut now = 1_700_000_000_000_000_000_i64;
            let lines = steps.into_iter().enumerate().map(|(number, (step, back, disorder))| {
                now += step;
                let time = if disorder { now - back } else { now };
                let time = Timestamp::from_nanosecond(time.into()).unwrap();
                (time, format!("line {number}"))
            });
            lines.collect()
        })
    }

    proptest! {
        /// Crashes anywhere, also in the middle of what was asked for again.
        #[test]
        fn no_line_is_lost_or_doubled_by_crashes(
            log in log(), crashes in prop::collection::vec((0usize..120, 0usize..120), 0..8),
        ) {
            let (mut archived, mut position) = (String::new(), Position::default());
            let mut written = 0;
            for (grows, read) in crashes {
                written = (written + grows).min(log.len());
                let lines = ask(&log[..written], position.since());
                let read = read.min(lines.len());
                // What is stored survives, with the position that belongs to it.
                let stored = serde_json::to_string(&position).unwrap();
                position = serde_json::from_str(&stored).unwrap();
                let (after, gaps) = follow(position, &lines[..read], &mut archived);
                prop_assert_eq!(gaps, 0);
                position = after;
            }
            follow(position.clone(), &ask(&log, position.since()), &mut archived);
            prop_assert_eq!(archived, whole(&log));
        }

        /// A rotation takes the beginning of the file away. Lines in order are never doubled, and
        /// whenever one is missing a gap is reported.
        #[test]
        fn a_rotation_doubles_nothing_and_its_gap_is_told(
            log in log(), taken in 0usize..120, rotated in 0usize..120,
        ) {
            let mut log = log;
            log.sort();
            log.dedup_by_key(|(time, _)| *time);
            let (taken, rotated) = (taken.min(log.len()), rotated.min(log.len()));
            let mut archived = String::new();
            let (position, _) =
                follow(Position::default(), &ask(&log[..taken], None), &mut archived);
            let left = &log[rotated..];
            let lines = ask(left, position.since());
            let (_, gaps) = follow(position.clone(), &lines, &mut archived);
            let expected = [&log[..taken], &log[taken.max(rotated)..]].concat();
            prop_assert_eq!(archived, whole(&expected));
            if taken > 0 && rotated > taken && rotated < log.len() {
                prop_assert_eq!(gaps, 1);
            }
        }
    }

    #[test]
    fn what_has_no_time_is_no_line_of_the_log() {
        let mut resumed = Resumed::at(Position::default());
        let line = b"unable to retrieve container logs for containerd://9a6b23";
        assert_eq!(resumed.take(line), Taken::Known);
    }
}
