//! Names of what is stored.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::labels::{self, Pairs};
use crate::pipeline::last_fqn_part;
use crate::{PipelineIdentity, RunId};

/// The folder of everything, below the place that the user names.
pub const FOLDER: &str = "v1";

const START: &str = "%Y%m%dT%H%M%SZ";
/// Characters of a start.
const START_LENGTH: usize = 16;

/// The folder of a pipeline. Its id is its identity; a pipeline of upstream's, whose runs have none, is
/// known by its name.
#[must_use]
pub fn pipeline_folder(namespace: &str, pipeline: &str) -> String {
    format!("{FOLDER}/{namespace}/{pipeline}")
}

/// Under which name the runs of a pipeline are archived, by the labels of a run: the pipeline's id. Runs
/// that upstream's client made have none, only a name.
#[must_use]
pub fn pipeline_key(labels: &Pairs) -> Option<String> {
    let by_name = || labels.get(labels::PIPELINE).map(|name| format!("name-{name}"));
    labels.get(labels::PIPELINE_ID).cloned().or_else(by_name)
}

/// What a pipeline in the archive is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineName {
    /// Under which name its runs are archived, as [`pipeline_key`] has it.
    pub key: String,
    /// Its fully qualified name.
    pub fully_qualified_name: String,
}

impl PipelineName {
    /// The name of the pipeline whose runs are archived below `key`.
    #[must_use]
    pub fn new(key: &str, fully_qualified_name: &str) -> Self {
        Self { key: key.to_owned(), fully_qualified_name: fully_qualified_name.to_owned() }
    }

    /// The pipeline, if the archive knows its id and this is its name or fully qualified name.
    #[must_use]
    pub fn called(&self, name: &str) -> Option<PipelineIdentity> {
        let fqn = &self.fully_qualified_name;
        let own = last_fqn_part(fqn);
        (name == fqn || name == own).then_some(())?;
        let id = self.key.parse().ok()?;
        Some(PipelineIdentity { id, name: own, fully_qualified_name: fqn.clone() })
    }
}

/// The folder of a run, below that of its pipeline. Later runs sort behind earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunFolder {
    /// When the run's object was made, in whole seconds.
    pub started: Timestamp,
    /// The run.
    pub run: RunId,
}

impl RunFolder {
    /// The folder of a run that began then.
    #[must_use]
    pub fn new(started: Timestamp, run: RunId) -> Self {
        let started = Timestamp::from_second(started.as_second()).unwrap_or(started);
        Self { started, run }
    }
}

impl fmt::Display for RunFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.started.strftime(START), self.run)
    }
}

impl FromStr for RunFolder {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (start, run) = text.split_at_checked(START_LENGTH).ok_or(())?;
        let start = jiff::civil::DateTime::strptime(START, start).map_err(|_| ())?;
        let started = start.to_zoned(TimeZone::UTC).map_err(|_| ())?.timestamp();
        let run = run.strip_prefix('-').ok_or(())?.parse().map_err(|_| ())?;
        Ok(Self { started, run })
    }
}

/// Which pods of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Those of the ingestion.
    Main,
    /// Those of the exit handler.
    ExitHandler,
}

impl Stage {
    /// The folder of its log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::ExitHandler => "exit-handler",
        }
    }
}

/// The object of a full page.
#[must_use]
pub fn page_name(page: usize) -> String {
    format!("{page:06}.gz")
}

/// The object of a page that has `length` bytes so far.
#[must_use]
pub fn part_name(page: usize, length: usize) -> String {
    format!("{page:06}-part-{length}.gz")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

    #[test]
    fn a_folder_is_read_back() {
        let started = "2026-11-28T23:17:06.5Z".parse().unwrap();
        let folder = RunFolder::new(started, RUN.parse().unwrap());
        assert_eq!(folder.to_string(), format!("20261128T231706Z-{RUN}"));
        assert_eq!(folder.to_string().parse(), Ok(folder));
    }

    #[test]
    fn what_is_no_folder_of_a_run_is_passed_by() {
        for name in ["", "run.json", "20261128T231706Z-", RUN, "2026ü128T231706Z-x"] {
            assert_eq!(name.parse::<RunFolder>(), Err(()), "{name}");
        }
    }
}
