//! Deletes what is older than it is to be kept.

use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use ompipe_core::archive::{RunFolder, Stage, is_expired, pipeline_folder};

use crate::Archive;
use crate::error::Result;

/// How long logs and records are kept; `None` is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Logs.
    pub logs: Option<SignedDuration>,
    /// Records.
    pub records: Option<SignedDuration>,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Runs whose logs were.
    pub logs: usize,
    /// Runs whose records were.
    pub records: usize,
}

impl Archive {
    /// Deletes what a namespace has no longer to keep.
    ///
    /// # Errors
    /// The store does not answer; what was deleted so far stays deleted.
    pub async fn sweep(&self, namespace: &str, keep: Keep, now: Timestamp) -> Result<Swept> {
        let mut swept = Swept::default();
        for pipeline in self.pipelines(namespace).await? {
            for run in self.runs(namespace, &pipeline).await? {
                self.sweep_run((namespace, &pipeline), run, keep, now, &mut swept).await?;
            }
        }
        if let Some(keep) = keep.records {
            self.sweep_lists(namespace, keep, now).await?;
        }
        Ok(swept)
    }

    async fn sweep_run(
        &self,
        (namespace, pipeline): (&str, &str),
        run: RunFolder,
        keep: Keep,
        now: Timestamp,
        swept: &mut Swept,
    ) -> Result<()> {
        let is_over = |limit: Option<SignedDuration>| {
            limit.is_some_and(|limit| is_expired(run.started, None, limit, now))
        };
        if !is_over(keep.logs) && !is_over(keep.records) {
            return Ok(());
        }
        let record = self.record_if_readable(namespace, pipeline, run).await?;
        let is_over = |limit: Option<SignedDuration>| {
            limit.is_some_and(|limit| is_expired(run.started, record.as_ref(), limit, now))
        };
        let folder = format!("{}/{run}", pipeline_folder(namespace, pipeline));
        if is_over(keep.records) {
            swept.records += 1;
            self.remove_recent(namespace, pipeline, run).await?;
            return self.remove_all(&self.path(&folder)).await;
        }
        if is_over(keep.logs) {
            self.remove_logs(&folder).await?;
            swept.logs += 1;
        }
        Ok(())
    }

    /// Removes the logs of a run, whose folder this is.
    pub(crate) async fn remove_logs(&self, folder: &str) -> Result<()> {
        for stage in [Stage::Main, Stage::ExitHandler] {
            self.remove_all(&self.path(&format!("{folder}/{}", stage.as_str()))).await?;
        }
        Ok(())
    }

    async fn remove_all(&self, folder: &Path) -> Result<()> {
        for object in self.objects(folder).await? {
            self.remove(&object).await?;
        }
        Ok(())
    }
}
