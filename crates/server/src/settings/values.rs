//! The values of settings that have rules of their own.

use std::fmt;
use std::str::FromStr;

use ompipe_core::version::ReleaseLine;

/// A path below which everything is served: empty, or `/` and segments, without a `/` at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

impl BasePath {
    /// What is left of a path below this one; `None` for a path elsewhere.
    #[must_use]
    pub fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        match path.strip_prefix(self.0.as_str())? {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    }
}

impl FromStr for BasePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.trim_end_matches('/');
        let is_segment = |segment: &str| {
            !segment.is_empty()
                && !matches!(segment, "." | "..")
                && segment.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c))
        };
        match path.strip_prefix('/') {
            _ if path.is_empty() => Ok(Self::default()),
            Some(segments) if segments.split('/').all(is_segment) => Ok(Self(path.to_owned())),
            Some(_) | None => Err("must be a path such as /ompipe, of letters, digits and - _ . ~"),
        }
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version of an OpenMetadata server. The Java client reads the first three numbers with dots in
/// it, and fails without them (docs/contracts/openmetadata-http.md#version-check).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion(String);

impl ServerVersion {
    /// As the server wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let has_version = ReleaseLine::in_text(text).is_some();
        let version = has_version.then(|| Self(text.to_owned()));
        version.ok_or("must have three numbers, such as 1.12.14")
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object, for machines.
    #[default]
    Json,
    /// For people.
    Text,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("must be json or text"),
        }
    }
}
