//! Everything the stand-in knows: what is stored now, and what happened.

use std::fmt;

use serde_json::{Value, json};
use uuid::Uuid;

use super::collection::{self, TABLES};
use super::entity::text;
use super::fault::Faults;
use super::journal::{Journal, SeenRequest, StatusWrite};
use super::lineage::Lineage;
use super::logs::{Logs, RunLog};
use super::status::{PipelineState, Runs};
use super::store::{Include, Store};

/// How many of the last requests an account of the world shows.
const REQUESTS_SHOWN: usize = 20;

/// A look at the stand-in at one moment, as conditions of [`Standin::until`] get it.
///
/// [`Standin::until`]: super::Standin::until
#[derive(Debug)]
pub struct World {
    pub(crate) store: Store,
    pub(crate) runs: Runs,
    pub(crate) journal: Journal,
    pub(crate) logs: Logs,
    pub(crate) lineage: Lineage,
    pub(crate) faults: Faults,
}

impl World {
    pub(crate) fn new(base: String) -> Self {
        Self {
            store: Store::new(base),
            runs: Runs::default(),
            journal: Journal::default(),
            logs: Logs::default(),
            lineage: Lineage::default(),
            faults: Faults::default(),
        }
    }

    /// Every status write in order, of all pipelines.
    #[must_use]
    pub fn statuses(&self) -> &[StatusWrite] {
        self.journal.statuses()
    }

    /// The status writes of one run in order.
    #[must_use]
    pub fn status_history(&self, fqn: &str, run_id: Uuid) -> Vec<&StatusWrite> {
        let all = self.statuses().iter();
        all.filter(|write| write.fqn == fqn && write.run_id == run_id).collect()
    }

    /// The states that were written for one run in order.
    #[must_use]
    pub fn states(&self, fqn: &str, run_id: Uuid) -> Vec<PipelineState> {
        self.status_history(fqn, run_id).iter().map(|write| write.state).collect()
    }

    /// The stored rows of a pipeline, one a run, in the order in which the runs became known.
    #[must_use]
    pub fn rows(&self, fqn: &str) -> Vec<&Value> {
        self.runs.of(fqn).iter().map(|row| &row.json).collect()
    }

    /// The stored row of a run.
    #[must_use]
    pub fn row(&self, fqn: &str, run_id: Uuid) -> Option<&Value> {
        self.runs.row(fqn, run_id).map(|row| &row.json)
    }

    /// The state in the stored row of a run.
    #[must_use]
    pub fn state(&self, fqn: &str, run_id: Uuid) -> Option<PipelineState> {
        self.runs.row(fqn, run_id).map(|row| row.state)
    }

    /// FQNs of all tables and views, without deleted ones.
    #[must_use]
    pub fn tables(&self) -> Vec<&str> {
        self.fqns(TABLES)
    }

    /// FQNs of the live entities of a collection, which is named by its path below `/api/v1`.
    #[must_use]
    pub fn fqns(&self, path: &str) -> Vec<&str> {
        let collection = collection::by_path(path).into_iter();
        let entities =
            collection.flat_map(|collection| self.store.all(collection, Include::default()));
        entities.filter_map(|entity| text(entity, "fullyQualifiedName")).collect()
    }

    /// A stored entity, soft-deleted or not.
    #[must_use]
    pub fn entity(&self, path: &str, fqn: &str) -> Option<Value> {
        let entity = self.store.by_name(collection::by_path(path)?, fqn, Include::All).ok()?;
        Some(Value::Object(entity.clone()))
    }

    /// The requests to the API in the order in which they ended.
    #[must_use]
    pub fn requests(&self) -> impl DoubleEndedIterator<Item = &SeenRequest> {
        self.journal.requests()
    }

    /// The log that a run streamed.
    #[must_use]
    pub fn log(&self, fqn: &str, run_id: Uuid) -> Option<&RunLog> {
        self.logs.get(fqn, run_id)
    }

    /// All lineage edges as they were put.
    #[must_use]
    pub fn lineage(&self) -> &[Value] {
        self.lineage.edges()
    }

    /// Tables in short: name, kind, number of columns, whether soft-deleted.
    pub(crate) fn table_digests(&self) -> Vec<Value> {
        let tables = collection::by_path(TABLES).into_iter();
        let tables = tables.flat_map(|tables| self.store.all(tables, Include::All));
        tables
            .map(|table| {
                json!({
                    "fullyQualifiedName": table.get("fullyQualifiedName"),
                    "tableType": table.get("tableType"),
                    "description": table.get("description"),
                    "columns": table.get("columns").and_then(Value::as_array).map_or(0, Vec::len),
                    "deleted": table.get("deleted"),
                })
            })
            .collect()
    }
}

/// An account for the person who reads why a test failed.
impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} status writes:", self.statuses().len())?;
        self.statuses().iter().try_for_each(|write| writeln!(f, "  {write}"))?;
        writeln!(f, "{} tables", self.tables().len())?;
        let total = self.requests().count();
        let shown = total.min(REQUESTS_SHOWN);
        writeln!(f, "the last {shown} of {total} requests:")?;
        self.requests().skip(total - shown).try_for_each(|request| writeln!(f, "  {request}"))
    }
}
