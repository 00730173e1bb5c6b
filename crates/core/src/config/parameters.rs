//! The parameters: their names, defaults and bounds
//! (docs/contracts/upstream-java-client.md#configuration-parameters).

use std::fmt::Display;
use std::str::FromStr;

use k8s_openapi::api::core::v1::ResourceRequirements;
use serde_json::{Value, json};

use super::kueue::Kueue;
use super::memory_retry::{MemoryRetry, note_without_operator};
use super::pod_template::{PodTemplates, refuse_reserved};
use super::resources::resources;
use super::schedule_spread::ScheduleSpread;
use super::scheduling::{label_pairs, pairs, tolerations};
use super::variables::ExtraVariables;
use super::{
    ClusterAccess, HostSettings, K8sPipelineClientConfig, LEAST_STARTING_DEADLINE, Mode, security,
};
use crate::fields::{Fields, split_list};
use crate::kubernetes::ObjectName;
use crate::labels::Pairs;
use crate::{Problem, VerifySsl};

/// One parameter: what `ompipe config check`, the docs and the Helm chart know about it.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Parameter {
    /// The key below `parameters`.
    pub key: &'static str,
    /// The environment variable of the official Helm chart that overrides it, if it has one.
    pub env: Option<&'static str>,
    /// The value when nothing is given, as YAML.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

const fn parameter(
    key: &'static str,
    env: Option<&'static str>,
    default: &'static str,
    meaning: &'static str,
) -> Parameter {
    Parameter { key, env, default, meaning }
}

/// Every parameter.
pub const PARAMETERS: &[Parameter] = &[
    parameter(
        "namespace",
        Some("K8S_NAMESPACE"),
        "openmetadata-pipelines",
        "Kubernetes namespace of every object",
    ),
    parameter(
        "ingestionImage",
        Some("K8S_INGESTION_IMAGE"),
        "docker.getcollate.io/openmetadata/ingestion:latest",
        "image of the ingestion worker",
    ),
    parameter(
        "imagePullPolicy",
        Some("K8S_IMAGE_PULL_POLICY"),
        "IfNotPresent",
        "when the image is pulled: Always, IfNotPresent, Never",
    ),
    parameter(
        "imagePullSecrets",
        Some("K8S_IMAGE_PULL_SECRETS"),
        "[]",
        "Secrets to pull images with: a list, or names with commas",
    ),
    parameter(
        "serviceAccountName",
        Some("K8S_SERVICE_ACCOUNT_NAME"),
        "openmetadata-ingestion",
        "service account of the pods",
    ),
    parameter(
        "resources",
        None,
        "{requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: \"2\", memory: 4Gi}}",
        "resources of the worker",
    ),
    parameter(
        "exitHandlerResources",
        None,
        "{requests: {cpu: 100m, memory: 256Mi}, limits: {cpu: 500m, memory: 512Mi}}",
        "resources of the exit handler's own pod, with useOMJobOperator, and of what puts it into \
         others; with exitHandlerImage by default {requests: {cpu: 20m, memory: 32Mi}, limits: \
         {cpu: 500m, memory: 32Mi}}",
    ),
    parameter(
        "exitHandlerImage",
        None,
        "null",
        "image of ompipe's exit handler, which then also supervises the workers; null: \
         exit_handler.py of the ingestion image",
    ),
    parameter(
        "superviseMain",
        None,
        "true",
        "without exitHandlerImage and operator, a shell around the worker reports an end of its own \
         with exit_handler.py; false runs python main.py alone",
    ),
    parameter(
        "ttlSecondsAfterFinished",
        Some("K8S_TTL_SECONDS_AFTER_FINISHED"),
        "604800",
        "seconds that a finished run and its log stay",
    ),
    parameter(
        "activeDeadlineSeconds",
        Some("K8S_ACTIVE_DEADLINE_SECONDS"),
        "7200",
        "seconds that a run may take",
    ),
    parameter("backoffLimit", Some("K8S_BACKOFF_LIMIT"), "3", "retries of a failed run"),
    parameter(
        "retryWithMoreMemory",
        None,
        "null",
        "with useOMJobOperator, more memory after an OOM kill: {factor: 2, limit: 16Gi} multiplies the \
         worker's memory limit by factor (2 to 10) at each kill, up to limit; null retries with the same",
    ),
    parameter(
        "concurrencyPolicy",
        None,
        "Forbid",
        "what a new run does while another has not ended: Forbid, Allow, Replace",
    ),
    parameter(
        "startingDeadlineSeconds",
        None,
        "0",
        "seconds that a scheduled run may start late; 0 is no catch-up: 300, or the schedule's interval where that is shorter",
    ),
    parameter(
        "scheduleSpread",
        None,
        "0",
        "minutes (0 to 59) over which schedules of the same minute are spread, by the pipeline's id; 0 leaves them as they are",
    ),
    parameter(
        "serviceScheduleSpread",
        None,
        "{}",
        "the same for the pipelines of one service: a map from its name",
    ),
    parameter(
        "pipelineScheduleSpread",
        None,
        "{}",
        "the same for one pipeline: a map from its fully qualified name",
    ),
    parameter(
        "queueName",
        None,
        "null",
        "Kueue's LocalQueue in which the runs of pipelines wait for quota; null: no queue",
    ),
    parameter(
        "serviceQueueNames",
        None,
        "{}",
        "the same for the pipelines of one service: a map from its name; \"\" is no queue",
    ),
    parameter(
        "pipelineQueueNames",
        None,
        "{}",
        "the same for one pipeline: a map from its fully qualified name",
    ),
    parameter(
        "workloadPriorityClass",
        None,
        "null",
        "Kueue's WorkloadPriorityClass of runs that have a queue",
    ),
    parameter(
        "serviceWorkloadPriorityClasses",
        None,
        "{}",
        "the same for the pipelines of one service: a map from its name; \"\" is none",
    ),
    parameter(
        "pipelineWorkloadPriorityClasses",
        None,
        "{}",
        "the same for one pipeline: a map from its fully qualified name",
    ),
    parameter(
        "successfulJobsHistoryLimit",
        Some("K8S_SUCCESS_JOBS_HISTORY_LIMIT"),
        "3",
        "successful runs that a schedule keeps",
    ),
    parameter(
        "failedJobsHistoryLimit",
        Some("K8S_FAILED_JOBS_HISTORY_LIMIT"),
        "3",
        "failed runs that a schedule keeps",
    ),
    parameter(
        "runAsUser",
        Some("K8S_RUN_AS_USER"),
        "1000",
        "user id of the pods; null leaves it to the image",
    ),
    parameter(
        "runAsGroup",
        Some("K8S_RUN_AS_GROUP"),
        "1000",
        "group id of the pods; null leaves it to the image",
    ),
    parameter(
        "fsGroup",
        Some("K8S_FS_GROUP"),
        "1000",
        "group of mounted files; null leaves it out",
    ),
    parameter(
        "runAsNonRoot",
        Some("K8S_RUN_AS_NON_ROOT"),
        "true",
        "refuse images that run as root",
    ),
    parameter(
        "seccompProfileType",
        Some("K8S_SECCOMP_PROFILE_TYPE"),
        "RuntimeDefault",
        "seccomp profile: RuntimeDefault, Localhost, Unconfined; null leaves it out",
    ),
    parameter(
        "seccompLocalhostProfile",
        Some("K8S_SECCOMP_LOCALHOST_PROFILE"),
        "null",
        "file of the seccomp profile of type Localhost",
    ),
    parameter(
        "nodeSelector",
        Some("K8S_NODE_SELECTOR"),
        "{}",
        "labels of the nodes to run on: a map, or k=v with commas",
    ),
    parameter(
        "tolerations",
        Some("K8S_TOLERATIONS"),
        "[]",
        "taints that the pods tolerate: a list of Kubernetes tolerations",
    ),
    parameter(
        "podAnnotations",
        Some("K8S_POD_ANNOTATIONS"),
        "{}",
        "annotations of the pods: a map, or k=v with commas",
    ),
    parameter("podLabels", None, "{}", "labels of the pods: a map, or k=v with commas"),
    parameter(
        "podTemplate",
        None,
        "{}",
        "a partial PodTemplateSpec, merged over the pods as kubectl patch does",
    ),
    parameter(
        "servicePodTemplates",
        None,
        "{}",
        "the same for the pipelines of one service: a map from its name",
    ),
    parameter(
        "pipelinePodTemplates",
        None,
        "{}",
        "the same for one pipeline: a map from its fully qualified name",
    ),
    parameter(
        "extraEnvVars",
        Some("K8S_EXTRA_ENV_VARS"),
        "[]",
        "environment of the worker: KEY:VALUE entries, a map, or Kubernetes env entries",
    ),
    parameter(
        "configDelivery",
        None,
        "env",
        "how the worker gets its config: env, or file (named by configFile) for images that read one",
    ),
    parameter(
        "inCluster",
        None,
        "null",
        "true: only the pod's service account; false: only a kubeconfig; null: what there is",
    ),
    parameter("kubeconfigPath", None, "null", "kubeconfig file"),
    parameter("kubeConfigContent", None, "null", "kubeconfig as text"),
    parameter(
        "useOMJobOperator",
        Some("USE_OMJOB_OPERATOR"),
        "false",
        "run through OMJob and CronOMJob objects, which need an operator",
    ),
    parameter(
        "enableFailureDiagnostics",
        Some("K8S_ENABLE_FAILURE_DIAGNOSTICS"),
        "true",
        "no effect: diagnostics are always collected",
    ),
    parameter(
        "failureDiagnosticsEnabled",
        None,
        "true",
        "another name of enableFailureDiagnostics",
    ),
    parameter("skipInit", None, "false", "no effect: a switch of upstream's tests"),
];

/// What the exit handler of ompipe needs, a small part of what that in Python does: the default
/// beside `exitHandlerImage`.
const NATIVE_EXIT_HANDLER_RESOURCES: &str =
    "{requests: {cpu: 20m, memory: 32Mi}, limits: {cpu: 500m, memory: 32Mi}}";

/// The value of a parameter when nothing is given. A test reads every default through the same
/// code as a user's value.
fn default_of(key: &str) -> &'static str {
    PARAMETERS
        .iter()
        .find(|parameter| parameter.key == key)
        .map_or("", |parameter| parameter.default)
}

/// Reads all parameters, noting every problem. A value with a problem is read as its default, so
/// that reading goes on; the caller throws the result away.
pub(super) fn read(
    fields: &mut Fields<'_>,
    metadata_api_endpoint: Option<String>,
    verify_ssl: VerifySsl,
    notices: &mut Vec<Problem>,
) -> Option<K8sPipelineClientConfig> {
    note_without_effect(fields, notices);
    let mode = mode(fields);
    notices.extend(note_without_operator(fields, mode));
    let worker = resources(fields, "resources", default_of("resources"));
    let config = K8sPipelineClientConfig {
        metadata_api_endpoint,
        caller_endpoint: None,
        verify_ssl,
        certificate_authority: None,
        cluster: cluster_access(fields),
        namespace: or_default(fields, "namespace")?,
        ingestion_image: or_default(fields, "ingestionImage")?,
        image_pull_policy: or_default(fields, "imagePullPolicy")?,
        image_pull_secrets: pull_secrets(fields),
        service_account_name: or_default(fields, "serviceAccountName")?,
        memory_retry: MemoryRetry::read(fields, &worker),
        resources: worker,
        exit_handler_resources: exit_handler_resources(fields),
        exit_handler_image: fields.parsed("exitHandlerImage"),
        supervise_main: fields.boolean("superviseMain").unwrap_or(true),
        ttl_seconds_after_finished: number(fields, "ttlSecondsAfterFinished", 0)?,
        active_deadline_seconds: number(fields, "activeDeadlineSeconds", 1)?.into(),
        backoff_limit: number(fields, "backoffLimit", 0)?,
        concurrency_policy: or_default(fields, "concurrencyPolicy")?,
        starting_deadline_seconds: starting_deadline(fields, notices)?,
        kueue: Kueue::read(fields),
        schedule_spread: ScheduleSpread::read(fields),
        successful_jobs_history_limit: number(fields, "successfulJobsHistoryLimit", 0)?,
        failed_jobs_history_limit: number(fields, "failedJobsHistoryLimit", 0)?,
        node_selector: label_pairs(fields, "nodeSelector"),
        tolerations: tolerations(fields),
        pod_annotations: annotations(fields),
        pod_labels: pod_labels(fields),
        pod_templates: PodTemplates::read(fields),
        security: security::security(fields),
        extra_env_vars: ExtraVariables::read(fields),
        config_delivery: or_default(fields, "configDelivery")?,
        mode,
        host: HostSettings { enabled: true, ip_info_enabled: false, ip: None },
    };
    fields.refuse_unknown();
    Some(config)
}

fn exit_handler_resources(fields: &mut Fields<'_>) -> ResourceRequirements {
    const KEY: &str = "exitHandlerResources";
    let is_native = fields.value("exitHandlerImage").is_some();
    let default = if is_native { NATIVE_EXIT_HANDLER_RESOURCES } else { default_of(KEY) };
    resources(fields, KEY, default)
}

/// The given value, or the default.
fn or_default<T: FromStr<Err: Display>>(fields: &mut Fields<'_>, key: &'static str) -> Option<T> {
    fields.parsed(key).or_else(|| default_of(key).parse().ok())
}

/// A whole number that fits Kubernetes' 32 bits, or the default.
fn number(fields: &mut Fields<'_>, key: &'static str, least: i32) -> Option<i32> {
    let given = fields.integer(key, least.into()..=i32::MAX.into());
    given.and_then(|number| number.try_into().ok()).or_else(|| default_of(key).parse().ok())
}

/// `0`, which stands for *no catch-up*, depends on the schedule; the least that works stands in for
/// what is between.
fn starting_deadline(fields: &mut Fields<'_>, notices: &mut Vec<Problem>) -> Option<i64> {
    const KEY: &str = "startingDeadlineSeconds";
    let seconds = i64::from(number(fields, KEY, 0)?);
    let remedy = match seconds {
        0 => Some(
            "no catch-up: becomes 300 on the object, or the schedule's interval where that is \
             shorter, because a CronJob with 0 never fires"
                .to_owned(),
        ),
        1..LEAST_STARTING_DEADLINE => Some(format!(
            "becomes {LEAST_STARTING_DEADLINE} on the object: the CronJob controller looks every \
             10 seconds, so a smaller value may never fire"
        )),
        _ => None,
    };
    if let Some(remedy) = remedy.filter(|_| fields.value(KEY).is_some()) {
        notices.push(Problem::new(fields.path_of(KEY), &json!(seconds), remedy));
    }
    Some(if seconds == 0 { 0 } else { seconds.max(LEAST_STARTING_DEADLINE) })
}

fn mode(fields: &mut Fields<'_>) -> Mode {
    match fields.boolean("useOMJobOperator") {
        Some(true) => Mode::Operator,
        Some(false) | None => Mode::Job,
    }
}

/// Switches of upstream that have no effect here are accepted, and said to have none.
fn note_without_effect(fields: &mut Fields<'_>, notices: &mut Vec<Problem>) {
    let always = "has no effect: the diagnostics of a failed run are always collected";
    let switches = [
        ("enableFailureDiagnostics", false, always),
        ("failureDiagnosticsEnabled", false, always),
        ("skipInit", true, "has no effect: it is a switch of upstream's tests"),
    ];
    for (key, value, remedy) in switches {
        if fields.boolean(key) == Some(value) {
            notices.push(Problem::without_value(fields.path_of(key), remedy));
        }
    }
}

fn annotations(fields: &mut Fields<'_>) -> Pairs {
    const KEY: &str = "podAnnotations";
    let annotations = pairs(fields, KEY);
    refuse_reserved(fields, KEY, &annotations);
    annotations
}

fn pod_labels(fields: &mut Fields<'_>) -> Pairs {
    const KEY: &str = "podLabels";
    let labels = label_pairs(fields, KEY);
    refuse_reserved(fields, KEY, &labels);
    labels
}

fn cluster_access(fields: &mut Fields<'_>) -> ClusterAccess {
    let in_cluster = fields.boolean("inCluster");
    let path: Option<String> =
        fields.parsed("kubeconfigPath").filter(|path: &String| !path.is_empty());
    let content = match fields.value("kubeConfigContent") {
        Some(Value::String(text)) => Some(text.clone()).filter(|text| !text.trim().is_empty()),
        Some(_) => fields.note_secret("kubeConfigContent", "must be a kubeconfig as text"),
        None => None,
    };
    if in_cluster == Some(true) && (path.is_some() || content.is_some()) {
        let remedy = "contradicts kubeconfigPath and kubeConfigContent; set it to false";
        fields.note::<()>("inCluster", remedy);
    }
    match (content, path) {
        (Some(content), _) => ClusterAccess::Inline(content.into()),
        (None, Some(path)) => ClusterAccess::File(path),
        (None, None) if in_cluster == Some(true) => ClusterAccess::InCluster,
        (None, None) => ClusterAccess::Inferred,
    }
}

/// A list of names, of `{name: …}` maps, or one string with commas.
fn pull_secrets(fields: &mut Fields<'_>) -> Vec<ObjectName> {
    const KEY: &str = "imagePullSecrets";
    let names: Vec<Option<String>> = match fields.value(KEY) {
        None => Vec::new(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().or_else(|| item.get("name")?.as_str()).map(str::to_owned))
            .collect(),
        Some(Value::String(text)) => split_list(text).map(|name| Some(name.to_owned())).collect(),
        Some(_) => {
            return fields.note(KEY, "must be a list of Secret names").unwrap_or_default();
        }
    };
    let parse = |name: &Option<String>| name.as_deref().unwrap_or_default().parse();
    match names.iter().map(parse).collect() {
        Ok(names) => names,
        Err(remedy) => fields.note(KEY, remedy).unwrap_or_default(),
    }
}
