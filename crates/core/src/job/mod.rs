//! What to do about a Job that is a run: a pure decision from what was seen and the time, so that
//! OpenMetadata knows its one true end (docs/adr/0042-job-finalizer-on-sight.md).
//!
//! ```text
//!  Open ─► Over ─► Ended ─► report ─► Settled ─► let go
//!   │       ▲ read live       └─ unavailable: again, until the limit
//!   └─► Stopping: deleted, and pods of it live
//! ```
//!
//! Kubernetes runs the Job; nothing here makes a pod or counts a retry. What must hold:
//!
//! 1. Nothing is reported before the last attempt ended: between attempts, nothing is said.
//! 2. A Job that was seen is not gone before its end is reported, or cannot be: [`FINALIZER`].
//! 3. How its last attempt ended is not lost, whatever happens to the pod: a pod carries
//!    [`crate::omjob::TRACKING_FINALIZER`] until its end is recorded on the Job or in OpenMetadata.
//! 4. What was settled is never reported again.
//!
//! Why the pods have a finalizer of ours in addition to the Job controller's: that one comes off as soon
//! as the pod is counted, and at once when the Job is deleted. A pod that is forced away while no
//! operator runs would take its exit code along.

mod decide;
mod observed;
mod record;
#[cfg(test)]
mod tests;

pub use decide::{Action, Decision, State, decide};
pub use observed::{AttemptSeen, JobEnd, JobFailure, Observed, Report, is_ours};
pub use record::{LastAttempt, RECORD, REPORTED, Record, Reported, Reporter};

/// Finalizer of a Job whose end OpenMetadata does not know yet.
pub const FINALIZER: &str = "pipelines.openmetadata.org/report";
