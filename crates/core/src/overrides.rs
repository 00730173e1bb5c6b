//! What one run has different from its deployed pipeline
//! (docs/contracts/openmetadata-http.md#trigger). Never stored.

use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::{IngestionPipeline, PipelineType, Problem, Problems};

const SUBJECT: &str = "overrides of the run";
const APP_CONFIG: &str = "appConfigOverride";
const SOURCE_CONFIG: &str = "sourceConfigOverride";
const TEST_CASES: &str = "testCases";

/// Overrides of one run. Values may be credentials, so `Debug` shows nothing of them.
#[derive(Clone, Default)]
pub struct ConfigOverrides {
    app_config: Map<String, Value>,
    source_config: Map<String, Value>,
}

impl ConfigOverrides {
    /// Reads `appConfigOverride`, `sourceConfigOverride` and `testCases` of a map; other keys are
    /// not looked at.
    ///
    /// # Errors
    /// Values that are no maps, or no list of names.
    pub fn read(document: &Value) -> Result<Self, Problems> {
        Self::read_all(document, false)
    }

    /// As [`Self::read`], of a file: a key that is not known is a mistake there.
    ///
    /// # Errors
    /// As [`Self::read`], a document that is no map, and unknown keys.
    pub fn read_file(document: &Value) -> Result<Self, Problems> {
        if !document.is_object() && !document.is_null() {
            let problem = Problem::without_value("document", "must be one map of fields");
            return Err(Problems::one(SUBJECT, problem));
        }
        Self::read_all(document, true)
    }

    fn read_all(document: &Value, is_file: bool) -> Result<Self, Problems> {
        let empty = Map::new();
        let mut fields = Fields::new("", document.as_object().unwrap_or(&empty));
        let app_config = map(&mut fields, APP_CONFIG);
        let mut source_config = map(&mut fields, SOURCE_CONFIG);
        if let Some(names) = test_cases(&mut fields) {
            source_config.insert(TEST_CASES.to_owned(), names);
        }
        if is_file {
            fields.refuse_unknown_but_extensions();
        }
        match fields.into_problems() {
            list if list.is_empty() => Ok(Self { app_config, source_config }),
            list => Err(Problems { subject: SUBJECT, list }),
        }
    }

    /// These without what only an application can have, and whether there was any of it.
    #[must_use]
    pub fn without_app_config(self) -> (Self, bool) {
        let had_some = !self.app_config.is_empty();
        (Self { app_config: Map::new(), ..self }, had_some)
    }

    /// True when the run is as the pipeline is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.app_config.is_empty() && self.source_config.is_empty()
    }
}

impl std::fmt::Debug for ConfigOverrides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigOverrides").finish_non_exhaustive()
    }
}

impl IngestionPipeline {
    /// This pipeline as one run has it: keys of the overrides replace those of the pipeline.
    ///
    /// # Errors
    /// An override that its type of pipeline does not know; upstream drops it in silence.
    pub fn with_overrides(mut self, overrides: &ConfigOverrides) -> Result<Self, Problems> {
        if !overrides.app_config.is_empty() {
            self.override_app_config(&overrides.app_config)?;
        }
        if !overrides.source_config.is_empty() {
            // What is empty in the deployed pipeline must not hide a default of the worker.
            self.source_config.retain(|_, value| !is_empty(value));
            self.source_config.extend(overrides.source_config.clone());
        }
        Ok(self)
    }

    fn override_app_config(&mut self, overrides: &Map<String, Value>) -> Result<(), Problems> {
        if self.pipeline_type != PipelineType::Application {
            let remedy =
                format!("is for applications; this pipeline is of type {}", self.pipeline_type);
            return Err(Problems::one(SUBJECT, Problem::without_value(APP_CONFIG, remedy)));
        }
        let deployed = self.source_config.get("appConfig").and_then(Value::as_object);
        let mut merged = deployed.cloned().unwrap_or_default();
        merged.extend(overrides.clone());
        self.source_config.insert("appConfig".to_owned(), merged.into());
        Ok(())
    }
}

fn map(fields: &mut Fields<'_>, key: &'static str) -> Map<String, Value> {
    match fields.value(key) {
        None => Map::new(),
        Some(Value::Object(map)) => map.clone(),
        Some(_) => fields.note_secret(key, "must be a map").unwrap_or_default(),
    }
}

fn test_cases(fields: &mut Fields<'_>) -> Option<Value> {
    let value = fields.value(TEST_CASES)?;
    let is_list = value.as_array().is_some_and(|names| names.iter().all(Value::is_string));
    if is_list { Some(value.clone()) } else { fields.note(TEST_CASES, "must be a list of names") }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pipeline(pipeline_type: &str, config: &Value) -> IngestionPipeline {
        IngestionPipeline::read(&json!({
            "name": "p", "pipelineType": pipeline_type, "sourceConfig": { "config": config },
            "service": { "type": "databaseService", "name": "s" },
        }))
        .unwrap()
    }

    fn overridden(pipeline_type: &str, config: &Value, overrides: &Value) -> Value {
        let overrides = ConfigOverrides::read(overrides).unwrap();
        let run = pipeline(pipeline_type, config).with_overrides(&overrides).unwrap();
        Value::Object(run.source_config)
    }

    #[test]
    fn keys_of_the_source_config_are_replaced_whole() {
        let deployed = json!({ "type": "Profiler", "a": { "x": 1 }, "filter": null, "empty": [] });
        let run =
            json!({ "sourceConfigOverride": { "a": { "y": 2 } }, "pipelineRunId": "ignored" });
        let expected = json!({ "type": "Profiler", "a": { "y": 2 } });
        assert_eq!(overridden("profiler", &deployed, &run), expected);
    }

    #[test]
    fn test_cases_are_part_of_the_source_config() {
        let expected = json!({ "type": "TestSuite", "testCases": ["one"] });
        let deployed = json!({ "type": "TestSuite", "testCases": ["one", "two"] });
        assert_eq!(overridden("TestSuite", &deployed, &json!({ "testCases": ["one"] })), expected);
    }

    #[test]
    fn keys_of_the_app_config_are_merged() {
        let deployed = json!({ "sourcePythonClass": "x.Y", "appConfig": { "a": 1, "b": 2 } });
        let run = json!({ "appConfigOverride": { "b": 3 } });
        let expected = json!({ "sourcePythonClass": "x.Y", "appConfig": { "a": 1, "b": 3 } });
        assert_eq!(overridden("application", &deployed, &run), expected);
    }

    #[test]
    fn an_app_config_is_for_applications() {
        let overrides = ConfigOverrides::read(&json!({ "appConfigOverride": { "b": 3 } })).unwrap();
        let refused = pipeline("metadata", &json!({ "a": 1 })).with_overrides(&overrides);
        assert!(refused.unwrap_err().to_string().contains("this pipeline is of type metadata"));
    }

    #[test]
    fn wrong_shapes_are_all_told_without_their_values() {
        let wrong =
            json!({ "appConfigOverride": "hunter2", "sourceConfigOverride": 1, "testCases": [1] });
        let problems = ConfigOverrides::read(&wrong).unwrap_err();
        assert_eq!(problems.list.len(), 3);
        assert!(!problems.to_string().contains("hunter2"));
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused() {
        let wrong = json!({ "sourceConfigOveride": { "password": "hunter2" } });
        let problems = ConfigOverrides::read_file(&wrong).unwrap_err().to_string();
        assert!(problems.contains("did you mean sourceConfigOverride?"), "{problems}");
        assert!(!problems.contains("hunter2"));
        assert!(ConfigOverrides::read(&wrong).is_ok());
        assert!(ConfigOverrides::read_file(&json!([])).is_err());
        assert!(ConfigOverrides::read_file(&json!({ "x-base": {} })).is_ok());
    }

    #[test]
    fn nothing_to_override_changes_nothing() {
        let deployed = json!({ "type": "Profiler", "filter": null });
        assert_eq!(overridden("profiler", &deployed, &json!({})), deployed);
        assert!(ConfigOverrides::default().is_empty());
    }
}
