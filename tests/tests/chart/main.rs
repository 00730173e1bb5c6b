//! The Helm chart without a cluster: values in, objects or a sentence out. What the objects do is shown
//! in `e2e::chart`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken set-up fails the test at once")]

mod alerts;
mod board;
mod metrics;
mod names;
mod notify;
mod objects;
mod pasted;
mod refused;
mod rendered;
mod rights;
mod schema;
