//! The calls that ompipe makes to an OpenMetadata server (contract §9). Entities pass through as
//! JSON; only the rows of runs have a type. Writes are made for what the worker cannot report
//! itself: the end of a run.

mod automation;
mod error;
mod report;
mod status;
mod transport;

use ompipe_core::report::Row;
use ompipe_core::{RunId, ServerConnection, ServiceReference, VerifySsl};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

pub use automation::{AutomationResult, TestStep};
pub use error::Error;
pub use report::{EndedRun, Reported};
pub use status::PipelineStatus;
use transport::Transport;

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
        Transport::new(connection).map(|transport| Self { transport })
    }

    /// The server's version, such as `1.12.14`.
    ///
    /// # Errors
    /// When the server does not answer or has no version.
    pub async fn version(&self) -> Result<String, Error> {
        version(&self.transport).await
    }

    /// As [`Self::version`], of a server that is not logged in to: it tells everybody.
    ///
    /// # Errors
    /// As there, or the endpoint cannot be used.
    pub async fn version_of(endpoint: &str, verify_ssl: VerifySsl) -> Result<String, Error> {
        version(&Transport::anonymous(&ServerConnection::new(endpoint, "", verify_ssl))?).await
    }

    /// A service of any kind, by its reference.
    ///
    /// # Errors
    /// When the kind is unknown, there is no such service, or the server does not answer.
    pub async fn service(&self, reference: &ServiceReference) -> Result<Value, Error> {
        let collection = collection_of(&reference.kind)
            .ok_or_else(|| Error::UnknownServiceKind(reference.kind.clone()))?;
        let path = ["services", collection, "name", &segment(&reference.fqn())];
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
        self.transport
            .get(&path, &[])
            .await?
            .ok_or_else(|| Error::NotFound { what: "ingestion pipeline", name: fqn.to_owned() })
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
    /// When the server does not answer, or answers what is no row.
    pub async fn row(&self, fqn: &str, run: RunId) -> Result<Option<Row>, Error> {
        let run = run.to_string();
        let path = ["services", "ingestionPipelines", &segment(fqn), "pipelineStatus", &run];
        let answer = self.transport.get(&path, &[]).await?;
        let read = |answer| Row::read(answer).ok_or(Error::Unreadable("the status of a run"));
        answer.map(read).transpose()
    }

    /// Writes the row of a run over the one that was read.
    ///
    /// # Errors
    /// When there is no such pipeline, or the server does not answer or refuses the row.
    pub async fn put_row(&self, fqn: &str, row: &Row) -> Result<(), Error> {
        let path = ["services", "ingestionPipelines", &segment(fqn), "pipelineStatus"];
        let is_there = self.transport.put(&path, &row.to_value()).await?;
        let missing = || Error::NotFound { what: "ingestion pipeline", name: fqn.to_owned() };
        is_there.then_some(()).ok_or_else(missing)
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

async fn version(transport: &Transport) -> Result<String, Error> {
    let answer = transport.get(&["system", "version"], &[]).await?;
    let version = answer.as_ref().and_then(|answer| answer.get("version")?.as_str());
    version.map(str::to_owned).ok_or(Error::Unreadable("the server's version"))
}

/// Where services of a kind live below `/v1/services` (contract §8.1).
fn collection_of(kind: &str) -> Option<&'static str> {
    match kind {
        "databaseService" => Some("databaseServices"),
        "messagingService" => Some("messagingServices"),
        "dashboardService" => Some("dashboardServices"),
        "pipelineService" => Some("pipelineServices"),
        "mlmodelService" => Some("mlmodelServices"),
        "metadataService" => Some("metadataServices"),
        "storageService" => Some("storageServices"),
        "searchService" => Some("searchServices"),
        "apiService" => Some("apiServices"),
        "driveService" => Some("driveServices"),
        _ => None,
    }
}

/// What may stand unescaped in one segment of a path: an FQN may hold dots, quotes and slashes.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
