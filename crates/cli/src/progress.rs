//! Tells what is being waited for when it takes longer than people like to wait in silence.

use std::future::Future;
use std::time::Duration;

use crate::output;

/// Silence that nobody minds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Awaits `work`; after two seconds says what is going on.
pub(crate) async fn during<T>(doing: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
        return done;
    }
    output::note(format_args!("{doing} …"));
    work.await
}
