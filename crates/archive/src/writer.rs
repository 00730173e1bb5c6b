//! Writes the log of a run while it grows.

use jiff::Timestamp;
use object_store::path::Path;
use object_store::{PutMode, UpdateVersion};
use ompipe_core::archive::{
    AttemptLog, LogIndex, PageCutter, Piece, Position, TimesWriter, page_name, part_name,
};
use tracing::{debug, warn};

use crate::error::{Error, Result};
use crate::{Archive, gzip};

/// How often a writer looks again for a page that another one has just replaced.
const LOOKS: usize = 4;

/// The log of one stage of a run, which is being written.
#[derive(Debug)]
pub struct LogWriter {
    archive: Archive,
    folder: String,
    /// What is written, stored or not.
    index: LogIndex,
    /// What is stored.
    stored: Stored,
    cutter: PageCutter,
    /// The unfinished page.
    page: Page,
    /// Full pages that are not stored.
    full: Vec<(usize, Vec<u8>)>,
    /// When the line that is written was written, where that is known.
    time: Option<Timestamp>,
}

/// The index as it is stored.
#[derive(Debug, Default)]
struct Stored {
    text: Option<Vec<u8>>,
    version: Option<UpdateVersion>,
    /// The unfinished page that it names.
    part: Option<String>,
}

/// A page that grows.
#[derive(Debug, Default)]
struct Page {
    /// Its compressed beginning.
    members: Vec<u8>,
    /// What follows.
    fresh: Vec<u8>,
    /// The times of that.
    times: TimesWriter,
    length: usize,
}

impl Page {
    fn push(&mut self, text: &[u8], time: Option<Timestamp>) {
        if let Some(time) = time {
            self.times.note(self.fresh.len(), time);
        }
        self.fresh.extend_from_slice(text);
        self.length += text.len();
        if self.times.len() > gzip::MOST_TIMES {
            self.compress();
        }
    }

    fn compress(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let length = self.members.len();
        let times = self.times.take();
        if let Err(error) = gzip::append(&mut self.members, &self.fresh, &times) {
            // Memory is written to, so this does not happen; the text is kept either way.
            debug!(%error, "a page could not be compressed");
            self.members.truncate(length);
            return;
        }
        self.fresh = Vec::new();
    }
}

impl LogWriter {
    /// Goes on with the log of a run where it was stored last, or begins it. `folder` is that of the
    /// stage.
    ///
    /// # Errors
    /// The store does not answer, or its index cannot be read.
    pub async fn open(archive: &Archive, folder: String) -> Result<Self> {
        let (index, stored, page) = resume(archive, &folder).await?;
        let cutter = PageCutter::within(index.part);
        let archive = archive.clone();
        let (full, time) = (Vec::new(), None);
        Ok(Self { archive, folder, index, stored, cutter, page, full, time })
    }

    /// How far the log is written.
    #[must_use]
    pub const fn index(&self) -> &LogIndex {
        &self.index
    }

    /// Goes on with the log of a pod, or begins it with a line that says so; where the pod's log goes on.
    pub fn begin_attempt(&mut self, number: usize, pod: &str, pod_uid: &str) -> Position {
        let last = self.index.attempts.last();
        if last.is_some_and(|last| last.pod_uid == pod_uid) {
            return self.index.position.clone();
        }
        let number = last.map_or(number, |last| number.max(last.number + 1));
        self.end_attempt();
        if !self.index.attempts.is_empty() {
            self.push(format!("\n----- attempt {number}, pod {pod} -----\n").as_bytes());
        }
        let (pod, pod_uid) = (pod.to_owned(), pod_uid.to_owned());
        let begins = self.index.end();
        self.index.attempts.push(AttemptLog { number, pod, pod_uid, begins, ends: None });
        self.index.position = Position::default();
        Position::default()
    }

    /// Ends the log of the last pod.
    pub fn end_attempt(&mut self) {
        self.feed(None);
        let end = self.index.end();
        if let Some(last) = self.index.attempts.last_mut() {
            last.ends.get_or_insert(end);
        }
    }

    /// Takes the next text of the log.
    pub fn push(&mut self, text: &[u8]) {
        self.feed(Some(text));
    }

    /// As [`Self::push`], of a line that was written then, or a part of it.
    pub fn push_line(&mut self, text: &[u8], time: Timestamp) {
        self.time = Some(time);
        self.push(text);
    }

    /// Text, or the end of a pod's log.
    fn feed(&mut self, text: Option<&[u8]>) {
        let Self { cutter, page, full, index, time, .. } = self;
        let take = |piece: Piece<'_>| match piece {
            Piece::Text(text) => {
                page.push(text, *time);
                index.bytes += text.len() as u64;
                index.part = page.length;
            }
            Piece::EndOfPage => {
                page.compress();
                full.push((index.pages, std::mem::take(page).members));
                index.pages += 1;
                index.part = 0;
            }
        };
        match text {
            Some(text) => cutter.push(text, take),
            None => cutter.finish(take),
        }
    }

    /// True when full pages wait to be stored.
    #[must_use]
    pub const fn has_full_pages(&self) -> bool {
        !self.full.is_empty()
    }

    /// Stores what was written: pages first, then the index that names them. What fails can be tried
    /// again.
    ///
    /// # Errors
    /// The store does not answer, or another writer was faster.
    pub async fn store(&mut self, position: &Position, now: Timestamp) -> Result<()> {
        self.index.position = position.clone();
        for (number, members) in &self.full {
            let path = self.path(&page_name(*number));
            self.archive.write(&path, members.clone()).await?;
        }
        let part = (self.page.length > 0).then(|| part_name(self.index.pages, self.page.length));
        if let Some(name) = part.as_ref().filter(|name| Some(*name) != self.stored.part.as_ref()) {
            self.page.compress();
            self.archive.write(&self.path(name), self.page.members.clone()).await?;
        }
        self.index.updated = now;
        self.store_index().await?;
        self.full.clear();
        let former = std::mem::replace(&mut self.stored.part, part);
        if let Some(former) = former.filter(|former| Some(former) != self.stored.part.as_ref()) {
            self.archive.remove(&self.path(&former)).await?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> Path {
        self.archive.path(&format!("{}/{name}", self.folder))
    }

    /// Replaces the index that this writer knows, and no other.
    async fn store_index(&mut self) -> Result<()> {
        let text = encode(&self.index)?;
        let path = self.path(INDEX);
        let mode = match (&self.stored.version, &self.stored.text) {
            (Some(version), _) => PutMode::Update(version.clone()),
            (None, None) => PutMode::Create,
            (None, Some(_)) => return self.replace_index(&path, text).await,
        };
        match self.archive.put(&path, text.clone(), mode).await? {
            Ok(put) => {
                self.stored.version = Some(UpdateVersion::from(put));
                self.stored.text = Some(text);
                Ok(())
            }
            Err(object_store::Error::NotImplemented { .. }) => {
                self.replace_index(&path, text).await
            }
            Err(_) => self.accept_own(text).await,
        }
    }

    /// An earlier try may have landed although its answer was lost.
    async fn accept_own(&mut self, text: Vec<u8>) -> Result<()> {
        let (_, stored) = load(&self.archive, &self.folder).await?;
        if stored.text.as_ref() != Some(&text) {
            return Err(Error::Overtaken);
        }
        self.stored.version = stored.version;
        self.stored.text = Some(text);
        Ok(())
    }

    /// For stores without conditional writes, which are files: looks before it writes.
    async fn replace_index(&mut self, path: &Path, text: Vec<u8>) -> Result<()> {
        let (_, found) = load(&self.archive, &self.folder).await?;
        if found.text != self.stored.text && found.text.as_ref() != Some(&text) {
            return Err(Error::Overtaken);
        }
        self.archive.write(path, text.clone()).await?;
        self.stored.version = None;
        self.stored.text = Some(text);
        Ok(())
    }
}

/// Name of an index.
pub(crate) const INDEX: &str = "index.json";

fn encode(index: &LogIndex) -> Result<Vec<u8>> {
    serde_json::to_vec(index)
        .map_err(|error| Error::Damaged { object: INDEX.to_owned(), why: error.to_string() })
}

/// How far a log is stored, and its unfinished page. When that page is lost, the log goes on behind a line
/// that says so, which is as long: places in the log stay where they are.
async fn resume(archive: &Archive, folder: &str) -> Result<(LogIndex, Stored, Page)> {
    let (mut index, mut stored) = load(archive, folder).await?;
    for _ in 0..LOOKS {
        let Some(name) = &stored.part else { return Ok((index, stored, Page::default())) };
        let length = index.part;
        let why = match unfinished(archive, folder, name, length).await {
            Ok(page) => return Ok((index, stored, page)),
            Err(why @ (Error::Missing(_) | Error::Damaged { .. })) => why,
            Err(error) => return Err(error),
        };
        let (newer, found) = load(archive, folder).await?;
        if found.text == stored.text {
            warn!(folder, %why, "a part of a log is lost");
            return Ok((index, Stored { part: None, ..stored }, replacement(&why, length)));
        }
        // Another writer has replaced it meanwhile.
        (index, stored) = (newer, found);
    }
    Err(Error::Overtaken)
}

async fn unfinished(archive: &Archive, folder: &str, name: &str, length: usize) -> Result<Page> {
    let members = archive.members(folder, name).await?;
    archive.expand(folder, name, &members, Some(length))?;
    Ok(Page { members, length, ..Page::default() })
}

/// A page of this length, in place of one that is lost.
fn replacement(why: &Error, length: usize) -> Page {
    let line = format!("----- ompipe: {length} bytes of this log are lost: {why} -----");
    let mut text = line.into_bytes();
    text.resize(length, b' ');
    if let Some(last) = text.last_mut() {
        *last = b'\n';
    }
    let mut page = Page::default();
    page.push(&text, None);
    page
}

async fn load(archive: &Archive, folder: &str) -> Result<(LogIndex, Stored)> {
    let path = archive.path(&format!("{folder}/{INDEX}"));
    let Some(found) = archive.read(&path).await? else {
        return Ok(<(LogIndex, Stored)>::default());
    };
    let version =
        UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
    let text = found.bytes().await.map_err(|error| archive.failed(error))?.to_vec();
    let index: LogIndex = serde_json::from_slice(&text)
        .map_err(|error| Error::Damaged { object: path.to_string(), why: error.to_string() })?;
    let part = (index.part > 0).then(|| part_name(index.pages, index.part));
    Ok((index, Stored { text: Some(text), version: Some(version), part }))
}
