//! What the runs of all pipelines say together: which of them a caller means, page by page; where the
//! time of one went; and what many of them have in common.
//!
//! Everything here is read off [`RunRecord`](crate::archive::RunRecord)s, so that runs of the cluster and archived ones are one list.

mod filter;
mod page;
mod statistics;
mod timeline;

pub use filter::{RunFilter, service_of};
pub use page::{Cursor, Page, merged, newest_first, page};
pub use statistics::{Day, Durations, ReasonCount, Statistics};
pub use timeline::{Phase, Span, timeline};

#[cfg(test)]
mod tests;
