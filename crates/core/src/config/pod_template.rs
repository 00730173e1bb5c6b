//! `podTemplate`: a partial `PodTemplateSpec` laid over the pods of every run, of the runs of one
//! service, and of one pipeline (docs/configuration.md#everything-else-about-pods). Checked against
//! the typed object, so that a misspelt key is refused here and not silently dropped by the API
//! server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, PodTemplateSpec};
use serde_json::{Map, Value};

use super::by_name::ByName;
use super::is_reserved_env;
use crate::fields::Fields;
use crate::run::MAIN_CONTAINER;
use crate::{Problem, labels, redaction};

/// What administrators change about pods, beyond the other parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodTemplates {
    every: Option<PodTemplateSpec>,
    by_name: ByName<PodTemplateSpec>,
}

impl PodTemplates {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let every = fields.value("podTemplate").filter(|value| !is_empty(value));
        let path = fields.path_of("podTemplate");
        Self {
            every: every.and_then(|value| noted(fields, read_template(&path, value))),
            by_name: ByName::read(
                fields,
                ["servicePodTemplates", "pipelinePodTemplates"],
                "templates",
                read_template,
            ),
        }
    }

    /// What applies to the pods of one pipeline, the most general first: later ones win.
    pub fn of<'t>(
        &'t self,
        service: Option<&str>,
        pipeline_fqn: &str,
    ) -> impl Iterator<Item = &'t PodTemplateSpec> + use<'t> {
        self.every.iter().chain(self.by_name.general_first(service, pipeline_fqn))
    }
}

fn noted<T>(fields: &mut Fields<'_>, read: Result<T, Vec<Problem>>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(problems) => {
            fields.extend(problems);
            None
        }
    }
}

/// Reads the partial template at `path`.
fn read_template(path: &str, value: &Value) -> Result<PodTemplateSpec, Vec<Problem>> {
    let template: PodTemplateSpec = serde_path_to_error::deserialize(value).map_err(|error| {
        let field = format!("{path}.{}", error.path());
        vec![Problem::without_value(field, format!("must be as in a Pod: {}", error.inner()))]
    })?;
    let mut problems = unknown_keys(path, value, &template);
    problems.extend(breaks_a_rule(path, &template));
    if problems.is_empty() { Ok(template) } else { Err(problems) }
}

/// Keys that are lost when the typed object is written again.
fn unknown_keys(path: &str, value: &Value, template: &PodTemplateSpec) -> Vec<Problem> {
    let written = serde_json::to_value(template).unwrap_or_default();
    let mut lost = Vec::new();
    collect_lost(path, value, &written, &mut lost);
    let problem = |field| Problem::without_value(field, "is not a field of a PodTemplateSpec");
    lost.into_iter().map(problem).collect()
}

fn collect_lost(path: &str, given: &Value, written: &Value, lost: &mut Vec<String>) {
    match (given, written) {
        (Value::Object(given), _) => {
            for (key, value) in given.iter().filter(|(_, value)| !is_empty(value)) {
                let path = format!("{path}.{key}");
                match written.get(key) {
                    Some(written) => collect_lost(&path, value, written, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(written)) => {
            for (index, (given, written)) in given.iter().zip(written).enumerate() {
                collect_lost(&format!("{path}[{index}]"), given, written, lost);
            }
        }
        _ => {}
    }
}

/// Empty values say nothing and may be left out when written.
fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value.as_object().is_some_and(Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}

/// What a template may not change, since runs rely on it.
fn breaks_a_rule(path: &str, template: &PodTemplateSpec) -> Vec<Problem> {
    let mut problems = metadata_problems(path, template);
    let Some(spec) = &template.spec else { return problems };
    if spec.restart_policy.as_deref().is_some_and(|policy| policy != "Never") {
        let remedy = "must be Never: retries are those of the Job";
        problems.push(Problem::without_value(format!("{path}.spec.restartPolicy"), remedy));
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    problems.extend(containers.flat_map(|container| variable_problems(path, container)));
    problems
}

fn metadata_problems(path: &str, template: &PodTemplateSpec) -> Vec<Problem> {
    let metadata = template.metadata.as_ref();
    let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
    let annotations = metadata.and_then(|metadata| metadata.annotations.as_ref());
    let keys = labels.into_iter().chain(annotations).flat_map(BTreeMap::keys);
    let reserved = keys.filter(|key| labels::is_reserved(key));
    let remedy = "is set by ompipe; choose another key";
    reserved
        .map(|key| Problem::without_value(format!("{path}.metadata, key {key}"), remedy))
        .collect()
}

fn variable_problems(path: &str, container: &Container) -> Vec<Problem> {
    let variables = container.env.iter().flatten();
    let problem = |variable: &EnvVar| {
        let remedy = variable_remedy(container, variable)?;
        let field = format!("{path}.spec.containers, {}, env {}", container.name, variable.name);
        Some(Problem::without_value(field, remedy))
    };
    variables.into_iter().filter_map(problem).collect()
}

fn variable_remedy(container: &Container, variable: &EnvVar) -> Option<&'static str> {
    if container.name == MAIN_CONTAINER && is_reserved_env(&variable.name) {
        return Some("is set by ompipe; choose another name");
    }
    let value = variable.value.as_deref()?;
    redaction::is_secret(&variable.name, value)
        .then_some("looks like a credential: take it from a Secret with valueFrom.secretKeyRef")
}

/// Refuses the keys of labels and annotations that ompipe sets itself.
pub(super) fn refuse_reserved(fields: &mut Fields<'_>, key: &'static str, pairs: &labels::Pairs) {
    for reserved in pairs.keys().filter(|key| labels::is_reserved(key)) {
        fields.note_secret::<()>(key, format!("{reserved} is set by ompipe; choose another key"));
    }
}
