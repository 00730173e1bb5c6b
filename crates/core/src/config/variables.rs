//! Further environment variables of the worker.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::core::v1::EnvVar;
use serde_json::Value;

use crate::fields::{Fields, scalar_text, split_list};
use crate::kubernetes::EnvName;
use crate::redaction;

const KEY: &str = "extraEnvVars";

/// Variables that ompipe sets itself
/// (docs/contracts/upstream-java-client.md#environment-variables).
pub const RESERVED_ENV: [&str; 7] = [
    "config",
    "pipelineType",
    "pipelineRunId",
    "ingestionPipelineFQN",
    "jobName",
    "namespace",
    "pipelineStatus",
];

/// The variable that replaces `config` when the config is delivered as a file.
pub const CONFIG_FILE_ENV: &str = "configFile";

/// True for a variable that ompipe sets itself and that users therefore cannot set.
#[must_use]
pub fn is_reserved_env(name: &str) -> bool {
    name == CONFIG_FILE_ENV || RESERVED_ENV.contains(&name)
}

/// Variables that hold no credential by what they are for, so that people may see them in pod specs.
const HARMLESS: [&str; 24] = [
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "CURL_CA_BUNDLE",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "LOGLEVEL",
    "LOG_LEVEL",
    "MALLOC_ARENA_MAX",
    "NO_PROXY",
    "OMP_NUM_THREADS",
    "OMPIPE_REPORT_SECONDS",
    "PATH",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Variables for the worker in addition to ompipe's own. A value may be a credential, so `Debug` shows
/// names only.
#[derive(Clone, Default)]
pub struct ExtraVariables(Vec<EnvVar>);

impl ExtraVariables {
    /// Reads `KEY:VALUE` entries (a list, or one string with commas), a map, or Kubernetes env
    /// entries.
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let entries: Vec<Result<EnvVar, String>> = match fields.value(KEY) {
            None => Vec::new(),
            Some(Value::Array(items)) => items.iter().map(env_entry).collect(),
            Some(Value::Object(map)) => {
                map.iter().map(|(name, value)| env_of(name, value)).collect()
            }
            Some(Value::String(text)) => split_list(text)
                .map(|entry| env_pair(entry).map_err(|remedy| of_commas(&remedy)))
                .collect(),
            Some(_) => vec![Err("must be a list of KEY:VALUE".to_owned())],
        };
        let (good, bad): (Vec<_>, Vec<_>) = entries.into_iter().partition(Result::is_ok);
        let good: Vec<EnvVar> = good.into_iter().flatten().collect();
        // The value may be a credential, so only the remedy names the entry.
        for remedy in bad.into_iter().filter_map(Result::err) {
            fields.note_secret::<()>(KEY, remedy);
        }
        refuse_duplicates(fields, &good);
        Self(good)
    }

    /// The variables whose values may appear in a pod spec.
    pub fn plain(&self) -> impl Iterator<Item = &EnvVar> {
        self.0.iter().filter(|variable| !is_secret(variable))
    }

    /// Name and value of those that must come from a Secret
    /// (docs/adr/0004-config-only-in-secrets.md).
    pub fn secret(&self) -> impl Iterator<Item = (&str, &str)> {
        let secret = self.0.iter().filter(|variable| is_secret(variable));
        secret.filter_map(|variable| Some((variable.name.as_str(), variable.value.as_deref()?)))
    }
}

impl fmt::Debug for ExtraVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|variable| &variable.name)).finish()
    }
}

/// Every value may be a credential, whatever its name, except for a few names; and also under those
/// where it looks like one, such as a proxy with a password.
fn is_secret(variable: &EnvVar) -> bool {
    let is_harmless = HARMLESS.contains(&variable.name.as_str());
    variable
        .value
        .as_deref()
        .is_some_and(|value| !is_harmless || redaction::is_secret(&variable.name, value))
}

fn env_entry(item: &Value) -> Result<EnvVar, String> {
    match item {
        Value::String(text) => env_pair(text),
        Value::Object(_) => {
            let variable: EnvVar =
                serde_json::from_value(item.clone()).map_err(|e| e.to_string())?;
            check_env_name(&variable.name).map(|()| variable)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err("each entry must be KEY:VALUE or a map with name and value".to_owned())
        }
    }
}

fn env_pair(text: &str) -> Result<EnvVar, String> {
    let (name, value) = text.split_once(':').ok_or_else(|| {
        format!("an entry has no colon after its name (it has {} characters)", text.chars().count())
    })?;
    env_of(name.trim(), &Value::String(value.trim().to_owned()))
}

/// A text is split at every comma, also at those within a value.
fn of_commas(remedy: &str) -> String {
    format!(
        "{remedy}; a text is split at its commas: a value that has some, such as that of NO_PROXY, \
         needs the list form [\"KEY:VALUE\", \"KEY:VALUE\"]"
    )
}

fn env_of(name: &str, value: &Value) -> Result<EnvVar, String> {
    check_env_name(name)?;
    let value = scalar_text(value).ok_or_else(|| format!("the value of {name} must be text"))?;
    Ok(EnvVar { name: name.to_owned(), value: Some(value), value_from: None })
}

fn check_env_name(name: &str) -> Result<(), String> {
    name.parse::<EnvName>().map_err(|remedy| format!("{name:?} {remedy}"))?;
    if is_reserved_env(name) {
        return Err(format!("{name} is set by ompipe; choose another name"));
    }
    Ok(())
}

fn refuse_duplicates(fields: &mut Fields<'_>, variables: &[EnvVar]) {
    let mut seen = BTreeSet::new();
    for variable in variables {
        if !seen.insert(&variable.name) {
            let remedy = format!("{} is given twice", variable.name);
            fields.note_secret::<()>(KEY, remedy);
        }
    }
}
