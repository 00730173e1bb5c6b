//! What a request asks for: its path below the base path, with doubled slashes made one.

use http::Uri;
use http::uri::PathAndQuery;

use crate::settings::BasePath;

/// A path that nothing is served under; `/` is the page.
const NOWHERE: &str = "/.outside";

/// The target as the routes know it. The Java client doubles a slash where its `apiEndpoint` ends in
/// one (docs/contracts/openmetadata-http.md#base-path); a path outside of `base` leads nowhere.
pub(crate) fn below(base: &BasePath, uri: &Uri) -> Uri {
    let path = without_doubled_slashes(uri.path());
    let path = base.strip(&path).unwrap_or(NOWHERE);
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let target = target.parse().unwrap_or_else(|_| PathAndQuery::from_static(NOWHERE));
    Uri::from(target)
}

fn without_doubled_slashes(path: &str) -> String {
    let mut kept = String::with_capacity(path.len());
    for c in path.chars() {
        if !(c == '/' && kept.ends_with('/')) {
            kept.push(c);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "/a/b", "/a/b")]
    #[case("", "//a///b/?q=x//y", "/a/b/?q=x//y")]
    #[case("/base", "/base//a?b", "/a?b")]
    #[case("/base", "//base/a", "/a")]
    #[case("/base", "/elsewhere/a?b", "/.outside?b")]
    #[case("/base", "/base", "/")]
    fn targets(#[case] base: &str, #[case] asked: &str, #[case] expected: &str) {
        let base = base.parse().unwrap();
        assert_eq!(below(&base, &asked.parse().unwrap()).to_string(), expected);
    }
}
