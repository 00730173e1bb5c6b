//! An answer to a scraper in the format that it reads: `OpenMetrics`, or Prometheus' text format 0.0.4.
//!
//! The two differ in the names of families, so that a counter in the wrong one is a series without a type.

use std::collections::HashMap;

use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a scraper that sent these headers with metrics in the format `OpenMetrics`.
#[must_use]
pub fn respond(headers: &HeaderMap, open_metrics: String) -> Response {
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepted.contains("application/openmetrics-text") {
        ([(CONTENT_TYPE, OPEN_METRICS)], open_metrics).into_response()
    } else {
        ([(CONTENT_TYPE, TEXT)], as_text(&open_metrics)).into_response()
    }
}

/// The same metrics in Prometheus' text format.
#[must_use]
pub fn as_text(open_metrics: &str) -> String {
    let kinds: HashMap<&str, &str> = open_metrics.lines().filter_map(kind).collect();
    let lines = open_metrics.lines().filter_map(|line| line_as_text(line, &kinds));
    lines.flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// Name and kind of the family that a line declares.
fn kind(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("# TYPE ")?.split_once(' ')
}

fn line_as_text(line: &str, kinds: &HashMap<&str, &str>) -> Option<String> {
    let Some(comment) = line.strip_prefix("# ") else { return Some(line.to_owned()) };
    let (keyword, rest) = comment.split_once(' ')?;
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let kind = kinds.get(name).copied().unwrap_or("unknown");
    let suffix = match kind {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    match keyword {
        "HELP" => Some(format!("# HELP {name}{suffix} {rest}")),
        "TYPE" => Some(format!("# TYPE {name}{suffix} {}", kind_as_text(kind))),
        // The text format knows neither units nor an end.
        _ => None,
    }
}

fn kind_as_text(kind: &str) -> &str {
    match kind {
        "info" => "gauge",
        "unknown" => "untyped",
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    const PAGE: &str = "# HELP runs_ended Runs, by state.\n# TYPE runs_ended counter\n\
        runs_ended_total{state=\"# HELP\"} 1\n# HELP run_seconds Time.\n# TYPE run_seconds histogram\n\
        # UNIT run_seconds seconds\nrun_seconds_count 2\n# HELP build The program.\n# TYPE build info\n\
        build_info{version=\"1\"} 1\n# EOF\n";

    #[test]
    fn families_have_the_names_of_their_series() {
        let expected = "# HELP runs_ended_total Runs, by state.\n# TYPE runs_ended_total counter\n\
            runs_ended_total{state=\"# HELP\"} 1\n# HELP run_seconds Time.\n# TYPE run_seconds histogram\n\
            run_seconds_count 2\n# HELP build_info The program.\n# TYPE build_info gauge\n\
            build_info{version=\"1\"} 1\n";
        assert_eq!(as_text(PAGE), expected);
    }

    #[rstest]
    #[case("*/*", TEXT)]
    #[case("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", OPEN_METRICS)]
    fn a_scraper_gets_the_format_that_it_reads(#[case] accept: &'static str, #[case] kind: &str) {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        assert_eq!(respond(&headers, PAGE.to_owned()).headers()[CONTENT_TYPE], kind);
    }
}
