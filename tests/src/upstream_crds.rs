//! `OMJob` and `CronOMJob` as OpenMetadata's own chart defines them, from 1.13.1
//! (docs/contracts/upstream-operator.md#custom-resources): what its Java operator finds when it
//! takes its place again.

use serde_json::{Value, json};

const GROUP: &str = "pipelines.openmetadata.org";

/// Both definitions, as one list for `kubectl apply`.
#[must_use]
pub fn definitions() -> Value {
    let om_job = definition("OMJob", "omj", &om_job_spec(), &om_job_status());
    let cron_om_job = definition("CronOMJob", "comj", &cron_om_job_spec(), &cron_om_job_status());
    json!({ "apiVersion": "v1", "kind": "List", "items": [om_job, cron_om_job] })
}

fn definition(kind: &str, short: &str, spec: &Value, status: &Value) -> Value {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let schema = json!({ "type": "object", "properties": { "spec": spec, "status": status } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{GROUP}") },
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural, "singular": singular, "shortNames": [short] },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": schema },
            }],
        },
    })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn texts() -> Value {
    json!({ "type": "array", "items": text() })
}

fn map_of_texts() -> Value {
    json!({ "type": "object", "additionalProperties": text() })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn one_of(values: &[&str]) -> Value {
    json!({ "type": "string", "enum": values })
}

fn om_job_spec() -> Value {
    json!({
        "type": "object", "required": ["mainPodSpec"],
        "properties": {
            "mainPodSpec": pod_spec(&["image", "command", "serviceAccountName"]),
            "exitHandlerSpec": pod_spec(&["image", "command"]),
            "ttlSecondsAfterFinished": { "type": "integer", "default": 86400 },
        },
    })
}

fn pod_spec(required: &[&str]) -> Value {
    let policies = ["Always", "Never", "IfNotPresent"];
    json!({
        "type": "object", "required": required,
        "properties": {
            "image": text(),
            "imagePullPolicy": { "type": "string", "enum": policies, "default": "IfNotPresent" },
            "imagePullSecrets": {
                "type": "array", "items": { "type": "object", "properties": { "name": text() } },
            },
            "serviceAccountName": text(),
            "command": texts(),
            "env": { "type": "array", "items": variable() },
            "resources": {
                "type": "object",
                "properties": { "requests": map_of_texts(), "limits": map_of_texts() },
            },
            "nodeSelector": map_of_texts(),
            "tolerations": { "type": "array", "items": toleration() },
            "securityContext": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
            "labels": map_of_texts(),
            "annotations": map_of_texts(),
        },
    })
}

fn variable() -> Value {
    let key = json!({
        "type": "object", "required": ["name", "key"],
        "properties": { "name": text(), "key": text(), "optional": { "type": "boolean" } },
    });
    json!({
        "type": "object", "required": ["name"],
        "properties": { "name": text(), "value": text(), "valueFrom": {
            "type": "object",
            "properties": {
                "configMapKeyRef": key,
                "secretKeyRef": key,
                "fieldRef": {
                    "type": "object", "required": ["fieldPath"],
                    "properties": { "apiVersion": text(), "fieldPath": text() },
                },
                "resourceFieldRef": {
                    "type": "object", "required": ["resource"],
                    "properties": { "containerName": text(), "resource": text(), "divisor": text() },
                },
            },
        } },
    })
}

fn toleration() -> Value {
    json!({
        "type": "object",
        "properties": {
            "key": text(),
            "operator": one_of(&["Exists", "Equal"]),
            "value": text(),
            "effect": one_of(&["NoSchedule", "PreferNoSchedule", "NoExecute"]),
            "tolerationSeconds": { "type": "integer", "format": "int64" },
        },
    })
}

fn om_job_status() -> Value {
    let phases = ["Pending", "Running", "ExitHandlerRunning", "Succeeded", "Failed"];
    json!({
        "type": "object",
        "properties": {
            "phase": one_of(&phases),
            "mainPodName": text(), "exitHandlerPodName": text(), "message": text(),
            "startTime": time(), "completionTime": time(),
            "mainPodExitCode": { "type": "integer" },
        },
    })
}

fn cron_om_job_spec() -> Value {
    json!({
        "type": "object", "required": ["schedule", "omJobSpec"],
        "properties": {
            "schedule": text(),
            "timeZone": { "type": "string", "default": "UTC" },
            "suspend": { "type": "boolean", "default": false },
            "startingDeadlineSeconds": { "type": "integer" },
            "successfulJobsHistoryLimit": { "type": "integer", "default": 3 },
            "failedJobsHistoryLimit": { "type": "integer", "default": 3 },
            "omJobSpec": om_job_spec(),
        },
    })
}

fn cron_om_job_status() -> Value {
    json!({
        "type": "object",
        "properties": { "lastScheduleTime": time(), "lastOMJobName": text(), "message": text() },
    })
}
