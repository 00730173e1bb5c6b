//! How far the log of a run is in the archive.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::names::{page_name, part_name};
use super::position::Position;

/// Version of what is stored.
const FORMAT: u32 = 1;

/// The index of a log. It is stored after the page that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogIndex {
    format: u32,
    /// Full pages.
    pub pages: usize,
    /// Bytes of the unfinished page.
    pub part: usize,
    /// Bytes of the whole log.
    pub bytes: u64,
    /// The attempts, in order.
    pub attempts: Vec<AttemptLog>,
    /// Where the log of the last attempt goes on.
    #[serde(default)]
    pub position: Position,
    /// When this was stored.
    pub updated: Timestamp,
}

/// The log of one attempt in that of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptLog {
    /// Its number, from 1.
    pub number: usize,
    /// Name of its pod.
    pub pod: String,
    /// UID of its pod.
    pub pod_uid: String,
    /// Where its log begins.
    pub begins: Place,
    /// Where its log ends; `None` while it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<Place>,
}

/// A place in the log of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Number of the page.
    pub page: usize,
    /// Bytes of that page before it.
    pub offset: usize,
}

impl Default for LogIndex {
    fn default() -> Self {
        let (attempts, position) = (Vec::new(), Position::default());
        Self {
            format: FORMAT,
            pages: 0,
            part: 0,
            bytes: 0,
            attempts,
            position,
            updated: Timestamp::MIN,
        }
    }
}

impl LogIndex {
    /// The position of the next write.
    #[must_use]
    pub const fn end(&self) -> Place {
        Place { page: self.pages, offset: self.part }
    }

    /// Number of pages; an empty log has one.
    #[must_use]
    pub const fn total(&self) -> usize {
        if self.part > 0 || self.pages == 0 { self.pages + 1 } else { self.pages }
    }

    /// Name of the object that has a page; `None` for one without text.
    #[must_use]
    pub fn object_of(&self, page: usize) -> Option<String> {
        match page {
            page if page < self.pages => Some(page_name(page)),
            page if page == self.pages && self.part > 0 => Some(part_name(page, self.part)),
            _ => None,
        }
    }

    /// Whether the log of this pod is there to its end.
    #[must_use]
    pub fn has_whole(&self, pod_uid: &str) -> bool {
        self.attempts.iter().any(|one| one.pod_uid == pod_uid && one.ends.is_some())
    }
}
