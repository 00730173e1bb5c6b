//! Schemas of the parts that are Kubernetes' own types. They are as wide as upstream's: what the
//! API server accepted for the Java operator it accepts for us.

use ompipe_core::config::ConcurrencyPolicy;
use ompipe_core::omjob::Phase;
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::rules;

/// Most items of a list whose items are checked by rules: the API server takes a definition only
/// when it can say how much work its rules may be. More than anybody has.
const MOST_ITEMS: u32 = 4096;

/// Longest value of an environment variable, and longest argument, in characters. Linux starts no process
/// with a longer one (`MAX_ARG_STRLEN`).
const LONGEST_ARGUMENT: u32 = 128 << 10;
/// Most labels, annotations and the like of a pod. Kubernetes takes annotations of 256 KiB together.
const MOST_PAIRS: u32 = 512;
/// Longest annotation.
const LONGEST_ANNOTATION: u32 = 256 << 10;

/// A command with its arguments.
pub(crate) fn command(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "nullable": true, "maxItems": MOST_ITEMS,
        "items": { "type": "string", "maxLength": LONGEST_ARGUMENT },
    })
}

/// Labels, annotations, or labels of nodes.
pub(crate) fn pairs(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "nullable": true, "maxProperties": MOST_PAIRS,
        "additionalProperties": { "type": "string", "maxLength": LONGEST_ANNOTATION },
    })
}

/// Any object; nothing in it is pruned.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// Environment variables. `valueFrom: {}`, which upstream's client sends, is accepted.
pub(crate) fn env(_: &mut SchemaGenerator) -> Schema {
    let key_of = |object: &str| {
        json_schema!({
            "type": "object", "description": format!("A key of a {object}."), "required": ["name", "key"],
            "properties": { "name": { "type": "string" }, "key": { "type": "string" }, "optional": { "type": "boolean" } },
        })
    };
    json_schema!({
        "type": "array", "nullable": true, "maxItems": MOST_ITEMS,
        "items": {
            "type": "object", "required": ["name"],
            "x-kubernetes-validations": [rules::variable_has_one_source()],
            "properties": {
                "name": { "type": "string" },
                "value": { "type": "string", "nullable": true, "maxLength": LONGEST_ARGUMENT },
                "valueFrom": {
                    "type": "object", "nullable": true,
                    "properties": {
                        "configMapKeyRef": key_of("ConfigMap"),
                        "secretKeyRef": key_of("Secret"),
                        "fieldRef": {
                            "type": "object", "required": ["fieldPath"],
                            "properties": { "apiVersion": { "type": "string" }, "fieldPath": { "type": "string" } },
                        },
                        "resourceFieldRef": {
                            "type": "object", "required": ["resource"],
                            "properties": {
                                "containerName": { "type": "string" },
                                "resource": { "type": "string" },
                                "divisor": int_or_string(),
                            },
                        },
                    },
                },
            },
        },
    })
}

/// Names of Secrets to pull images with.
pub(crate) fn pull_secrets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "nullable": true, "maxItems": MOST_ITEMS,
        "items": { "type": "object", "properties": { "name": { "type": "string", "maxLength": 253 } } },
    })
}

/// Taints that the pod tolerates.
pub(crate) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array", "nullable": true, "maxItems": MOST_ITEMS,
        "items": {
            "type": "object",
            "x-kubernetes-validations": rules::toleration_is_possible(),
            "properties": {
                "key": { "type": "string" },
                "operator": { "type": "string", "enum": ["Exists", "Equal"] },
                "value": { "type": "string" },
                "effect": { "type": "string", "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"] },
                "tolerationSeconds": { "type": "integer", "format": "int64" },
            },
        },
    })
}

/// Amounts of resources by name; numbers are accepted where upstream's definition asked for text.
pub(crate) fn amounts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "nullable": true, "additionalProperties": int_or_string() })
}

/// An amount of memory.
pub(crate) fn memory(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "pattern": r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
    })
}

/// Where a run stands.
pub(crate) fn phase(_: &mut SchemaGenerator) -> Schema {
    let phases = Phase::ALL.map(Phase::as_str);
    json_schema!({
        "type": "string", "nullable": true, "enum": phases,
        "x-kubernetes-validations": [rules::phase_never_goes_back()],
    })
}

/// What happens to a run that is due while another goes on.
pub(crate) fn concurrency_policy(_: &mut SchemaGenerator) -> Schema {
    let policies =
        [ConcurrencyPolicy::Allow, ConcurrencyPolicy::Forbid, ConcurrencyPolicy::Replace];
    let names = policies.map(ConcurrencyPolicy::as_str);
    json_schema!({ "type": "string", "nullable": true, "enum": names })
}

/// How often something happened.
pub(crate) fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": 0 })
}

/// A list of Kubernetes' `Condition`, one of each type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object", "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string" },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "reason": { "type": "string" },
                "message": { "type": "string" },
                "observedGeneration": { "type": "integer", "format": "int64" },
                "lastTransitionTime": { "type": "string", "format": "date-time" },
            },
        },
    })
}

/// A time, RFC 3339.
pub(crate) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time", "nullable": true })
}

fn int_or_string() -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }],
    })
}
