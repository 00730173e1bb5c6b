//! The contract of the configuration, without a cluster: the table of `ompipe_tests::contract`,
//! and the rules that hold for every pod (docs/adr/0012-one-pod-builder.md). `e2e/contract` shows
//! the same on a real API server.
#![expect(clippy::unwrap_used, reason = "a broken set-up should fail the test at once")]

mod environment;
mod pods;
mod table;
mod templates;
mod workloads;
