//! `OMJob`: one run in two stages, the ingestion and the exit handler.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use ompipe_core::omjob::Phase;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pod_spec::{StagePodSpec, read_amount};
use crate::record::{ReportingRecord, StageRecord};
use crate::{rules, schema};

/// One ingestion run: a main pod, and an exit handler pod that reports how it ended.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "pipelines.openmetadata.org",
    version = "v1",
    kind = "OMJob",
    plural = "omjobs",
    singular = "omjob",
    shortname = "omj",
    namespaced,
    status = "OMJobStatus",
    derive = "PartialEq",
    doc = "One run of an OpenMetadata ingestion pipeline, in two stages.",
    validation = rules::main_pod_stays(),
    validation = rules::exit_handler_stays(),
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Main Pod","type":"string","jsonPath":".status.mainPodName"}"#,
    printcolumn = r#"{"name":"Exit Handler","type":"string","jsonPath":".status.exitHandlerPodName"}"#,
    printcolumn = r#"{"name":"Exit Code","type":"integer","jsonPath":".status.mainPodExitCode"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.mainReason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct OMJobSpec {
    /// The ingestion.
    pub main_pod_spec: StagePodSpec,
    /// What runs after it, however it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_handler_spec: Option<StagePodSpec>,
    /// Seconds that the finished run stays; left out or negative: for ever, 0: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i64>,
    /// Seconds that the run may take, its waiting included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: Option<i64>,
    /// Retries of the main pod. Drains, preemptions and lost nodes do not count, and are followed by
    /// another attempt, at most 20 of them. Left out: one attempt, whatever ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub backoff_limit: Option<i32>,
    /// More memory for the attempts that follow an OOM kill. Left out: the same for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_with_more_memory: Option<MemoryRetry>,
    /// True: no pod is started until it is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Seconds that all tries of the exit handler may take together; 600 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub exit_handler_deadline_seconds: Option<i64>,
}

/// What the memory limit of `main` becomes after an OOM kill; its request grows in proportion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoryRetry {
    /// Each OOM kill multiplies the limit by this; 2 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 10))]
    pub factor: Option<i32>,
    /// The largest limit.
    #[serde(deserialize_with = "read_amount")]
    #[schemars(schema_with = "schema::memory")]
    pub limit: Quantity,
}

impl MemoryRetry {
    /// What the limit is multiplied by where nothing says otherwise.
    pub const DEFAULT_FACTOR: i32 = 2;
}

/// What the operator has seen and done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OMJobStatus {
    /// Where the run stands. It never goes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::phase")]
    pub phase: Option<Phase>,
    /// Pod of the newest attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_pod_name: Option<String>,
    /// Pod of the exit handler's newest try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_handler_pod_name: Option<String>,
    /// When the operator first saw the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub start_time: Option<Time>,
    /// When the run reached its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub completion_time: Option<Time>,
    /// Why the run ended or waits, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Exit code of the main container's last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_pod_exit_code: Option<i32>,
    /// Why the main pod failed or does not start, of a closed set: `Error`, `OOMKilled`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_reason: Option<String>,
    /// Signal that ended the main container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_signal: Option<i32>,
    /// The last 20 attempts of the main pod that have ended, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// `MainFinished`, `ExitHandlerSucceeded`, `Reported`, `Stalled`, `Suspended`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Generation of the specification that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the operator needs to go on with the ingestion after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main: Option<StageRecord>,
    /// What the operator needs to go on with the exit handler after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_handler: Option<StageRecord>,
    /// Who tells OpenMetadata how the run ended; left out while it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reporting: Option<ReportingRecord>,
}

/// How one attempt of the main pod ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its pod.
    pub pod_name: String,
    /// Exit code of its main container, if it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub finished_at: Option<Time>,
}
