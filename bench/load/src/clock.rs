//! The one place of this crate that reads the clock.

use jiff::Timestamp;

/// Now, in microseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "everything else takes the time as an argument")]
pub(crate) fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
