//! Places for requests under way. What hangs takes its share and no more: logs wait for nodes, so they
//! have a part of the places, each pipeline a part of those, and what must get through has places that
//! nothing else takes.

use http::Method;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Extra places for health checks and kills.
const KEPT: usize = 16;

/// A place; it is free again when this is dropped.
pub(crate) type Place<'p> = (SemaphorePermit<'p>, Option<SemaphorePermit<'p>>);

/// Places for requests under way.
#[derive(Debug)]
pub(crate) struct Places {
    all: Semaphore,
    /// Of all places, those that requests for logs may take.
    logs: Semaphore,
    kept: Semaphore,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Somebody wants to know whether the service is there, or to stop what runs.
    Urgent,
    /// A node, which may not answer.
    Log,
    Other,
}

impl Places {
    pub(crate) fn new(requests: usize) -> Self {
        Self {
            all: Semaphore::new(requests),
            logs: Semaphore::new((requests / 4).max(1)),
            kept: Semaphore::new(KEPT),
        }
    }

    /// A place for a request; `None` when there are too many of its kind.
    pub(crate) fn take(&self, method: &Method, route: &str) -> Option<Place<'_>> {
        let of_all = || self.all.try_acquire().ok();
        match kind_of(method, route) {
            Kind::Urgent => Some((of_all().or_else(|| self.kept.try_acquire().ok())?, None)),
            Kind::Log => {
                let of_logs = self.logs.try_acquire().ok()?;
                Some((of_all()?, Some(of_logs)))
            }
            Kind::Other => Some((of_all()?, None)),
        }
    }
}

fn kind_of(method: &Method, route: &str) -> Kind {
    if ["/health", "/health-auth", "/kill"].iter().any(|end| route.ends_with(end)) {
        return Kind::Urgent;
    }
    if *method == Method::DELETE && route.ends_with("/runs/{runId}") {
        return Kind::Urgent;
    }
    let is_log = route.ends_with("/last_dag_logs") || route.contains("/logs");
    if is_log { Kind::Log } else { Kind::Other }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const LOGS: &str = "/api/v1/openmetadata/last_dag_logs";
    const KILL: &str = "/pluginsv2/api/v2/openmetadata/kill";

    #[test]
    fn logs_that_hang_leave_places_and_kills_get_through() {
        let places = Places::new(8);
        let logs: Vec<_> = std::iter::from_fn(|| places.take(&Method::GET, LOGS)).collect();
        assert_eq!(logs.len(), 2);
        let other = || places.take(&Method::POST, "/api/v1/openmetadata/deploy");
        let others: Vec<_> = std::iter::from_fn(other).collect();
        assert_eq!(others.len(), 6);
        let urgent = || places.take(&Method::POST, KILL);
        assert_eq!(std::iter::from_fn(urgent).take(100).count(), 100, "each has ended at once");
        let urgent: Vec<_> = std::iter::from_fn(urgent).collect();
        assert_eq!(urgent.len(), KEPT);
        drop(logs);
        assert!(other().is_some());
    }

    #[rstest]
    #[case(Method::GET, "/api/v1/openmetadata/health-auth", Kind::Urgent)]
    #[case(Method::GET, "/api/v1/health", Kind::Urgent)]
    #[case(Method::POST, KILL, Kind::Urgent)]
    #[case(Method::DELETE, "/api/v1/pipelines/{pipeline}/runs/{runId}", Kind::Urgent)]
    #[case(Method::GET, "/api/v1/pipelines/{pipeline}/runs/{runId}", Kind::Other)]
    #[case(Method::GET, "/api/v1/pipelines/{pipeline}/runs/{runId}/logs/pages/{page}", Kind::Log)]
    #[case(Method::GET, LOGS, Kind::Log)]
    #[case(Method::POST, "/api/v1/openmetadata/deploy", Kind::Other)]
    #[case(Method::GET, "none", Kind::Other)]
    fn kinds(#[case] method: Method, #[case] route: &str, #[case] expected: Kind) {
        assert_eq!(kind_of(&method, route), expected);
    }
}
