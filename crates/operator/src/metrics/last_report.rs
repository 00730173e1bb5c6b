//! How long ago OpenMetadata took a report: reckoned at each scrape, absent until there is one.

use std::fmt;
use std::sync::{Arc, Mutex};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio::time::Instant;

use super::lock;

/// The time of the last report.
#[derive(Clone, Debug, Default)]
pub(super) struct LastReport(Arc<Mutex<Option<Instant>>>);

impl LastReport {
    pub(super) fn was_now(&self) {
        *lock(&self.0) = Some(Instant::now());
    }
}

impl Collector for LastReport {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let last = *lock(&self.0);
        let Some(age) = last.map(|last| ConstGauge::new(last.elapsed().as_secs_f64())) else {
            return Ok(());
        };
        let (name, help) = ("last_report_age", "Age of the last report that OpenMetadata took");
        let unit = Some(&Unit::Seconds);
        age.encode(encoder.encode_descriptor(name, help, unit, age.metric_type())?)
    }
}
