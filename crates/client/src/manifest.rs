//! What an operation would apply, as YAML for people, reviews and GitOps.

use k8s_openapi::api::core::v1::Secret;
use ompipe_core::{RunId, redaction, yaml};
use serde_json::{Map, Value, json};

use crate::objects::Objects;

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
        list.extend(objects.cron_job().map(serde_json::to_value).transpose()?);
        Ok(Self(list))
    }

    /// What `run` applies.
    ///
    /// # Errors
    /// As [`Self::of_deploy`].
    pub fn of_run(objects: &Objects<'_>, run: RunId) -> Result<Self, serde_json::Error> {
        let job = serde_json::to_value(objects.job(run))?;
        Ok(Self(vec![secret(&objects.revision_secret())?, job]))
    }

    /// The objects, secrets masked or not.
    #[must_use]
    pub fn to_values(&self, visibility: Visibility) -> Vec<Value> {
        match visibility {
            Visibility::ShowSecrets => self.0.clone(),
            Visibility::Masked => self.0.iter().map(masked).collect(),
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

fn masked(object: &Value) -> Value {
    let mut masked = object.clone();
    if let Some(data) = masked.get_mut("stringData").and_then(Value::as_object_mut) {
        mask_texts(data);
    }
    masked
}

/// Masks inside what is a document, and everything else whole.
fn mask_texts(data: &mut Map<String, Value>) {
    for (key, value) in data {
        let document = value.as_str().and_then(|text| yaml::parse(text).ok());
        *value = match document.filter(|document| document.is_object() || document.is_null()) {
            Some(Value::Null) => json!("null"),
            Some(document) if key == "config" => text(&redaction::mask(&document)).into(),
            Some(document) => {
                redaction::mask(&json!({ key.as_str(): document }))[key.as_str()].to_string().into()
            }
            None => redaction::PLACEHOLDER.into(),
        };
    }
}
