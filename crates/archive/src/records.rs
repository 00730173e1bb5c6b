//! Records of runs.

use futures::{StreamExt, stream};
use jiff::Timestamp;
use ompipe_core::archive::{RunFolder, RunRecord, pipeline_folder};

use crate::Archive;
use crate::error::{Error, Result};

/// Records that are read at once.
const AT_ONCE: usize = 16;
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
        let record = match self.record(namespace, pipeline, run).await? {
            Some(earlier) => {
                let merged = record.after(earlier.clone());
                if merged.says_the_same_as(&earlier) {
                    return Ok(());
                }
                merged
            }
            None => record,
        };
        let text = serde_json::to_vec_pretty(&record).map_err(|error| Error::Damaged {
            object: RECORD.to_owned(),
            why: error.to_string(),
        })?;
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
        let path = self.path(&name(namespace, pipeline, run));
        let Some(found) = self.read(&path).await? else { return Ok(None) };
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
        let since = since.map_or(i64::MIN, Timestamp::as_second);
        let runs = self.runs(namespace, pipeline).await?.into_iter();
        let runs = runs.filter(|run| run.started.as_second() >= since).take(most);
        let records = stream::iter(runs)
            .map(|run| self.record(namespace, pipeline, run))
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        records.into_iter().filter_map(Result::transpose).collect()
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
