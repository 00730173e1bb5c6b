//! Fixtures that the end-to-end tests and `make demo` share: the two ends of an ingestion.
//!
//! ```text
//!                        a worker, as a pod or as a process
//!                        ┌──────────────────────────────────┐
//!   Postgres             │  metadata ingest -c …            │            Standin
//!   ┌──────────────┐     │                                  │     ┌───────────────────────┐
//!   │ shop         │◀────┤ reads tables          writes     ├────▶│ entities              │
//!   │  catalog.*   │     │                       what it    │     │ status rows, journal  │
//!   │  sales.*     │     │                       found      │     │ faults on demand      │
//!   └──────────────┘     └──────────────────────────────────┘     └───────────────────────┘
//!    a real one, from                                              accepted by the real
//!    Debian's packages                                             client as OpenMetadata
//! ```
//!
//! - [`standin`]: the OpenMetadata stand-in, in-process ([`standin::Standin`]) or as the program
//!   `standin`.
//! - [`postgres`]: a PostgreSQL server with the sample database of `sql/shop.sql`, in-process
//!   ([`postgres::Postgres`]) or as the program `sample-postgres`.
//! - [`api_proxy`]: a proxy in front of the real API server that fails on demand.
//! - [`metrics`]: names of metrics, asked for and there.
//! - [`prometheus`]: the real Prometheus and its tools.
//! - [`recording`]: metrics that were read once, as samples of a span of time.
//! - [`rights`]: rights as Roles grant them, and as calls of the API server need them.
//! - [`tls`]: a TLS listener with a certificate of its own.
//! - [`contract`]: what each key of the configuration promises, as a table.
//! - [`matrix`]: which ends and faults are tried in which mode, and the page of what was found.
//! - [`chaos`]: random faults over many runs, drawn from a seed, and what is true afterwards.
//! - [`upstream_crds`]: the custom resources as OpenMetadata's own chart defines them.
//!
//! The servers listen on loopback or private addresses only, pick a free port, and end with the
//! value that stands for them.

mod address;
pub mod api_proxy;
pub mod chaos;
mod connection;
pub mod contract;
pub mod docs;
pub mod helm;
mod late_event;
pub mod matrix;
pub mod metrics;
pub mod postgres;
pub mod prometheus;
pub mod recording;
pub mod rights;
pub mod standin;
pub mod tls;
pub mod upstream_crds;

pub use address::NotLocal;
