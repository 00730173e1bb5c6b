//! The workflow config: what the ingestion worker gets in its environment variable `config`
//! (docs/contracts/ingestion-worker.md#workflow-config).
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
use crate::version::ReleaseLine;
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
    /// The worker of that line does not run this type.
    #[error(
        "pipelineType {kind} cannot run: ingestion workers since {since} do not support it{and}"
    )]
    Unsupported {
        /// The type.
        kind: PipelineType,
        /// The first line that has no workflow of it.
        since: ReleaseLine,
        /// What is known of this worker.
        and: &'static str,
    },
    /// The worker writes to the search index by itself.
    #[error(
        "the worker of this line writes to the search index by itself, and service {0:?} does not say \
         where that is: set connection.config.elasticsSearch of this service in OpenMetadata"
    )]
    NoSearchConnection(String),
    /// The OpenMetadata API returns pipelines without their server connection.
    #[error(
        "openMetadataServerConnection is missing: the worker could not reach OpenMetadata. The \
         API leaves it out of every answer; put it into the pipeline, or set metadataApiEndpoint \
         in the configuration and give the bot's token (OPENMETADATA_JWT_TOKEN or a token file)"
    )]
    NoServerConnection,
    /// The token of the server connection cannot be used here.
    #[error(
        "its openMetadataServerConnection has a token that is in a secrets manager, which ompipe does \
         not read; give ompipe a token by --token-file or OPENMETADATA_JWT_TOKEN, and the server by \
         metadataApiEndpoint, to which alone that token is sent"
    )]
    TokenElsewhere,
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
        Self::build_for(None, pipeline, service)
    }

    /// Builds the config of a pipeline for a worker of that release line, whose models forbid keys that
    /// they do not know. Keys that have their default value are left out for every line, so a worker of
    /// an unknown line reads the config unless the pipeline asks for something that is newer.
    ///
    /// # Errors
    /// See [`Error`]; nothing is guessed.
    pub fn build_for(
        worker: Option<ReleaseLine>,
        pipeline: &IngestionPipeline,
        service: Option<&Service>,
    ) -> Result<Self, Error> {
        let knows = |key: Key| worker.is_none_or(|line| line >= key.since());
        let mut document = match pipeline.pipeline_type {
            PipelineType::Application => application(pipeline)?,
            _ => steps(worker, pipeline, service)?,
        };
        document.insert(
            "workflowConfig".into(),
            workflow_settings(worker, pipeline, knows(Key::RaiseOnError))?,
        );
        document.insert(
            "ingestionPipelineFQN".into(),
            pipeline.identity.fully_qualified_name.clone().into(),
        );
        if pipeline.enable_streamable_logs && knows(Key::StreamableLogs) {
            document.insert("enableStreamableLogs".into(), true.into());
        }
        let runner = pipeline.ingestion_runner.as_ref();
        if let Some(runner) = runner.filter(|_| knows(Key::RunnerName)) {
            document.insert("ingestionRunnerName".into(), runner.clone().into());
        }
        let document = Value::Object(document);
        // Rendering a JSON value as YAML cannot fail; JSON text, which is also YAML, is the fallback.
        let text = yaml::render(&document).unwrap_or_else(|_| document.to_string());
        Ok(Self { document, text: text.into() })
    }

    /// True when workers of different lines want different configs of this pipeline.
    #[must_use]
    pub fn depends_on_line(pipeline: &IngestionPipeline) -> bool {
        let connection = pipeline.server_connection.as_ref();
        connection.is_some_and(ServerConnection::depends_on_line)
            || pipeline.enable_streamable_logs
            || pipeline.ingestion_runner.is_some()
            || matches!(pipeline.raise_on_error, Some(false))
            || matches!(
                pipeline.pipeline_type,
                PipelineType::DataInsight | PipelineType::ElasticSearchReindex
            )
    }

    /// True when the config for a worker of that line needs the pipeline's service.
    #[must_use]
    pub fn needs_service(worker: Option<ReleaseLine>, pipeline: &IngestionPipeline) -> bool {
        pipeline.pipeline_type.needs_service_type()
            || writes_to_search(worker, pipeline.pipeline_type)
    }

    /// The config that an earlier run had, with the settings of this one: how the worker reaches
    /// OpenMetadata may have changed since. `None` when `text` is no config.
    #[must_use]
    pub fn of_earlier_run(&self, text: &str) -> Option<Self> {
        const SETTINGS: &str = "workflowConfig";
        let mut document = yaml::parse(text).ok().filter(Value::is_object)?;
        document[SETTINGS] = self.document[SETTINGS].clone();
        let text = yaml::render(&document).unwrap_or_else(|_| document.to_string());
        Some(Self { document, text: text.into() })
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

/// The first line whose workers have no workflow of the type `dataInsight`.
const NO_DATA_INSIGHT: ReleaseLine = ReleaseLine::new(1, 5);

/// Whether a worker of that line writes to the search index by itself, so that its config says where it
/// is. Later ones leave that to the server.
fn writes_to_search(worker: Option<ReleaseLine>, pipeline_type: PipelineType) -> bool {
    let until = |line: ReleaseLine| worker.is_some_and(|worker| worker < line);
    match pipeline_type {
        PipelineType::DataInsight => until(ReleaseLine::new(1, 2)),
        PipelineType::ElasticSearchReindex => until(ReleaseLine::new(1, 1)),
        _ => false,
    }
}

fn check_type(worker: Option<ReleaseLine>, pipeline_type: PipelineType) -> Result<(), Error> {
    let has_workflow = worker.is_some_and(|line| line < NO_DATA_INSIGHT);
    if pipeline_type != PipelineType::DataInsight || has_workflow {
        return Ok(());
    }
    let and = if worker.is_some() { "" } else { ", and the line of this one is not known" };
    Err(Error::Unsupported { kind: pipeline_type, since: NO_DATA_INSIGHT, and })
}

/// Source, processor, stage and sink of a pipeline that reads a service.
fn steps(
    worker: Option<ReleaseLine>,
    pipeline: &IngestionPipeline,
    service: Option<&Service>,
) -> Result<Map<String, Value>, Error> {
    check_type(worker, pipeline.pipeline_type)?;
    let mut document = Map::new();
    document.insert("source".into(), source(worker, pipeline, service)?);
    if let Some(processor) = processor(pipeline) {
        document.insert("processor".into(), processor);
    }
    if pipeline.pipeline_type == PipelineType::Usage {
        let config = json!({ "filename": stage_file(pipeline) });
        document.insert("stage".into(), step("table-usage", &config));
        document.insert("bulkSink".into(), step("metadata-usage", &config));
    } else if writes_to_search(worker, pipeline.pipeline_type) {
        document.insert("sink".into(), step("elasticsearch", &search_index(pipeline, service)?));
    } else {
        document.insert("sink".into(), step("metadata-rest", &json!({})));
    }
    Ok(document)
}

/// Where the search index is, as the service of OpenMetadata itself says, and how to reach it, as the
/// pipeline does; only the latter's keys have other names there.
fn search_index(pipeline: &IngestionPipeline, service: Option<&Service>) -> Result<Value, Error> {
    const NAMES: [(&str, &str); 6] = [
        ("caCerts", "ca_certs"),
        ("regionName", "region_name"),
        ("timeout", "timeout"),
        ("useAwsCredentials", "use_AWS_credentials"),
        ("useSSL", "use_ssl"),
        ("verifyCerts", "verify_certs"),
    ];
    let no_connection = || {
        let reference = pipeline.service.as_ref();
        Error::NoSearchConnection(reference.map_or_else(String::new, |it| it.name.clone()))
    };
    let connection = service.and_then(|service| service.connection.as_ref());
    let index = connection.and_then(|it| it.pointer("/config/elasticsSearch/config"));
    let mut config = index.and_then(Value::as_object).cloned().ok_or_else(no_connection)?;
    for (key, name) in NAMES {
        if let Some(value) = pipeline.source_config.get(key).filter(|value| !value.is_null()) {
            config.insert(name.to_owned(), value.clone());
        }
    }
    Ok(Value::Object(config))
}

fn step(kind: &str, config: &Value) -> Value {
    json!({ "type": kind, "config": config })
}

fn source(
    worker: Option<ReleaseLine>,
    pipeline: &IngestionPipeline,
    service: Option<&Service>,
) -> Result<Value, Error> {
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
    let source_config = if has_source_config(worker, pipeline.pipeline_type) {
        json!({ "config": pipeline.source_config })
    } else {
        json!({})
    };
    source.insert("sourceConfig".into(), source_config);
    Ok(Value::Object(source))
}

/// The source of a pipeline whose settings describe the search index takes no settings of its own.
fn has_source_config(worker: Option<ReleaseLine>, pipeline_type: PipelineType) -> bool {
    pipeline_type != PipelineType::DataInsight && !writes_to_search(worker, pipeline_type)
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
        PipelineType::DataInsight => Ok("dataInsight".to_owned()),
        // It has no source.
        PipelineType::Application => Err(Error::NoApplicationClass),
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
/// the next run and we store no database secret. With `forceEntityOverwriting` the worker
/// does not load it.
fn service_connection(
    pipeline: &IngestionPipeline,
    reference: &ServiceReference,
    service: Option<&Service>,
) -> Result<Option<Value>, Error> {
    if pipeline.pipeline_type == PipelineType::ElasticSearchReindex {
        // That of the service itself is of another type, which the source does not take.
        return Ok(Some(json!({ "config": { "type": "MetadataES" } })));
    }
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
        PipelineType::DataInsight => Some(step("data-insight-processor", &json!({}))),
        PipelineType::Metadata
        | PipelineType::Lineage
        | PipelineType::ElasticSearchReindex
        | PipelineType::Dbt
        | PipelineType::Application
        | PipelineType::PolicyAgent => None,
    }
}

/// Newer servers let a profiler pipeline name its metrics
/// (docs/contracts/ingestion-worker.md#pipeline-types).
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

/// A key that not every line of the worker's models has.
#[derive(Clone, Copy, Debug)]
enum Key {
    RaiseOnError,
    StreamableLogs,
    RunnerName,
}

impl Key {
    /// The first line whose published models have it.
    const fn since(self) -> ReleaseLine {
        match self {
            Self::RaiseOnError => ReleaseLine::new(1, 7),
            Self::StreamableLogs => ReleaseLine::new(1, 10),
            Self::RunnerName => ReleaseLine::new(1, 12),
        }
    }
}

fn workflow_settings(
    worker: Option<ReleaseLine>,
    pipeline: &IngestionPipeline,
    may_raise: bool,
) -> Result<Value, Error> {
    let connection = pipeline.server_connection.as_ref().ok_or(Error::NoServerConnection)?;
    let mut settings = Map::new();
    settings.insert("loggerLevel".into(), pipeline.logger_level.as_str().into());
    if may_raise && pipeline.raise_on_error == Some(false) && honours_raise_on_error(pipeline) {
        settings.insert("raiseOnError".into(), false.into());
    }
    settings.insert("openMetadataServerConfig".into(), connection.for_worker(worker));
    Ok(Value::Object(settings))
}

/// The stock builders take the pipeline's `raiseOnError` for some types and leave the default,
/// true, for the others (docs/contracts/ingestion-worker.md#pipeline-types).
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

    /// Each line's models forbid keys that they do not know.
    #[rstest]
    #[case::of_1_1(Some((1, 1)), [false, false, false])]
    #[case::of_1_9(Some((1, 9)), [true, false, false])]
    #[case::of_1_10(Some((1, 10)), [true, true, false])]
    #[case::of_1_12(Some((1, 12)), [true, true, true])]
    #[case::of_2_0(Some((2, 0)), [true, true, true])]
    #[case::unknown(None, [true, true, true])]
    fn keys_that_the_line_does_not_know_are_left_out(
        #[case] line: Option<(u32, u32)>,
        #[case] expected: [bool; 3],
    ) {
        let mut document = entity("metadata", &json!({ "type": "DatabaseMetadata" }));
        document["enableStreamableLogs"] = true.into();
        document["ingestionRunner"] = json!({ "type": "ingestionRunner", "name": "r" });
        let pipeline = IngestionPipeline::read(&document).unwrap();
        let line = line.map(|(major, minor)| ReleaseLine::new(major, minor));
        let config = WorkflowConfig::build_for(line, &pipeline, Some(&postgres())).unwrap();
        let places =
            ["/workflowConfig/raiseOnError", "/enableStreamableLogs", "/ingestionRunnerName"];
        assert_eq!(places.map(|place| config.document.pointer(place).is_some()), expected);
    }

    #[test]
    fn keys_with_their_default_value_are_left_out() {
        let mut document = entity("metadata", &json!({ "type": "DatabaseMetadata" }));
        document["enableStreamableLogs"] = false.into();
        document["raiseOnError"] = true.into();
        let config = build(&document).unwrap();
        assert_eq!(config.get("enableStreamableLogs"), None);
        assert_eq!(config.pointer("/workflowConfig/raiseOnError"), None);
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
        let connection = config["source"].get("serviceConnection");
        assert_eq!(connection.is_some(), pipeline_type == "elasticSearchReindex");
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

    /// The service of a server up to 1.2, with where its search index is.
    fn catalogue() -> Service {
        let index = json!({ "es_host": "es", "es_port": 9200, "es_password": "hunter2" });
        let connection = json!({ "config": {
            "type": "OpenMetadata", "hostPort": "http://om:8585/api",
            "elasticsSearch": { "type": "elasticsearch", "config": index },
        } });
        let document =
            json!({ "name": "shop.pg", "serviceType": "OpenMetadata", "connection": connection });
        Service::read(&document).unwrap()
    }

    fn of_line(minor: u32, pipeline_type: &str, service: Option<&Service>) -> Result<Value, Error> {
        let source_config = json!({ "type": "T", "useSSL": true, "recreateIndex": true });
        let pipeline = IngestionPipeline::read(&entity(pipeline_type, &source_config)).unwrap();
        let line = Some(ReleaseLine::new(1, minor));
        assert!(WorkflowConfig::depends_on_line(&pipeline));
        assert_eq!(
            WorkflowConfig::needs_service(line, &pipeline),
            WorkflowConfig::build_for(line, &pipeline, None).is_err() && minor < 5,
        );
        WorkflowConfig::build_for(line, &pipeline, service).map(|config| {
            assert!(!config.masked_text().contains("hunter2"));
            config.document
        })
    }

    /// As the builders of these lines do it.
    #[rstest]
    #[case(0, "dataInsight", true)]
    #[case(1, "dataInsight", true)]
    #[case(2, "dataInsight", false)]
    #[case(4, "dataInsight", false)]
    #[case(0, "elasticSearchReindex", true)]
    #[case(1, "elasticSearchReindex", false)]
    #[case(12, "elasticSearchReindex", false)]
    fn workers_that_write_to_the_search_index_are_told_where_it_is(
        #[case] minor: u32,
        #[case] pipeline_type: &str,
        #[case] writes: bool,
    ) {
        let config = of_line(minor, pipeline_type, Some(&catalogue())).unwrap();
        let index =
            json!({ "es_host": "es", "es_port": 9200, "es_password": "hunter2", "use_ssl": true });
        let sink = if writes { ("elasticsearch", index) } else { ("metadata-rest", json!({})) };
        assert_eq!(config["sink"], json!({ "type": sink.0, "config": sink.1 }));
        let has_source_config = !writes && pipeline_type == "elasticSearchReindex";
        assert_eq!(config["source"]["sourceConfig"].get("config").is_some(), has_source_config);
        let connection = &config["source"]["serviceConnection"];
        let is_reindex = pipeline_type == "elasticSearchReindex";
        assert_eq!(connection["config"]["type"] == "MetadataES", is_reindex);
    }

    #[test]
    fn a_type_that_the_line_does_not_have_is_refused_and_so_is_an_unknown_search_index() {
        let error = of_line(5, "dataInsight", Some(&catalogue())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "pipelineType dataInsight cannot run: ingestion workers since 1.5 do not support it"
        );
        let error = of_line(1, "dataInsight", Some(&postgres())).unwrap_err();
        assert_eq!(error, Error::NoSearchConnection("shop.pg".to_owned()));
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
        assert!(matches!(error(&document), Error::Unsupported { .. }));
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
