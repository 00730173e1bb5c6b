//! The calls that ompipe makes to an OpenMetadata server
//! (docs/contracts/openmetadata-http.md#calls-to-the-server). Entities pass through as JSON; only
//! the rows of runs have a type. Writes are made for what the worker cannot report itself: the end
//! of a run.

mod automation;
mod error;
mod guard;
mod report;
mod status;
mod transport;

use ompipe_core::report::Row;
use ompipe_core::{RunId, ServerConnection, ServiceReference};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

pub use automation::{AutomationResult, TestStep};
pub use error::Error;
pub use report::{EndedRun, Reported};
pub use status::PipelineStatus;
use transport::{Files, Found, Transport};

/// A client of one OpenMetadata server.
#[derive(Debug)]
pub struct OpenMetadata {
    transport: Transport,
}

impl OpenMetadata {
    /// A client for the server of a pipeline. Connects on the first call.
    ///
    /// # Errors
    /// When the endpoint or the TLS settings cannot be used, or there is no token.
    pub fn new(connection: &ServerConnection) -> Result<Self, Error> {
        Transport::new(connection, Files::OfOthers).map(|transport| Self { transport })
    }

    /// The same in the pod of the worker whose connection it is, where the files are that it names.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn in_pod(connection: &ServerConnection) -> Result<Self, Error> {
        Transport::new(connection, Files::OfThisPod).map(|transport| Self { transport })
    }

    /// The server's version, such as `1.12.14`.
    ///
    /// # Errors
    /// When the server does not answer or has no version.
    pub async fn version(&self) -> Result<String, Error> {
        version(&self.transport).await
    }

    /// As [`Self::version`], without a login: every caller may ask for it.
    ///
    /// # Errors
    /// As there, or the endpoint cannot be used.
    pub async fn version_of(connection: &ServerConnection) -> Result<String, Error> {
        version(&Transport::anonymous(connection, Files::OfOthers)?).await
    }

    /// A service of any kind, by its reference.
    ///
    /// # Errors
    /// When the kind is unknown, there is no such service, or the server does not answer.
    pub async fn service(&self, reference: &ServiceReference) -> Result<Value, Error> {
        let collection = collection_of(&reference.kind)
            .ok_or_else(|| Error::UnknownServiceKind(reference.kind.clone()))?;
        let path = ["services", &collection, "name", &segment(&reference.fqn())];
        self.transport
            .get(&path, &[])
            .await?
            .ok_or_else(|| Error::NotFound { what: "service", name: reference.fqn() })
    }

    /// An ingestion pipeline, without the server connection that the API leaves out.
    ///
    /// # Errors
    /// When there is no such pipeline, or the server does not answer.
    pub async fn pipeline(&self, fqn: &str) -> Result<Value, Error> {
        let path = ["services", "ingestionPipelines", "name", &segment(fqn)];
        self.transport.get(&path, &[]).await?.ok_or_else(|| no_pipeline(fqn))
    }

    /// Whether the server has a pipeline under its name or its id. An FQN with a slash does not get
    /// through a proxy that decodes `%2F`, an id does; a service that was renamed changes the FQN.
    ///
    /// # Errors
    /// When the server does not answer, or something else answers in its place.
    pub async fn has_pipeline(&self, fqn: &str, id: &str) -> Result<bool, Error> {
        let (name, id) = (segment(fqn), segment(id));
        let collection = ["services", "ingestionPipelines"];
        let by_name = [&collection[..], &["name", &name]].concat();
        let by_id = [&collection[..], &[&id]].concat();
        let is_there = self.transport.get(&by_name, &[]).await?.is_some()
            || self.transport.get(&by_id, &[]).await?.is_some();
        if !is_there {
            // A proxy without a server behind it says 404 to everything.
            self.version().await?;
        }
        Ok(is_there)
    }

    /// The row of one run; `None` when the server knows no such run.
    ///
    /// # Errors
    /// When the server does not answer, or answers what is no row.
    pub async fn status(&self, fqn: &str, run: RunId) -> Result<Option<PipelineStatus>, Error> {
        let run = run.to_string();
        let path = ["services", "ingestionPipelines", &segment(fqn), "pipelineStatus", &run];
        let answer = self.transport.get(&path, &[]).await?;
        answer.map(PipelineStatus::read).transpose()
    }

    /// The whole row of one run, to be written again with its end; `None` when the server knows no
    /// such run.
    ///
    /// # Errors
    /// When there is no such pipeline, or the server does not answer, or answers what is no row of the
    /// run.
    pub async fn row(&self, fqn: &str, run: RunId) -> Result<Option<Row>, Error> {
        let run = run.to_string();
        let path = ["services", "ingestionPipelines", &segment(fqn), "pipelineStatus", &run];
        let document = match self.transport.look_up(&path, &[]).await? {
            Found::Document(document) => document,
            Found::Nothing => return Ok(None),
            Found::Missing => return Err(no_pipeline(fqn)),
        };
        let is_of_run = document.get("runId").is_none_or(|id| id.as_str() == Some(&run));
        let row = Row::read(document).filter(|_| is_of_run);
        row.map(Some).ok_or(Error::Unreadable("the status of the run"))
    }

    /// Writes the row of a run over the one that was read.
    ///
    /// # Errors
    /// When there is no such pipeline, or the server does not answer or refuses the row.
    pub async fn put_row(&self, fqn: &str, row: &Row) -> Result<(), Error> {
        let path = ["services", "ingestionPipelines", &segment(fqn), "pipelineStatus"];
        let is_there = self.transport.put(&path, &row.to_value()).await?;
        is_there.then_some(()).ok_or_else(|| no_pipeline(fqn))
    }

    /// The result that the worker of an automation has written so far; `None` when the server knows
    /// no such automation.
    ///
    /// # Errors
    /// When the server does not answer, or answers what is no automation.
    pub async fn automation_result(&self, fqn: &str) -> Result<Option<AutomationResult>, Error> {
        let path = ["automations", "workflows", "name", &segment(fqn)];
        let answer = self.transport.get(&path, &[]).await?;
        answer.as_ref().map(AutomationResult::read).transpose()
    }

    /// The rows of a pipeline's runs that began within a span of time, newest first.
    ///
    /// # Errors
    /// When the server does not answer, or answers what is no list of rows.
    pub async fn statuses(
        &self,
        fqn: &str,
        since_ms: i64,
        until_ms: i64,
    ) -> Result<Vec<PipelineStatus>, Error> {
        let path = ["services", "ingestionPipelines", &segment(fqn), "pipelineStatus"];
        let span = [("startTs", since_ms.to_string()), ("endTs", until_ms.to_string())];
        let answer = self.transport.get(&path, &span).await?.unwrap_or_default();
        let rows = answer.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
        rows.into_iter().map(PipelineStatus::read).collect()
    }
}

fn no_pipeline(fqn: &str) -> Error {
    Error::NotFound { what: "ingestion pipeline", name: fqn.to_owned() }
}

async fn version(transport: &Transport) -> Result<String, Error> {
    let answer = transport.get(&["system", "version"], &[]).await?;
    let version = answer.as_ref().and_then(|answer| answer.get("version")?.as_str());
    version.map(str::to_owned).ok_or(Error::Unreadable("the server's version"))
}

/// Where services of a kind live below `/v1/services`: every kind is called after its collection,
/// those of servers to come too.
fn collection_of(kind: &str) -> Option<String> {
    let is_kind = kind.len() > "Service".len()
        && kind.ends_with("Service")
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_kind.then(|| format!("{kind}s"))
}

/// The characters that need no escape in one segment of a path: an FQN may hold dots, quotes and slashes.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod kind_tests {
    use super::collection_of;

    #[test]
    fn every_kind_of_service_is_called_after_its_collection() {
        for kind in ["database", "mlmodel", "api", "drive", "security", "llm", "mcp", "future"] {
            let found = collection_of(&format!("{kind}Service"));
            assert_eq!(found, Some(format!("{kind}Services")));
        }
        for kind in ["", "Service", "database", "../usersService", "a/bService"] {
            assert_eq!(collection_of(kind), None);
        }
    }
}
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
