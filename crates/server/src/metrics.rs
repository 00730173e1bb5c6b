//! What the server counts and measures, for Prometheus. No pipeline is named in a label.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the buckets, in seconds: from what a probe takes to what a deploy may.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

/// A handle on the metrics: cheap to clone, its methods are named after what happened.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: Family<Answered, Counter>,
    request: Family<Route, Histogram, fn() -> Histogram>,
    failed_logins: Counter,
    version_skew: Gauge,
    orphaned_pipelines: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    route: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: String,
    route: String,
}

fn latency() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Metrics {
    /// Metrics of which nothing has happened yet.
    pub(crate) fn new() -> Self {
        let mut inner = Inner {
            registry: Registry::with_prefix("ompipe_server"),
            requests: Family::default(),
            request: Family::new_with_constructor(latency as fn() -> Histogram),
            failed_logins: Counter::default(),
            version_skew: Gauge::default(),
            orphaned_pipelines: Gauge::default(),
        };
        let registry = &mut inner.registry;
        registry.register("requests", "Requests answered", inner.requests.clone());
        let help = "Time to answer requests";
        registry.register_with_unit("request", help, Unit::Seconds, inner.request.clone());
        let help = "Requests without right credentials";
        registry.register("failed_logins", help, inner.failed_logins.clone());
        let help = "1 when ingestionImage is of another release line than the OpenMetadata server";
        registry.register("version_skew", help, inner.version_skew.clone());
        let help =
            "Deployed pipelines that OpenMetadata does not have, or that are not deployed whole";
        registry.register("orphaned_pipelines", help, inner.orphaned_pipelines.clone());
        Self { inner: Arc::new(inner) }
    }

    /// A request was answered. Methods that HTTP does not name are one to a metric.
    pub(crate) fn answered(&self, method: &Method, route: &str, code: StatusCode, took: Duration) {
        let known =
            [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD];
        let method = if known.contains(method) { method.as_str() } else { "other" }.to_owned();
        let route = Route { method: method.clone(), route: route.to_owned() };
        let answered = Answered { method, route: route.route.clone(), code: code.as_u16() };
        self.inner.requests.get_or_create(&answered).inc();
        self.inner.request.get_or_create(&route).observe(took.as_secs_f64());
    }

    /// A request had no right credentials.
    pub(crate) fn login_failed(&self) {
        self.inner.failed_logins.inc();
    }

    /// Whether the ingestion image fits the server.
    pub(crate) fn version_skew(&self, skewed: bool) {
        self.inner.version_skew.set(skewed.into());
    }

    /// How many deployed pipelines OpenMetadata no longer has.
    pub(crate) fn orphaned_pipelines(&self, count: usize) {
        self.inner.orphaned_pipelines.set(count.try_into().unwrap_or(i64::MAX));
    }

    /// The metrics as text in the format `OpenMetrics`.
    ///
    /// # Errors
    /// None in practice: a `String` takes every text.
    pub(crate) fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.inner.registry)?;
        Ok(text)
    }
}
