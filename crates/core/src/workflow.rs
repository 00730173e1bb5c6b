//! The workflow config: what the ingestion worker gets in its environment variable `config`
//! (contract §7.6 and §8.1, `ingestion.md` §5–§6).
//!
//! ```text
//! IngestionPipeline ─┬─► source ─► processor? ─► stage? ─► sink | bulkSink     (service pipelines)
//!   + serviceType   ─┘   sourcePythonClass, appConfig, appPrivateConfig        (applications)
//!                        + workflowConfig { server connection, log level }, ingestionPipelineFQN
//! ```

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::config::ConfigDelivery;
use crate::{
    IngestionPipeline, PipelineType, ServerConnection, Service, ServiceReference, redaction, yaml,
};

/// Longest environment string that `execve` takes, with name, `=` and the closing NUL (Linux
/// `MAX_ARG_STRLEN`).
const MAX_ENV_STRING: usize = 131_072;
/// Longest config in a Secret, which may have 1 MiB of data in all; extra variables need some.
const MAX_SECRET: usize = 1_000_000;
/// Name of the environment variable that carries the config.
pub const CONFIG_ENV: &str = "config";

/// Why no workflow config can be made of a pipeline.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// There is no worker for this type.
    #[error("pipelineType {0} cannot run: no ingestion worker supports it")]
    Unsupported(PipelineType),
    /// The OpenMetadata API returns pipelines without their server connection.
    #[error(
        "openMetadataServerConnection is missing: the worker could not reach OpenMetadata. The \
         API leaves it out of every answer; put it into the pipeline, or set metadataApiEndpoint \
         in the configuration and give the bot's token (OPENMETADATA_JWT_TOKEN or a token file)"
    )]
    NoServerConnection,
    /// The type of the service decides which connector runs.
    #[error(
        "the serviceType of service {0:?} is not known: give the service entity, or let it be fetched"
    )]
    NoService(String),
    /// The given service is not the one that the pipeline belongs to.
    #[error("the service given is {given:?}, but the pipeline belongs to {expected:?}")]
    OtherService {
        /// Name of the service entity.
        given: String,
        /// Name in the pipeline's reference.
        expected: String,
    },
    /// An application without a program.
    #[error("sourceConfig.config.sourcePythonClass is missing: it names the application's class")]
    NoApplicationClass,
    /// The worker would have to overwrite entities but cannot load the connection by itself.
    #[error(
        "forceEntityOverwriting needs the connection of service {0:?}: give the service entity \
         with its connection"
    )]
    NoServiceConnection(String),
    /// The config does not fit into what carries it to the worker.
    #[error(
        "the config has {bytes} bytes; {carrier} holds at most {max}. Shorten sourceConfig (filter \
         patterns, test cases) or split the pipeline{alternative}"
    )]
    TooLong {
        /// What carries it.
        carrier: &'static str,
        /// What else can be done.
        alternative: &'static str,
        /// Size of the config.
        bytes: usize,
        /// Largest size that works.
        max: usize,
    },
}

/// The config of one workflow. It holds the server's token and maybe more, so the text comes out
/// as a secret, and `Debug` shows nothing of it.
pub struct WorkflowConfig {
    document: Value,
    text: SecretString,
}

impl WorkflowConfig {
    /// Builds the config of a pipeline.
    ///
    /// # Errors
    /// See [`Error`]; nothing is guessed.
    pub fn build(pipeline: &IngestionPipeline, service: Option<&Service>) -> Result<Self, Error> {
        let mut document = match pipeline.pipeline_type {
            PipelineType::Application => application(pipeline)?,
            _ => steps(pipeline, service)?,
        };
        document.insert("workflowConfig".into(), workflow_settings(pipeline)?);
        document.insert(
            "ingestionPipelineFQN".into(),
            pipeline.identity.fully_qualified_name.clone().into(),
        );
        document.insert("enableStreamableLogs".into(), pipeline.enable_streamable_logs.into());
        if let Some(runner) = &pipeline.ingestion_runner {
            document.insert("ingestionRunnerName".into(), runner.clone().into());
        }
        let document = Value::Object(document);
        // Rendering a JSON value as YAML cannot fail; JSON text, which is YAML, stands in.
        let text = yaml::render(&document).unwrap_or_else(|_| document.to_string());
        Ok(Self { document, text: text.into() })
    }

    /// This config, if it fits into what carries it to the worker.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn fitting(self, delivery: ConfigDelivery) -> Result<Self, Error> {
        check_size(&self.text, delivery).map(|()| self)
    }

    /// The whole config as YAML: the value of the worker's `config`.
    #[must_use]
    pub fn text(&self) -> &SecretString {
        &self.text
    }

    /// The config as YAML for people, secrets masked.
    #[must_use]
    pub fn masked_text(&self) -> String {
        let masked = redaction::mask(&self.document);
        yaml::render(&masked).unwrap_or_else(|_| masked.to_string())
    }
}

/// Whether the text of a config fits into what carries it to the worker.
///
/// # Errors
/// [`Error::TooLong`].
pub fn check_size(text: &SecretString, delivery: ConfigDelivery) -> Result<(), Error> {
    let (carrier, max, alternative) = match delivery {
        ConfigDelivery::Env => (
            "an environment variable",
            MAX_ENV_STRING - CONFIG_ENV.len() - "=\0".len(),
            ", or set configDelivery to file if the image reads configFile",
        ),
        ConfigDelivery::File => ("a Secret", MAX_SECRET, ""),
    };
    let bytes = text.expose_secret().len();
    if bytes > max { Err(Error::TooLong { carrier, alternative, bytes, max }) } else { Ok(()) }
}

impl fmt::Debug for WorkflowConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkflowConfig").finish_non_exhaustive()
    }
}

impl PipelineType {
    /// True when the config depends on the type of the pipeline's service.
    #[must_use]
    pub const fn needs_service_type(self) -> bool {
        matches!(
            self,
            Self::Metadata
                | Self::Usage
                | Self::Lineage
                | Self::Profiler
                | Self::AutoClassification
                | Self::PolicyAgent
        )
    }
}

/// Source, processor, stage and sink of a pipeline that reads a service.
fn steps(
    pipeline: &IngestionPipeline,
    service: Option<&Service>,
) -> Result<Map<String, Value>, Error> {
    let mut document = Map::new();
    document.insert("source".into(), source(pipeline, service)?);
    if let Some(processor) = processor(pipeline) {
        document.insert("processor".into(), processor);
    }
    if pipeline.pipeline_type == PipelineType::Usage {
        let config = json!({ "filename": stage_file(pipeline) });
        document.insert("stage".into(), step("table-usage", &config));
        document.insert("bulkSink".into(), step("metadata-usage", &config));
    } else {
        document.insert("sink".into(), step("metadata-rest", &json!({})));
    }
    Ok(document)
}

fn step(kind: &str, config: &Value) -> Value {
    json!({ "type": kind, "config": config })
}

fn source(pipeline: &IngestionPipeline, service: Option<&Service>) -> Result<Value, Error> {
    let reference = pipeline.service.as_ref().ok_or_else(|| Error::NoService(String::new()))?;
    if let Some(service) = service.filter(|service| service.name != reference.name) {
        let expected = reference.name.clone();
        return Err(Error::OtherService { given: service.name.clone(), expected });
    }
    let mut source = Map::new();
    source.insert("type".into(), source_type(pipeline.pipeline_type, reference, service)?.into());
    source.insert("serviceName".into(), service_name(pipeline.pipeline_type, reference).into());
    if let Some(connection) = service_connection(pipeline, reference, service)? {
        source.insert("serviceConnection".into(), connection);
    }
    source.insert("sourceConfig".into(), json!({ "config": pipeline.source_config }));
    Ok(Value::Object(source))
}

fn source_type(
    pipeline_type: PipelineType,
    reference: &ServiceReference,
    service: Option<&Service>,
) -> Result<String, Error> {
    let of_service = || {
        let service = service.ok_or_else(|| Error::NoService(reference.name.clone()))?;
        Ok(service.service_type.to_lowercase())
    };
    match pipeline_type {
        PipelineType::Metadata | PipelineType::Profiler | PipelineType::AutoClassification => {
            of_service()
        }
        PipelineType::Lineage => Ok(format!("{}-lineage", of_service()?)),
        PipelineType::Usage => Ok(format!("{}-usage", of_service()?)),
        PipelineType::PolicyAgent => Ok(format!("{}-policy", of_service()?)),
        PipelineType::TestSuite => Ok("testSuite".to_owned()),
        PipelineType::Dbt => Ok("dbt".to_owned()),
        PipelineType::ElasticSearchReindex => Ok("metadata_elasticsearch".to_owned()),
        PipelineType::DataInsight | PipelineType::Application => {
            Err(Error::Unsupported(pipeline_type))
        }
    }
}

/// The service's name, unquoted; only the search index goes by FQN.
fn service_name(pipeline_type: PipelineType, reference: &ServiceReference) -> String {
    match pipeline_type {
        PipelineType::ElasticSearchReindex => reference.fqn(),
        _ => reference.name.clone(),
    }
}

/// The connection is left out: the worker loads it by name, so that an edited password reaches
/// the next run and we store nobody's database secret. With `forceEntityOverwriting` the worker
/// does not load it.
fn service_connection(
    pipeline: &IngestionPipeline,
    reference: &ServiceReference,
    service: Option<&Service>,
) -> Result<Option<Value>, Error> {
    let forced =
        pipeline.server_connection.as_ref().is_some_and(ServerConnection::forces_overwriting);
    if !forced || !pipeline.pipeline_type.needs_service_type() {
        return Ok(None);
    }
    match service.and_then(|service| service.connection.clone()) {
        Some(connection) => Ok(Some(connection)),
        None => Err(Error::NoServiceConnection(reference.name.clone())),
    }
}

fn processor(pipeline: &IngestionPipeline) -> Option<Value> {
    match pipeline.pipeline_type {
        PipelineType::Usage => Some(step("query-parser", &json!({}))),
        PipelineType::Profiler => Some(step("orm-profiler", &profiler_config(pipeline))),
        PipelineType::AutoClassification => Some(step("tag-pii-processor", &json!({}))),
        PipelineType::TestSuite => Some(step("orm-test-runner", &json!({}))),
        PipelineType::Metadata
        | PipelineType::Lineage
        | PipelineType::DataInsight
        | PipelineType::ElasticSearchReindex
        | PipelineType::Dbt
        | PipelineType::Application
        | PipelineType::PolicyAgent => None,
    }
}

/// Newer servers let a profiler pipeline name its metrics (contract §8.1).
fn profiler_config(pipeline: &IngestionPipeline) -> Value {
    match pipeline.source_config.get("metrics").and_then(Value::as_array) {
        Some(metrics) if !metrics.is_empty() => {
            json!({ "profiler": { "name": "ingestion-profiler", "metrics": metrics } })
        }
        _ => json!({}),
    }
}

/// Where the usage workflow keeps queries between its two halves; an empty name breaks it.
fn stage_file(pipeline: &IngestionPipeline) -> &str {
    let given = pipeline.source_config.get("stageFileLocation").and_then(Value::as_str);
    given.filter(|file| !file.is_empty()).unwrap_or("/tmp/query_log")
}

fn application(pipeline: &IngestionPipeline) -> Result<Map<String, Value>, Error> {
    const KEYS: [&str; 3] = ["sourcePythonClass", "appConfig", "appPrivateConfig"];
    let given = |key: &str| pipeline.source_config.get(key).filter(|value| !value.is_null());
    if given("sourcePythonClass").is_none() {
        return Err(Error::NoApplicationClass);
    }
    let entry = |key: &str| given(key).map(|value| (key.to_owned(), value.clone()));
    Ok(KEYS.into_iter().filter_map(entry).collect())
}

fn workflow_settings(pipeline: &IngestionPipeline) -> Result<Value, Error> {
    let connection = pipeline.server_connection.as_ref().ok_or(Error::NoServerConnection)?;
    let mut settings = Map::new();
    settings.insert("loggerLevel".into(), pipeline.logger_level.as_str().into());
    if let Some(raise) = pipeline.raise_on_error.filter(|_| honours_raise_on_error(pipeline)) {
        settings.insert("raiseOnError".into(), raise.into());
    }
    settings.insert("openMetadataServerConfig".into(), connection.to_value());
    Ok(Value::Object(settings))
}

/// The stock builders take the pipeline's `raiseOnError` for some types and leave the default,
/// true, for the others (`ingestion.md` §6).
fn honours_raise_on_error(pipeline: &IngestionPipeline) -> bool {
    match pipeline.pipeline_type {
        PipelineType::Metadata
        | PipelineType::Lineage
        | PipelineType::Usage
        | PipelineType::Dbt
        | PipelineType::Application
        | PipelineType::PolicyAgent => true,
        PipelineType::Profiler
        | PipelineType::AutoClassification
        | PipelineType::TestSuite
        | PipelineType::DataInsight
        | PipelineType::ElasticSearchReindex => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret;

    use super::*;

    const TOKEN: &str = "t0ps3cret-token";

    fn entity(pipeline_type: &str, source_config: &Value) -> Value {
        json!({
            "name": "p",
            "pipelineType": pipeline_type,
            "raiseOnError": false,
            "sourceConfig": { "config": source_config },
            "service": { "type": "databaseService", "name": "shop.pg" },
            "openMetadataServerConnection": {
                "hostPort": "http://om:8585/api", "securityConfig": { "jwtToken": TOKEN },
            },
        })
    }

    fn postgres() -> Service {
        let connection = json!({ "config": { "password": "hunter2" } });
        Service::read(
            &json!({ "name": "shop.pg", "serviceType": "Postgres", "connection": connection }),
        )
        .unwrap()
    }

    fn build(document: &Value) -> Result<Value, Error> {
        let pipeline = IngestionPipeline::read(document).unwrap();
        WorkflowConfig::build(&pipeline, Some(&postgres())).map(|config| {
            let parsed = yaml::parse(config.text().expose_secret()).unwrap();
            assert_eq!(parsed, config.document, "the text reads back as the document");
            parsed
        })
    }

    #[rstest]
    #[case("metadata", "postgres", None, true)]
    #[case("lineage", "postgres-lineage", None, true)]
    #[case("profiler", "postgres", Some("orm-profiler"), false)]
    #[case("autoClassification", "postgres", Some("tag-pii-processor"), false)]
    #[case("TestSuite", "testSuite", Some("orm-test-runner"), false)]
    #[case("dbt", "dbt", None, true)]
    #[case("elasticSearchReindex", "metadata_elasticsearch", None, false)]
    #[case("policyAgent", "postgres-policy", None, true)]
    fn the_shape_of_each_type(
        #[case] pipeline_type: &str,
        #[case] source_type: &str,
        #[case] processor: Option<&str>,
        #[case] raise_on_error: bool,
    ) {
        let config = build(&entity(pipeline_type, &json!({ "type": "T" }))).unwrap();
        assert_eq!(config["source"]["type"], source_type);
        assert_eq!(config["processor"]["type"].as_str(), processor);
        assert_eq!(config["sink"], json!({ "type": "metadata-rest", "config": {} }));
        assert_eq!(config["source"]["sourceConfig"], json!({ "config": { "type": "T" } }));
        assert_eq!(config["source"].get("serviceConnection"), None);
        assert_eq!(config["workflowConfig"]["loggerLevel"], "INFO");
        assert_eq!(config["workflowConfig"].get("raiseOnError").is_some(), raise_on_error);
        assert_eq!(config["ingestionPipelineFQN"], "\"shop.pg\".p");
    }

    #[rstest]
    #[case(json!({}), "/tmp/query_log")]
    #[case(json!({ "stageFileLocation": "" }), "/tmp/query_log")]
    #[case(json!({ "stageFileLocation": "/tmp/mine" }), "/tmp/mine")]
    fn usage_stages_through_a_file(#[case] extra: Value, #[case] file: &str) {
        let mut source_config = json!({ "type": "DatabaseUsage" });
        source_config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let config = build(&entity("usage", &source_config)).unwrap();
        assert_eq!(config["source"]["type"], "postgres-usage");
        assert_eq!(config["processor"]["type"], "query-parser");
        assert_eq!(
            config["stage"],
            json!({ "type": "table-usage", "config": { "filename": file } })
        );
        assert_eq!(
            config["bulkSink"],
            json!({ "type": "metadata-usage", "config": { "filename": file } })
        );
        assert_eq!(config.get("sink"), None);
    }

    #[test]
    fn an_application_has_no_source() {
        let source_config = json!({
            "type": "Application", "sourcePythonClass": "a.b.C", "appConfig": { "type": "x" },
            "appPrivateConfig": null,
        });
        let config = build(&entity("application", &source_config)).unwrap();
        assert_eq!(config["sourcePythonClass"], "a.b.C");
        assert_eq!(config["appConfig"], json!({ "type": "x" }));
        assert_eq!(config.get("appPrivateConfig"), None);
        assert_eq!(config.get("source"), None);
        assert_eq!(config.get("sink"), None);
    }

    #[test]
    fn search_reindex_goes_by_the_quoted_fqn() {
        let config = build(&entity("elasticSearchReindex", &json!({ "type": "T" }))).unwrap();
        assert_eq!(config["source"]["serviceName"], "\"shop.pg\"");
    }

    #[test]
    fn metrics_of_a_profiler_reach_its_processor() {
        let config = build(&entity("profiler", &json!({ "metrics": ["mean"] }))).unwrap();
        assert_eq!(config["processor"]["config"]["profiler"]["metrics"], json!(["mean"]));
    }

    #[test]
    fn forced_overwriting_carries_the_connection() {
        let mut document = entity("metadata", &json!({ "type": "T" }));
        document["openMetadataServerConnection"]["forceEntityOverwriting"] = true.into();
        let config = build(&document).unwrap();
        assert_eq!(config["source"]["serviceConnection"]["config"]["password"], "hunter2");
    }

    #[test]
    fn refuses_what_cannot_run() {
        let error = |document: &Value| build(document).unwrap_err();
        let mut document = entity("dataInsight", &json!({ "type": "T" }));
        assert_eq!(error(&document), Error::Unsupported(PipelineType::DataInsight));
        document = entity("application", &json!({ "type": "T" }));
        assert_eq!(error(&document), Error::NoApplicationClass);
        document = entity("metadata", &json!({ "type": "T" }));
        document["service"]["name"] = "other".into();
        assert!(matches!(error(&document), Error::OtherService { .. }));
        document.as_object_mut().unwrap().remove("openMetadataServerConnection");
        document["service"]["name"] = "shop.pg".into();
        assert_eq!(error(&document), Error::NoServerConnection);
        let pipeline =
            IngestionPipeline::read(&entity("metadata", &json!({ "type": "T" }))).unwrap();
        let error = WorkflowConfig::build(&pipeline, None).unwrap_err();
        assert_eq!(error, Error::NoService("shop.pg".to_owned()));
    }

    #[rstest]
    #[case(ConfigDelivery::Env, 131_064, "or set configDelivery to file")]
    #[case(ConfigDelivery::File, 1_000_000, "a Secret holds at most 1000000")]
    fn a_config_that_its_carrier_cannot_hold_is_refused(
        #[case] delivery: ConfigDelivery,
        #[case] max: usize,
        #[case] words: &str,
    ) {
        let of_length = |length: usize| SecretString::from("x".repeat(length));
        assert_eq!(check_size(&of_length(max), delivery), Ok(()));
        let error = check_size(&of_length(max + 1), delivery).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }

    #[test]
    fn the_masked_text_has_no_token() {
        let config = |token: &str| {
            let mut document = entity("metadata", &json!({ "type": "T" }));
            document["openMetadataServerConnection"]["securityConfig"]["jwtToken"] = token.into();
            let pipeline = IngestionPipeline::read(&document).unwrap();
            WorkflowConfig::build(&pipeline, Some(&postgres())).unwrap()
        };
        let (one, two) = (config(TOKEN), config("another-secret-token"));
        assert!(!one.masked_text().contains(TOKEN));
        assert_eq!(one.masked_text(), two.masked_text());
        assert!(!format!("{one:?}").contains(TOKEN));
    }

    #[test]
    fn the_text_does_not_depend_on_the_order_of_keys() {
        let of = |text: &str| {
            let pipeline = IngestionPipeline::read(&yaml::parse(text).unwrap()).unwrap();
            let config = WorkflowConfig::build(&pipeline, Some(&postgres())).unwrap();
            config.text().expose_secret().to_owned()
        };
        let tail = "name: p\npipelineType: metadata\nservice: {type: databaseService, name: shop.pg}\n\
                    openMetadataServerConnection: {hostPort: 'http://om/api', securityConfig: {jwtToken: t}}\n";
        let forth = format!("sourceConfig: {{config: {{a: 1, b: 2}}}}\n{tail}");
        let back = format!("sourceConfig: {{config: {{b: 2, a: 1}}}}\n{tail}");
        assert_eq!(of(&forth), of(&back));
    }
}
