//! Records of runs.

use jiff::Timestamp;
use object_store::path::Path;
use ompipe_core::archive::{RunFolder, RunRecord, pipeline_folder};

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
        let record = if let Some(earlier) = self.record(namespace, pipeline, run).await? {
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
        self.write(&self.path(&name(namespace, pipeline, run)), text).await
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
        let Some(found) = self.read(path).await? else { return Ok(None) };
        let record = serde_json::from_slice(&found.bytes().await?);
        record
            .map(Some)
            .map_err(|error| Error::Damaged { object: path.to_string(), why: error.to_string() })
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
