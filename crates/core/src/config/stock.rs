//! What else the `openmetadata.yaml` contains of an OpenMetadata server: blocks that configure the
//! server only, and keys of the client's block that only the server reads.

use serde_json::{Map, Value};

use super::{BLOCK, SERVER_SECTION};
use crate::Problem;
use crate::fields::is_like;

/// Top-level blocks of `openmetadata.yaml`, of all releases since 1.0, except the client's.
const BLOCKS: [&str; 49] = [
    "admin",
    "ai",
    "airflowConfiguration",
    "aiPlatformConfiguration",
    "applicationConfig",
    "applications",
    "applicationsConfiguration",
    "assets",
    "auditLogConfiguration",
    "authenticationConfiguration",
    "authorizerConfiguration",
    "basePath",
    "bulkOperation",
    "cache",
    "changeEventConfig",
    "clusterName",
    "database",
    "dataQualityConfiguration",
    "elasticsearch",
    "email",
    "eventHandlerConfiguration",
    "eventMonitoringConfiguration",
    "extensionConfiguration",
    "fernetConfiguration",
    "flyway",
    "health",
    "imageUploaderConfiguration",
    "jwtTokenConfiguration",
    "limits",
    "llmConfiguration",
    "logging",
    "logStorageConfiguration",
    "mcpConfiguration",
    "metrics",
    "migrationConfiguration",
    "naturalLanguageSearch",
    "nlqConfiguration",
    "objectStorage",
    "opentelemetry",
    "operationalConfig",
    "rateLimit",
    "rdf",
    "scimConfiguration",
    "secretsManagerConfiguration",
    "security",
    "swagger",
    "validatorConfiguration",
    "web",
    "webSocketConfiguration",
];

/// Blocks without which no OpenMetadata server starts. A file that has one of them is the server's,
/// and whatever else is in it may be of a release that ompipe does not know.
const ESSENTIAL: [&str; 4] =
    ["database", "authenticationConfiguration", "authorizerConfiguration", "elasticsearch"];

/// Keys of Dropwizard's block `server`, of which every `openmetadata.yaml` has some.
const DROPWIZARD_SERVER: [&str; 12] = [
    "adminConnectors",
    "adminContextPath",
    "applicationConnectors",
    "applicationContextPath",
    "connector",
    "enableVirtualThreads",
    "gzip",
    "maxQueuedRequests",
    "maxThreads",
    "minThreads",
    "requestLog",
    "rootPath",
];

/// Parameters that the server's Airflow client reads, and the Kubernetes client does not.
const AIRFLOW_PARAMETERS: [&str; 7] = [
    "username",
    "password",
    "timeout",
    "connectTimeout",
    "readTimeout",
    "truststorePath",
    "truststorePassword",
];

/// The section `server` of a configuration document, which says how `ompipe serve` serves. `None`
/// also when it is the block of the same name that says where an OpenMetadata server listens.
#[must_use]
pub fn server_section(document: &Value) -> Option<&Value> {
    let section = document.get(SERVER_SECTION).filter(|section| !section.is_null())?;
    (!is_dropwizard_server(section)).then_some(section)
}

/// True if the section has only the server's keys: a section with keys of ours is read, and theirs refused.
fn is_dropwizard_server(section: &Value) -> bool {
    let known = |key: &String| DROPWIZARD_SERVER.contains(&key.as_str()) || key == "type";
    let distinct = |key: &String| DROPWIZARD_SERVER.contains(&key.as_str());
    let Some(section) = section.as_object() else {
        return false;
    };
    section.keys().any(distinct) && (section.keys().all(known) || !has_own_keys(section))
}

/// Dropwizard has more keys than are listed here, and none of these.
fn has_own_keys(section: &Map<String, Value>) -> bool {
    const OWN: [&str; 13] = [
        "listen",
        "healthListen",
        "basePath",
        "credentials",
        "tls",
        "openMetadataVersion",
        "kubernetesAuthentication",
        "tokenAudience",
        "limits",
        "shutdown",
        "logFormat",
        "ui",
        "pipelineMetrics",
    ];
    OWN.iter().any(|key| section.contains_key(*key))
}

/// The document without the blocks that configure the OpenMetadata server, and one notice about
/// them.
pub(super) fn without_server_blocks(
    document: &Map<String, Value>,
) -> (Map<String, Value>, Option<Problem>) {
    let is_servers_file = ESSENTIAL.iter().any(|key| document.contains_key(*key));
    let of_server = |key: &str, value: &Value| match key {
        BLOCK => false,
        SERVER_SECTION => is_dropwizard_server(value),
        key => {
            BLOCKS.contains(&key)
                || (is_servers_file && !is_like(key, BLOCK) && !is_like(key, SERVER_SECTION))
        }
    };
    let (others, own): (Map<_, _>, Map<_, _>) =
        document.clone().into_iter().partition(|(key, value)| of_server(key, value));
    let names: Vec<&str> = others.keys().map(String::as_str).collect();
    let notice = (!names.is_empty()).then(|| {
        Problem::without_value(names.join(", "), "configures the OpenMetadata server only")
    });
    (own, notice)
}

/// The parameters without those of the server's Airflow client, and a notice for each.
pub(super) fn without_airflow(
    parameters: &Map<String, Value>,
    path: &str,
) -> (Map<String, Value>, Vec<Problem>) {
    let (airflow, own): (Map<_, _>, Map<_, _>) = parameters
        .clone()
        .into_iter()
        .partition(|(key, _)| AIRFLOW_PARAMETERS.contains(&key.as_str()));
    let notice = |key: &String| {
        let remedy = "is read by the OpenMetadata server's Airflow client only";
        Problem::without_value(format!("{path}.{key}"), remedy)
    };
    (own, airflow.keys().map(notice).collect())
}
