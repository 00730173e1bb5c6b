//! `CronOMJob`: when an `OMJob` is made by itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use ompipe_core::config::ConcurrencyPolicy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::om_job::OMJobSpec;
use crate::{rules, schema};

/// A schedule of runs.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "pipelines.openmetadata.org",
    version = "v1",
    kind = "CronOMJob",
    plural = "cronomjobs",
    singular = "cronomjob",
    shortname = "comj",
    namespaced,
    status = "CronOMJobStatus",
    derive = "PartialEq",
    doc = "Makes an OMJob at every time of a cron schedule.",
    printcolumn = r#"{"name":"Schedule","type":"string","jsonPath":".spec.schedule"}"#,
    printcolumn = r#"{"name":"Time Zone","type":"string","jsonPath":".spec.timeZone"}"#,
    printcolumn = r#"{"name":"Suspended","type":"boolean","jsonPath":".spec.suspend"}"#,
    printcolumn = r#"{"name":"Last Schedule","type":"date","jsonPath":".status.lastScheduleTime"}"#,
    printcolumn = r#"{"name":"Last Successful","type":"date","jsonPath":".status.lastSuccessfulTime"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CronOMJobSpec {
    /// Cron expression of five fields: minute, hour, day of month, month, day of week.
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-validations" = [rules::schedule_has_five_fields()]))]
    pub schedule: String,
    /// IANA name of the zone in which the schedule is meant; UTC by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// True: no run is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What happens when a run is due while another has not ended: `Forbid`, the default, makes it
    /// wait, `Allow` runs both, `Replace` stops the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::concurrency_policy")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
    /// Seconds that a run may start late; 0 is no catch-up. Left out or negative: any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline_seconds: Option<i64>,
    /// Successful runs that are kept; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub successful_jobs_history_limit: Option<i32>,
    /// Failed runs that are kept; 3 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub failed_jobs_history_limit: Option<i32>,
    /// The specification of every run.
    pub om_job_spec: OMJobSpec,
}

/// What the operator has seen and done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CronOMJobStatus {
    /// The last time of the schedule that was dealt with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_schedule_time: Option<Time>,
    /// When a run last succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_successful_time: Option<Time>,
    /// Whether `suspend` held at the last look: times of a pause are not made up for.
    #[serde(skip_serializing_if = "is_false")]
    pub suspended: bool,
    /// The value of the annotation `pipelines.openmetadata.org/trigger` that was followed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_trigger: Option<String>,
    /// Name of the newest run.
    #[serde(rename = "lastOMJobName", skip_serializing_if = "Option::is_none")]
    pub last_om_job_name: Option<String>,
    /// Runs that have not ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<OMJobReference>,
    /// What was done last, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Generation of the specification that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// A run of the schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OMJobReference {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}
