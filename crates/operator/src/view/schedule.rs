//! A `CronOMJob` as the caches keep it: whole where it is small, for there are few, and read leniently, so
//! that one that cannot be read does not stop the others.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::object::HasStatus;
use ompipe_api::{CronOMJob, CronOMJobSpec, CronOMJobStatus, OMJobSpec, TRIGGER};
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
    /// False where what its runs are made of is too large to be kept.
    pub(crate) is_whole: bool,
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
        let mut metadata = ObjectMeta { managed_fields: None, ..wire.metadata };
        let mut spec = serde_json::from_str::<CronOMJobSpec>(wire.spec.get())
            .map_err(|error| format!("spec: {error}"));
        let is_whole =
            wire.spec.get().len() <= super::MOST_KEPT && size_of(&metadata) <= super::MOST_KEPT;
        if !is_whole {
            // Read again when a run is made.
            metadata.labels = None;
            metadata.annotations.iter_mut().for_each(|all| all.retain(|key, _| key == TRIGGER));
            metadata.owner_references = None;
            metadata.finalizers = None;
            spec = spec.map(|spec| CronOMJobSpec { om_job_spec: OMJobSpec::default(), ..spec });
        }
        Self { metadata, spec: spec.map(Arc::new), status: wire.status, is_whole }
    }
}

/// How much memory the parts take that may be large.
fn size_of(metadata: &ObjectMeta) -> usize {
    let pairs = [&metadata.labels, &metadata.annotations].into_iter().flatten().flatten();
    let pairs = pairs.map(|(key, value)| key.len().saturating_add(value.len()));
    let finalizers = metadata.finalizers.iter().flatten().map(String::len);
    let owners = metadata.owner_references.iter().flatten().map(|owner| owner.name.len() + 100);
    pairs.chain(finalizers).chain(owners).fold(0, usize::saturating_add)
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
