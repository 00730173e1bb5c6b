//! Keeps all logs together below a size: the oldest go first. Records stay.

use std::collections::{BTreeMap, BTreeSet};

use futures::{Stream, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use ompipe_core::archive::{FOLDER, RunFolder, RunRecord, pipeline_folder};

use crate::Archive;
use crate::error::{Error, Result};

/// Characters of a run's folder that say in which hour it began.
const HOUR: usize = 11;
/// After so long a run that has no end on record counts as ended.
const ENDLESS: SignedDuration = SignedDuration::from_hours(72);

/// An object of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    namespace: String,
    pipeline: String,
    run: RunFolder,
}

impl Owner {
    /// Whose log an object is a part of; `None` for a record.
    fn of(path: &Path) -> Option<Self> {
        let part = |back| path.parts().nth_back(back).map(|part| part.as_ref().to_owned());
        Some(Self { run: part(2)?.parse().ok()?, pipeline: part(3)?, namespace: part(4)? })
    }

    fn hour(&self) -> String {
        self.run.to_string().chars().take(HOUR).collect()
    }
}

impl Archive {
    /// Deletes the oldest logs of runs that have ended until all logs together have at most `most` bytes,
    /// as far as that is possible; how many bytes it deleted. Logs that began in the same hour go together.
    ///
    /// # Errors
    /// The store does not answer; what was deleted so far stays deleted.
    pub async fn shrink(&self, most: u64, now: Timestamp) -> Result<u64> {
        let hours = self.bytes_by_hour().await?;
        let over = hours.values().sum::<u64>().saturating_sub(most);
        let (mut hours, mut deleted) = (hours.into_iter().peekable(), 0);
        while deleted < over && hours.peek().is_some() {
            let (mut wanted, mut chosen) = (over - deleted, BTreeSet::new());
            while let Some((hour, bytes)) = hours.next_if(|_| wanted > 0) {
                wanted = wanted.saturating_sub(bytes);
                chosen.insert(hour);
            }
            deleted += self.drop_logs_of(&chosen, now).await?;
        }
        Ok(deleted)
    }

    /// Bytes of logs, by the hour in which their runs began.
    async fn bytes_by_hour(&self) -> Result<BTreeMap<String, u64>> {
        let (mut hours, mut logs) = (BTreeMap::new(), std::pin::pin!(self.objects_of_logs()));
        while let Some((owner, bytes)) = logs.try_next().await? {
            *hours.entry(owner.hour()).or_default() += bytes;
        }
        Ok(hours)
    }

    async fn drop_logs_of(&self, hours: &BTreeSet<String>, now: Timestamp) -> Result<u64> {
        let (mut owners, mut logs) =
            (BTreeMap::<Owner, u64>::new(), std::pin::pin!(self.objects_of_logs()));
        while let Some((owner, bytes)) = logs.try_next().await? {
            if hours.contains(&owner.hour()) {
                *owners.entry(owner).or_default() += bytes;
            }
        }
        let mut deleted = 0;
        for (Owner { namespace, pipeline, run }, bytes) in owners {
            let record = self.record_if_readable(&namespace, &pipeline, run).await?;
            if has_ended(run, record.as_ref(), now) {
                let folder = format!("{}/{run}", pipeline_folder(&namespace, &pipeline));
                self.remove_logs(&folder).await?;
                deleted += bytes;
            }
        }
        Ok(deleted)
    }

    fn objects_of_logs(&self) -> impl Stream<Item = Result<(Owner, u64)>> + Send {
        let objects = self.store.list(Some(&self.path(FOLDER)));
        let kind = self.kind;
        objects.map_err(move |error| Error::of(kind, error)).try_filter_map(async |object| {
            Ok(Owner::of(&object.location).map(|of| (of, object.size)))
        })
    }
}

fn has_ended(run: RunFolder, record: Option<&RunRecord>, now: Timestamp) -> bool {
    let last = record.map_or(run.started, |record| record.updated);
    record.is_some_and(|record| record.state.is_terminal()) || now.duration_since(last) > ENDLESS
}
