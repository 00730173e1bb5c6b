//! The fault matrix: every way in which a run may end or be disturbed, in every mode, and what tests
//! found to stand in OpenMetadata then.
//!
//! ```text
//!   ROWS ──► e2e/matrix: one cell, one test ──► .build/matrix/*.json ──► fault-matrix ──► docs/fault-matrix.md
//!    └──────────────────────────── what has to be there ─────────────────────┘
//! ```
//! [`ROWS`] is the only list of what is promised. A cell that nobody tries says why; one that should
//! be tried and was not is told as missing, and no page is written.

mod found;
mod page;
mod rows;

pub use found::{Found, Unreadable};
pub use page::{Page, Wrong, disagreements};
pub use rows::{GROUPS, Group, Mode, ROWS, Row, Untried};
