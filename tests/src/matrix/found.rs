//! What a test found in one cell.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::rows::Mode;
use crate::standin::PipelineState;

/// One cell of the matrix, as a test found it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The row, by its name.
    pub row: String,
    /// The column.
    pub mode: Mode,
    /// The test, by the path of its function.
    pub test: String,
    /// What stands in OpenMetadata at last; `None` when that is no end.
    pub state: Option<PipelineState>,
    /// Why, as the row says: the first word of its last failure.
    pub reason: Option<String>,
    /// Who wrote it.
    pub by: Option<String>,
    /// From the moment at which the API showed the end, or at which the outage was over, until it
    /// stood; `None` where nothing had to be written. Less than nothing means before.
    pub seconds: Option<f64>,
}

/// What was found cannot be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no cell.
    #[error("{path} is no cell of the matrix: {source}; remove it and run the tests again")]
    NoCell {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Found {
    /// Where tests of this repository leave what they found.
    #[must_use]
    pub fn directory() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../.build/matrix")
    }

    /// Leaves it for the page, in place of what was found there before.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn keep(&self, directory: &Path) -> Result<(), Unreadable> {
        let name = self.row.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let path = directory.join(format!("{name}--{:?}.json", self.mode));
        let file = |source| Unreadable::File { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(file)?;
        let text = serde_json::to_vec(self).map_err(io::Error::from).map_err(file)?;
        fs::write(&path, text).map_err(file)
    }

    /// Everything that tests left; nothing where no test ran.
    ///
    /// # Errors
    /// When a file cannot be read, or is no cell.
    pub fn all(directory: &Path) -> Result<Vec<Self>, Unreadable> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| Unreadable::File { path, source }
        };
        if !directory.exists() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(directory).map_err(at(directory))?;
        let read = |entry: io::Result<fs::DirEntry>| {
            let path = entry.map_err(at(directory))?.path();
            let text = fs::read(&path).map_err(at(&path))?;
            serde_json::from_slice(&text).map_err(|source| Unreadable::NoCell { path, source })
        };
        entries.map(read).collect()
    }
}
