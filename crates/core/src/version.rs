//! Versions of the server and of the ingestion framework
//! (docs/contracts/openmetadata-http.md#version-check).

use std::fmt;

/// Release line of an OpenMetadata version: the framework only works with a server of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseLine {
    major: u32,
    minor: u32,
}

impl ReleaseLine {
    /// The line of these two numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads the first `x.y.z` of a text such as `1.12.14.2` or `v1.12.14-SNAPSHOT`.
    #[must_use]
    pub fn in_text(text: &str) -> Option<Self> {
        let is_part = |c: char| c.is_ascii_digit() || c == '.';
        text.split(|c| !is_part(c)).find_map(Self::of_numbers)
    }

    fn of_numbers(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        numbers.next()?.ok().map(|_: u32| Self { major, minor })
    }
}

impl fmt::Display for ReleaseLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// True when a server accepts a client: both have one release line.
///
/// # Errors
/// The text in which no version was found.
pub fn are_compatible<'t>(client: &'t str, server: &'t str) -> Result<bool, &'t str> {
    let client = ReleaseLine::in_text(client).ok_or(client)?;
    Ok(client == ReleaseLine::in_text(server).ok_or(server)?)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1.12.14", "1.12.14.2", Ok(true))]
    #[case("1.12.0-SNAPSHOT", "v1.12.3", Ok(true))]
    #[case("1.12.14", "1.13.0", Ok(false))]
    #[case("1.12.14", "2.12.14", Ok(false))]
    #[case("latest", "1.13.0", Err("latest"))]
    #[case("1.12.0", "1.13", Err("1.13"))]
    fn release_lines(
        #[case] client: &str,
        #[case] server: &str,
        #[case] expected: Result<bool, &str>,
    ) {
        assert_eq!(are_compatible(client, server), expected);
    }
}
