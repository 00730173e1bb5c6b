//! Reads the log of a run, page by page.

use std::sync::Arc;

use futures::{Stream, TryStreamExt, stream};
use jiff::Timestamp;
use ompipe_core::RunId;
use ompipe_core::archive::{
    AttemptLog, LogIndex, Place, RunFolder, Stage, TimedText, pipeline_folder,
};
use ompipe_core::logs::{LogPage, PAGE_BYTES, PageError};

use crate::cache::Cache;
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
        let asked = run.map_or_else(|| "latest".to_owned(), |run| run.to_string());
        let asked = format!("{}/{asked}", pipeline_folder(namespace, pipeline));
        let answers = |cache: &'_ Cache| match run {
            Some(_) => Arc::clone(&cache.runs),
            None => Arc::clone(&cache.latest),
        };
        let answers = self.cache.as_deref().map(answers);
        if let Some(known) = answers.as_ref().and_then(|answers| answers.get(&asked)) {
            return Ok(Some(known));
        }
        let found = match run {
            Some(run) => self.recent_run(namespace, pipeline, run).await?,
            None => self.latest(namespace, pipeline).await?,
        };
        let found = if found.is_some() {
            found
        } else {
            let mut runs = self.runs(namespace, pipeline).await?.into_iter();
            runs.find(|found| run.is_none_or(|run| found.run == run))
        };
        if let Some((answers, found)) = answers.zip(found) {
            answers.put(asked, found);
        }
        Ok(found)
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
        let index = match self.cache.as_ref().and_then(|cache| cache.indexes.get(&folder)) {
            Some(known) => Some(known),
            None => self.index(&folder).await?,
        };
        Ok(index.map(|index| ArchivedLog { archive: self.clone(), folder, index }))
    }

    async fn index(&self, folder: &str) -> Result<Option<LogIndex>> {
        let path = self.path(&format!("{folder}/{INDEX}"));
        let Some(text) = self.bytes(&path).await? else { return Ok(None) };
        let index: LogIndex = serde_json::from_slice(&text)
            .map_err(|error| Error::Damaged { object: path.to_string(), why: error.to_string() })?;
        if let Some(cache) = &self.cache {
            cache.indexes.put(folder.to_owned(), index.clone());
        }
        Ok(Some(index))
    }

    /// A page as it is stored.
    pub(crate) async fn members(&self, folder: &str, name: &str) -> Result<Vec<u8>> {
        let path = self.path(&format!("{folder}/{name}"));
        self.bytes(&path).await?.ok_or_else(|| Error::Missing(path.to_string()))
    }

    /// The first `length` bytes of a page, which must have as many; without a length, a full page.
    pub(crate) fn expand(
        &self,
        folder: &str,
        name: &str,
        members: &[u8],
        length: Option<usize>,
    ) -> Result<TimedText> {
        let damaged = |why: String| {
            let object = self.path(&format!("{folder}/{name}")).to_string();
            Error::Damaged { object, why }
        };
        // Of a full page more is asked for than it can have, so that its end is read and checked.
        let most = length.unwrap_or(PAGE_BYTES + 1);
        let read = gzip::expand(members, most).map_err(|error| damaged(error.to_string()))?;
        let (found, least) = (read.text.len(), length.unwrap_or(1));
        if found < least {
            return Err(damaged(format!("it has {found} bytes, and should have {least} or more")));
        }
        Ok(read)
    }

    async fn page(&self, folder: &str, name: &str, length: Option<usize>) -> Result<TimedText> {
        let members = self.members(folder, name).await?;
        self.expand(folder, name, &members, length)
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
        let text = self.text(number).await?.text;
        let after = Some(number + 1).filter(|after| *after < total);
        Ok(LogPage { text: String::from_utf8_lossy(&text).into_owned(), total, after })
    }

    /// A page with the times of its lines.
    ///
    /// # Errors
    /// As [`Self::page`].
    pub async fn timed_page(&self, number: usize) -> Result<TimedText> {
        let total = self.index.total();
        if number >= total {
            return Err(PageError::BehindTheEnd { index: number, total }.into());
        }
        self.text(number).await
    }

    /// The text of one attempt, or of all, page by page.
    pub fn stream(
        self,
        attempt: Option<usize>,
    ) -> impl Stream<Item = Result<Vec<u8>>> + Send + 'static {
        let span = self.span(attempt);
        self.timed(span).map_ok(|page| page.text)
    }

    /// A part of the log, page by page.
    pub fn timed(self, span: Span) -> impl Stream<Item = Result<TimedText>> + Send + 'static {
        let next = span.first();
        stream::try_unfold((self, next), move |(log, number)| async move {
            if number > span.last() || number >= log.index.total() {
                return Ok(None);
            }
            let page = log.text(number).await?;
            Ok(Some((span.part_of(number, &page), (log, number + 1))))
        })
    }

    /// Where the log of one attempt, or of all, stands; nowhere for an attempt that there is not.
    #[must_use]
    pub fn span(&self, attempt: Option<usize>) -> Span {
        let (begin, end) = (Place { page: 0, offset: 0 }, self.index.end());
        let Some(wanted) = attempt else { return Span { from: begin, to: end } };
        let found = self.index.attempts.iter().find(|attempt| attempt.number == wanted);
        found.map_or(Span { from: begin, to: begin }, |found| Span {
            from: found.begins,
            to: found.ends.unwrap_or(end),
        })
    }

    /// The same part from where its lines were written at or after a time: a few pages are looked at,
    /// however many there are. Earlier lines may precede those.
    ///
    /// # Errors
    /// A page cannot be read.
    pub async fn since(&self, span: Span, since: Timestamp) -> Result<Span> {
        let (mut low, mut high) = (span.first(), self.index.total().min(span.last() + 1));
        while low < high {
            let middle = low + (high - low) / 2;
            let first = self.text(middle).await?.times.first().map(|(_, time)| *time);
            if first.is_none_or(|first| first < since) { low = middle + 1 } else { high = middle }
        }
        // The page before it has some of that time, and the one before that what was out of order.
        let first = low.saturating_sub(2).max(span.first());
        let from = Place { page: first, offset: 0 };
        Ok(if first > span.first() { Span { from, ..span } } else { span })
    }

    /// The text of a page as the index knows it. A writer may have replaced the unfinished page since:
    /// the newer one begins with the same text.
    async fn text(&self, number: usize) -> Result<TimedText> {
        let length = (number >= self.index.pages).then_some(self.index.part);
        let mut name = self.index.object_of(number);
        for _ in 0..LOOKS {
            let Some(object) = name else { return Ok(TimedText::default()) };
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

/// A part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    from: Place,
    to: Place,
}

impl Span {
    /// Number of its first page.
    #[must_use]
    pub const fn first(&self) -> usize {
        self.from.page
    }

    /// Number of its last page.
    #[must_use]
    pub const fn last(&self) -> usize {
        self.to.page
    }

    /// What of a page belongs to it.
    #[must_use]
    pub fn part_of(&self, number: usize, page: &TimedText) -> TimedText {
        let from = if number == self.first() { self.from.offset } else { 0 };
        let to = if number == self.last() { self.to.offset } else { page.text.len() };
        page.part(from, to)
    }
}
