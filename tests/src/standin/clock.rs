//! The one place that reads the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, the unit of every time in OpenMetadata.
#[expect(
    clippy::disallowed_methods,
    reason = "the server is the outermost caller; everything below it gets the time as an argument"
)]
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
