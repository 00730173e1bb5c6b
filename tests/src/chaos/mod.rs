//! Random faults over many runs: what happens is drawn from a seed, and what is true afterwards
//! follows from what happened to each run.
//!
//! ```text
//!   seed ──► Plan { runs, events } ──► e2e/chaos plays it ──► Account of each run ──► judge ──► violations
//! ```
//! Drawing and judging know neither a cluster nor a clock.

mod dice;
mod plan;
mod truth;

pub use dice::Dice;
pub use plan::{Event, Happening, Kind, Plan, PlannedRun, Trouble, Worker};
pub use truth::{Account, Touch, Violation, judge};
