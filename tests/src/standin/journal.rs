//! What happened at the stand-in, in order.

use std::collections::VecDeque;
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::status::PipelineState;

/// Requests kept; a full ingestion makes about 150, so this holds a whole test run.
const REQUESTS_KEPT: usize = 10_000;

/// One accepted write of a status row.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusWrite {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// The pipeline.
    pub fqn: String,
    /// The run.
    pub run_id: Uuid,
    /// The state that was written.
    pub state: PipelineState,
    /// Whether it was the first row of the run; else it replaced one.
    pub created: bool,
    /// The body as it came.
    pub body: Value,
}

impl fmt::Display for StatusWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.created { "created" } else { "updated" };
        write!(f, "{} {} {} {verb} {}", self.at_ms, self.fqn, self.run_id, self.state)
    }
}

/// One request to the API and what became of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenRequest {
    /// When it was over, in milliseconds since 1970.
    pub at_ms: i64,
    /// Method.
    pub method: String,
    /// Path and query as they came.
    pub path: String,
    /// Status code of the answer; none if a fault left the request without one.
    pub status: Option<u16>,
    /// The fault that hit it: `status`, `delay`, `reset` or `hang`.
    pub fault: Option<&'static str>,
    /// Why it was refused, if it was.
    pub error: Option<String>,
}

impl fmt::Display for SeenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} -> ", self.at_ms, self.method, self.path)?;
        match self.status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_str("no answer")?,
        }
        if let Some(fault) = self.fault {
            write!(f, " [fault: {fault}]")?;
        }
        self.error.iter().try_for_each(|error| write!(f, " ({error})"))
    }
}

/// Everything that happened.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    statuses: Vec<StatusWrite>,
    requests: VecDeque<SeenRequest>,
}

impl Journal {
    /// Notes a status write.
    pub(crate) fn status(&mut self, write: StatusWrite) {
        self.statuses.push(write);
    }

    /// Notes a request; forgets the oldest one when there are too many.
    pub(crate) fn request(&mut self, request: SeenRequest) {
        if self.requests.len() == REQUESTS_KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }

    /// All status writes.
    pub(crate) fn statuses(&self) -> &[StatusWrite] {
        &self.statuses
    }

    /// The last requests.
    pub(crate) fn requests(&self) -> impl DoubleEndedIterator<Item = &SeenRequest> {
        self.requests.iter()
    }
}
