//! Environment variables of the official Helm chart, which override the file (design §5).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::PARAMETERS;
use crate::{Problem, yaml};

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
            merged.insert(key.to_owned(), value_of(text));
            notices.push(overrides(variable, key));
        }
    }
    for (variable, group, resource) in RESOURCES {
        if let Some(text) = given(environment, variable) {
            set_nested(&mut merged, ["resources", group, resource], text);
            notices.push(overrides(variable, &format!("resources.{group}.{resource}")));
        }
    }
    (merged, notices)
}

/// Problems with a value from the environment name the variable, since that is where it stands.
pub(super) fn name_sources(
    problems: Vec<Problem>,
    environment: &BTreeMap<String, String>,
) -> Vec<Problem> {
    let variable_of = |field: &str| {
        let key = field.rsplit_once("parameters.").map(|(_, key)| key)?;
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

/// A variable that is set; the chart sets what has no value to nothing.
fn given<'e>(environment: &'e BTreeMap<String, String>, variable: &str) -> Option<&'e str> {
    environment.get(variable).map(String::as_str).filter(|text| !text.trim().is_empty())
}

/// The chart gives lists and maps as JSON, everything else as text.
fn value_of(text: &str) -> Value {
    if text.trim_start().starts_with(['[', '{'])
        && let Ok(value) = yaml::parse(text)
    {
        return value;
    }
    text.into()
}

fn set_nested(parameters: &mut Map<String, Value>, path: [&str; 3], text: &str) {
    let [first, second, last] = path;
    let mut map = parameters;
    for key in [first, second] {
        let entry = map.entry(key).or_insert_with(|| Map::new().into());
        let Some(inner) = entry.as_object_mut() else {
            return;
        };
        map = inner;
    }
    map.insert(last.to_owned(), text.into());
}

fn overrides(variable: &str, key: &str) -> Problem {
    Problem::without_value(variable, format!("overrides parameters.{key}"))
}
