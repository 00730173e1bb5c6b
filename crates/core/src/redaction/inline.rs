//! Credentials within a text whose secrets are not known in advance: URLs, `password=…`, tokens by their look,
//! and JSON in a text.

use std::ops::Range;

use super::keys::{Certainty, certainty};
use super::{shapes, urls};

/// What ends a value without quotes.
const ENDS: [char; 9] = [';', '&', ',', '"', '\'', ')', '}', ']', '`'];

/// The parts of `text` that are credentials, in order, none within another.
pub(super) fn credentials(text: &str) -> Vec<Range<usize>> {
    let mut found = urls::credentials(text);
    found.extend(shapes::credentials(text));
    found.extend(values(text));
    merged(found)
}

/// `ranges` in order, those that overlap as one.
pub(super) fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// `text` with `with` in place of each range.
pub(super) fn replaced(text: &str, ranges: &[Range<usize>], with: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut from = 0;
    for range in ranges {
        masked.push_str(text.get(from..range.start).unwrap_or_default());
        masked.push_str(with);
        from = range.end;
    }
    masked.push_str(text.get(from..).unwrap_or_default());
    masked
}

/// The values of `password=…`, `"password": "…"`, `--password …`.
fn values(text: &str) -> impl Iterator<Item = Range<usize>> {
    let separators = text.match_indices(['=', ':', ' ']);
    separators.filter_map(|(at, separator)| {
        let name = name_before(&text[..at], separator)?;
        (certainty(name) == Certainty::Sure).then(|| value_after(text, at + 1)).flatten()
    })
}

/// The name that ends here. After a blank comes the value of an option alone; after a colon that of a
/// name in quotes, since in a sentence a colon says nothing.
fn name_before<'t>(before: &'t str, separator: &str) -> Option<&'t str> {
    let before = before.trim_end_matches(' ');
    let unquoted = before.strip_suffix(['"', '\'']);
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let end = unquoted.unwrap_or(before);
    let begin = end.rfind(|c| !is_of_name(c)).map_or(0, |at| at + 1);
    let begin = (begin..=end.len()).find(|at| end.is_char_boundary(*at))?;
    let name = &end[begin..];
    let counts = match separator {
        "=" => true,
        ":" => unquoted.is_some(),
        _ => name.starts_with("--"),
    };
    (counts && !name.is_empty()).then_some(name)
}

fn value_after(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let begin = at + rest.len() - rest.trim_start_matches(' ').len();
    let rest = &text[begin..];
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (begin, end) = if let Some(quote) = quote {
        let end = rest[1..].find(quote).map_or(rest.len(), |end| end + 1);
        (begin + 1, begin + end)
    } else {
        let end = rest.find(|c: char| c.is_whitespace() || ENDS.contains(&c));
        (begin, begin + end.unwrap_or(rest.len()))
    };
    (begin < end).then_some(begin..end)
}
