//! What an operation would apply, as YAML for people, reviews and GitOps.

use k8s_openapi::api::core::v1::Secret;
use ompipe_core::redaction::Secrets;
use ompipe_core::workflow::CONFIG_ENV;
use ompipe_core::{RunId, redaction, yaml};
use serde_json::{Value, json};

use crate::objects::{Objects, is_variable_key};

/// Whether secrets are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Every secret is a placeholder; such manifests are for reading.
    Masked,
    /// As they would be applied.
    ShowSecrets,
}

/// The objects of one operation, in the order in which they are applied.
#[derive(Debug)]
pub struct Manifests(Vec<Value>);

impl Manifests {
    /// What `deploy` applies.
    ///
    /// # Errors
    /// Never for objects that ompipe builds; JSON could not hold them otherwise.
    pub fn of_deploy(objects: &Objects<'_>) -> Result<Self, serde_json::Error> {
        let mut list = vec![
            secret(&objects.revision_secret())?,
            secret(&objects.pipeline_secret())?,
            serde_json::to_value(objects.config_map())?,
        ];
        list.extend(objects.schedule()?);
        Ok(Self(list))
    }

    /// What `run` applies.
    ///
    /// # Errors
    /// As [`Self::of_deploy`].
    pub fn of_run(objects: &Objects<'_>, run: RunId) -> Result<Self, serde_json::Error> {
        Ok(Self(vec![secret(&objects.revision_secret())?, objects.run(run)?]))
    }

    /// One object as the API server has it; the data of a Secret becomes text.
    pub(crate) fn of_object(object: Value) -> Self {
        let is_secret = object.get("kind").is_some_and(|kind| kind == "Secret");
        let readable = serde_json::from_value(object.clone()).ok().filter(|_| is_secret);
        let readable = readable.and_then(|found: Secret| secret(&found).ok());
        Self(vec![readable.unwrap_or(object)])
    }

    /// The objects, secrets masked or not.
    #[must_use]
    pub fn to_values(&self, visibility: Visibility) -> Vec<Value> {
        match visibility {
            Visibility::ShowSecrets => self.0.clone(),
            Visibility::Masked => {
                let secrets = self.0.iter().map(secrets_in).collect();
                self.0.iter().map(|object| masked(object, &secrets)).collect()
            }
        }
    }

    /// A stream of YAML documents.
    #[must_use]
    pub fn to_yaml(&self, visibility: Visibility) -> String {
        let documents: Vec<String> = self.to_values(visibility).iter().map(text).collect();
        format!("---\n{}", documents.join("---\n"))
    }
}

fn text(document: &Value) -> String {
    yaml::render_readable(document).unwrap_or_default()
}

/// A Secret with `stringData`, which people can read and `kubectl apply` takes as well.
fn secret(secret: &Secret) -> Result<Value, serde_json::Error> {
    let mut readable = secret.clone();
    let data = readable.data.take().unwrap_or_default();
    let texts =
        data.into_iter().map(|(key, bytes)| (key, String::from_utf8_lossy(&bytes.0).into_owned()));
    readable.string_data = Some(texts.collect());
    serde_json::to_value(readable)
}

/// Every secret in the texts of a Secret. One object may repeat what is secret in another.
fn secrets_in(object: &Value) -> Secrets {
    let texts = object.get("stringData").and_then(Value::as_object).into_iter().flatten();
    let secrets_in = |(key, text): (&String, &Value)| {
        let mut secrets = redaction::secrets_of(&document(key, text));
        if is_variable_key(key) {
            secrets.extend_likely(text.as_str().map(str::to_owned));
        }
        secrets
    };
    texts.map(secrets_in).collect()
}

fn masked(object: &Value, secrets: &Secrets) -> Value {
    let mut masked = object.clone();
    if let Some(data) = masked.get_mut("stringData").and_then(Value::as_object_mut) {
        for (key, value) in data {
            *value = secrets.scrub(&masked_text(key, value)).into();
        }
    }
    masked
}

/// Masks inside what is a document, and everything else whole.
fn masked_text(key: &str, value: &Value) -> String {
    let masked = redaction::mask(&document(key, value));
    match &masked[key] {
        Value::String(_) => redaction::PLACEHOLDER.to_owned(),
        document if key == CONFIG_ENV => text(document),
        document => document.to_string(),
    }
}

/// The document that a text holds, under its key; a plain text stays one.
fn document(key: &str, value: &Value) -> Value {
    let parsed = value.as_str().and_then(|text| yaml::parse(text).ok());
    json!({ key: parsed.unwrap_or_else(|| value.clone()) })
}
