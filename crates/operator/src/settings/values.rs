//! The values of settings, each with its rule and its default.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ompipe_core::kubernetes::{Namespace, ObjectName};
use url::Url;

/// Namespaces that the operator works in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchNamespaces {
    /// Its own.
    #[default]
    Own,
    /// These.
    Listed(BTreeSet<Namespace>),
    /// The whole cluster.
    All,
}

impl FromStr for WatchNamespaces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> =
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        match names[..] {
            [] => Ok(Self::Own),
            // No namespace has capital letters in its name.
            ["ALL"] => Ok(Self::All),
            _ if names.contains(&"ALL") => {
                Err("must be either ALL or names of namespaces, not both".to_owned())
            }
            _ => names.into_iter().map(listed).collect::<Result<_, _>>().map(Self::Listed),
        }
    }
}

fn listed(name: &str) -> Result<Namespace, String> {
    name.parse().map_err(|_| {
        format!("{name:?} is no name of a namespace: must be ALL, or names separated by commas")
    })
}

impl fmt::Display for WatchNamespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("its own namespace"),
            Self::All => f.write_str("ALL"),
            Self::Listed(names) => {
                let names: Vec<&str> = names.iter().map(Namespace::as_str).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// Defines a whole number within bounds, and what it stands for.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident: $what:literal, $range:expr, $default:literal, $get:ty = $convert:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(u16);

        impl $name {
            /// The value.
            #[must_use]
            pub fn get(self) -> $get {
                $convert(self.0)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let number: Option<u16> = text.parse().ok().filter(|n| $range.contains(n));
                let (least, most) = ($range.start(), $range.end());
                number.map(Self).ok_or_else(|| format!("must be {} from {least} to {most}", $what))
            }
        }
    };
}

bounded! {
    /// Objects that are dealt with at the same time. Each waits for the API server most of the
    /// time, so there may be many more than threads.
    ReconciliationThreads: "a number", 1..=1024, 64, usize = usize::from
}

bounded! {
    /// Longest wait before an object is tried again after an error.
    RequeueDelay: "a number of seconds", 1..=3600, 30, Duration = seconds
}

bounded! {
    /// Port of the health endpoints and of the metrics.
    HealthCheckPort: "a port", 1..=65535, 8080, u16 = u16::from
}

bounded! {
    /// Port of the metrics alone.
    MetricsPort: "a port", 1..=65535, 8081, u16 = u16::from
}

bounded! {
    /// Time that a drain gives to runs under way.
    DrainTimeout: "a number of seconds", 0..=3600, 0, Duration = seconds
}

bounded! {
    /// How long the other replicas wait for a leader that is silent.
    LeaseDuration: "a number of seconds", 3..=600, 15, Duration = seconds
}

bounded! {
    /// Days that archived logs are kept; none is for ever.
    LogsRetention: "a number of days", 0..=3650, 30, u16 = u16::from
}

bounded! {
    /// Days that records of runs are kept; none is for ever.
    RecordsRetention: "a number of days", 0..=3650, 365, u16 = u16::from
}

bounded! {
    /// Most MiB of a run's archived log; none is any number.
    RunLogLimit: "a number of MiB", 0..=65535, 16384, u64 = u64::from
}

bounded! {
    /// Most GiB of all archived logs; none is any number.
    LogsLimit: "a number of GiB", 0..=65535, 0, u64 = u64::from
}

bounded! {
    /// Threads of the runtime.
    WorkerThreads: "a number", 1..=64, 1, usize = usize::from
}

fn seconds(count: u16) -> Duration {
    Duration::from_secs(count.into())
}

/// A switch that is on unless it is turned off.
pub(super) struct OnByDefault(pub(super) bool);

impl Default for OnByDefault {
    fn default() -> Self {
        Self(true)
    }
}

impl FromStr for OnByDefault {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "must be true or false")
    }
}

/// Where logs and records are archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveUrl(String);

impl ArchiveUrl {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ArchiveUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ompipe_archive::check_url(text).map_err(|error| error.to_string())?;
        Ok(Self(text.to_owned()))
    }
}

/// Values separated by commas.
pub(super) struct List<T>(pub(super) BTreeSet<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: FromStr + Ord> FromStr for List<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
        values.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// Servers that ends of runs are reported to, beside those of deployed pipelines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedServers {
    /// Whatever a run's config names.
    #[default]
    All,
    /// Those with one of these origins: scheme, host and port.
    Listed(BTreeSet<String>),
}

impl AllowedServers {
    /// True for an endpoint of one of the servers.
    #[must_use]
    pub fn allow(&self, endpoint: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(origins) => origin(endpoint).is_some_and(|own| origins.contains(&own)),
        }
    }
}

impl FromStr for AllowedServers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const REMEDY: &str =
            "must be ALL, or URLs of servers such as http://openmetadata:8585, separated by commas";
        if text == "ALL" {
            return Ok(Self::All);
        }
        let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        urls.map(|url| origin(url).ok_or(REMEDY)).collect::<Result<_, _>>().map(Self::Listed)
    }
}

/// Scheme, host and port of an http or https URL.
pub(crate) fn origin(url: &str) -> Option<String> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    Some(url.origin().ascii_serialization())
}

/// Name of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseName(String);

impl LeaseName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LeaseName {
    fn default() -> Self {
        Self("ompipe-operator".to_owned())
    }
}

impl FromStr for LeaseName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|name: ObjectName| Self(name.as_str().to_owned()))
    }
}

/// What is logged, in the words of `tracing_subscriber::EnvFilter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

/// The levels that a filter may name.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl LogLevel {
    /// The filter.
    #[must_use]
    pub fn as_filter(&self) -> &str {
        &self.0
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            // The libraries below say too much at these levels; a filter can still ask for it.
            "debug" | "trace" => Ok(Self(format!("info,ompipe={lower}"))),
            level if LEVELS.contains(&level) => Ok(Self(lower)),
            _ if text.split(',').all(is_directive) => Ok(Self(text.to_owned())),
            _ => {
                Err("must be one of error, warn, info, debug, trace, off, or filters separated by \
                      commas, such as info,ompipe_operator=debug")
            }
        }
    }
}

/// A level, or a target with one. The filter itself takes a misspelt level for a target.
fn is_directive(text: &str) -> bool {
    let level = text.rsplit_once('=').map_or(text, |(_, level)| level);
    LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
}

/// How the operator logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object for each line.
    #[default]
    Json,
    /// For people.
    Text,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("must be json or text"),
        }
    }
}
