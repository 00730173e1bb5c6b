//! What OpenMetadata should say about a run that is over, and how that is written
//! (docs/adr/0022-row-decided-once.md).
//!
//! ```text
//! omjob::End ──► Ending ─┐
//!                        ├─► decide ─► Stands
//! Row (as it was read) ──┘        └──► Write(Correction) ─► Row::corrected ─► PUT
//! ```
//!
//! The worker's own report cannot be trusted alone: it writes its final row before its last
//! entities are stored, leaves `running` behind when it fails to start, and may end with exit code
//! 0 without a report. So the row is decided once, when the last attempt is over, by the exit
//! handler, the supervisor and the operator alike. What must hold:
//!
//! 1. A row that says `partialSuccess`, `failed` or `stopped` is never changed, so that whatever
//!    decides second leaves what the first one wrote.
//! 2. A row is written over what was read just before, and keeps every field that is not ours.

mod description;
mod draft;
mod environment;
mod recipient;
mod row;
mod table;

pub use description::{LOG_BYTES, LOG_LINES, describe, memory_limit};
pub use draft::Draft;
pub use environment::{
    DEADLINE_ENV, EXIT_CODE_ENV, FINISHED_ENV, HOPELESS, MESSAGE_ENV, PIPELINE_STATUS_ENV,
    REASON_ENV, SIGNAL_ENV, TOKEN_ENV, end_told, pipeline_status, variables,
};
pub use recipient::{Recipient, Subject, Unusable};
pub use row::{Evidence, Row, waiting_step};
pub use table::{Account, Correction, Ending, Verdict, decide, table};
