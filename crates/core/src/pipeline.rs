//! The `IngestionPipeline` entity of OpenMetadata, as far as ompipe needs it (contract §7.1).
//!
//! Reading is lenient: fields that a newer server adds are kept, untouched, in the document. What
//! ompipe relies on is checked, all of it at once.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::fields::Fields;
use crate::{Problems, Schedule, ServerConnection, Zone};

/// What is being read, in messages.
const SUBJECT: &str = "ingestion pipeline";
/// Longest name of a pipeline, in characters (design §4).
const MAX_NAME: usize = 512;

/// One ingestion pipeline. Its document holds credentials, so `Debug` shows only who it is.
#[derive(Clone)]
pub struct IngestionPipeline {
    /// Which pipeline this is.
    pub identity: PipelineIdentity,
    /// What it ingests.
    pub pipeline_type: PipelineType,
    /// `sourceConfig.config`, as given.
    pub source_config: Map<String, Value>,
    /// The service it belongs to; only application pipelines may have none.
    pub service: Option<ServiceReference>,
    /// How the worker reaches OpenMetadata. The OpenMetadata API never returns it.
    pub server_connection: Option<ServerConnection>,
    /// When it runs by itself; `None` is on demand only.
    pub schedule: Option<Schedule>,
    /// How many of its runs may go on at a time; a further one waits.
    pub max_active_runs: MaxActiveRuns,
    /// False stops the schedule, not runs on demand.
    pub enabled: bool,
    /// How much the worker logs.
    pub logger_level: LoggerLevel,
    /// Whether failed steps end the worker with exit code 1; `None` leaves it to the worker.
    pub raise_on_error: Option<bool>,
    /// Whether the worker sends its log to the OpenMetadata server.
    pub enable_streamable_logs: bool,
    /// Name of the ingestion runner that the pipeline asks for.
    pub ingestion_runner: Option<String>,
    document: Map<String, Value>,
}

impl IngestionPipeline {
    /// Reads the entity as the OpenMetadata API returns it, or as a person wrote it.
    ///
    /// # Errors
    /// Every problem, each with its field.
    pub fn read(document: &Value) -> Result<Self, Problems> {
        let Some(map) = document.as_object() else {
            let problem = crate::Problem::without_value("document", "must be one map of fields");
            return Err(Problems::one(SUBJECT, problem));
        };
        let mut fields = Fields::new("", map);
        let pipeline = Self::read_fields(&mut fields, map);
        match (pipeline, fields.into_problems()) {
            (Some(pipeline), list) if list.is_empty() => Ok(pipeline),
            (_, list) => Err(Problems { subject: SUBJECT, list }),
        }
    }

    /// Reads every field before it gives up on one, so that every problem is noted.
    fn read_fields(fields: &mut Fields<'_>, document: &Map<String, Value>) -> Option<Self> {
        let pipeline_type = required(fields, "pipelineType", "set it to metadata, profiler, …");
        let service = fields.object("service", ServiceReference::read);
        if service.is_none() && pipeline_type != Some(PipelineType::Application) {
            fields.missing("service", "name the service that this pipeline ingests");
        }
        let service = service.flatten();
        let identity = PipelineIdentity::read(fields, service.as_ref());
        let source_config = read_source_config(fields);
        Some(Self {
            service,
            schedule: fields.object("airflowConfig", read_schedule).flatten(),
            max_active_runs: fields
                .object("airflowConfig", |airflow| airflow.parsed("maxActiveRuns"))
                .flatten()
                .unwrap_or_default(),
            server_connection: fields
                .object("openMetadataServerConnection", ServerConnection::read)
                .flatten(),
            enabled: fields.boolean("enabled").unwrap_or(true),
            logger_level: fields.parsed("loggerLevel").unwrap_or_default(),
            raise_on_error: fields.boolean("raiseOnError"),
            enable_streamable_logs: fields.boolean("enableStreamableLogs").unwrap_or(false),
            ingestion_runner: fields.object("ingestionRunner", |f| f.parsed("name")).flatten(),
            document: document.clone(),
            // The fields without which there is no pipeline come last, after every other was read.
            pipeline_type: pipeline_type?,
            identity: identity?,
            source_config: source_config?,
        })
    }

    /// The whole entity, with everything that ompipe does not know.
    #[must_use]
    pub fn document(&self) -> Value {
        Value::Object(self.document.clone())
    }

    /// This pipeline with a server connection, which the OpenMetadata API leaves out.
    #[must_use]
    pub fn with_server_connection(mut self, connection: ServerConnection) -> Self {
        self.document.insert("openMetadataServerConnection".to_owned(), connection.to_value());
        self.server_connection = Some(connection);
        self
    }
}

impl fmt::Debug for IngestionPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestionPipeline")
            .field("identity", &self.identity)
            .field("pipeline_type", &self.pipeline_type)
            .finish_non_exhaustive()
    }
}

/// Who a pipeline is: the id decides, name and FQN are for people and for OpenMetadata's API.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineIdentity {
    /// The entity's id; a hand-written pipeline without one gets one derived from its FQN.
    pub id: Uuid,
    /// The entity's name, unique within its service.
    pub name: String,
    /// Fully qualified name: unique in the server, the key of its status.
    pub fully_qualified_name: String,
}

impl PipelineIdentity {
    fn read(fields: &mut Fields<'_>, service: Option<&ServiceReference>) -> Option<Self> {
        let given: Option<EntityId> = fields.parsed("id");
        let name: PipelineName = required(fields, "name", "give the pipeline a name")?;
        let fully_qualified_name =
            fields.parsed("fullyQualifiedName").unwrap_or_else(|| match service {
                Some(service) => format!("{}.{}", service.fqn(), quote_fqn_part(&name.0)),
                None => quote_fqn_part(&name.0),
            });
        let derived = || Uuid::new_v5(&Uuid::NAMESPACE_URL, fully_qualified_name.as_bytes());
        Some(Self { id: given.map_or_else(derived, |id| id.0), name: name.0, fully_qualified_name })
    }

    /// True when both stand for one pipeline: the same entity, or what took its FQN after it was
    /// deleted and made anew.
    #[must_use]
    pub fn is_same_pipeline(&self, other: &Self) -> bool {
        self.id == other.id || self.fully_qualified_name == other.fully_qualified_name
    }
}

/// How many runs of a pipeline may go on at a time (`airflowConfig.maxActiveRuns`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxActiveRuns(u16);

impl MaxActiveRuns {
    /// The number, at least 1.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl Default for MaxActiveRuns {
    fn default() -> Self {
        Self(1)
    }
}

impl FromStr for MaxActiveRuns {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().filter(|number| *number > 0);
        number.map(Self).ok_or("must be a whole number from 1 to 65535")
    }
}

impl fmt::Display for MaxActiveRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One part of an FQN, quoted as OpenMetadata does when it holds a dot or a quote.
#[must_use]
pub fn quote_fqn_part(name: &str) -> String {
    if name.contains(['.', '"']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

struct PipelineName(String);

impl FromStr for PipelineName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().count();
        if text.trim().is_empty() || length > MAX_NAME || text.contains('\0') {
            return Err(format!("must have 1 to {MAX_NAME} characters and no NUL"));
        }
        Ok(Self(text.to_owned()))
    }
}

struct EntityId(Uuid);

impl FromStr for EntityId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| "must be a UUID; leave it out to have one derived")
    }
}

/// The service of a pipeline, as the pipeline names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReference {
    /// `databaseService`, `messagingService`, ...
    pub kind: String,
    /// Name of the service; goes into the workflow config.
    pub name: String,
    /// Its FQN, when the reference has it.
    pub fully_qualified_name: Option<String>,
}

impl ServiceReference {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let fully_qualified_name: Option<String> = fields.parsed("fullyQualifiedName");
        let name = fields.parsed("name").or_else(|| fully_qualified_name.clone());
        let kind = required(fields, "type", "such as databaseService");
        if name.is_none() {
            fields.missing("name", "name the service that this pipeline ingests");
        }
        Some(Self { kind: kind?, name: name?, fully_qualified_name })
    }

    /// Its FQN; a service has no parent, so the quoted name is one.
    #[must_use]
    pub fn fqn(&self) -> String {
        self.fully_qualified_name.clone().unwrap_or_else(|| quote_fqn_part(&self.name))
    }
}

/// What a pipeline ingests (contract §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PipelineType {
    /// Metadata of a service of any kind.
    Metadata,
    /// Query logs: who used which table.
    Usage,
    /// Lineage from views and query logs.
    Lineage,
    /// Data profiles.
    Profiler,
    /// Classification of columns by samples.
    AutoClassification,
    /// Data quality tests.
    TestSuite,
    /// Reports on the catalogue; no worker of today runs it.
    DataInsight,
    /// Rebuilds the search index.
    ElasticSearchReindex,
    /// dbt manifests, catalogs and results.
    Dbt,
    /// An application of OpenMetadata.
    Application,
    /// Access policies of a service (newest servers).
    PolicyAgent,
}

impl PipelineType {
    /// Every type, in the order of OpenMetadata's schema.
    pub const ALL: [Self; 11] = [
        Self::Metadata,
        Self::Usage,
        Self::Lineage,
        Self::Profiler,
        Self::AutoClassification,
        Self::TestSuite,
        Self::DataInsight,
        Self::ElasticSearchReindex,
        Self::Dbt,
        Self::Application,
        Self::PolicyAgent,
    ];

    /// The name in OpenMetadata's schema, also the worker's `pipelineType`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Usage => "usage",
            Self::Lineage => "lineage",
            Self::Profiler => "profiler",
            Self::AutoClassification => "autoClassification",
            Self::TestSuite => "TestSuite",
            Self::DataInsight => "dataInsight",
            Self::ElasticSearchReindex => "elasticSearchReindex",
            Self::Dbt => "dbt",
            Self::Application => "application",
            Self::PolicyAgent => "policyAgent",
        }
    }

    /// Under which key the log of a run is answered (contract §3.9).
    #[must_use]
    pub const fn task_key(self) -> &'static str {
        match self {
            Self::Metadata | Self::PolicyAgent => "ingestion_task",
            Self::Usage => "usage_task",
            Self::Lineage => "lineage_task",
            Self::Profiler => "profiler_task",
            Self::AutoClassification => "auto_classification_task",
            Self::TestSuite => "test_suite_task",
            Self::DataInsight => "data_insight_task",
            Self::ElasticSearchReindex => "elasticsearch_reindex_task",
            Self::Dbt => "dbt_task",
            Self::Application => "application_task",
        }
    }
}

impl FromStr for PipelineType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("must be one of {known}")
        })
    }
}

impl fmt::Display for PipelineType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much the worker logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoggerLevel {
    /// Everything.
    Debug,
    /// The default.
    #[default]
    Info,
    /// Warnings and errors.
    Warn,
    /// Errors only.
    Error,
}

impl LoggerLevel {
    const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The name in the workflow config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

impl FromStr for LoggerLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|level| level.as_str() == text);
        known.ok_or("must be one of DEBUG, INFO, WARN, ERROR")
    }
}

/// A field without which the entity means nothing.
fn required<T>(fields: &mut Fields<'_>, key: &'static str, remedy: &str) -> Option<T>
where
    T: FromStr<Err: fmt::Display>,
{
    if fields.value(key).is_none() {
        fields.missing(key, remedy);
    }
    fields.parsed(key)
}

/// `sourceConfig.config`. A caller without the right to see it gets it emptied by the server
/// (contract §3.1), and such a pipeline cannot run.
fn read_source_config(fields: &mut Fields<'_>) -> Option<Map<String, Value>> {
    let config = fields.object("sourceConfig", |source| {
        source
            .value("config")
            .and_then(Value::as_object)
            .filter(|config| !config.is_empty())
            .cloned()
    });
    config.flatten().or_else(|| {
        let remedy = "sourceConfig.config must be a filled map; the server empties it for users \
                      who may not view the pipeline's details";
        fields.note_secret("sourceConfig", remedy)
    })
}

/// `airflowConfig.scheduleInterval` in `airflowConfig.pipelineTimezone`.
fn read_schedule(airflow: &mut Fields<'_>) -> Option<Schedule> {
    let zone = match airflow.value("pipelineTimezone") {
        Some(_) => airflow.parsed("pipelineTimezone")?,
        None => Zone::UTC,
    };
    let text = airflow.string("scheduleInterval")?;
    // Airflow's name for "on demand"; an emptied form field means the same.
    if text.trim().is_empty() || text.trim().eq_ignore_ascii_case("none") {
        return None;
    }
    match Schedule::new(text, zone) {
        Ok(schedule) => Some(schedule),
        Err(remedy) => airflow.note("scheduleInterval", remedy),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn metadata() -> Value {
        json!({
            "name": "shop_metadata",
            "pipelineType": "metadata",
            "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
            "airflowConfig": { "scheduleInterval": "@daily", "pipelineTimezone": "Europe/Berlin" },
            "service": { "type": "databaseService", "name": "shop.pg" },
        })
    }

    fn with(key: &str, value: Value) -> Value {
        let mut document = metadata();
        document[key] = value;
        document
    }

    #[test]
    fn reads_what_a_person_wrote() {
        let pipeline = IngestionPipeline::read(&metadata()).unwrap();
        assert_eq!(pipeline.identity.fully_qualified_name, "\"shop.pg\".shop_metadata");
        assert!(pipeline.enabled);
        assert_eq!(pipeline.schedule.unwrap().as_cron(), "0 0 * * *");
        assert_eq!(pipeline.logger_level, LoggerLevel::Info);
    }

    #[test]
    fn the_id_of_a_pipeline_without_one_is_stable() {
        let id = || IngestionPipeline::read(&metadata()).unwrap().identity.id;
        assert_eq!(id(), id());
        let other = with("fullyQualifiedName", json!("other.shop_metadata"));
        assert_ne!(id(), IngestionPipeline::read(&other).unwrap().identity.id);
    }

    #[test]
    fn unknown_fields_pass_through_untouched() {
        let document = with("fieldOfTheFuture", json!({ "deep": [1, "two"] }));
        assert_eq!(IngestionPipeline::read(&document).unwrap().document(), document);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let document = json!({
            "pipelineType": "metadat",
            "sourceConfig": {},
            "airflowConfig": { "scheduleInterval": "61 * * * *", "pipelineTimezone": "UTC" },
            "loggerLevel": "LOUD",
            "enabled": "perhaps",
            "id": "not-a-uuid",
        });
        let problems = IngestionPipeline::read(&document).unwrap_err();
        let fields: Vec<&str> = problems.list.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "pipelineType",
                "service",
                "id",
                "name",
                "sourceConfig",
                "airflowConfig.scheduleInterval",
                "enabled",
                "loggerLevel",
            ],
            "{problems}"
        );
    }

    #[rstest]
    #[case("scheduleInterval", json!("None"))]
    #[case("scheduleInterval", json!(""))]
    #[case("scheduleInterval", Value::Null)]
    fn no_schedule_is_on_demand(#[case] key: &str, #[case] value: Value) {
        let document = with("airflowConfig", json!({ key: value }));
        assert_eq!(IngestionPipeline::read(&document).unwrap().schedule, None);
    }

    #[rstest]
    #[case("airflowConfig", json!({ "scheduleInterval": "@daily", "pipelineTimezone": "Mars" }), "airflowConfig.pipelineTimezone")]
    #[case("name", json!(""), "name")]
    #[case("name", json!("n".repeat(513)), "name")]
    #[case("service", Value::Null, "service")]
    #[case("service", json!({ "name": "x" }), "service.type")]
    #[case("sourceConfig", json!({ "config": {} }), "sourceConfig")]
    fn a_bad_field_is_named(#[case] key: &str, #[case] value: Value, #[case] field: &str) {
        let problems = IngestionPipeline::read(&with(key, value)).unwrap_err();
        assert_eq!(problems.list.len(), 1, "{problems}");
        assert_eq!(problems.list[0].field, field);
    }

    #[test]
    fn debug_shows_no_credential() {
        let secret =
            json!({ "hostPort": "http://om/api", "securityConfig": { "jwtToken": "t0ps3cret" } });
        let pipeline =
            IngestionPipeline::read(&with("openMetadataServerConnection", secret)).unwrap();
        assert!(!format!("{pipeline:?}").contains("t0ps3cret"));
    }

    #[rstest]
    #[case("plain", "plain")]
    #[case("with.dot", "\"with.dot\"")]
    #[case("with\"quote", "\"with\"\"quote\"")]
    fn fqn_parts_are_quoted_as_openmetadata_does(#[case] name: &str, #[case] quoted: &str) {
        assert_eq!(quote_fqn_part(name), quoted);
    }
}
