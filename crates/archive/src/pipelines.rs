//! Which pipelines there were: also those that are deleted, by their names.
//!
//! ```text
//! v1-names/{namespace}/{pipeline}.json     what a pipeline was called last
//! ```

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use ompipe_core::archive::{PipelineName, RunRecord};
use tracing::warn;

use crate::Archive;
use crate::error::{Error, Result};

const NAMES: &str = "v1-names";
/// Objects that are read at once.
const AT_ONCE: usize = 32;

impl Archive {
    /// The pipelines that runs of a namespace are archived of, whether they are deployed or not.
    ///
    /// # Errors
    /// The store does not answer, or what it has cannot be read.
    pub async fn pipeline_names(&self, namespace: &str) -> Result<Vec<PipelineName>> {
        let below = self.path(&format!("{NAMES}/{namespace}"));
        let paths = self.objects(&below).await?;
        let read = paths.into_iter().map(|path| async move { self.name_at(&path).await });
        let read: Vec<_> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn name_at(&self, path: &Path) -> Result<Option<PipelineName>> {
        let Some(text) = self.bytes(path).await? else { return Ok(None) };
        // The next run of the pipeline writes it anew.
        let name = serde_json::from_slice(&text);
        Ok(name.inspect_err(|error| warn!(%path, %error, "a name cannot be read")).ok())
    }

    /// Notes what a pipeline is called.
    pub(crate) async fn keep_name(&self, pipeline: &str, record: &RunRecord) -> Result<()> {
        let Some(fqn) = &record.pipeline else { return Ok(()) };
        let name = PipelineName::new(pipeline, fqn);
        let path = self.name_path(&record.namespace, pipeline);
        let text = serde_json::to_vec(&name)
            .map_err(|error| Error::Damaged { object: path.to_string(), why: error.to_string() })?;
        self.write(&path, text).await
    }

    pub(crate) fn name_path(&self, namespace: &str, pipeline: &str) -> Path {
        self.path(&format!("{NAMES}/{namespace}/{pipeline}.json"))
    }
}
