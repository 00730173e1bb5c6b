//! What runs besides pipelines: automations, such as a test of a connection, and applications
//! (docs/contracts/openmetadata-http.md#automation-workflow, #application). Both pass through
//! untouched to their worker.

use std::fmt;

use secrecy::SecretString;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::fields::Fields;
use crate::version::ReleaseLine;
use crate::{Problem, Problems, ServerConnection};

/// An entity that its worker gets whole. It holds a token and maybe credentials, so `Debug` shows
/// only who it is.
#[derive(Clone)]
pub struct TaskEntity {
    /// The entity's id, if it has one.
    pub id: Option<Uuid>,
    /// Its name.
    pub name: String,
    /// Its fully qualified name; the name when it has none.
    pub fully_qualified_name: String,
    /// How its worker reaches OpenMetadata, if the entity says so.
    pub server_connection: Option<ServerConnection>,
    document: Map<String, Value>,
}

impl TaskEntity {
    /// The entity as JSON: the value of the worker's `config`.
    #[must_use]
    pub fn text(&self) -> SecretString {
        Value::Object(self.document.clone()).to_string().into()
    }

    /// The worker gets the connection that it came with as it is, or this one.
    fn with_server_connection(mut self, connection: ServerConnection, for_worker: Value) -> Self {
        self.document.entry("openMetadataServerConnection").or_insert(for_worker);
        self.server_connection = Some(connection);
        self
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name: Option<String> =
            fields.parsed("name").filter(|name: &String| !name.trim().is_empty());
        if name.is_none() {
            fields.missing("name", "give the entity's name");
        }
        let fqn: Option<String> = fields.parsed("fullyQualifiedName");
        let connection = fields.object("openMetadataServerConnection", ServerConnection::read);
        Some(Self {
            id: fields.parsed("id"),
            fully_qualified_name: fqn.or_else(|| name.clone())?,
            name: name?,
            server_connection: connection.flatten(),
            document: fields.document().clone(),
        })
    }
}

impl fmt::Debug for TaskEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskEntity").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Defines an entity with a meaning of its own.
macro_rules! task {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(TaskEntity);

        impl $name {
            /// The entity.
            #[must_use]
            pub const fn entity(&self) -> &TaskEntity {
                &self.0
            }

            /// This one, whose server connection is what `connect` makes of the one that it has; the worker
            /// of that line gets it where it came without one.
            #[must_use]
            pub fn connected(
                self,
                worker: Option<ReleaseLine>,
                connect: impl FnOnce(Option<ServerConnection>) -> Option<ServerConnection>,
            ) -> Self {
                match connect(self.0.server_connection.clone()) {
                    Some(connection) => {
                        let for_worker = connection.for_worker(worker);
                        Self(self.0.with_server_connection(connection, for_worker))
                    }
                    None => self,
                }
            }
        }
    };
}

task! {
    /// An automation: a workflow that tests a connection or reverses an ingestion.
    AutomationWorkflow
}

task! {
    /// An application of OpenMetadata.
    Application
}

impl AutomationWorkflow {
    /// Reads a workflow entity.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(document: &Value) -> Result<Self, Problems> {
        read("automation workflow", document, |fields| {
            for (key, remedy) in
                [("workflowType", "such as TEST_CONNECTION"), ("request", "it says what to test")]
            {
                if fields.value(key).is_none() {
                    fields.missing(key, remedy);
                }
            }
        })
        .map(Self)
    }
}

impl Application {
    /// Reads an application entity, or its definition in the marketplace. One that runs outside of
    /// the server must name its class: as `sourcePythonClass`, or, as older servers send it, as
    /// `className` alone.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(document: &Value) -> Result<Self, Problems> {
        read("application", document, |fields| {
            let is_external = fields.string("appType").is_some_and(|kind| kind == "external");
            let classes = [fields.string("sourcePythonClass"), fields.string("className")];
            let has_class = classes.iter().flatten().any(|class| !class.trim().is_empty());
            if is_external && !has_class {
                fields.missing("sourcePythonClass", "an external application must name its class");
            }
        })
        .map(Self)
    }
}

fn read(
    subject: &'static str,
    document: &Value,
    check: impl FnOnce(&mut Fields<'_>),
) -> Result<TaskEntity, Problems> {
    let Some(map) = document.as_object() else {
        return Err(Problems::one(subject, Problem::without_value("document", "must be one map")));
    };
    let mut fields = Fields::new("", map);
    let entity = TaskEntity::read(&mut fields);
    check(&mut fields);
    match (entity, fields.into_problems()) {
        (Some(entity), list) if list.is_empty() => Ok(entity),
        (_, list) => Err(Problems { subject, list }),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::*;

    fn automation() -> Value {
        json!({
            "id": "11111111-2222-3333-4444-555555555555", "name": "test-connection-Postgres-x",
            "workflowType": "TEST_CONNECTION", "request": { "connection": { "password": "hunter2" } },
            "fieldOfTheFuture": 1,
        })
    }

    #[test]
    fn an_automation_passes_through_untouched() {
        let workflow = AutomationWorkflow::read(&automation()).unwrap();
        let text: Value = serde_json::from_str(workflow.entity().text().expose_secret()).unwrap();
        assert_eq!(text, automation());
        assert!(!format!("{workflow:?}").contains("hunter2"));
        assert_eq!(workflow.entity().fully_qualified_name, "test-connection-Postgres-x");
    }

    #[rstest]
    #[case(json!({}), &["name", "workflowType", "request"])]
    #[case(json!({ "name": "a", "workflowType": "T", "request": {}, "id": "x" }), &["id"])]
    #[case(json!([]), &["document"])]
    fn a_bad_automation_is_refused(#[case] document: Value, #[case] expected: &[&str]) {
        let problems = AutomationWorkflow::read(&document).unwrap_err();
        let fields: Vec<&str> = problems.list.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(fields, expected);
    }

    #[rstest]
    #[case(json!({ "name": "a", "appType": "internal" }), true)]
    #[case(json!({ "name": "a", "appType": "external", "sourcePythonClass": "x.Y" }), true)]
    #[case(json!({ "name": "a", "appType": "external" }), false)]
    fn an_external_application_names_its_class(#[case] document: Value, #[case] valid: bool) {
        assert_eq!(Application::read(&document).is_ok(), valid);
    }
}
