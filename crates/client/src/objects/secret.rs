//! The Secrets of a pipeline: who it is (`om-secret-{slug}`), and one for each revision of what
//! its runs get (`om-secret-{slug}-{hash8}`).

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use ompipe_core::config::{ExtraVariables, K8sPipelineClientConfig};
use ompipe_core::report::TOKEN_ENV;
use ompipe_core::workflow::CONFIG_ENV;
use ompipe_core::{CA_KEY, IngestionPipeline, ServerConnection, Service, labels, revision};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{Objects, RunnablePipeline, annotated};

/// Key of the server connection's credentials
/// (docs/contracts/upstream-java-client.md#configmap-and-secret).
const SECURITY_CONFIG_KEY: &str = "securityConfig";
/// Key of the deployed entity, from which a later run is made.
const PIPELINE_KEY: &str = "pipeline";
/// Key of what the run needs to know of the service.
const SERVICE_KEY: &str = "service";

type Data = BTreeMap<String, ByteString>;

pub(super) fn of_pipeline(objects: &Objects<'_>) -> Secret {
    let labels = labels::of_pipeline(objects.pipeline());
    let mut metadata = objects.metadata(objects.slug.secret(), labels);
    // This is what owns the others.
    metadata.owner_references = None;
    let metadata = annotated(metadata, labels::SLUG, objects.slug.to_string());
    Secret {
        metadata: annotated(metadata, labels::CONFIG_DIGEST, objects.digest.clone()),
        data: Some(pipeline_data(objects.runnable)),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

pub(super) fn of_revision(objects: &Objects<'_>) -> Secret {
    let labels = objects.with_revision(labels::of_pipeline(objects.pipeline()));
    let name = objects.slug.revision_secret(objects.revision());
    let metadata = objects.metadata(name, labels);
    Secret {
        metadata: annotated(metadata, labels::CONFIG_DIGEST, objects.digest.clone()),
        data: Some(revision_data(objects.config, objects.runnable)),
        immutable: Some(true),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// Content address of a revision.
pub(super) fn digest_of(config: &K8sPipelineClientConfig, runnable: &RunnablePipeline) -> String {
    let data = revision_data(config, runnable);
    revision::digest(data.iter().map(|(key, value)| (key.as_str(), value.0.as_slice())))
}

/// What begins the key of an extra variable.
const VARIABLE: &str = "env.";

/// The key under which a revision keeps an extra variable that may be a credential.
pub(super) fn variable_key(name: &str) -> String {
    format!("{VARIABLE}{name}")
}

/// True for the key of an extra variable.
pub(crate) fn is_variable_key(key: &str) -> bool {
    key.starts_with(VARIABLE)
}

/// The revision label of an object.
pub(crate) fn revision_of(labels: &labels::Pairs) -> Option<&str> {
    labels.get(labels::CONFIG_REVISION).map(String::as_str)
}

/// The pipeline and service that a pipeline's Secret keeps; `None` when it is damaged.
pub(crate) fn read_pipeline(secret: &Secret) -> Option<(IngestionPipeline, Option<Service>)> {
    let data = secret.data.as_ref()?;
    let parse = |key: &str| serde_json::from_slice::<Value>(&data.get(key)?.0).ok();
    let pipeline = IngestionPipeline::read(&parse(PIPELINE_KEY)?).ok()?;
    let service = parse(SERVICE_KEY).and_then(|service| Service::read(&service).ok());
    Some((pipeline, service))
}

fn revision_data(config: &K8sPipelineClientConfig, runnable: &RunnablePipeline) -> Data {
    let text = runnable.workflow.text().expose_secret().as_bytes().to_vec();
    let config_text = std::iter::once((CONFIG_ENV.to_owned(), ByteString(text)));
    let connection = runnable.pipeline.server_connection.as_ref();
    config_text.chain(variables(&config.extra_env_vars)).chain(of_connection(connection)).collect()
}

/// What pods and reports need in addition to the worker's config to reach OpenMetadata.
pub(super) fn of_connection(
    connection: Option<&ServerConnection>,
) -> impl Iterator<Item = (String, ByteString)> {
    let token = connection.and_then(ServerConnection::report_token);
    let token = token.map(|token| (TOKEN_ENV, token.expose_secret()));
    let authority = connection.and_then(ServerConnection::mounted_authority);
    let entries = token.into_iter().chain(authority.map(|pem| (CA_KEY, pem)));
    entries.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
}

/// The certificate authority that pods of this pipeline's runs get as a file.
pub(super) fn mounted_authority(pipeline: &IngestionPipeline) -> Option<&str> {
    pipeline.server_connection.as_ref()?.mounted_authority()
}

/// The token that reports of this pipeline's runs need in addition to the worker's.
pub(super) fn report_token(pipeline: &IngestionPipeline) -> Option<&SecretString> {
    pipeline.server_connection.as_ref()?.report_token()
}

/// The extra variables that may be a credential.
pub(super) fn variables(variables: &ExtraVariables) -> impl Iterator<Item = (String, ByteString)> {
    let entry =
        |(name, value): (&str, &str)| (variable_key(name), ByteString(value.as_bytes().to_vec()));
    variables.secret().map(entry)
}

fn pipeline_data(runnable: &RunnablePipeline) -> Data {
    let connection = runnable.pipeline.server_connection.as_ref();
    let security = connection.map(ompipe_core::ServerConnection::security_config);
    let entries = [
        (SECURITY_CONFIG_KEY, security.unwrap_or_default()),
        (PIPELINE_KEY, runnable.pipeline.document()),
        (SERVICE_KEY, runnable.service.as_ref().map_or(Value::Null, service_record)),
    ];
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), ByteString(value.to_string().into_bytes())))
        .collect()
}

/// Name and type of the service, and its connection only where the worker cannot load it.
fn service_record(service: &Service) -> Value {
    let mut record = json!({ "name": service.name, "serviceType": service.service_type });
    if let Some(connection) = &service.connection {
        record["connection"] = connection.clone();
    }
    record
}
