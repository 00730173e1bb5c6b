//! [`PipelineServiceClient`] and its implementation for Kubernetes, [`K8sPipelineClient`].
//!
//! ```text
//! IngestionPipeline ─► Preparation ─► RunnablePipeline ─► Objects ─► Transaction ─► API server
//!                      (asks OpenMetadata)               (pure)     (all or nothing)
//! ```
//! Rights needed in the namespace: get, list, create, patch, delete on secrets, configmaps,
//! `batch/cronjobs` and `batch/jobs`; update on secrets and configmaps to take a change back; get
//! and list on pods and pods/log. Following a run also watches jobs, pods and events.

mod clock;
mod cluster;
mod error;
mod k8s_client;
mod manifest;
mod objects;
mod prepare;
mod service_client;
mod transaction;

pub use error::{Error, KubernetesError, Result};
pub use k8s_client::{DeployedPipeline, K8sPipelineClient, RunObserver};
pub use manifest::{Manifests, Visibility};
pub use objects::{Objects, RunnablePipeline};
pub use prepare::Preparation;
pub use service_client::{Deployed, PipelineServiceClient, Started};
pub use transaction::{Change, Written};
