//! When a pipeline runs: a cron schedule in the dialect of Kubernetes, and a time zone.
//!
//! Kubernetes reads schedules with robfig/cron's standard parser. What OpenMetadata's users write
//! (Airflow macros, `7` for Sunday, `5/15`, upper-case names) is translated into it, so that the
//! API server never refuses what we accepted, and the slots shown are the slots that fire.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp, tz};
use uuid::Uuid;

use crate::spread::{self, Moved, Spread};

/// A schedule in five fields that both Kubernetes and our slot calculation understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    zone: Zone,
    /// Steps that their field cannot hold, each in one sentence.
    remarks: Vec<String>,
    /// The cron text before `scheduleSpread` moved it.
    unspread: Option<String>,
}

impl Schedule {
    /// Reads what OpenMetadata keeps in `airflowConfig.scheduleInterval`: five fields or a macro.
    ///
    /// # Errors
    /// What is wrong and what is allowed, for a message about that field.
    pub fn new(text: &str, zone: Zone) -> Result<Self, String> {
        let canonical = canonical(text)?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed);
        let cron = parser.build().parse(&canonical.text).map_err(|e| e.to_string())?;
        let schedule = Self { cron, zone, remarks: canonical.remarks, unspread: None };
        match schedule.next_after(REFERENCE) {
            Some(_) => Ok(schedule),
            None => Err("never fires: no month has such a day".to_owned()),
        }
    }

    /// The text for a `CronJob`'s `schedule`.
    #[must_use]
    pub fn as_cron(&self) -> &str {
        self.cron.as_str()
    }

    /// What Kubernetes reads otherwise than the author may have meant.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The cron text that the user gave, where `scheduleSpread` moved its slots.
    #[must_use]
    pub fn unspread(&self) -> Option<&str> {
        self.unspread.as_deref()
    }

    /// The same schedule as an object shows it, which says what it was before it was moved.
    #[must_use]
    pub fn moved_from(self, unspread: Option<String>) -> Self {
        Self { unspread, ..self }
    }

    /// The schedule of one pipeline, moved within `window`, with what to tell the user.
    #[must_use]
    pub fn spread(mut self, window: Spread, pipeline: Uuid) -> Self {
        if window == Spread::default() {
            return self;
        }
        let given = self.as_cron().to_owned();
        match spread::spread(&given, window, pipeline) {
            Moved::Fixed => self.remarks.push(format!(
                "scheduleSpread has no effect: the slots of {given} cannot move within their hour, \
                 or have another slot in the next minute"
            )),
            Moved::By(0, _) => {}
            Moved::By(minutes, text) => {
                if let Ok(moved) = Self::new(&text, self.zone.clone()) {
                    self.remarks.push(format!(
                        "scheduleSpread moves the schedule from {given} to {text}, {minutes} min later"
                    ));
                    self.cron = moved.cron;
                    self.unspread = Some(given);
                }
            }
        }
        self
    }

    /// The zone in which the schedule is read.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The first slot strictly after `time`: the next moment at which the zone's clocks show a time
    /// of the schedule. As on a `CronJob`, a time that the clocks leave out is no slot, and one that
    /// they show twice is two.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let zone = &self.zone.0;
        let mut changes = zone.following(time).map(|change| change.timestamp());
        let (mut from, mut inclusive) = (time, false);
        loop {
            let offset = zone.to_offset(from);
            let slot = self.next_at_offset(from, offset, inclusive)?;
            // The slot is where it was looked for only as long as the clocks keep that offset.
            match changes.next() {
                Some(change) if slot >= change => (from, inclusive) = (change, true),
                _ => return Some(slot),
            }
        }
    }

    /// The next slot on clocks that never change.
    fn next_at_offset(
        &self,
        from: Timestamp,
        offset: tz::Offset,
        inclusive: bool,
    ) -> Option<Timestamp> {
        let local = from.to_zoned(offset.to_time_zone());
        self.cron.find_next_occurrence(&local, inclusive).ok().map(|slot| slot.timestamp())
    }
}

/// Largest step that robfig/cron reads: Go's `int`.
const MAX_STEP: u64 = i64::MAX.unsigned_abs();

/// A fixed moment, so that whether a schedule ever fires does not depend on the clock.
const REFERENCE: Timestamp = Timestamp::UNIX_EPOCH;

/// A time zone of the IANA database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(tz::TimeZone);

impl Zone {
    /// UTC, which OpenMetadata takes when a pipeline names no zone.
    pub const UTC: Self = Self(tz::TimeZone::UTC);
}

impl FromStr for Zone {
    type Err = &'static str;

    /// An empty name is UTC: forms send it for an empty field.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let name = name.trim();
        if name.is_empty() {
            return Ok(Self::UTC);
        }
        // jiff has a zone of this name for "no zone is known"; Kubernetes does not have it.
        let known = tz::TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
        known.map(Self).ok_or_else(|| zone_remedy(name))
    }
}

/// How a zone is written that was not found.
fn zone_remedy(name: &str) -> &'static str {
    let upper = name.to_ascii_uppercase();
    let offset = ["UTC", "GMT"].iter().find_map(|prefix| upper.strip_prefix(prefix));
    if offset.unwrap_or(&upper).trim_start().starts_with(['+', '-']) {
        "must be a time zone of the IANA database; fixed offsets have their sign reversed there: \
         Etc/GMT-5 is 5 hours ahead of UTC, Etc/GMT+5 is 5 hours behind it"
    } else {
        "must be a time zone of the IANA database such as Europe/Berlin or UTC"
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// Five fields in the dialect of Kubernetes, and what is to be said about them.
struct Canonical {
    text: String,
    remarks: Vec<String>,
}

/// Reads five fields or a macro.
fn canonical(text: &str) -> Result<Canonical, String> {
    let text = text.trim();
    if text.starts_with('@') {
        return expand_macro(text)
            .map(|text| Canonical { text: text.to_owned(), remarks: Vec::new() });
    }
    refuse_zone_prefix(text)?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(wrong_number_of_fields(fields.len()));
    }
    let pairs = || FIELDS.iter().zip(&fields);
    let canonical: Result<Vec<_>, _> = pairs().map(|(field, text)| field.canonical(text)).collect();
    let remarks = pairs().flat_map(|(field, text)| field.remarks(text)).collect();
    Ok(Canonical { text: canonical?.join(" "), remarks })
}

/// robfig/cron reads a zone in front of the fields; a `CronJob` has a field of its own for it.
fn refuse_zone_prefix(text: &str) -> Result<(), String> {
    if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
        return Err("must not begin with a time zone; set airflowConfig.pipelineTimezone instead"
            .to_owned());
    }
    Ok(())
}

fn wrong_number_of_fields(count: usize) -> String {
    const FIVE: &str = "a schedule has five: minute, hour, day of month, month, day of week";
    let plural = if count == 1 { "" } else { "s" };
    let hint = match count {
        6 | 7 => "; leave out the seconds and the year that Quartz and Spring add",
        _ => "",
    };
    format!("has {count} field{plural}; {FIVE}{hint}")
}

fn expand_macro(text: &str) -> Result<&'static str, String> {
    match text.to_ascii_lowercase().as_str() {
        "@hourly" => Ok("0 * * * *"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@monthly" => Ok("0 0 1 * *"),
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        _ => {
            Err("must be one of @hourly, @daily, @weekly, @monthly, @yearly, or five fields"
                .to_owned())
        }
    }
}

/// One of the five fields: its bounds and the names it knows.
struct Field {
    label: &'static str,
    least: u8,
    /// The last value that Kubernetes knows.
    last: u8,
    /// The last value that people may write.
    most: u8,
    names: &'static [&'static str],
}

impl Field {
    const fn numbers(label: &'static str, least: u8, most: u8) -> Self {
        Self { label, least, last: most, most, names: &[] }
    }
}

const MINUTE: Field = Field::numbers("minute", 0, 59);
const HOUR: Field = Field::numbers("hour", 0, 23);
const DAY: Field = Field::numbers("day of month", 1, 31);
const MONTH: Field = Field {
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    ..Field::numbers("month", 1, 12)
};
/// Sunday is 0 and, as cron(5) has it, also 7, which Kubernetes does not know.
const WEEKDAY: Field = Field {
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    most: 7,
    ..Field::numbers("day of week", 0, 6)
};

/// The five fields, in the order in which a schedule has them.
const FIELDS: [Field; 5] = [MINUTE, HOUR, DAY, MONTH, WEEKDAY];

impl Field {
    /// The field as both Kubernetes and croner read it. For robfig/cron a list with one star in it
    /// is a star: it holds every value, and for days it leaves the decision to the other day field.
    /// croner only knows a star that is the whole field.
    fn canonical(&self, text: &str) -> Result<String, String> {
        let items: Result<Vec<_>, _> = text.split(',').map(|item| self.item(item)).collect();
        let items = items?;
        if items.iter().any(|item| item == "*") { Ok("*".to_owned()) } else { Ok(items.join(",")) }
    }

    /// A sentence for each step that leaves its field with one value only.
    fn remarks(&self, text: &str) -> Vec<String> {
        let steps = text.split(',').filter_map(|item| item.split_once('/'));
        let over = steps.filter(|(_, step)| {
            step.parse::<u64>().is_ok_and(|step| step > u64::from(self.last - self.least))
        });
        let describe = |(range, step)| {
            let (label, most) = (self.label, self.last - self.least);
            format!(
                "{label}: the step of {range}/{step} is more than {most}, so Kubernetes takes only \
                 the first value"
            )
        };
        over.map(describe).collect()
    }

    /// One member of a list: `*`, a value, or a range, with an optional step.
    fn item(&self, item: &str) -> Result<String, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (item, None),
        };
        if range == "*" || range == "?" {
            return Ok(self.every(step.unwrap_or(1)));
        }
        let (from, to) = self.bounds(range, step.is_some())?;
        Ok(self.render(from, to, step))
    }

    /// Every value, or each `step`th from the least on; a step of 1 leaves the star a star.
    fn every(&self, step: u64) -> String {
        match step {
            1 => "*".to_owned(),
            step if step > u64::from(self.last - self.least) => self.least.to_string(),
            step => format!("*/{step}"),
        }
    }

    /// First and last value; a lone value with a step runs to the end, as in robfig/cron.
    fn bounds(&self, range: &str, stepped: bool) -> Result<(u8, u8), String> {
        let Some((from, to)) = range.split_once('-') else {
            let value = self.value(range)?;
            return Ok((value, if stepped { self.last.max(value) } else { value }));
        };
        let (from, to) = (self.value(from)?, self.value(to)?);
        if from > to {
            return Err(format!("{}: the range {range} ends before it starts", self.label));
        }
        Ok((from, to))
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let name = (self.least..).zip(self.names).find(|(_, name)| text.eq_ignore_ascii_case(name));
        let number = || text.parse().ok().filter(|value| (self.least..=self.most).contains(value));
        name.map(|(value, _)| value).or_else(number).ok_or_else(|| {
            format!("{}: {text:?} is not a value from {} to {}", self.label, self.least, self.most)
        })
    }

    fn step(&self, text: &str) -> Result<u64, String> {
        text.parse()
            .ok()
            .filter(|step| (1..=MAX_STEP).contains(step))
            .ok_or_else(|| format!("{}: the step {text:?} is not a number above 0", self.label))
    }

    fn render(&self, from: u8, to: u8, step: Option<u64>) -> String {
        match step.unwrap_or(1) {
            step if to > self.last => weekdays_to_sunday(from, step),
            step if step > u64::from(to - from) => from.to_string(),
            1 => format!("{from}-{to}"),
            step => format!("{from}-{to}/{step}"),
        }
    }
}

/// Every weekday of a range that ends with 7, the Sunday that Kubernetes calls 0.
fn weekdays_to_sunday(from: u8, step: u64) -> String {
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    let days: BTreeSet<u8> = (from..=7).step_by(step).map(|day| day % 7).collect();
    days.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn utc(text: &str) -> Result<Schedule, String> {
        Schedule::new(text, Zone::UTC)
    }

    #[rstest]
    #[case("@hourly", "0 * * * *")]
    #[case("@Daily", "0 0 * * *")]
    #[case("@midnight", "0 0 * * *")]
    #[case("@weekly", "0 0 * * 0")]
    #[case("@monthly", "0 0 1 * *")]
    #[case("@annually", "0 0 1 1 *")]
    #[case("  0   2 * *  0 ", "0 2 * * 0")]
    #[case("*/10 * * * *", "*/10 * * * *")]
    #[case("5/15 * * * *", "5-59/15 * * * *")]
    #[case("0 9 ? * MON-fri", "0 9 * * 1-5")]
    #[case("0 9 1 Jan,JUL *", "0 9 1 1,7 *")]
    #[case("0 9 * * 7", "0 9 * * 0")]
    #[case("0 9 * * 5-7", "0 9 * * 0,5,6")]
    #[case("0 9 * * 6-7", "0 9 * * 0,6")]
    #[case("0 9 * * 1-7/2", "0 9 * * 0,1,3,5")]
    #[case("0 9 * * 0-7", "0 9 * * 0,1,2,3,4,5,6")]
    #[case("0 9 * * 7/2", "0 9 * * 0")]
    #[case("0 3 1 * */1", "0 3 1 * *")]
    #[case("0 3 */1 * 1", "0 3 * * 1")]
    #[case("0 3 ?/1 * 1", "0 3 * * 1")]
    #[case("0 3 1 * *,1", "0 3 1 * *")]
    #[case("0 3 1 * 1,*/1", "0 3 1 * *")]
    #[case("0 3 1 * */2,*", "0 3 1 * *")]
    #[case("0 3 1 * 0-6", "0 3 1 * 0-6")]
    #[case("0 3 1/1 * 1", "0 3 1-31 * 1")]
    #[case("*/300 * * * *", "0 * * * *")]
    #[case("*/60 */24 */31 */12 */7", "0 0 1 1 0")]
    #[case("0 3-5/4 * * *", "0 3 * * *")]
    #[case("0 23/5 * * *", "0 23 * * *")]
    #[case("0 0 */9223372036854775807 * *", "0 0 1 * *")]
    #[case("0 9 * * 2/2", "0 9 * * 2-6/2")]
    fn becomes_the_dialect_of_kubernetes(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(utc(text).unwrap().as_cron(), expected);
    }

    #[rstest]
    #[case("", "five")]
    #[case("* * * *", "has 4 fields")]
    #[case("null", "has 1 field;")]
    #[case("0 0 2 * * *", "has 6 fields")]
    #[case("0 0 2 * * ? 2026", "Quartz")]
    #[case("TZ=Europe/Berlin 0 2 * * *", "pipelineTimezone")]
    #[case("CRON_TZ=UTC 0 2 * * *", "pipelineTimezone")]
    #[case("*/9223372036854775808 * * * *", "step")]
    #[case("*/-5 * * * *", "step")]
    #[case("1/2/3 * * * *", "step")]
    #[case("60 * * * *", "minute")]
    #[case("0 24 * * *", "hour")]
    #[case("0 0 0 * *", "day of month")]
    #[case("0 0 * 13 *", "month")]
    #[case("0 0 * * 8", "day of week")]
    #[case("0 0 * * FRI-MON", "ends before it starts")]
    #[case("*/0 * * * *", "step")]
    #[case("0 0 L * *", "day of month")]
    #[case("0 0 15W * *", "day of month")]
    #[case("0 0 * * MON#2", "day of week")]
    #[case("0 0 30 2 *", "never fires")]
    #[case("@once", "@hourly")]
    #[case("@every 1h", "@hourly")]
    fn refuses_what_kubernetes_would_not_run(#[case] text: &str, #[case] reason: &str) {
        let error = utc(text).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }

    #[rstest]
    #[case("Europe/Berlin", true)]
    #[case("utc", true)]
    #[case("Local", false)]
    #[case("Mars/Olympus", false)]
    #[case("+02:00", false)]
    #[case("", true)]
    #[case("  ", true)]
    #[case("US/Pacific", true)]
    #[case("Asia/Calcutta", true)]
    #[case("Europe/Kyiv", true)]
    #[case("America/Coyhaique", true)]
    #[case("Etc/Unknown", false)]
    #[case("etc/unknown", false)]
    #[case("GMT+5", false)]
    #[case("Etc/GMT+5", true)]
    fn zones(#[case] name: &str, #[case] known: bool) {
        assert_eq!(name.parse::<Zone>().is_ok(), known);
    }

    #[rstest]
    #[case("GMT+5")]
    #[case("utc-3")]
    #[case("UTC +2")]
    #[case("+02:00")]
    fn an_offset_is_told_how_its_zone_is_called(#[case] name: &str) {
        let error = name.parse::<Zone>().unwrap_err();
        assert!(error.contains("Etc/GMT+5"), "{error}");
    }

    #[test]
    fn an_empty_zone_is_utc() {
        assert_eq!("".parse::<Zone>().unwrap(), Zone::UTC);
    }

    #[test]
    fn a_step_over_the_field_is_remarked() {
        let remarks = |text| utc(text).unwrap().remarks().join("; ");
        assert!(remarks("*/300 * * * *").starts_with("minute: the step of */300"));
        assert!(remarks("0 */24 * * *").starts_with("hour"));
        assert_eq!(remarks("*/59 */23 * * 2/2"), "");
        assert_eq!(remarks("@hourly"), "");
    }

    #[rstest]
    #[case("0 3 1 * */1", &["2026-01-01T03:00:00Z", "2026-02-01T03:00:00Z"])]
    #[case("0 3 1 * *,1", &["2026-01-01T03:00:00Z", "2026-02-01T03:00:00Z"])]
    #[case("0 3 */1 * 1", &["2025-12-29T03:00:00Z", "2026-01-05T03:00:00Z"])]
    #[case("0 3 1 * 0-6", &["2025-12-28T03:00:00Z", "2025-12-29T03:00:00Z"])]
    fn a_star_leaves_the_day_to_the_other_field(#[case] text: &str, #[case] expected: &[&str]) {
        let schedule = utc(text).unwrap();
        let first = schedule.next_after("2025-12-27T12:00:00Z".parse().unwrap()).unwrap();
        let second = schedule.next_after(first).unwrap();
        assert_eq!([first.to_string(), second.to_string()], expected);
    }

    #[test]
    fn slots_follow_the_zone_across_daylight_saving() {
        let schedule = Schedule::new("30 2 * * *", "Europe/Berlin".parse().unwrap()).unwrap();
        let next = |time: &str| schedule.next_after(time.parse().unwrap()).unwrap().to_string();
        assert_eq!(next("2026-01-01T00:00:00Z"), "2026-01-01T01:30:00Z");
        assert_eq!(next("2026-07-01T00:00:00Z"), "2026-07-01T00:30:00Z");
    }
}
