//! ompipe on a real cluster: the program that users run, a real API server, a real kubelet with
//! real containers, and in `ingestion` the real ingestion framework on a real PostgreSQL.
//!
//! `tests/on-cluster` starts the cluster and says in the environment where it is. Without it every
//! test fails: a cluster test that skips itself proves nothing.
//!
//! ```text
//!   test ──► ompipe (binary) ──► API server ──► kubelet ──► worker pod ──┐
//!     │                                                                  │
//!     └── looks at objects, pods, exit codes     Standin ◄───────────────┘
//! ```
#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken set-up fails the test at once")]

mod access;
mod archive;
mod canary;
mod chaos;
mod chart;
mod command_line;
mod contract;
mod delete;
mod deploy;
mod docs;
mod doctor;
mod exit_handler;
mod faults;
mod health;
mod hooks;
mod images;
mod ingestion;
mod job_reports;
mod kill;
mod kueue;
mod lease;
mod logs;
mod matrix;
mod metrics;
mod models;
mod operator;
mod page;
mod pictures;
mod races;
mod runs;
mod serve;
mod serve_api;
mod supervise;
mod support;
mod tasks;
mod toggle;
mod upstream;
