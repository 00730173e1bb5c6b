//! Records of runs.

use jiff::Timestamp;
use object_store::path::Path;
use ompipe_core::archive::{RunFolder, RunRecord, pipeline_folder};
use tracing::warn;

use crate::error::{Error, Result};
use crate::{Archive, Window};

const RECORD: &str = "run.json";

impl Archive {
    /// Stores a record, with what an earlier one knows of pods that are gone.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn keep_record(
        &self,
        namespace: &str,
        pipeline: &str,
        run: RunFolder,
        record: RunRecord,
    ) -> Result<()> {
        let path = self.path(&name(namespace, pipeline, run));
        let record = if let Some(earlier) = self.readable_record(&path).await? {
            let merged = record.after(earlier.clone());
            if merged.says_the_same_as(&earlier) {
                return Ok(());
            }
            merged
        } else {
            self.keep_name(pipeline, &record).await?;
            record
        };
        let text = serde_json::to_vec_pretty(&record).map_err(|error| Error::Damaged {
            object: RECORD.to_owned(),
            why: error.to_string(),
        })?;
        // First where it is looked for: what counts is stored only when that is done.
        self.keep_recent(namespace, pipeline, run, text.clone()).await?;
        self.write(&path, text).await
    }

    /// The record of a run, if there is one.
    ///
    /// # Errors
    /// The store does not answer, or what it has cannot be read.
    pub async fn record(
        &self,
        namespace: &str,
        pipeline: &str,
        run: RunFolder,
    ) -> Result<Option<RunRecord>> {
        self.record_at(&self.path(&name(namespace, pipeline, run))).await
    }

    pub(crate) async fn record_at(&self, path: &Path) -> Result<Option<RunRecord>> {
        let Some(text) = self.bytes(path).await? else { return Ok(None) };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::Damaged { object: path.to_string(), why: error.to_string() })
    }

    /// A record, if there is one that can be read: one that is damaged must not hide the others.
    pub(crate) async fn readable_record(&self, path: &Path) -> Result<Option<RunRecord>> {
        match self.record_at(path).await {
            Err(error @ Error::Damaged { .. }) => {
                warn!(%error, "the record of a run cannot be read");
                Ok(None)
            }
            read => read,
        }
    }

    /// As [`Self::readable_record`], of a run.
    pub(crate) async fn record_if_readable(
        &self,
        namespace: &str,
        pipeline: &str,
        run: RunFolder,
    ) -> Result<Option<RunRecord>> {
        self.readable_record(&self.path(&name(namespace, pipeline, run))).await
    }

    /// The records of the newest runs of a pipeline that began at or after a time, at most so many,
    /// newest first.
    ///
    /// # Errors
    /// The store does not answer, or what it has cannot be read.
    pub async fn records(
        &self,
        namespace: &str,
        pipeline: &str,
        since: Option<Timestamp>,
        most: usize,
    ) -> Result<Vec<RunRecord>> {
        self.newest(namespace, Some(pipeline), Window { since, until: None }, most).await
    }

    /// The pipelines of a namespace that the archive knows, by their ids.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn pipelines(&self, namespace: &str) -> Result<Vec<String>> {
        let folder = format!("{}/{namespace}", ompipe_core::archive::FOLDER);
        self.folders(&self.path(&folder)).await
    }

    /// The namespaces that the archive knows.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn namespaces(&self) -> Result<Vec<String>> {
        self.folders(&self.path(ompipe_core::archive::FOLDER)).await
    }
}

fn name(namespace: &str, pipeline: &str, run: RunFolder) -> String {
    format!("{}/{run}/{RECORD}", pipeline_folder(namespace, pipeline))
}
