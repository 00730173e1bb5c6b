//! What each parameter is, and where that comes from: `ompipe config show`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::{BLOCK, PARAMETERS, environment};
use crate::{redaction, yaml};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The user has not set it.
    Default,
    /// The configuration file.
    File,
    /// These environment variables.
    Environment(Vec<String>),
    /// This option of the command line.
    Argument(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str("file"),
            Self::Environment(variables) => write!(f, "variable {}", variables.join(", ")),
            Self::Argument(option) => f.write_str(option),
        }
    }
}

/// One key of the block or of its `parameters`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EffectiveValue {
    /// The key, with the prefix `parameters.` if it belongs to that block.
    pub key: String,
    /// Its value as it was given, secrets masked; the default where it was not.
    pub value: Value,
    /// Where the value comes from.
    pub origin: Origin,
}

/// Every key with its value and origin, for a configuration that can be read.
#[must_use]
pub fn effective(document: &Value, variables: &BTreeMap<String, String>) -> Vec<EffectiveValue> {
    let empty = Map::new();
    let block = document.get(BLOCK).and_then(Value::as_object).unwrap_or(&empty);
    let given = block.get("parameters").and_then(Value::as_object).unwrap_or(&empty);
    let (merged_block, _) = environment::overlay_block(block, variables);
    let (merged, _) = environment::overlay(given, variables);
    let of_block = environment::keys_of_block().into_iter().map(|key| {
        let value = merged_block.get(key).cloned().unwrap_or(Value::Null);
        let origin = origin(block.contains_key(key), environment::sources_in_block(key, variables));
        EffectiveValue { key: key.to_owned(), value: shown(key, value), origin }
    });
    let parameters = PARAMETERS.iter().map(|parameter| {
        let default = || yaml::parse(parameter.default).unwrap_or(Value::Null);
        let value = merged.get(parameter.key).cloned().unwrap_or_else(default);
        let sources = environment::sources_of(parameter.key, variables);
        EffectiveValue {
            key: format!("parameters.{}", parameter.key),
            value: shown(parameter.key, value),
            origin: origin(given.contains_key(parameter.key), sources),
        }
    });
    of_block.chain(parameters).collect()
}

fn origin(in_file: bool, sources: Vec<String>) -> Origin {
    match (sources.is_empty(), in_file) {
        (false, _) => Origin::Environment(sources),
        (true, true) => Origin::File,
        (true, false) => Origin::Default,
    }
}

/// A kubeconfig is a credential, and what extra variables hold often is.
fn shown(key: &str, value: Value) -> Value {
    let is_given = !matches!(&value, Value::Null) && value != json!("") && value != json!([]);
    match key {
        "kubeConfigContent" if is_given => redaction::PLACEHOLDER.into(),
        "extraEnvVars" => match value {
            Value::Array(list) => list.iter().map(without_value).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(name, _)| (name, Value::from(redaction::PLACEHOLDER)))
                .collect(),
            _ if is_given => redaction::PLACEHOLDER.into(),
            other => other,
        },
        _ => redaction::mask(&json!({ key: value }))[key].take(),
    }
}

/// `NAME:value` or `{name, value}` with the name alone in the clear.
fn without_value(variable: &Value) -> Value {
    let name = match variable {
        Value::String(text) => text.split([':', '=']).next(),
        other => other.get("name").and_then(Value::as_str),
    };
    format!("{}:{}", name.unwrap_or_default(), redaction::PLACEHOLDER).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(document: &Value, variables: &[(&str, &str)]) -> BTreeMap<String, (Value, String)> {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let values = effective(document, &variables).into_iter();
        values.map(|one| (one.key, (one.value, one.origin.to_string()))).collect()
    }

    #[test]
    fn every_value_says_where_it_comes_from() {
        let document = json!({ BLOCK: {
            "metadataApiEndpoint": "http://om:8585/api",
            "parameters": { "namespace": "a", "backoffLimit": 1, "resources": {} },
        } });
        let all = of(&document, &[("K8S_NAMESPACE", "b"), ("K8S_LIMITS_CPU", "3")]);
        assert_eq!(all["metadataApiEndpoint"], (json!("http://om:8585/api"), "file".into()));
        assert_eq!(all["parameters.namespace"], (json!("b"), "variable K8S_NAMESPACE".into()));
        assert_eq!(all["parameters.backoffLimit"], (json!(1), "file".into()));
        assert_eq!(all["parameters.resources"].1, "variable K8S_LIMITS_CPU");
        assert_eq!(all["parameters.imagePullPolicy"].1, "default");
        assert!(PARAMETERS.iter().all(|p| all.contains_key(&format!("parameters.{}", p.key))));
    }

    #[test]
    fn secrets_are_masked() {
        let document = json!({ BLOCK: { "parameters": {
            "kubeConfigContent": "hunter2", "extraEnvVars": ["HARMLESS:hunter3"],
        } } });
        let all = format!("{:?}", of(&document, &[]));
        assert!(!all.contains("hunter") && all.contains("HARMLESS"), "{all}");
    }
}
