//! Values that come from files which others replace while the server runs: credentials that are
//! rotated, certificates that are renewed.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Least time between two reads of the files. They are read when a value is asked for,
/// which is cheap and works with every kind of volume: Kubernetes swaps a link, not a file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the files of a value are read to; a sentence when they are not right.
pub(crate) type Parse<T> = fn(&[Vec<u8>]) -> Result<T, String>;

/// A value read from files, and read again when they change.
pub(crate) struct Reloaded<T> {
    files: Vec<PathBuf>,
    parse: Parse<T>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    looked: Instant,
    /// What was wrong at the last read, so that it is logged once.
    wrong: Option<String>,
}

impl<T> Reloaded<T> {
    /// Reads the value for the first time.
    ///
    /// # Errors
    /// A file cannot be read or is not right.
    pub(crate) fn read(files: Vec<PathBuf>, parse: Parse<T>) -> Result<Self, String> {
        let value = Arc::new(read(&files, parse)?);
        let state = Mutex::new(State { value, looked: Instant::now(), wrong: None });
        Ok(Self { files, parse, state })
    }

    /// The value of now. Files that are not right leave the former value in place.
    pub(crate) fn get(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Instant::now();
            state.take(read(&self.files, self.parse));
        }
        Arc::clone(&state.value)
    }
}

impl<T> State<T> {
    fn take(&mut self, read: Result<T, String>) {
        match read {
            Ok(value) => {
                self.value = Arc::new(value);
                self.wrong = None;
            }
            Err(wrong) if self.wrong.as_ref() == Some(&wrong) => {}
            Err(wrong) => {
                tracing::warn!(%wrong, "a file cannot be used; what it held before stays in use");
                self.wrong = Some(wrong);
            }
        }
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read<T>(files: &[PathBuf], parse: Parse<T>) -> Result<T, String> {
    let named = |file: &PathBuf, error: &dyn fmt::Display| format!("{}: {error}", file.display());
    let contents = files
        .iter()
        .map(|file| std::fs::read(file).map_err(|error| named(file, &error)))
        .collect::<Result<Vec<_>, _>>()?;
    parse(&contents).map_err(|error| {
        let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        format!("{}: {error}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn number(files: &[Vec<u8>]) -> Result<u32, String> {
        let text = String::from_utf8_lossy(&files[0]);
        text.trim().parse().map_err(|_| "must be a number".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_and_a_wrong_one_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("value");
        fs::write(&file, "1").unwrap();
        let value = Reloaded::read(vec![file.clone()], number).unwrap();
        for (content, expected) in [("2", 2), ("two", 2), ("3", 3)] {
            fs::write(&file, content).unwrap();
            tokio::time::advance(LOOK_EVERY).await;
            assert_eq!(*value.get(), expected, "{content}");
        }
        fs::remove_file(&file).unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*value.get(), 3);
    }

    #[test]
    fn what_is_wrong_at_the_start_names_the_file() {
        let error = Reloaded::read(vec!["/nowhere/at/all".into()], number).unwrap_err();
        assert!(error.starts_with("/nowhere/at/all: "), "{error}");
    }
}
