//! The exit handler: reports how a run ended, with what the cluster knows about its pod.
//!
//! ```text
//! environment ─► Input ─┐
//!                       ├─► Known end ─► OpenMetadata::report ─► row with its end
//! cluster ─► main pod ──┘                      ▲ diagnostics
//! ```
//! It runs as the pod `{omjob}-exit` once the worker is gone, or as preStop hook in the pod of a worker
//! that is about to be stopped, or in place as the end of the [supervisor](supervise()), which saw the
//! end itself. The environment is upstream's; the operator adds the exact end
//! to it (`ompipe_core::report`). Of the config only the server and the pipeline's name have to
//! be right. Nothing that the cluster does keeps the end from being reported: without rights,
//! without an answer in time there are less diagnostics.

mod clock;
mod cluster;
mod error;
mod input;
mod known_end;
mod report;
mod supervise;
mod termination;
mod witness;

pub use error::Error;
pub use report::{report, report_supervised};
pub use supervise::{Order, Supervised, supervise};
pub use termination::leave_message;
