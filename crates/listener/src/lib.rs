//! Connections for every port of ompipe: TCP or TLS, HTTP/1.1 and 2, bounded in number, in time and
//! for each peer, ended in good order.
//!
//! ```text
//! accept ─► a place ─► TLS? ─► first request in time? ─► requests, idle between them ─► end
//!             │                        │
//!             └─ none left: the oldest connection that waits gives way
//! ```
//! Without a login no caller can take a port from the others: a connection without a request ends after
//! [`Limits::header_timeout`], a peer has a quarter of the places, and when all are taken, a
//! connection that only waits is closed for the new one. Who does not read an answer loses it.

mod activity;
pub mod exposition;
mod head_timeout;
mod places;
mod serve;
mod write_timeout;

use std::time::Duration;

pub use activity::Caller;
pub use serve::Listener;

/// Bounds of one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at the same time.
    pub connections: usize,
    /// Time from the beginning of a connection until its first request is there, and from the first
    /// byte of each later request until its header is complete. The time between two requests does
    /// not count.
    pub header_timeout: Duration,
}

/// How a port ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long it goes on taking connections.
    pub drain: Duration,
    /// How long requests under way may take after that.
    pub grace: Duration,
}
