//! The one place of this crate that reads the clock.

use jiff::Timestamp;

#[expect(clippy::disallowed_methods, reason = "everything else takes the time as an argument")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
