//! Waiting for what a cluster does in its own time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longer than anything here takes on a slow machine that does other work.
const PATIENCE: Duration = Duration::from_mins(5);

/// Looks until `look` finds something; a failed test, with the last thing seen, when it never does.
#[track_caller]
pub(crate) fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> impl Future<Output = T>
where
    F: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + PATIENCE;
    async move {
        loop {
            match look().await {
                Ok(found) => return found,
                Err(seen) if Instant::now() > end => panic!("{what} never came; last seen: {seen}"),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// True where tests have the time for their long form: `make nightly`.
pub(crate) fn is_nightly() -> bool {
    std::env::var_os("OMPIPE_TEST_NIGHTLY").is_some()
}
