//! [`PipelineServiceClient`] and its implementation for Kubernetes, [`K8sPipelineClient`].
//!
//! ```text
//! IngestionPipeline ─► Preparation ─► RunnablePipeline ─► Objects ─► Transaction ─► API server
//!                      (asks OpenMetadata)               (pure)     (all or nothing)
//! ```
//! [`rights_needed`] lists the rights that operations need in the namespace.

mod access;
mod clock;
mod cluster;
mod config_source;
mod deletion;
mod error;
mod health;
mod k8s_client;
mod manifest;
mod object;
mod objects;
mod prepare;
mod retry;
mod service_client;
mod transaction;

pub use access::{AccessError, ClusterConfig, Place, contexts};
pub use config_source::ConfigSource;
pub use error::{Error, KubernetesError, Result};
pub use health::{HEALTH_LIMIT, Right, ServiceStatus, rights_needed, rights_of_doctor};
pub use k8s_client::{
    Admission, Census, DeployedPipeline, Inventory, K8sPipelineClient, Known, LogSelection,
    LogSource, LogStage, Orphan, OrphanReason, PipelineDetail, PipelineFilter, PlannedChange,
    PlannedDeploy, RunObserver,
};
pub use manifest::{Manifests, Visibility};
pub use objects::{Objects, RunnablePipeline, TaskObjects};
pub use ompipe_archive::Window;
pub use prepare::Preparation;
pub use service_client::{
    Deleted, Deployed, Killed, PipelineServiceClient, RunRequest, Started, Toggled,
};
pub use transaction::{Change, Written};
