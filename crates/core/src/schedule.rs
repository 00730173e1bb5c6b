//! When a pipeline runs: a cron schedule in the dialect of Kubernetes, and a time zone.
//!
//! Kubernetes reads schedules with robfig/cron's standard parser. What OpenMetadata's users write
//! (Airflow macros, `7` for Sunday, `5/15`, upper-case names) is translated into it, so that the
//! API server never refuses what we accepted, and the slots shown are the slots that fire.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp, tz};

/// A schedule in five fields that both Kubernetes and our slot calculation understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    zone: Zone,
}

impl Schedule {
    /// Reads what OpenMetadata keeps in `airflowConfig.scheduleInterval`: five fields or a macro.
    ///
    /// # Errors
    /// What is wrong and what is allowed, for a message about that field.
    pub fn new(text: &str, zone: Zone) -> Result<Self, String> {
        let canonical = canonical(text)?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed);
        let cron = parser.build().parse(&canonical).map_err(|e| e.to_string())?;
        let schedule = Self { cron, zone };
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

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        const REMEDY: &str =
            "must be a time zone of the IANA database such as Europe/Berlin or UTC";
        tz::TimeZone::get(name).map(Self).map_err(|_| REMEDY)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// Five fields in the dialect of Kubernetes.
fn canonical(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.starts_with('@') {
        return expand_macro(text).map(str::to_owned);
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Err(format!(
            "has {} fields; a schedule has five: minute, hour, day of month, month, day of week",
            fields.len()
        ));
    };
    Ok([
        MINUTE.canonical(minute)?,
        HOUR.canonical(hour)?,
        DAY.canonical(day)?,
        MONTH.canonical(month)?,
        WEEKDAY.canonical(weekday)?,
    ]
    .join(" "))
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

impl Field {
    fn canonical(&self, text: &str) -> Result<String, String> {
        let items: Result<Vec<_>, _> = text.split(',').map(|item| self.item(item)).collect();
        items.map(|items| items.join(","))
    }

    /// One member of a list: `*`, a value, or a range, with an optional step.
    fn item(&self, item: &str) -> Result<String, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (item, None),
        };
        if range == "*" || range == "?" {
            return Ok(step.map_or_else(|| "*".to_owned(), |step| format!("*/{step}")));
        }
        let (from, to) = self.bounds(range, step.is_some())?;
        Ok(self.render(from, to, step))
    }

    /// First and last value; a lone value with a step runs to the end, as in robfig/cron.
    fn bounds(&self, range: &str, stepped: bool) -> Result<(u8, u8), String> {
        let Some((from, to)) = range.split_once('-') else {
            let value = self.value(range)?;
            return Ok((value, if stepped { self.last } else { value }));
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

    fn step(&self, text: &str) -> Result<u8, String> {
        text.parse()
            .ok()
            .filter(|step| *step > 0)
            .ok_or_else(|| format!("{}: the step {text:?} is not a number above 0", self.label))
    }

    fn render(&self, from: u8, to: u8, step: Option<u8>) -> String {
        match step {
            _ if to > self.last => weekdays_to_sunday(from, step.unwrap_or(1)),
            None if from == to => from.to_string(),
            None => format!("{from}-{to}"),
            Some(step) => format!("{from}-{to}/{step}"),
        }
    }
}

/// Every weekday of a range that ends with 7, the Sunday that Kubernetes calls 0.
fn weekdays_to_sunday(from: u8, step: u8) -> String {
    let days = (from..=7).step_by(step.into()).map(|day| (day % 7).to_string());
    days.collect::<Vec<_>>().join(",")
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
    #[case("0 9 * * 5-7", "0 9 * * 5,6,0")]
    #[case("0 9 * * 6-7", "0 9 * * 6,0")]
    #[case("0 9 * * 1-7/2", "0 9 * * 1,3,5,0")]
    #[case("0 9 * * 2/2", "0 9 * * 2-6/2")]
    fn becomes_the_dialect_of_kubernetes(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(utc(text).unwrap().as_cron(), expected);
    }

    #[rstest]
    #[case("", "five")]
    #[case("* * * *", "has 4 fields")]
    #[case("0 0 2 * * *", "has 6 fields")]
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
    fn zones(#[case] name: &str, #[case] known: bool) {
        assert_eq!(name.parse::<Zone>().is_ok(), known);
    }

    #[test]
    fn slots_follow_the_zone_across_daylight_saving() {
        let schedule = Schedule::new("30 2 * * *", "Europe/Berlin".parse().unwrap()).unwrap();
        let next = |time: &str| schedule.next_after(time.parse().unwrap()).unwrap().to_string();
        assert_eq!(next("2026-01-01T00:00:00Z"), "2026-01-01T01:30:00Z");
        assert_eq!(next("2026-07-01T00:00:00Z"), "2026-07-01T00:30:00Z");
    }
}
