//! `OMJob` and `CronOMJob`, the custom resources `pipelines.openmetadata.org/v1`: what upstream's
//! Java client and operator exchange, and a superset of it
//! (docs/contracts/upstream-operator.md#custom-resources).
//!
//! ```text
//! CronOMJob ── schedule, zone, omJobSpec ──► OMJob ─┬─ mainPodSpec      ──► pod {omjob}-main
//!                                            status └─ exitHandlerSpec  ──► pod {omjob}-exit
//! ```
//! Everything that upstream's chart or client produces is accepted. What a pod specification of
//! upstream cannot say stands in its `podTemplate`, which upstream's operator ignores.

mod conditions;
mod cron_om_job;
mod limits;
mod om_job;
mod om_job_status;
mod pod_spec;
mod record;
mod rules;
mod run;
mod schedule;
mod schema;
mod status_patch;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use ompipe_core::omjob::Stage;

pub use cron_om_job::{CronOMJob, CronOMJobSpec, CronOMJobStatus, OMJobReference};
pub use om_job::{Attempt, MemoryRetry, OMJob, OMJobSpec, OMJobStatus};
pub use ompipe_core::config::ConcurrencyPolicy;
pub use ompipe_core::omjob::Phase;
pub use pod_spec::{ResourceAmounts, StagePodSpec, fill_placeholders};
pub use record::{
    EndRecord, PodRecord, ReportingRecord, ReportingState, StageRecord, TroubleRecord,
};
pub use schedule::TRIGGER;
pub use status_patch::status_patch;

/// Label of a pod: the `OMJob` that it belongs to.
pub const OMJOB_NAME: &str = ompipe_core::labels::OMJOB_NAME;
/// Label of a pod: which stage it is, [`MAIN`] or [`EXIT_HANDLER`].
pub const POD_TYPE: &str = ompipe_core::labels::POD_TYPE;
/// Value of [`POD_TYPE`] on pods of the ingestion.
pub const MAIN: &str = Stage::Main.pod_type();
/// Value of [`POD_TYPE`] on pods of the exit handler.
pub const EXIT_HANDLER: &str = Stage::Exit.pod_type();
/// Value that the operator replaces with the run's id, in the variable `pipelineRunId`.
pub const RUN_ID_PLACEHOLDER: &str = "{{ omjob.uid }}";
/// Value that the operator replaces with the `OMJob`'s name, in the variable `jobName`.
pub const NAME_PLACEHOLDER: &str = "{{ omjob.name }}";

/// The definitions to install, as `ompipe crds` prints them.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![OMJob::crd(), CronOMJob::crd()]
}

#[cfg(test)]
mod tests;
