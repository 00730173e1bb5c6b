//! What to do about an `OMJob`: a pure decision from what was seen and the time
//! (docs/adr/0025-omjob-decided-purely.md).
//!
//! ```text
//!              ┌── retries ──┐
//!  Pending ─► main pod ──────┴─► ended, recorded ─► exit handler pod ─► ended ─► Succeeded | Failed
//!     │                               ▲                 │ cannot succeed             │
//!     └─ never started ───────────────┘                 └─► last resort report       └─► TTL, let go
//! ```
//!
//! What must hold, whatever happens to the operator, its caches and its pods:
//!
//! 1. Two main pods of one `OMJob` never live at once.
//! 2. The exit handler starts after every end of main, never while main lives, and never again
//!    once it succeeded.
//! 3. A terminal phase is final, and says what the main pod said.
//! 4. Every stage is bounded, so that every run ends.
//!
//! How the decisions keep them: every pod has a name that its attempt determines, so that it is
//! made once. A pod carries [`TRACKING_FINALIZER`] until its end stands in the status, so that a
//! pod that is not there was never made, or has been recorded. The creation of a pod follows, in
//! one decision, a write of the `OMJob` that fails when the view was old. Whatever rests on the
//! absence of a pod is decided on a live read ([`Action::ReadFresh`]).
//! `tests/omjob_model.rs` explores all of this exhaustively in bounded worlds.

mod backoff;
mod decide;
mod decision;
mod memory;
mod names;
mod observed;
mod pod;
mod restored;
mod retry;
mod status;
#[cfg(test)]
mod tests;

pub use crate::bytes::Bytes;
pub use crate::labels::POD_TYPE;
pub use crate::pod::{Deletion, End, Lasting, PodState, Reason, Refusal, Trouble, disruption};
pub(crate) use decide::REPORT_EVERY;
pub use decide::{State, decide};
pub use decision::{Action, Decision};
pub use memory::MoreMemory;
pub use names::{attempt_of, pod_name};
pub use observed::{Limits, Observed, Report, Source};
pub use pod::PodSeen;
pub use restored::{ENDED, ended_value, of_restored};
pub use retry::MOST_DISRUPTIONS;
pub use status::{Condition, ConditionKind, Phase, PodRef, Reporting, Stage, StageStatus, Status};

/// Finalizer of an `OMJob` whose exit handler has not run yet: a deleted one waits for it.
pub const FINALIZER: &str = "pipelines.openmetadata.org/exit-handler";
/// Finalizer of a pod whose end is not recorded yet: a deleted one stays readable until it is.
pub const TRACKING_FINALIZER: &str = "pipelines.openmetadata.org/tracking";
