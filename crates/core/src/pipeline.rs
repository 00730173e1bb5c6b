//! The `IngestionPipeline` entity of OpenMetadata, as far as ompipe needs it
//! (docs/contracts/openmetadata-http.md#ingestion-pipeline).
//!
//! Reading is lenient: fields that a newer server adds are kept, untouched, in the document. What
//! ompipe relies on is checked, all of it at once.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::airflow::AirflowConfig;
use crate::fields::Fields;
use crate::spread::Spread;
use crate::{Problem, Problems, Schedule, ServerConnection, Zone};

/// What is being read, in messages.
const SUBJECT: &str = "ingestion pipeline";
/// Longest name of a pipeline, in characters. Such names go into annotations, not into labels.
const MAX_NAME: usize = 512;

/// Keys of the entity that ompipe has no use for.
const OTHER_KEYS: &[&str] = &[
    "applicationType",
    "certification",
    "changeDescription",
    "dataProducts",
    "deleted",
    "deployed",
    "description",
    "displayName",
    "domain",
    "domains",
    "entityStatus",
    "experts",
    "extension",
    "followers",
    "href",
    "impersonatedBy",
    "incrementalChangeDescription",
    "lifeCycle",
    "owner",
    "owners",
    "pipelineStatuses",
    "processingEngine",
    "provider",
    "reviewers",
    "style",
    "tags",
    "updatedAt",
    "updatedBy",
    "usageSummary",
    "version",
    "votes",
];
/// Keys of a reference to an entity.
const REFERENCE_KEYS: &[&str] = &[
    "deleted",
    "description",
    "displayName",
    "fullyQualifiedName",
    "href",
    "id",
    "inherited",
    "name",
    "type",
];

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
    /// True when a file says nothing about whether the schedule is on: a deploy leaves that as it is.
    pub keeps_suspension: bool,
    /// What the pipeline says about its own runs.
    pub airflow: AirflowConfig,
    /// How much the worker logs.
    pub logger_level: LoggerLevel,
    /// Whether failed steps end the worker with exit code 1; `None` leaves it to the worker.
    pub raise_on_error: Option<bool>,
    /// Whether the worker sends its log to the OpenMetadata server.
    pub enable_streamable_logs: bool,
    /// Name of the ingestion runner that the pipeline asks for.
    pub ingestion_runner: Option<String>,
    /// Unknown keys of what a server sent, and other notices for the user who deploys it.
    remarks: Vec<String>,
    document: Map<String, Value>,
}

impl IngestionPipeline {
    /// Reads the entity as the OpenMetadata API returns it, or as it was stored.
    ///
    /// # Errors
    /// Every problem, each with its field.
    pub fn read(document: &Value) -> Result<Self, Problems> {
        Self::read_all(document, false)
    }

    /// Reads the entity as a person wrote it: an unknown key is a mistake, and what is not written
    /// about the schedule's suspension changes nothing.
    ///
    /// # Errors
    /// As [`Self::read`], and unknown keys.
    pub fn read_file(document: &Value) -> Result<Self, Problems> {
        Self::read_all(document, true)
    }

    fn read_all(document: &Value, is_file: bool) -> Result<Self, Problems> {
        let Some(map) = document.as_object() else {
            let problem = crate::Problem::without_value("document", "must be one map of fields");
            return Err(Problems::one(SUBJECT, problem));
        };
        let mut fields = Fields::new("", map);
        let mut pipeline = Self::read_fields(&mut fields, map, is_file);
        let unknown = unknown_keys(&mut fields);
        if is_file {
            fields.extend(unknown);
        } else if let Some(pipeline) = &mut pipeline {
            pipeline.remarks.extend(unknown.iter().map(ToString::to_string));
        }
        match (pipeline, fields.into_problems()) {
            (Some(pipeline), list) if list.is_empty() => Ok(pipeline),
            (_, list) => Err(Problems { subject: SUBJECT, list }),
        }
    }

    /// Reads every field before it gives up on one, so that every problem is noted.
    fn read_fields(
        fields: &mut Fields<'_>,
        document: &Map<String, Value>,
        is_file: bool,
    ) -> Option<Self> {
        let pipeline_type = required(fields, "pipelineType", "set it to metadata, profiler, …");
        let service = fields.object("service", ServiceReference::read);
        if service.is_none() && pipeline_type != Some(PipelineType::Application) {
            fields.missing("service", "name the service that this pipeline ingests");
        }
        let service = service.flatten();
        let identity = PipelineIdentity::read(fields, service.as_ref());
        let source_config = read_source_config(fields);
        let airflow =
            fields.object("airflowConfig", |airflow| AirflowConfig::read(airflow, is_file));
        let airflow = airflow.unwrap_or_default();
        let enabled = fields.boolean("enabled");
        let schedule = fields.object("airflowConfig", read_schedule).flatten();
        Some(Self {
            remarks: remarks_of(schedule.as_ref(), enabled, &airflow),
            keeps_suspension: is_file && enabled.is_none() && airflow.pause_pipeline.is_none(),
            service,
            schedule,
            max_active_runs: fields
                .object("airflowConfig", |airflow| airflow.parsed("maxActiveRuns"))
                .flatten()
                .unwrap_or_default(),
            server_connection: fields
                .object("openMetadataServerConnection", ServerConnection::read)
                .flatten(),
            enabled: enabled.unwrap_or_else(|| !airflow.pause_pipeline.unwrap_or(false)),
            airflow,
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

    /// This pipeline with its slots moved within `window`, and what there is to say about that.
    #[must_use]
    pub fn with_spread(mut self, window: Spread) -> Self {
        let Some(schedule) = self.schedule.take() else { return self };
        let said = schedule.remarks().len();
        let schedule = schedule.spread(window, self.identity.id);
        self.remarks.extend(schedule.remarks().iter().skip(said).cloned());
        self.schedule = Some(schedule);
        self
    }

    /// Notices for the user who deploys this: keys that are unknown or have no effect, and steps of
    /// the schedule that Kubernetes reads otherwise.
    #[must_use]
    pub fn notices(&self, now: jiff::Timestamp) -> Vec<String> {
        let without_effect = self.airflow.without_effect(now, self.schedule.is_some());
        let remarks = self.remarks.iter().cloned().chain(without_effect);
        remarks.chain(self.notice_of_token()).collect()
    }

    /// The notice that only the worker can report, because only the worker can read the token.
    fn notice_of_token(&self) -> Option<String> {
        let is_elsewhere = self.server_connection.as_ref()?.token_is_elsewhere();
        is_elsewhere.then(|| {
            "the bot's token names an entry of a secrets manager, which only the worker reads: nobody \
             reports a run whose worker cannot. Give ompipe a token of its own (--token-file)"
                .to_owned()
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
        let derived = || derived_id(&fully_qualified_name);
        Some(Self { id: given.map_or_else(derived, |id| id.0), name: name.0, fully_qualified_name })
    }

    /// True when the id is derived from the FQN, because the pipeline came without one of OpenMetadata.
    #[must_use]
    pub fn has_derived_id(&self) -> bool {
        self.id == derived_id(&self.fully_qualified_name)
    }

    /// True if both identify one pipeline: the same entity, or what took its FQN after it was
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

/// The last part of an FQN, as it is without quotes: the name of the entity itself.
#[must_use]
pub fn last_fqn_part(fqn: &str) -> String {
    let mut quoted = false;
    let is_end = |(at, c): (usize, char)| {
        quoted ^= c == '"';
        (c == '.' && !quoted).then_some(at + 1)
    };
    let start = fqn.char_indices().filter_map(is_end).last().unwrap_or_default();
    let part = &fqn[start..];
    match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => part.to_owned(),
    }
}

/// The id of a pipeline that has none of OpenMetadata.
fn derived_id(fqn: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, fqn.as_bytes())
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

/// What a pipeline ingests (docs/contracts/openmetadata-http.md#ingestion-pipeline).
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

    /// Under which key the log of a run is answered (docs/contracts/openmetadata-http.md#logs).
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

/// A problem for each unknown key of the entity and of the maps in it that have a schema of their
/// own; keys of the document that begin with `x-` hold anchors for others.
fn unknown_keys(fields: &mut Fields<'_>) -> Vec<Problem> {
    fields.know(OTHER_KEYS);
    let mut unknown = fields.unknown();
    unknown.retain(|problem| !problem.field.starts_with("x-"));
    let mut within = |key: &'static str, known: &[&'static str]| {
        if let Some(map) = fields.value(key).and_then(Value::as_object) {
            let mut inner = Fields::new(key, map);
            inner.know(known);
            unknown.append(&mut inner.unknown());
        }
    };
    within("airflowConfig", crate::airflow::KEYS);
    within("sourceConfig", &["config"]);
    within("service", REFERENCE_KEYS);
    unknown
}

/// What is to be said about the schedule, and about two keys that contradict each other.
fn remarks_of(
    schedule: Option<&Schedule>,
    enabled: Option<bool>,
    airflow: &AirflowConfig,
) -> Vec<String> {
    let of_schedule = schedule.into_iter().flat_map(Schedule::remarks);
    let in_field = |remark: &String| format!("airflowConfig.scheduleInterval: {remark}");
    let mut remarks: Vec<String> = of_schedule.map(in_field).collect();
    if enabled == Some(true) && airflow.pause_pipeline == Some(true) {
        remarks.push("airflowConfig.pausePipeline has no effect: enabled is true".to_owned());
    }
    remarks
}

/// `sourceConfig.config`. A caller without the right to see it gets it emptied by the server
/// (docs/contracts/openmetadata-http.md#deploy), and such a pipeline cannot run.
fn read_source_config(fields: &mut Fields<'_>) -> Option<Map<String, Value>> {
    let config = fields.object("sourceConfig", |source| {
        source
            .value("config")
            .and_then(Value::as_object)
            .filter(|config| !config.is_empty())
            .cloned()
    });
    config.flatten().or_else(|| {
        let remedy = "sourceConfig.config is empty and must have at least the key type, such as \
                      DatabaseMetadata; OpenMetadata also empties it for users who may not view \
                      the pipeline's details";
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

    #[rstest]
    #[case::reference("secret:/om/bot", true)]
    #[case::token("eyJ.x.y", false)]
    fn a_token_that_only_the_worker_reads_is_noted(#[case] token: &str, #[case] noted: bool) {
        let connection =
            json!({ "hostPort": "http://om/api", "securityConfig": { "jwtToken": token } });
        let document = with("openMetadataServerConnection", connection);
        let notices =
            IngestionPipeline::read(&document).unwrap().notices(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(notices.iter().any(|notice| notice.contains("secrets manager")), noted);
    }

    #[test]
    fn unknown_keys_of_a_file_are_mistakes_and_of_a_server_notices() {
        let mut document = metadata();
        document["loggerLevl"] = "hunter2".into();
        document["airflowConfig"]["scheduleIntervall"] = "hunter2".into();
        document["sourceConfig"]["confg"] = "hunter2".into();
        document["service"]["nam"] = "hunter2".into();
        document["x-defaults"] = json!({ "a": 1 });
        let problems = IngestionPipeline::read_file(&document).unwrap_err();
        let told = problems.to_string();
        for known in ["loggerLevel", "scheduleInterval", "config", "name"] {
            assert!(told.contains(&format!("did you mean {known}?")), "{told}");
        }
        assert_eq!(problems.list.len(), 4, "{told}");
        assert!(!told.contains("hunter2"));
        let pipeline = IngestionPipeline::read(&document).unwrap();
        assert_eq!(pipeline.notices(jiff::Timestamp::UNIX_EPOCH).len(), 4);
    }

    #[rstest]
    #[case(json!({}), true, true)]
    #[case(json!({ "enabled": true }), true, false)]
    #[case(json!({ "enabled": false }), false, false)]
    #[case(json!({ "airflowConfig": { "pausePipeline": true } }), false, false)]
    #[case(json!({ "airflowConfig": { "pausePipeline": false } }), true, false)]
    #[case(json!({ "enabled": true, "airflowConfig": { "pausePipeline": true } }), true, false)]
    fn in_a_file_only_what_is_written_switches_the_schedule(
        #[case] written: Value,
        #[case] enabled: bool,
        #[case] keeps: bool,
    ) {
        let mut document = metadata();
        for (key, value) in written.as_object().unwrap() {
            document[key.as_str()] = value.clone();
        }
        let of_file = IngestionPipeline::read_file(&document).unwrap();
        assert_eq!((of_file.enabled, of_file.keeps_suspension), (enabled, keeps));
        let of_server = IngestionPipeline::read(&document).unwrap();
        assert_eq!((of_server.enabled, of_server.keeps_suspension), (enabled, false));
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
                "enabled",
                "airflowConfig.scheduleInterval",
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

    proptest::proptest! {
        #[test]
        fn the_last_part_of_an_fqn_is_the_name(service in "\\PC{1,20}", name in "\\PC{1,20}") {
            let fqn = format!("{}.{}", quote_fqn_part(&service), quote_fqn_part(&name));
            proptest::prop_assert_eq!(last_fqn_part(&fqn), name);
        }
    }
}
