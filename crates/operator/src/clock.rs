//! The one place of this crate that reads the clock.

use std::time::Duration;

use jiff::Timestamp;

#[expect(clippy::disallowed_methods, reason = "everything else takes the time as an argument")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// How long it is until then; a timer that fires a moment early would look once too often.
pub(crate) fn until(time: Timestamp) -> Duration {
    let left = time.duration_since(now());
    Duration::try_from(left).unwrap_or_default() + Duration::from_millis(5)
}
