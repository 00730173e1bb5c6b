//! The pure domain of ompipe: what a pipeline is, what its worker gets, what its objects are
//! called, when it runs and what state its runs are in. No network, no Kubernetes client, no clock: time
//! and observations come in as arguments, decisions go out as values (docs/adr/0001-pure-core.md).
//!
//! ```text
//! configuration file ─► config::K8sPipelineClientConfig ──┐
//! IngestionPipeline ──► workflow::WorkflowConfig ─────────┼─► objects (crate ompipe-client)
//!        └────────────► Slug, labels, Schedule ───────────┘
//! Job + Pods ─────────► run::Run        log bytes ─► logs::LogPager
//! ```

pub mod address;
mod airflow;
pub mod archive;
mod bytes;
pub mod config;
pub mod cron;
pub mod diagnosis;
pub mod fields;
pub mod history;
pub mod job;
pub mod kubernetes;
pub mod labels;
pub mod log_lines;
pub mod log_mask;
pub mod logs;
mod names;
pub mod omjob;
mod overrides;
mod pipeline;
mod pod;
pub mod pod_policy;
pub mod printable;
mod problem;
pub mod proxy;
mod quantity;
mod queue;
pub mod redaction;
pub mod report;
pub mod revision;
pub mod run;
mod run_id;
mod schedule;
mod server_connection;
mod service;
pub mod shares;
pub mod spread;
mod task;
pub mod version;
pub mod workflow;
pub mod yaml;

pub use airflow::AirflowConfig;
pub use bytes::Bytes;
pub use names::{Slug, upstream};
pub use overrides::ConfigOverrides;
pub use pipeline::{
    IngestionPipeline, LoggerLevel, MaxActiveRuns, PipelineIdentity, PipelineType,
    ServiceReference, last_fqn_part, quote_fqn_part,
};
pub use problem::{Problem, Problems};
pub use quantity::Quantity;
pub use queue::Queue;
pub use run::{PipelineState, Reason, Run, Workload, WorkloadKind};
pub use run_id::RunId;
pub use schedule::{Schedule, Zone};
pub use server_connection::{
    CA_FILE, CA_KEY, CaCertificate, ServerConnection, VerifySsl, endpoint_hint,
};
pub use service::Service;
pub use task::{Application, AutomationWorkflow, TaskEntity};
pub use workflow::WorkflowConfig;
