//! Patterns with `*`, for fault paths and for searches by name.

/// Whether `text` matches `pattern`, in which each `*` stands for any characters, none included.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(tail) = text.strip_prefix(head) else {
        return false;
    };
    let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
    ends.into_iter().any(|at| matches(rest, &tail[at..]))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::matches;

    #[rstest]
    #[case("abc", "abc", true)]
    #[case("abc", "abcd", false)]
    #[case("*", "", true)]
    #[case("*/pipelineStatus", "/api/v1/a.b/pipelineStatus", true)]
    #[case("*/pipelineStatus", "/api/v1/a.b/pipelineStatus/1", false)]
    #[case("a*b*c", "a-b-b-c", true)]
    #[case("a*b*c", "a-c-b", false)]
    #[case("*ß*", "große", true)]
    fn stars_stand_for_anything(#[case] pattern: &str, #[case] text: &str, #[case] hit: bool) {
        assert_eq!(matches(pattern, text), hit);
    }
}
