//! The rights that operations need, and the answer of a health check.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::ResourceAttributes;
use ompipe_core::config::Mode;
use serde::Serialize;

/// Longest time that a health check takes.
pub const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// The answer of a health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// Whether every operation can work.
    pub healthy: bool,
    /// `Kubernetes`, or `disabled`.
    pub platform: String,
    /// Version of the cluster, if it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What is right, or what is wrong with every remedy.
    pub reason: String,
    /// Rights that are missing.
    pub missing: Vec<Right>,
}

/// One right in the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Right {
    /// API group; empty for the core.
    pub group: &'static str,
    /// Resource, or resource and subresource.
    pub resource: &'static str,
    /// What may be done with it.
    pub verb: &'static str,
}

impl Right {
    /// The right as Kubernetes asks for it, in no namespace yet.
    pub(crate) fn attributes(self) -> ResourceAttributes {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (self.resource, None),
        };
        ResourceAttributes {
            verb: Some(self.verb.to_owned()),
            group: Some(self.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource,
            ..ResourceAttributes::default()
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, resource, verb } = self;
        match *group {
            "" => write!(f, "{verb} {resource}"),
            group => write!(f, "{verb} {resource}.{group}"),
        }
    }
}

/// Resources and what operations do with them.
type Rules = &'static [(&'static str, &'static str, &'static [&'static str])];

const ALWAYS: Rules = &[
    ("", "secrets", &["get", "list", "create", "update", "patch", "delete"]),
    ("", "configmaps", &["get", "list", "create", "update", "patch", "delete"]),
    ("", "pods", &["list", "watch", "delete"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["list", "watch"]),
    ("batch", "jobs", &["get", "list", "watch", "create", "patch", "delete"]),
    ("batch", "cronjobs", &["get", "list", "create", "patch", "delete"]),
];

const OPERATOR_MODE: Rules = &[
    (
        "pipelines.openmetadata.org",
        "omjobs",
        &["get", "list", "watch", "create", "patch", "delete"],
    ),
    ("pipelines.openmetadata.org", "cronomjobs", &["get", "list", "create", "patch", "delete"]),
];

/// Every right that operations need.
pub fn rights_needed(mode: Mode) -> impl Iterator<Item = Right> {
    let operator: Rules = if mode == Mode::Operator { OPERATOR_MODE } else { &[] };
    let rules = ALWAYS.iter().chain(operator);
    rules.flat_map(|&(group, resource, verbs)| {
        verbs.iter().map(move |&verb| Right { group, resource, verb })
    })
}

/// Rights in addition to [`rights_needed`] that only `doctor` uses: it reads the account of the runs, and asks
/// what that account may do. Without them doctor says that it could not check these.
#[must_use]
pub const fn rights_of_doctor() -> [Right; 2] {
    [
        Right { group: "", resource: "serviceaccounts", verb: "get" },
        Right {
            group: "authorization.k8s.io",
            resource: "localsubjectaccessreviews",
            verb: "create",
        },
    ]
}
