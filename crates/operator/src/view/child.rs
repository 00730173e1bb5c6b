//! An `OMJob` as one of a schedule's runs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use ompipe_api::{OMJob, OMJobSpec, OMJobStatus};

use super::JobView;
use crate::by_owner::Owned;

/// A run of a schedule: what a schedule looks at, as the `OMJob` that it is.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) job: Box<OMJob>,
}

impl Owned for JobView {
    type Kept = Child;

    fn owned(&self) -> Option<(&str, Child)> {
        let owner = self.schedule()?;
        let metadata = ObjectMeta {
            name: Some(self.name_any()),
            uid: self.metadata.uid.clone(),
            creation_timestamp: self.metadata.creation_timestamp.clone(),
            deletion_timestamp: self.metadata.deletion_timestamp.clone(),
            ..ObjectMeta::default()
        };
        let status = OMJobStatus {
            phase: Some(self.record.phase),
            main_pod_exit_code: self.record.main.end.as_ref().and_then(|end| end.exit_code),
            completion_time: self.record.completed.map(Time),
            ..OMJobStatus::default()
        };
        let job = OMJob { metadata, spec: OMJobSpec::default(), status: Some(status) };
        Some((owner.uid.as_str(), Child { job: Box::new(job) }))
    }
}
