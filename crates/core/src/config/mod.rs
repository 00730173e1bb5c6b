//! Configuration of the client: the block `pipelineServiceClientConfiguration` of
//! `openmetadata.yaml` (docs/configuration.md).
//!
//! ```text
//! file ──► block ──► parameters ◄── environment (K8S_NAMESPACE, ... of the Helm chart)
//!                        └──► K8sPipelineClientConfig + notices, or every problem at once
//! ```

mod by_name;
mod effective;
mod environment;
mod kueue;
mod memory_retry;
mod parameters;
mod pod_template;
mod resources;
mod schedule_spread;
mod scheduling;
mod security;
mod stock;
mod substitution;
mod variables;

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use secrecy::SecretString;
use serde_json::{Map, Value};

pub use effective::{EffectiveValue, Origin, effective};
pub use kueue::Kueue;
pub use memory_retry::MemoryRetry;
pub use parameters::{PARAMETERS, Parameter};
pub use pod_template::PodTemplates;
pub use schedule_spread::ScheduleSpread;
pub use security::{PodSecurity, SeccompProfile};
pub use stock::server_section;
pub use substitution::resolve_variables;
pub use variables::{CONFIG_FILE_ENV, ExtraVariables, RESERVED_ENV, is_reserved_env};

use crate::fields::Fields;
use crate::kubernetes::{Image, Namespace, ObjectName};
use crate::server_connection::{endpoint_hint, is_http_url};
use crate::{Problem, Problems, VerifySsl};

/// What is being read, in messages.
const SUBJECT: &str = "configuration";
/// The key of the file that is read here.
const BLOCK: &str = "pipelineServiceClientConfiguration";
/// The file's other key: how `ompipe serve` serves. Crate `ompipe-server` reads it.
pub const SERVER_SECTION: &str = "server";
/// The class whose parameters these are; another one means another kind of client.
const CLASS_NAME: &str = "org.openmetadata.service.clients.pipeline.k8s.K8sPipelineClient";
/// The class by which a server calls `ompipe serve`; a stock file names it.
const AIRFLOW_CLASS_NAME: &str =
    "org.openmetadata.service.clients.pipeline.airflow.AirflowRESTClient";

/// How pipelines run on Kubernetes.
#[derive(Clone, Debug)]
pub struct K8sPipelineClientConfig {
    /// The OpenMetadata API as pods reach it, and ompipe too unless it has an address of its own.
    pub metadata_api_endpoint: Option<String>,
    /// The same as this process reaches it, where that is not as pods do.
    pub caller_endpoint: Option<String>,
    /// How its certificate is checked.
    pub verify_ssl: VerifySsl,
    /// Who signed its certificate, where the system's authorities did not.
    pub certificate_authority: Option<CertificateAuthority>,
    /// How the Kubernetes API is reached.
    pub cluster: ClusterAccess,
    /// Where everything lives.
    pub namespace: Namespace,
    /// Image of the worker.
    pub ingestion_image: Image,
    /// When it is pulled.
    pub image_pull_policy: ImagePullPolicy,
    /// Secrets to pull it with.
    pub image_pull_secrets: Vec<ObjectName>,
    /// Whose rights the pods have.
    pub service_account_name: ObjectName,
    /// What the worker may use.
    pub resources: ResourceRequirements,
    /// What the exit handler's own pod may use, in operator mode.
    pub exit_handler_resources: ResourceRequirements,
    /// Image of ompipe's own exit handler, which also supervises workers; without one the
    /// ingestion image's is used.
    pub exit_handler_image: Option<Image>,
    /// Whether a shell around the worker of a plain Job reports an end of its own where there is no
    /// supervisor.
    pub supervise_main: bool,
    /// Seconds that a finished run stays.
    pub ttl_seconds_after_finished: i32,
    /// Seconds that a run may take.
    pub active_deadline_seconds: i64,
    /// Retries of a failed run.
    pub backoff_limit: i32,
    /// What a worker gets after an OOM kill, in operator mode.
    pub memory_retry: Option<MemoryRetry>,
    /// What a new run does while another has not ended.
    pub concurrency_policy: ConcurrencyPolicy,
    /// Seconds that a scheduled run may start late: 0 for *no catch-up*
    /// ([`crate::cron::starting_deadline`]), else never below [`LEAST_STARTING_DEADLINE`].
    pub starting_deadline_seconds: i64,
    /// In which queues of Kueue runs wait.
    pub kueue: Kueue,
    /// Over how many minutes schedules of the same minute are spread.
    pub schedule_spread: ScheduleSpread,
    /// Finished runs that a schedule keeps.
    pub successful_jobs_history_limit: i32,
    /// Failed runs that a schedule keeps.
    pub failed_jobs_history_limit: i32,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    pub tolerations: Vec<Toleration>,
    /// Annotations of the pods.
    pub pod_annotations: BTreeMap<String, String>,
    /// Further labels of the pods.
    pub pod_labels: BTreeMap<String, String>,
    /// Everything else about the pods.
    pub pod_templates: PodTemplates,
    /// User, group and privileges of the pods.
    pub security: PodSecurity,
    /// Further environment variables of the worker.
    pub extra_env_vars: ExtraVariables,
    /// How the worker gets its config.
    pub config_delivery: ConfigDelivery,
    /// What runs are made of.
    pub mode: Mode,
    /// What the OpenMetadata server asks about this client.
    pub host: HostSettings,
}

/// What runs are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Jobs and `CronJobs`.
    #[default]
    Job,
    /// `OMJobs` and `CronOMJobs`, which an operator carries out.
    Operator,
}

/// Settings of the block that concern the whole client, not its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// False: the client answers that it is switched off.
    pub enabled: bool,
    /// Whether the address of the pods is told at all.
    pub ip_info_enabled: bool,
    /// The address to tell.
    pub ip: Option<String>,
}

/// Where the certificates of an authority are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateAuthority {
    /// Here, as PEM.
    Pem(String),
    /// In a file, of ompipe or of the workers' image.
    File(PathBuf),
}

/// How the Kubernetes API is reached.
#[derive(Clone, Debug, Default)]
pub enum ClusterAccess {
    /// A kubeconfig if there is one (`KUBECONFIG`, `~/.kube/config`), else the service account.
    #[default]
    Inferred,
    /// The service account of the pod that ompipe runs in.
    InCluster,
    /// A kubeconfig file.
    File(String),
    /// A kubeconfig, as text.
    Inline(SecretString),
    /// One of those by another of its contexts than the current one.
    Context(Box<Self>, String),
}

/// Defines a closed set of values that are written as text.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ } $remedy:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+ }

        impl $name {
            /// How it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err($remedy) }
            }
        }
    };
}

choice! {
    /// When an image is pulled.
    ImagePullPolicy {
        /// Before every start.
        Always = "Always",
        /// When the node does not have it.
        IfNotPresent = "IfNotPresent",
        /// Not at all.
        Never = "Never",
    }
    "must be one of Always, IfNotPresent, Never"
}

choice! {
    /// What a new run of a pipeline does while another has not ended (Kubernetes: *CronJob*).
    ConcurrencyPolicy {
        /// It is refused.
        Forbid = "Forbid",
        /// It runs beside the other.
        Allow = "Allow",
        /// It stops the other first.
        Replace = "Replace",
    }
    "must be one of Forbid, Allow, Replace"
}

choice! {
    /// How the worker gets its config.
    ConfigDelivery {
        /// In the environment variable `config`, as every ingestion image reads it.
        Env = "env",
        /// In a file, which the variable `configFile` names.
        File = "file",
    }
    "must be env or file"
}

/// Least value of `startingDeadlineSeconds` on an object: the `CronJob` controller looks every 10
/// seconds, so a smaller one may never fire.
pub const LEAST_STARTING_DEADLINE: i64 = 10;

/// A configuration that can be used, and what its reader should know about it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The configuration.
    pub config: K8sPipelineClientConfig,
    /// Values that were translated or have no effect.
    pub notices: Vec<Problem>,
}

impl K8sPipelineClientConfig {
    /// Reads a configuration file and the environment, which overrides it.
    ///
    /// # Errors
    /// Every problem of the file and of the environment.
    pub fn read(
        document: &Value,
        environment: &BTreeMap<String, String>,
    ) -> Result<Checked, Problems> {
        let empty = Map::new();
        let (own, notice) = stock::without_server_blocks(document.as_object().unwrap_or(&empty));
        let mut fields = Fields::new("", &own);
        if !(document.is_object() || document.is_null()) {
            fields.extend([Problem::without_value("document", "must be one map of keys")]);
        }
        let read = read_document(&mut fields, environment);
        fields.value(SERVER_SECTION);
        fields.refuse_unknown();
        match (read, fields.into_problems()) {
            (Some(mut checked), list) if list.is_empty() => {
                checked.notices.extend(notice);
                Ok(checked)
            }
            (_, list) => Err(Problems { subject: SUBJECT, list }),
        }
    }
}

/// Reads the block with the environment over it. Without a block, the environment alone counts.
fn read_document(
    fields: &mut Fields<'_>,
    environment: &BTreeMap<String, String>,
) -> Option<Checked> {
    let empty = Map::new();
    let (given, path) = match fields.value(BLOCK) {
        Some(Value::Object(block)) => (block, fields.path_of(BLOCK)),
        Some(_) => return fields.note(BLOCK, "must be a map"),
        None => (&empty, String::new()),
    };
    let (merged, notices) = environment::overlay_block(given, environment);
    let mut block = Fields::new(path, &merged);
    let read = read_block(&mut block, environment);
    fields.extend(environment::name_sources(block.into_problems(), environment));
    read.map(|read| Checked { notices: [notices, read.notices].concat(), ..read })
}

/// Reads the block; `None` means that problems were noted.
fn read_block(block: &mut Fields<'_>, environment: &BTreeMap<String, String>) -> Option<Checked> {
    let empty = Map::new();
    let given = match block.value("parameters") {
        Some(Value::Object(map)) => map,
        Some(_) => return block.note("parameters", "must be a map"),
        None => &empty,
    };
    let path = block.path_of("parameters");
    let (given, mut notices) = stock::without_airflow(given, &path);
    let (parameters, overridden) = environment::overlay(&given, environment);
    notices.extend(overridden);
    let mut fields = Fields::new(path, &parameters);
    let metadata_api_endpoint = read_endpoint(block, &mut notices);
    let verify_ssl = block.parsed("verifySSL").unwrap_or_default();
    let certificate_authority = block.object("sslConfig", read_authority).flatten();
    let host = read_host(block);
    notices.extend(read_class_name(block));
    notices.extend(keys_without_effect(block));
    block.refuse_unknown();
    let config = parameters::read(&mut fields, metadata_api_endpoint, verify_ssl, &mut notices);
    let problems = fields.into_problems();
    let usable = problems.is_empty();
    block.extend(problems);
    config.filter(|_| usable).map(|config| Checked {
        config: K8sPipelineClientConfig { certificate_authority, host, ..config },
        notices,
    })
}

fn read_endpoint(block: &mut Fields<'_>, notices: &mut Vec<Problem>) -> Option<String> {
    const KEY: &str = "metadataApiEndpoint";
    let endpoint = block.string(KEY).filter(|endpoint| !endpoint.trim().is_empty())?;
    if !is_http_url(endpoint) {
        let remedy = "must be the server's API such as http://openmetadata:8585/api";
        return block.note(KEY, remedy);
    }
    if endpoint.contains(['?', '#', '@']) {
        let remedy = "must be a URL without user, query and fragment, such as \
                      http://openmetadata:8585/api; the token is given apart";
        return block.note_secret(KEY, remedy);
    }
    notices.extend(endpoint_hint(endpoint).map(|hint| Problem::new(KEY, &endpoint.into(), hint)));
    Some(endpoint.to_owned())
}

/// The authority: `caCertificate` as a worker's connection calls it, or the `certificatePath` of a
/// stock file.
fn read_authority(ssl: &mut Fields<'_>) -> Option<CertificateAuthority> {
    let of_validate = ssl.object("validate", |validate| {
        let path = validate.string("certificatePath").map(str::to_owned);
        validate.refuse_unknown();
        path
    });
    let given = [
        ssl.string("caCertificate").map(str::to_owned),
        ssl.string("certificatePath").map(str::to_owned),
        of_validate.flatten(),
    ];
    ssl.refuse_unknown();
    let text = given.into_iter().flatten().find(|text| !text.trim().is_empty())?;
    Some(if text.contains("-----BEGIN") {
        CertificateAuthority::Pem(text)
    } else {
        CertificateAuthority::File(text.trim().into())
    })
}

fn read_host(block: &mut Fields<'_>) -> HostSettings {
    HostSettings {
        enabled: block.boolean("enabled").unwrap_or(true),
        ip_info_enabled: block.boolean("ingestionIpInfoEnabled").unwrap_or(false),
        ip: block.string("hostIp").filter(|ip| !ip.trim().is_empty()).map(str::to_owned),
    }
}

fn read_class_name(block: &mut Fields<'_>) -> Option<Problem> {
    const KEY: &str = "className";
    let class = block.string(KEY).filter(|class| !class.is_empty())?;
    match class {
        CLASS_NAME => None,
        AIRFLOW_CLASS_NAME => {
            let remedy = "is how the OpenMetadata server calls ompipe serve; ompipe runs pipelines \
                          on Kubernetes whatever stands here";
            Some(Problem::without_value(block.path_of(KEY), remedy))
        }
        _ => block.note(KEY, format!("must be {CLASS_NAME}, or left out")),
    }
}

/// Keys of the block that configure the OpenMetadata server, not its client on Kubernetes
/// (docs/contracts/openmetadata-http.md#server-configuration).
const SERVER_KEYS: [&str; 5] = [
    "apiEndpoint",
    "healthCheckInterval",
    "secretsManagerLoader",
    "queuedStatusTimeoutSeconds",
    "logStorageConfiguration",
];

fn keys_without_effect(block: &mut Fields<'_>) -> Vec<Problem> {
    let given: Vec<_> = SERVER_KEYS.into_iter().filter(|key| block.value(key).is_some()).collect();
    let notice =
        |key| Problem::without_value(block.path_of(key), "is read by the OpenMetadata server only");
    given.into_iter().map(notice).collect()
}

#[cfg(test)]
mod tests;
