//! Entities that tests and the demo start from.

use serde_json::{Value, json};

use super::Standin;
use super::clock::now_ms;
use super::collection;
use super::entity::{Object, reference};
use super::shared::Shared;
use super::store::Refused;

/// Access to a PostgreSQL database as a service connection says it.
#[derive(Clone, Debug)]
pub struct PostgresConnection {
    /// `host:port` as the ingestion reaches it.
    pub host_port: String,
    /// The database.
    pub database: String,
    /// The login role.
    pub username: String,
    /// Its password.
    pub password: String,
}

impl PostgresConnection {
    /// The `connection` of a database service.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "config": {
                "type": "Postgres",
                "scheme": "postgresql+psycopg2",
                "username": self.username,
                "authType": { "password": self.password },
                "hostPort": self.host_port,
                "database": self.database,
            }
        })
    }
}

impl Standin {
    /// Creates or updates any entity; `kind` is the type in entity references, such as `table`.
    pub fn add(&self, kind: &str, body: &Value) -> Result<Value, Refused> {
        put(&self.shared, kind, body)
    }

    /// Creates or updates a service; `kind` is the `service.type` of its pipelines, such as
    /// `messagingService`, and `service_type` the technology, such as `Kafka`.
    pub fn add_service(
        &self,
        kind: &str,
        name: &str,
        service_type: &str,
        connection: &Value,
    ) -> Result<Value, Refused> {
        let body = json!({ "name": name, "serviceType": service_type, "connection": connection });
        self.add(kind, &body)
    }

    /// Creates or updates a PostgreSQL service.
    pub fn add_postgres_service(
        &self,
        name: &str,
        connection: &PostgresConnection,
    ) -> Result<Value, Refused> {
        self.add_service("databaseService", name, "Postgres", &connection.to_json())
    }

    /// Creates or updates an ingestion pipeline of a service, given the service's `kind` and entity.
    ///
    /// `fields` needs `name`, `pipelineType` and `sourceConfig`; an absent `airflowConfig` means
    /// "on demand".
    pub fn add_pipeline(
        &self,
        kind: &str,
        service: &Value,
        fields: &Value,
    ) -> Result<Value, Refused> {
        let mut body = object(fields)?;
        body.insert("service".to_owned(), reference(&object(service)?, kind));
        body.entry("airflowConfig").or_insert_with(|| json!({}));
        self.add("ingestionPipeline", &Value::Object(body))
    }

    /// A pipeline as the real server hands it to its orchestrator: with the access to the server.
    #[must_use]
    pub fn deployable(&self, pipeline: &Value) -> Value {
        let mut pipeline = pipeline.clone();
        pipeline["openMetadataServerConnection"] = self.server_connection();
        pipeline
    }

    /// How a worker reaches this server.
    #[must_use]
    pub fn server_connection(&self) -> Value {
        json!({
            "clusterName": "openmetadata",
            "type": "OpenMetadata",
            "hostPort": self.url(),
            "authProvider": "openmetadata",
            "verifySSL": "no-ssl",
            "securityConfig": { "jwtToken": self.token() },
            "secretsManagerProvider": "db",
            "secretsManagerLoader": "noop",
            "apiVersion": "v1",
            "enableVersionValidation": true,
        })
    }
}

fn put(shared: &Shared, kind: &str, body: &Value) -> Result<Value, Refused> {
    let unknown = || Refused::Invalid(format!("unknown entity type `{kind}`"));
    let collection = collection::by_kind(kind).ok_or_else(unknown)?;
    let body = object(body)?;
    let written = shared.write(|world| world.store.put(collection, &body, now_ms()))?;
    Ok(Value::Object(written.entity))
}

fn object(value: &Value) -> Result<Object, Refused> {
    let not_an_object = || Refused::Invalid(format!("not an object: {value}"));
    value.as_object().cloned().ok_or_else(not_an_object)
}

/// The steps that the ingestion takes to try a connection: a server without them is refused.
pub(super) fn connection_tests(shared: &Shared) -> Result<(), Refused> {
    let step = |name: &str, mandatory: bool, short_circuit: bool| {
        json!({
            "name": name, "description": name, "mandatory": mandatory,
            "shortCircuit": short_circuit, "errorMessage": format!("{name} failed"),
        })
    };
    let definition = json!({
        "name": "Postgres",
        "displayName": "Postgres Test Connection",
        "steps": [
            step("CheckAccess", true, true),
            step("GetSchemas", true, false),
            step("GetTables", true, false),
            step("GetViews", false, false),
        ],
    });
    put(shared, "testConnectionDefinition", &definition).map(|_| ())
}
