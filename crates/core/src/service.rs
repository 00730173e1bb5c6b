//! The service entity of a pipeline: what kind of system it is, and how to reach it
//! (docs/contracts/openmetadata-http.md#service).

use std::fmt;

use serde_json::Value;

use crate::fields::Fields;
use crate::{Problem, Problems};

/// What is being read, in messages.
const SUBJECT: &str = "service";
/// Keys of a service entity that ompipe has no use for.
const OTHER_KEYS: &[&str] = &[
    "certification",
    "changeDescription",
    "dataProducts",
    "deleted",
    "description",
    "displayName",
    "domain",
    "domains",
    "entityStatus",
    "extension",
    "followers",
    "fullyQualifiedName",
    "href",
    "id",
    "impersonatedBy",
    "incrementalChangeDescription",
    "ingestionAgent",
    "ingestionRunner",
    "owner",
    "owners",
    "pipelines",
    "provider",
    "reviewers",
    "style",
    "tags",
    "testConnectionResult",
    "updatedAt",
    "updatedBy",
    "version",
    "votes",
];

/// A service of any kind, as the OpenMetadata API returns it. Its connection holds credentials,
/// so `Debug` leaves it out.
#[derive(Clone)]
pub struct Service {
    /// The service's name.
    pub name: String,
    /// Its type, such as `Postgres`; decides which connector the worker runs.
    pub service_type: String,
    /// How the worker reaches it, if the caller may see that.
    pub connection: Option<Value>,
}

impl Service {
    /// Reads the entity.
    ///
    /// # Errors
    /// Every problem, each with its field.
    pub fn read(document: &Value) -> Result<Self, Problems> {
        Self::read_all(document, false)
    }

    /// As [`Self::read`], of a file: a key that is not known is a mistake there.
    ///
    /// # Errors
    /// As [`Self::read`], and unknown keys.
    pub fn read_file(document: &Value) -> Result<Self, Problems> {
        Self::read_all(document, true)
    }

    fn read_all(document: &Value, is_file: bool) -> Result<Self, Problems> {
        let Some(map) = document.as_object() else {
            let problem = Problem::without_value("document", "must be one map of fields");
            return Err(Problems::one(SUBJECT, problem));
        };
        let mut fields = Fields::new("", map);
        let service = Self::read_fields(&mut fields);
        if is_file {
            fields.know(OTHER_KEYS);
            fields.refuse_unknown_but_extensions();
        }
        match (service, fields.into_problems()) {
            (Some(service), list) if list.is_empty() => Ok(service),
            (_, list) => Err(Problems { subject: SUBJECT, list }),
        }
    }

    fn read_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let connection = fields.value("connection").cloned();
        let name: Option<String> = fields.parsed("name");
        let service_type: Option<String> = fields.parsed("serviceType");
        if name.as_deref().is_none_or(str::is_empty) {
            fields.missing("name", "it must be the name that the pipeline's service has");
        }
        if service_type.as_deref().is_none_or(str::is_empty) {
            fields.missing("serviceType", "such as Postgres or Snowflake");
        }
        Some(Self { name: name?, service_type: service_type?, connection })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("service_type", &self.service_type)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_the_api_returns() {
        let document = json!({ "id": "x", "name": "shop", "serviceType": "Postgres", "connection": { "config": {} } });
        let service = Service::read(&document).unwrap();
        assert_eq!((service.name.as_str(), service.service_type.as_str()), ("shop", "Postgres"));
    }

    #[test]
    fn names_every_missing_field() {
        let problems = Service::read(&json!({ "serviceType": "" })).unwrap_err();
        let fields: Vec<&str> = problems.list.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(fields, ["name", "serviceType"]);
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused() {
        let document =
            json!({ "name": "s", "serviceType": "Mysql", "conection": { "p": "hunter2" } });
        let problems = Service::read_file(&document).unwrap_err().to_string();
        assert!(problems.contains("did you mean connection?"), "{problems}");
        assert!(!problems.contains("hunter2"));
        assert!(Service::read(&document).is_ok());
    }

    #[test]
    fn debug_hides_the_connection() {
        let document = json!({ "name": "s", "serviceType": "Mysql", "connection": { "password": "t0ps3cret" } });
        assert!(!format!("{:?}", Service::read(&document).unwrap()).contains("t0ps3cret"));
    }
}
