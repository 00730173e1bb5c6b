//! Pages of metrics that were recorded once, as samples of a span of time that Prometheus can read.

use std::fmt::Write;
use std::ops::RangeInclusive;

use crate::metrics::families;

/// How the series of a page have changed over time.
#[derive(Clone, Debug)]
pub struct Recording {
    /// When samples were taken, in seconds since 1970.
    pub times: RangeInclusive<i64>,
    /// Seconds between two of them.
    pub step: usize,
}

impl Recording {
    /// The samples of a page in the format `OpenMetrics`, without its end, whose target has these labels
    /// (`pod="a",service="b"`). Counters and histograms grow by what the page says at each step; other
    /// series stay.
    #[must_use]
    pub fn samples(&self, page: &str, target: &str) -> String {
        let growing: Vec<&str> = families(page)
            .filter(|(_, kind)| matches!(*kind, "counter" | "histogram"))
            .map(|(name, _)| name)
            .collect();
        let mut text = String::new();
        for line in page.lines().filter(|line| *line != "# EOF") {
            match Sample::read(line) {
                Some(sample) => self.add(&mut text, &sample, target, sample.is_of(&growing)),
                None => text.extend([line, "\n"]),
            }
        }
        text
    }

    fn add(&self, text: &mut String, sample: &Sample<'_>, target: &str, grows: bool) {
        let Sample { name, labels, value } = sample;
        let comma = if labels.is_empty() { "" } else { "," };
        for (number, time) in (0_u32..).zip(self.times.clone().step_by(self.step)) {
            let value = if grows { value * f64::from(number) } else { *value };
            // A text takes every text.
            let _ = writeln!(text, "{name}{{{target}{comma}{labels}}} {value} {time}");
        }
    }
}

/// A line such as `ompipe_runs_ended_total{mode="job"} 1`.
struct Sample<'l> {
    name: &'l str,
    labels: &'l str,
    value: f64,
}

impl<'l> Sample<'l> {
    /// `None` for a comment.
    fn read(line: &'l str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        // Values of labels may have spaces and braces.
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (series, ""),
        };
        Some(Self { name, labels, value: value.parse().ok()? })
    }

    fn is_of(&self, families: &[&str]) -> bool {
        let endings = ["_total", "_bucket", "_count", "_sum"];
        let name = endings.iter().find_map(|ending| self.name.strip_suffix(ending));
        name.is_some_and(|name| families.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_grows_and_what_is_a_state_stays() {
        let page = "# HELP a Runs.\n# TYPE a counter\na_total{pipeline=\"b {c} d\"} 2\n# TYPE up gauge\nup 1\n# EOF\n";
        let samples = Recording { times: 0..=60, step: 60 }.samples(page, "pod=\"p\"");
        let expected = "# HELP a Runs.\n# TYPE a counter\n\
            a_total{pod=\"p\",pipeline=\"b {c} d\"} 0 0\na_total{pod=\"p\",pipeline=\"b {c} d\"} 2 60\n\
            # TYPE up gauge\nup{pod=\"p\"} 1 0\nup{pod=\"p\"} 1 60\n";
        assert_eq!(samples, expected);
    }
}
