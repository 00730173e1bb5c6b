//! Reads the log of a run, page by page.

use futures::{Stream, stream};
use ompipe_core::RunId;
use ompipe_core::archive::{AttemptLog, LogIndex, RunFolder, Stage, pipeline_folder};
use ompipe_core::logs::{LogPage, PAGE_BYTES, PageError};

use crate::error::{Error, Result};
use crate::writer::INDEX;
use crate::{Archive, gzip};

/// How often a reader looks again for a page that a writer has just replaced.
const LOOKS: usize = 4;

impl Archive {
    /// The runs of a pipeline that the archive knows, newest first. `pipeline` is its id.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn runs(&self, namespace: &str, pipeline: &str) -> Result<Vec<RunFolder>> {
        let folder = self.path(&pipeline_folder(namespace, pipeline));
        let folders = self.folders(&folder).await?;
        let mut runs: Vec<RunFolder> =
            folders.iter().filter_map(|name| name.parse().ok()).collect();
        runs.sort_by(|one, other| other.cmp(one));
        Ok(runs)
    }

    /// One run of a pipeline, or the latest.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn run(
        &self,
        namespace: &str,
        pipeline: &str,
        run: Option<RunId>,
    ) -> Result<Option<RunFolder>> {
        let mut runs = self.runs(namespace, pipeline).await?.into_iter();
        Ok(runs.find(|found| run.is_none_or(|run| found.run == run)))
    }

    /// The log of a run; `None` when it has none here.
    ///
    /// # Errors
    /// The store does not answer, or what it has cannot be read.
    pub async fn log(
        &self,
        namespace: &str,
        pipeline: &str,
        run: RunFolder,
        stage: Stage,
    ) -> Result<Option<ArchivedLog>> {
        let folder = format!("{}/{run}/{}", pipeline_folder(namespace, pipeline), stage.as_str());
        let index = self.index(&folder).await?;
        Ok(index.map(|index| ArchivedLog { archive: self.clone(), folder, index }))
    }

    async fn index(&self, folder: &str) -> Result<Option<LogIndex>> {
        let path = self.path(&format!("{folder}/{INDEX}"));
        let Some(found) = self.read(&path).await? else { return Ok(None) };
        let index = serde_json::from_slice(&found.bytes().await?);
        index
            .map(Some)
            .map_err(|error| Error::Damaged { object: path.to_string(), why: error.to_string() })
    }

    /// The first `length` bytes of a page.
    pub(crate) async fn page(&self, folder: &str, name: &str, length: usize) -> Result<Vec<u8>> {
        let path = self.path(&format!("{folder}/{name}"));
        let found = self.read(&path).await?;
        let found = found.ok_or_else(|| Error::Missing(path.to_string()))?;
        let members = found.bytes().await?;
        gzip::expand(&members, length)
            .map_err(|error| Error::Damaged { object: path.to_string(), why: error.to_string() })
    }
}

/// The log of a run in the archive, as far as it was when this was read.
#[derive(Clone, Debug)]
pub struct ArchivedLog {
    archive: Archive,
    folder: String,
    index: LogIndex,
}

impl ArchivedLog {
    /// How far the log is.
    #[must_use]
    pub const fn index(&self) -> &LogIndex {
        &self.index
    }

    /// The attempts whose logs these are.
    #[must_use]
    pub fn attempts(&self) -> &[AttemptLog] {
        &self.index.attempts
    }

    /// A page: one object is read, whatever its number.
    ///
    /// # Errors
    /// There is no such page, or it cannot be read.
    pub async fn page(&self, number: usize) -> Result<LogPage> {
        let total = self.index.total();
        if number >= total {
            return Err(PageError::BehindTheEnd { index: number, total }.into());
        }
        let bytes = self.text(number).await?;
        let after = Some(number + 1).filter(|after| *after < total);
        Ok(LogPage { text: String::from_utf8_lossy(&bytes).into_owned(), total, after })
    }

    /// The text of one attempt, or of all, page by page.
    pub fn stream(
        self,
        attempt: Option<usize>,
    ) -> impl Stream<Item = Result<Vec<u8>>> + Send + 'static {
        let (from, to) = self.bounds(attempt);
        let state = (self, 0usize, 0u64);
        stream::try_unfold(state, move |(log, number, begins)| async move {
            if number >= log.index.total() || begins >= to {
                return Ok(None);
            }
            let text = log.text(number).await?;
            let ends = begins + text.len() as u64;
            let within = |at: u64| usize::try_from(at.clamp(begins, ends) - begins).unwrap_or(0);
            let part = text[within(from)..within(to)].to_vec();
            Ok(Some((part, (log, number + 1, ends))))
        })
    }

    /// Where the log of an attempt begins and ends; nowhere for one that there is not.
    fn bounds(&self, attempt: Option<usize>) -> (u64, u64) {
        let Some(wanted) = attempt else { return (0, u64::MAX) };
        let found = self.index.attempts.iter().find(|attempt| attempt.number == wanted);
        found.map_or((0, 0), |found| (found.begins, found.ends.unwrap_or(u64::MAX)))
    }

    /// The text of a page as the index knows it. A writer may have replaced the unfinished page since:
    /// the newer one begins with the same text.
    async fn text(&self, number: usize) -> Result<Vec<u8>> {
        let length = if number < self.index.pages { PAGE_BYTES } else { self.index.part };
        let mut name = self.index.object_of(number);
        for _ in 0..LOOKS {
            let Some(object) = name else { return Ok(Vec::new()) };
            match self.archive.page(&self.folder, &object, length).await {
                Err(Error::Missing(_)) => {
                    let newer = self.archive.index(&self.folder).await?;
                    name = newer.and_then(|newer| newer.object_of(number));
                    if name.as_ref() == Some(&object) {
                        return Err(Error::Missing(format!("{}/{object}", self.folder)));
                    }
                }
                read => return read,
            }
        }
        Err(Error::Missing(format!("{}, page {number}", self.folder)))
    }
}
