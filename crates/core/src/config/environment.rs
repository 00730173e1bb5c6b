//! Environment variables of the official Helm chart, which override the file
//! (docs/contracts/upstream-operator.md#server-environment).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::PARAMETERS;
use crate::{Problem, yaml};

/// Variables of the block itself.
const OF_BLOCK: [(&str, &str); 5] = [
    ("SERVER_HOST_API_URL", "metadataApiEndpoint"),
    ("PIPELINE_SERVICE_CLIENT_VERIFY_SSL", "verifySSL"),
    ("PIPELINE_SERVICE_CLIENT_HOST_IP", "hostIp"),
    ("PIPELINE_SERVICE_IP_INFO_ENABLED", "ingestionIpInfoEnabled"),
    ("PIPELINE_SERVICE_CLIENT_ENABLED", "enabled"),
];

/// Variable with the file of the certificate authority.
const CA_VARIABLE: &str = "PIPELINE_SERVICE_CLIENT_SSL_CERT_PATH";

/// Variables that reach into `resources`.
const RESOURCES: [(&str, &str, &str); 4] = [
    ("K8S_LIMITS_CPU", "limits", "cpu"),
    ("K8S_LIMITS_MEMORY", "limits", "memory"),
    ("K8S_REQUESTS_CPU", "requests", "cpu"),
    ("K8S_REQUESTS_MEMORY", "requests", "memory"),
];

/// The parameters with every variable that is set laid over them, and a notice for each.
pub(super) fn overlay(
    parameters: &Map<String, Value>,
    environment: &BTreeMap<String, String>,
) -> (Map<String, Value>, Vec<Problem>) {
    let mut merged = parameters.clone();
    let mut notices = Vec::new();
    for (variable, key) in PARAMETERS.iter().filter_map(|p| Some((p.env?, p.key))) {
        if let Some(text) = given(environment, variable) {
            merged.insert(key.to_owned(), value_of(&text));
            notices.push(overrides(variable, key));
        }
    }
    for (variable, group, resource) in RESOURCES {
        if let Some(text) = given(environment, variable) {
            set_nested(&mut merged, ["resources", group, resource], value_of(&text));
            notices.push(overrides(variable, &format!("resources.{group}.{resource}")));
        }
    }
    (merged, notices)
}

/// The block with the variables that concern it laid over it, and a notice for each.
pub(super) fn overlay_block(
    block: &Map<String, Value>,
    environment: &BTreeMap<String, String>,
) -> (Map<String, Value>, Vec<Problem>) {
    let mut merged = block.clone();
    let mut notices = Vec::new();
    for (variable, key) in OF_BLOCK {
        if let Some(text) = given(environment, variable) {
            merged.insert(key.to_owned(), text.into());
            notices.push(Problem::without_value(variable, format!("overrides {key}")));
        }
    }
    if let Some(text) = given(environment, CA_VARIABLE) {
        merged.insert("sslConfig".to_owned(), json!({ "caCertificate": text }));
        notices.push(Problem::without_value(CA_VARIABLE, "overrides sslConfig"));
    }
    (merged, notices)
}

/// Keys of the block that a variable or the file may set, apart from `parameters`.
pub(super) fn keys_of_block() -> Vec<&'static str> {
    OF_BLOCK.iter().map(|(_, key)| *key).chain(["sslConfig"]).collect()
}

/// The variables that set a key of the block.
pub(super) fn sources_in_block(key: &str, environment: &BTreeMap<String, String>) -> Vec<String> {
    let of_block = OF_BLOCK.iter().copied().chain([(CA_VARIABLE, "sslConfig")]);
    let set =
        of_block.filter(|(variable, of)| *of == key && given(environment, variable).is_some());
    set.map(|(variable, _)| variable.to_owned()).collect()
}

/// The variables that set a parameter, or a part of it.
pub(super) fn sources_of(key: &str, environment: &BTreeMap<String, String>) -> Vec<String> {
    let whole = PARAMETERS.iter().filter(|parameter| parameter.key == key).filter_map(|p| p.env);
    let parts = RESOURCES.iter().filter(|_| key == "resources").map(|(variable, ..)| *variable);
    let set = whole.chain(parts).filter(|variable| given(environment, variable).is_some());
    set.map(str::to_owned).collect()
}

/// Problems with a value from the environment name the variable, since that is where the user set it.
pub(super) fn name_sources(
    problems: Vec<Problem>,
    environment: &BTreeMap<String, String>,
) -> Vec<Problem> {
    let variable_of = |field: &str| {
        let of_block = OF_BLOCK.iter().find(|(_, key)| field.rsplit('.').next() == Some(key));
        let Some((_, key)) = field.rsplit_once("parameters.") else {
            return of_block.map(|(variable, _)| *variable);
        };
        let by_key = PARAMETERS.iter().find(|p| p.key == key).and_then(|p| p.env);
        let nested = RESOURCES
            .iter()
            .find(|(_, group, resource)| key == format!("resources.{group}.{resource}"));
        by_key.or_else(|| nested.map(|(variable, ..)| *variable))
    };
    let rename = |mut problem: Problem| {
        if let Some(variable) =
            variable_of(&problem.field).filter(|v| given(environment, v).is_some())
        {
            problem.field = format!("{variable} (environment)");
        }
        problem
    };
    problems.into_iter().map(rename).collect()
}

/// A variable that is set; the chart sets what has no value to nothing, and its Secret holds the
/// quotes around each value too, so that nothing is `""` there.
fn given(environment: &BTreeMap<String, String>, variable: &str) -> Option<String> {
    let text = unquoted(environment.get(variable)?.trim());
    Some(text).filter(|text| !text.trim().is_empty())
}

/// A text without the pair of double quotes around it, and with the escapes between them resolved.
fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match (inner, serde_json::from_str::<String>(text)) {
        (Some(_), Ok(unescaped)) => unescaped,
        (Some(inner), Err(_)) => inner.to_owned(),
        (None, _) => text.to_owned(),
    }
}

/// The chart gives lists and maps as JSON, everything else as text. `null` unsets a parameter that
/// has a default, as in the file: OpenShift assigns user and group ids itself.
fn value_of(text: &str) -> Value {
    if text.trim() == "null" {
        return Value::Null;
    }
    if text.trim_start().starts_with(['[', '{'])
        && let Ok(value) = yaml::parse(text)
    {
        return value;
    }
    text.into()
}

fn set_nested(parameters: &mut Map<String, Value>, path: [&str; 3], value: Value) {
    let [first, second, last] = path;
    let mut map = parameters;
    for key in [first, second] {
        let entry = map.entry(key).or_insert_with(|| Map::new().into());
        let Some(inner) = entry.as_object_mut() else {
            return;
        };
        map = inner;
    }
    map.insert(last.to_owned(), value);
}

fn overrides(variable: &str, key: &str) -> Problem {
    Problem::without_value(variable, format!("overrides parameters.{key}"))
}
