//! Where pods may run: node labels and taints; and maps that Helm writes as text.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use serde_json::{Map, Value};

use crate::fields::{Fields, scalar_text, split_list};
use crate::kubernetes::{LabelValue, QualifiedName};

/// A map of labels, whose values have rules too.
pub(super) fn label_pairs(fields: &mut Fields<'_>, key: &'static str) -> BTreeMap<String, String> {
    let labels = pairs(fields, key);
    match labels.values().find_map(|value| value.parse::<LabelValue>().err()) {
        Some(remedy) => fields.note(key, remedy).unwrap_or_default(),
        None => labels,
    }
}

/// A map of labels or annotations: as a map, or as `k=v,k2=v2`.
pub(super) fn pairs(fields: &mut Fields<'_>, key: &'static str) -> BTreeMap<String, String> {
    let pairs = match fields.value(key) {
        None => Some(BTreeMap::new()),
        Some(Value::Object(map)) => scalars(map),
        Some(Value::String(text)) => split_list(text).map(split_pair).collect(),
        Some(_) => None,
    };
    let Some(pairs) = pairs else {
        return fields.note(key, "must be a map, or text such as k=v,k2=v2").unwrap_or_default();
    };
    match pairs.keys().find_map(|name| name.parse::<QualifiedName>().err()) {
        Some(remedy) => fields.note(key, remedy).unwrap_or_default(),
        None => pairs,
    }
}

fn split_pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    Some((key.trim().to_owned(), value.trim().to_owned()))
}

fn scalars(map: &Map<String, Value>) -> Option<BTreeMap<String, String>> {
    map.iter().map(|(key, value)| Some((key.clone(), scalar_text(value)?))).collect()
}

/// Taints that the pods tolerate.
pub(super) fn tolerations(fields: &mut Fields<'_>) -> Vec<Toleration> {
    const KEY: &str = "tolerations";
    let Some(value) = fields.value(KEY) else {
        return Vec::new();
    };
    let Some(items) = value.as_array() else {
        return fields.note(KEY, "must be a list of tolerations").unwrap_or_default();
    };
    match items.iter().map(toleration).collect() {
        Ok(tolerations) => tolerations,
        Err(remedy) => fields.note(KEY, remedy).unwrap_or_default(),
    }
}

/// One toleration, with the rules that Kubernetes has for it.
fn toleration(value: &Value) -> Result<Toleration, String> {
    const KEYS: [&str; 5] = ["key", "operator", "value", "effect", "tolerationSeconds"];
    let map = value.as_object().ok_or("each toleration must be a map")?;
    if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("a toleration has no key {key:?}; it has {}", KEYS.join(", ")));
    }
    let mut map = map.clone();
    // To Kubernetes a blank field is one that is left out, but the schema of an OMJob refuses it.
    map.retain(|_, value| !(value.is_null() || value == ""));
    // Helm gives every value as text.
    if let Some(seconds) = map.get("tolerationSeconds").and_then(Value::as_str) {
        let seconds: i64 =
            seconds.parse().map_err(|_| "tolerationSeconds must be a whole number")?;
        map.insert("tolerationSeconds".to_owned(), seconds.into());
    }
    let toleration: Toleration =
        serde_json::from_value(Value::Object(map)).map_err(|e| e.to_string())?;
    one_of("operator", toleration.operator.as_deref(), &["Exists", "Equal"])?;
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    one_of("effect", toleration.effect.as_deref(), &effects)?;
    Ok(toleration)
}

fn one_of(field: &str, value: Option<&str>, allowed: &[&str]) -> Result<(), String> {
    match value {
        Some(value) if !value.is_empty() && !allowed.contains(&value) => {
            Err(format!("{field} must be one of {}", allowed.join(", ")))
        }
        Some(_) | None => Ok(()),
    }
}
