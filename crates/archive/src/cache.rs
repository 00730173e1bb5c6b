//! What a reader was told of the store a moment ago. Pages are not kept: only where they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ompipe_core::archive::{LogIndex, RunFolder};
use tokio::time::{Duration, Instant};

/// How long an answer counts that may change. What is written meanwhile is seen that much later.
const FRESH: Duration = Duration::from_secs(2);
/// How long one counts that does not change.
const LASTING: Duration = Duration::from_mins(10);
/// Answers that are kept; an index has a few hundred bytes.
const MOST: usize = 1024;

/// Answers of the store, by what was asked for.
#[derive(Debug)]
pub(crate) struct Cache {
    pub(crate) indexes: Answers<LogIndex>,
    /// The folders of runs.
    pub(crate) runs: Arc<Answers<RunFolder>>,
    /// Those of the latest runs.
    pub(crate) latest: Arc<Answers<RunFolder>>,
}

impl Default for Cache {
    fn default() -> Self {
        let (runs, latest) = (Answers::lasting(LASTING), Answers::lasting(FRESH));
        Self { indexes: Answers::lasting(FRESH), runs: Arc::new(runs), latest: Arc::new(latest) }
    }
}

/// Answers of one kind.
#[derive(Debug)]
pub(crate) struct Answers<V> {
    lasts: Duration,
    known: Mutex<HashMap<String, (Instant, V)>>,
}

impl<V: Clone> Answers<V> {
    fn lasting(lasts: Duration) -> Self {
        Self { lasts, known: Mutex::default() }
    }

    /// An answer that still counts.
    pub(crate) fn get(&self, asked: &str) -> Option<V> {
        let answers = self.lock();
        let (since, answer) = answers.get(asked)?;
        (since.elapsed() < self.lasts).then(|| answer.clone())
    }

    /// Keeps an answer.
    pub(crate) fn put(&self, asked: String, answer: V) {
        let mut answers = self.lock();
        if answers.len() >= MOST {
            answers.retain(|_, (since, _)| since.elapsed() < self.lasts);
        }
        if answers.len() < MOST {
            answers.insert(asked, (Instant::now(), answer));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, V)>> {
        // No panic can leave it half-updated.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_for_a_moment_and_there_are_only_so_many() {
        let answers = Answers::lasting(FRESH);
        answers.put("a".to_owned(), 1);
        assert_eq!((answers.get("a"), answers.get("b")), (Some(1), None));
        (0..2 * MOST).for_each(|number| answers.put(number.to_string(), 2));
        assert_eq!(answers.lock().len(), MOST);
        tokio::time::advance(FRESH).await;
        assert_eq!(answers.get("a"), None);
        answers.put("b".to_owned(), 3);
        assert_eq!(answers.get("b"), Some(3));
        assert_eq!(answers.lock().len(), 1);
    }
}
