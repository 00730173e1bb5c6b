//! Lists of records: what is asked for most, the newest runs of a pipeline or of all, takes a few
//! requests, however many runs there were.
//!
//! ```text
//! v1-recent/{namespace}/{pipeline}/{run}.json       records that are in no list yet
//! v1-lists/{namespace}/{pipeline}/{day}.gz          those of a pipeline and a day, newest first
//! v1-hours/{namespace}/{day}/{hour}.gz              those of all pipelines and an hour, newest first
//! ```
//!
//! A list is gzip with a record in each line. What counts is `run.json`; lists are made of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use object_store::{PutMode, UpdateVersion};
use ompipe_core::RunId;
use ompipe_core::archive::{RunFolder, RunRecord, is_expired};
use tracing::warn;

use crate::error::{Error, Result};
use crate::{Archive, gzip};

const RECENT: &str = "v1-recent";
const LISTS: &str = "v1-lists";
const HOURS: &str = "v1-hours";

/// Objects that are read at once.
const AT_ONCE: usize = 32;
/// Records that one round of [`Archive::compact`] takes.
const ROUND: usize = 20_000;
/// How long a record is left where it is after its last change.
const SETTLED: SignedDuration = SignedDuration::from_mins(1);
/// After so long a run that has no end goes into the lists too.
const ENDLESS: SignedDuration = SignedDuration::from_hours(72);
/// Most bytes of a list.
const MOST_BYTES: u64 = 1 << 30;

/// When runs began that are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// At or after this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
}

impl Window {
    /// Whether a run that began then is within it.
    #[must_use]
    pub fn has(&self, started: Timestamp) -> bool {
        let whole = |time: Timestamp| time.as_second();
        self.since.is_none_or(|since| whole(started) >= whole(since))
            && self.until.is_none_or(|until| started < until)
    }

    /// Whether a list has some of it, by its name: the beginning of a start.
    fn may_have(&self, name: &str) -> bool {
        let begin = |time: Timestamp| time.strftime("%Y%m%dT%H").to_string();
        let length = name.len();
        let at = |time: Timestamp| begin(time).get(..length).map(str::to_owned).unwrap_or_default();
        self.since.is_none_or(|since| name >= at(since).as_str())
            && self.until.is_none_or(|until| name <= at(until).as_str())
    }
}

impl Archive {
    /// The newest runs that began within a window, at most so many, newest first: those of a pipeline, or
    /// of all.
    ///
    /// # Errors
    /// The store does not answer, or what it has cannot be read.
    pub async fn newest(
        &self,
        namespace: &str,
        pipeline: Option<&str>,
        window: Window,
        most: usize,
    ) -> Result<Vec<RunRecord>> {
        let mut found = self.recent(namespace, pipeline, window, most).await?;
        let listed = match pipeline {
            Some(pipeline) => self.listed_of(namespace, pipeline, window, most).await?,
            None => self.listed_of_all(namespace, window, most).await?,
        };
        for record in listed {
            found.entry(record.run_id).or_insert(record);
        }
        let mut found: Vec<RunRecord> = found.into_values().collect();
        found.sort_by_key(order);
        found.truncate(most);
        Ok(found)
    }

    /// Puts records that wait for it into lists; how many. One caller at a time: the leader.
    ///
    /// # Errors
    /// The store does not answer, or another caller was faster. What was not done is done the next time.
    pub async fn compact(&self, namespace: &str, now: Timestamp) -> Result<usize> {
        let waiting = self.waiting(&format!("{RECENT}/{namespace}")).await?;
        let read = waiting.into_iter().take(ROUND).map(|(path, run)| async move {
            let record = self.waiting_record(namespace, &path, run).await?;
            Ok::<_, Error>(record.map(|record| (path, run, record)))
        });
        let read: Vec<_> = stream::iter(read).buffer_unordered(AT_ONCE).try_collect().await?;
        let settled = read.into_iter().flatten().filter(|(.., record)| is_settled(record, now));
        let (mut lists, mut done) = (BTreeMap::<String, Vec<RunRecord>>::new(), Vec::new());
        for (path, run, record) in settled {
            for list in lists_of(namespace, &path, run) {
                lists.entry(list).or_default().push(record.clone());
            }
            done.push(path);
        }
        let count = done.len();
        let added = lists.into_iter().map(|(name, new)| self.add(name, new));
        stream::iter(added).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        let removed = done.into_iter().map(|path| async move { self.remove(&path).await });
        stream::iter(removed).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(count)
    }

    /// Deletes lists in which every run is too old.
    pub(crate) async fn sweep_lists(
        &self,
        namespace: &str,
        keep: SignedDuration,
        now: Timestamp,
    ) -> Result<()> {
        let Ok(border) = now.checked_sub(keep) else { return Ok(()) };
        let old = Window { since: None, until: Some(border) };
        for folder in [LISTS, HOURS] {
            let below = self.path(&format!("{folder}/{namespace}"));
            for list in self.objects(&below).await? {
                if !old.may_have(&start_of(&list)) {
                    continue;
                }
                let records = self.list_at(&list, Window::default(), usize::MAX).await?;
                let is_old =
                    |record: &RunRecord| is_expired(started(record), Some(record), keep, now);
                if records.iter().all(is_old) {
                    self.remove(&list).await?;
                }
            }
        }
        Ok(())
    }

    /// Keeps a record where [`Self::newest`] finds it until it is in a list.
    pub(crate) async fn keep_recent(
        &self,
        namespace: &str,
        pipeline: &str,
        run: RunFolder,
        text: Vec<u8>,
    ) -> Result<()> {
        self.write(&self.recent_path(namespace, pipeline, run), text).await
    }

    pub(crate) async fn remove_recent(
        &self,
        namespace: &str,
        pipeline: &str,
        run: RunFolder,
    ) -> Result<()> {
        self.remove(&self.recent_path(namespace, pipeline, run)).await
    }

    fn recent_path(&self, namespace: &str, pipeline: &str, run: RunFolder) -> Path {
        self.path(&format!("{RECENT}/{namespace}/{pipeline}/{run}.json"))
    }

    /// The latest run of a pipeline that is on record.
    pub(crate) async fn latest(
        &self,
        namespace: &str,
        pipeline: &str,
    ) -> Result<Option<RunFolder>> {
        let newest = self.newest(namespace, Some(pipeline), Window::default(), 1).await?;
        Ok(newest.first().map(|record| RunFolder::new(started(record), record.run_id)))
    }

    /// A run of a pipeline that is in no list yet.
    pub(crate) async fn recent_run(
        &self,
        namespace: &str,
        pipeline: &str,
        run: RunId,
    ) -> Result<Option<RunFolder>> {
        let waiting = self.waiting(&format!("{RECENT}/{namespace}/{pipeline}")).await?;
        Ok(waiting.into_iter().map(|(_, found)| found).find(|found| found.run == run))
    }

    /// Records that are in no list, by their runs.
    async fn waiting(&self, below: &str) -> Result<Vec<(Path, RunFolder)>> {
        let objects = self.objects(&self.path(below)).await?;
        let run_of = |path: &Path| path.filename()?.strip_suffix(".json")?.parse().ok();
        let runs = objects.into_iter().filter_map(|path| run_of(&path).map(|run| (path, run)));
        Ok(runs.collect())
    }

    /// A record that is in no list; where it is damaged, as the run has it.
    async fn waiting_record(
        &self,
        namespace: &str,
        path: &Path,
        run: RunFolder,
    ) -> Result<Option<RunRecord>> {
        match self.record_at(path).await {
            Err(error @ Error::Damaged { .. }) => {
                warn!(%error, "the record of a run is read from its folder");
                self.record_if_readable(namespace, &folder_of(path), run).await
            }
            read => read,
        }
    }

    async fn recent(
        &self,
        namespace: &str,
        pipeline: Option<&str>,
        window: Window,
        most: usize,
    ) -> Result<BTreeMap<RunId, RunRecord>> {
        let of_one = pipeline.map(|pipeline| format!("/{pipeline}")).unwrap_or_default();
        let mut waiting = self.waiting(&format!("{RECENT}/{namespace}{of_one}")).await?;
        waiting.retain(|(_, run)| window.has(run.started));
        waiting.sort_by_key(|(_, run)| Reverse(*run));
        let read = waiting.into_iter().take(most);
        let read =
            read.map(|(path, run)| async move { self.waiting_record(namespace, &path, run).await });
        // One that is gone by now is in a list.
        let read: Vec<Option<RunRecord>> =
            stream::iter(read).buffered(AT_ONCE).try_collect().await?;
        Ok(read.into_iter().flatten().map(|record| (record.run_id, record)).collect())
    }

    async fn listed_of(
        &self,
        namespace: &str,
        pipeline: &str,
        window: Window,
        most: usize,
    ) -> Result<Vec<RunRecord>> {
        let below = self.path(&format!("{LISTS}/{namespace}/{pipeline}"));
        self.read_lists(&below, window, most).await
    }

    async fn listed_of_all(
        &self,
        namespace: &str,
        window: Window,
        most: usize,
    ) -> Result<Vec<RunRecord>> {
        let mut days = self.folders(&self.path(&format!("{HOURS}/{namespace}"))).await?;
        days.retain(|day| window.may_have(day));
        days.sort_unstable_by(|one, other| other.cmp(one));
        let mut found = Vec::new();
        for day in days {
            let below = self.path(&format!("{HOURS}/{namespace}/{day}"));
            found.extend(self.read_lists(&below, window, most - found.len()).await?);
            if found.len() >= most {
                break;
            }
        }
        Ok(found)
    }

    /// Records of the lists in a folder, newest first.
    async fn read_lists(
        &self,
        below: &Path,
        window: Window,
        most: usize,
    ) -> Result<Vec<RunRecord>> {
        let mut lists = self.objects(below).await?;
        lists.retain(|list| window.may_have(&start_of(list)));
        lists.sort_unstable_by(|one, other| other.cmp(one));
        let mut found = Vec::new();
        for list in lists {
            if found.len() >= most {
                break;
            }
            found.extend(self.list_at(&list, window, most - found.len()).await?);
        }
        Ok(found)
    }

    async fn list_at(&self, path: &Path, window: Window, most: usize) -> Result<Vec<RunRecord>> {
        let Some(bytes) = self.bytes(path).await? else { return Ok(Vec::new()) };
        self.records_of(path, &bytes, window, most).await
    }

    /// The records of a list. A list that is damaged is made anew of what it was made of.
    async fn records_of(
        &self,
        path: &Path,
        bytes: &[u8],
        window: Window,
        most: usize,
    ) -> Result<Vec<RunRecord>> {
        let error = match read_list(bytes, window, most) {
            Ok(records) => return Ok(records),
            Err(error) => error,
        };
        warn!(%path, %error, "a list of runs is damaged, and is made anew");
        let mut records = self.made_anew(path).await?;
        records.retain(|record| window.has(started(record)));
        records.truncate(most);
        Ok(records)
    }

    async fn made_anew(&self, list: &Path) -> Result<Vec<RunRecord>> {
        let part = |back| list.parts().nth_back(back).map(|part| part.as_ref().to_owned());
        let [namespace, owner, kind] = [2, 1, 3].map(|back| part(back).unwrap_or_default());
        let of_one = kind == LISTS;
        let pipelines = if of_one { vec![owner] } else { self.pipelines(&namespace).await? };
        let (start, mut records) = (start_of(list), Vec::new());
        for pipeline in pipelines {
            let runs = self.runs(&namespace, &pipeline).await?;
            for run in runs.into_iter().filter(|run| run.to_string().starts_with(&start)) {
                records.extend(self.record_if_readable(&namespace, &pipeline, run).await?);
            }
        }
        records.sort_by_key(order);
        Ok(records)
    }

    /// Adds records to a list, which nobody else changes meanwhile.
    async fn add(&self, name: String, new: Vec<RunRecord>) -> Result<()> {
        let path = self.path(&name);
        let (mut records, mode) = match self.read(&path).await? {
            None => (BTreeMap::new(), PutMode::Create),
            Some(found) => {
                let (e_tag, version) = (found.meta.e_tag.clone(), found.meta.version.clone());
                let bytes = found.bytes().await.map_err(|error| self.failed(error))?;
                let known = self.records_of(&path, &bytes, Window::default(), usize::MAX).await?;
                let known = known.into_iter().map(|record| (record.run_id, record));
                (known.collect(), PutMode::Update(UpdateVersion { e_tag, version }))
            }
        };
        records.extend(new.into_iter().map(|record| (record.run_id, record)));
        let mut records: Vec<RunRecord> = records.into_values().collect();
        records.sort_by_key(order);
        let bytes = write_list(&records)
            .map_err(|error| Error::Damaged { object: path.to_string(), why: error.to_string() })?;
        match self.put(&path, bytes.clone(), mode).await? {
            Ok(_) => Ok(()),
            // Files, which one leader alone writes.
            Err(object_store::Error::NotImplemented { .. }) => self.write(&path, bytes).await,
            Err(_) => Err(Error::Overtaken),
        }
    }
}

/// The lists that have a record, which waits at a path.
fn lists_of(namespace: &str, path: &Path, run: RunFolder) -> [String; 2] {
    let pipeline = folder_of(path);
    let (day, hour) = (run.started.strftime("%Y%m%d"), run.started.strftime("%H"));
    [
        format!("{LISTS}/{namespace}/{pipeline}/{day}.gz"),
        format!("{HOURS}/{namespace}/{day}/{hour}.gz"),
    ]
}

/// Name of the folder that an object is in.
fn folder_of(path: &Path) -> String {
    path.parts().nth_back(1).map(|part| part.as_ref().to_owned()).unwrap_or_default()
}

/// Whether a record changes no more.
fn is_settled(record: &RunRecord, now: Timestamp) -> bool {
    let age = now.duration_since(record.updated);
    age > if record.state.is_terminal() { SETTLED } else { ENDLESS }
}

/// Newest first.
fn order(record: &RunRecord) -> impl Ord + use<> {
    Reverse((record.created, record.run_id))
}

fn started(record: &RunRecord) -> Timestamp {
    record.created.unwrap_or(record.updated)
}

/// The beginning of the start of the runs in a list: `20261129`, or `20261129T07` for an hour of a day.
fn start_of(list: &Path) -> String {
    let name = list.filename().unwrap_or_default().trim_end_matches(".gz");
    match name.len() {
        2 => format!("{}T{name}", folder_of(list)),
        _ => name.to_owned(),
    }
}

fn write_list(records: &[RunRecord]) -> std::io::Result<Vec<u8>> {
    let (mut text, mut bytes) = (Vec::new(), Vec::new());
    for record in records {
        serde_json::to_writer(&mut text, record)?;
        text.push(b'\n');
    }
    gzip::append(&mut bytes, &text, &[])?;
    Ok(bytes)
}

/// As many records of a list as are wanted; the rest is not read.
fn read_list(bytes: &[u8], window: Window, most: usize) -> std::io::Result<Vec<RunRecord>> {
    let lines = BufReader::new(MultiGzDecoder::new(bytes).take(MOST_BYTES)).lines();
    let records = lines.map(|line| Ok(serde_json::from_str::<RunRecord>(&line?)?));
    let is_wanted = |record: &std::io::Result<RunRecord>| {
        record.as_ref().map_or(true, |record| window.has(started(record)))
    };
    records.filter(is_wanted).take(most).collect()
}
