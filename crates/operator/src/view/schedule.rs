//! A `CronOMJob` as the caches keep it: whole, for there are few, and read leniently, so that one that
//! cannot be read does not stop the others.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::object::HasStatus;
use ompipe_api::{CronOMJob, CronOMJobSpec, CronOMJobStatus};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A `CronOMJob`.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Wire")]
pub(crate) struct ScheduleView {
    pub(super) metadata: ObjectMeta,
    /// Its specification, or why that cannot be read.
    pub(crate) spec: Result<Arc<CronOMJobSpec>, String>,
    status: Option<CronOMJobStatus>,
}

super::view_of!(ScheduleView, CronOMJob);

#[derive(Deserialize)]
struct Wire {
    metadata: ObjectMeta,
    spec: Box<RawValue>,
    status: Option<CronOMJobStatus>,
}

impl From<Wire> for ScheduleView {
    fn from(wire: Wire) -> Self {
        let spec = serde_json::from_str(wire.spec.get());
        Self {
            metadata: ObjectMeta { managed_fields: None, ..wire.metadata },
            spec: spec.map(Arc::new).map_err(|error| format!("spec: {error}")),
            status: wire.status,
        }
    }
}

impl HasStatus for ScheduleView {
    type Status = CronOMJobStatus;

    fn status(&self) -> Option<&CronOMJobStatus> {
        self.status.as_ref()
    }

    fn status_mut(&mut self) -> &mut Option<CronOMJobStatus> {
        &mut self.status
    }
}

impl ScheduleView {
    /// The object, if it can be read.
    pub(crate) fn schedule(&self) -> Result<CronOMJob, String> {
        Ok(CronOMJob {
            metadata: self.metadata.clone(),
            spec: CronOMJobSpec::clone(self.spec.as_ref().map_err(Clone::clone)?),
            status: self.status.clone(),
        })
    }
}
