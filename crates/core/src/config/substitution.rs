//! Variables in the text of a configuration file: `${NAME}` and `${NAME:-default}`, as Dropwizard
//! resolves them when an OpenMetadata server reads its `openmetadata.yaml`.
//!
//! The text is resolved before YAML reads it, so a default may bring its own quotes
//! (`${NAME:-"no-ssl"}`) or be a list. A variable that is set to nothing counts as set.

use std::collections::BTreeMap;

const START: &str = "${";
/// Stands between a name and its default.
const DEFAULT: &str = ":-";
/// How deep a default may have variables of its own; deeper ones stay as they are.
const MAX_DEPTH: usize = 8;
/// Longest variable with its default, in bytes.
const MAX_LENGTH: usize = 64 << 10;

/// The text with its variables resolved. `$${` is an escaped `${`. A variable that is not set and has
/// no default stays as it is, and so does what is no variable at all.
#[must_use]
pub fn resolve_variables(text: &str, environment: &BTreeMap<String, String>) -> String {
    resolve(text, environment, 0)
}

fn resolve(text: &str, environment: &BTreeMap<String, String>, depth: usize) -> String {
    if depth > MAX_DEPTH {
        return text.to_owned();
    }
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(START) {
        let (before, from_start) = rest.split_at(start);
        let inner = &from_start[START.len()..];
        if let Some(before) = before.strip_suffix('$') {
            resolved.push_str(before);
            resolved.push_str(START);
            rest = inner;
            continue;
        }
        resolved.push_str(before);
        let variable = end_of_variable(inner).map(|end| (&inner[..end], &inner[end + 1..]));
        let value = variable
            .and_then(|(variable, after)| Some((value_of(variable, environment, depth)?, after)));
        if let Some((value, after)) = value {
            resolved.push_str(&value);
            rest = after;
        } else {
            resolved.push_str(START);
            rest = inner;
        }
    }
    resolved.push_str(rest);
    resolved
}

/// Position of the closing brace of a variable. A default may hold variables, but no line break.
fn end_of_variable(inner: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (position, character) in inner.char_indices().take_while(|(at, _)| *at < MAX_LENGTH) {
        match character {
            '\n' => return None,
            '{' if inner[..position].ends_with('$') => open += 1,
            '}' if open == 0 => return Some(position),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn value_of(
    variable: &str,
    environment: &BTreeMap<String, String>,
    depth: usize,
) -> Option<String> {
    let (name, default) = match variable.split_once(DEFAULT) {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    let of_default = || default.map(|default| resolve(default, environment, depth + 1));
    environment.get(name).cloned().or_else(of_default)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::set("a: ${SET:-x}", "a: value")]
    #[case::set_without_default("a: ${SET}", "a: value")]
    #[case::default("a: ${UNSET:-http://om:8585/api}", "a: http://om:8585/api")]
    #[case::quoted_default("a: ${UNSET:-\"no-ssl\"}", "a: \"no-ssl\"")]
    #[case::list("a: ${UNSET:-[]}", "a: []")]
    #[case::empty_default("a: ${UNSET:-}", "a: ")]
    #[case::set_to_nothing("a: ${EMPTY:-x}", "a: ")]
    #[case::quoted_by_the_charts_secret("a: ${QUOTED:-1}", "a: \"86400\"")]
    #[case::several("jdbc:${A:-b}://${SET}:${C:-1}", "jdbc:b://value:1")]
    #[case::nested("${UNSET:-${ALSO_UNSET:-x}}", "x")]
    #[case::flow("{ a: ${UNSET:-1}, b: 2 }", "{ a: 1, b: 2 }")]
    #[case::dash_in_default("${UNSET:-a:-b}", "a:-b")]
    #[case::unset("a: ${UNSET}", "a: ${UNSET}")]
    #[case::escaped("a: $${SET}", "a: ${SET}")]
    #[case::not_closed("a: ${SET\nb: }", "a: ${SET\nb: }")]
    #[case::kubernetes("a: $(SET) $SET", "a: $(SET) $SET")]
    #[case::values_are_not_resolved_again("${TRAP}", "${SET}")]
    fn variables(#[case] text: &str, #[case] expected: &str) {
        let environment =
            [("SET", "value"), ("EMPTY", ""), ("QUOTED", "\"86400\""), ("TRAP", "${SET}")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(resolve_variables(text, &environment.into()), expected);
    }

    #[test]
    fn a_deep_nest_ends() {
        let text = format!("{}x{}", "${A:-".repeat(500), "}".repeat(500));
        assert!(resolve_variables(&text, &BTreeMap::new()).contains("${A"));
    }
}
