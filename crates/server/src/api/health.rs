//! Whether everything that requests need is there, in detail.

use axum::Json;
use axum::extract::State;
use ompipe_client::{PipelineServiceClient, Right};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Shared};

/// Whether everything that requests need is there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    /// Whether every operation can work.
    healthy: bool,
    /// What is right, or what is wrong with every remedy.
    reason: String,
    /// Version of ompipe.
    version: &'static str,
    /// Where pipelines run.
    namespace: String,
    /// Version of the cluster, if it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    kubernetes_version: Option<String>,
    /// Rights that ompipe lacks there.
    missing_rights: Vec<MissingRight>,
    open_metadata: OpenMetadata,
}

/// One right that is missing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MissingRight {
    /// API group; empty for the core.
    group: &'static str,
    /// Resource, or resource and subresource.
    #[schema(example = "pods/log")]
    resource: &'static str,
    /// What may not be done with it.
    #[schema(example = "get")]
    verb: &'static str,
}

/// The OpenMetadata server, and whether the ingestion image fits it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenMetadata {
    /// The version that the server is told, which has to be its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Why no version can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The image of the ingestion framework.
    ingestion_image: String,
    /// Whether both are of one release line, as the framework demands; absent when that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    fits: Option<bool>,
}

/// Get the state of the service.
///
/// The answer is 200 whatever the state; `healthy` says it.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "getHealth",
    tag = "service",
    responses((status = 200, description = "The state", body = Health))
)]
pub(super) async fn show(State(app): State<Shared>) -> Json<Health> {
    let (status, open_metadata) = tokio::join!(app.client.get_service_status(), versions(&app));
    Json(Health {
        healthy: status.healthy,
        reason: status.reason,
        version: env!("CARGO_PKG_VERSION"),
        namespace: app.client.config().namespace.to_string(),
        kubernetes_version: status.version,
        missing_rights: status.missing.into_iter().map(MissingRight::from).collect(),
        open_metadata,
    })
}

async fn versions(app: &App) -> OpenMetadata {
    let ingestion_image = app.client.config().ingestion_image.to_string();
    match app.version.get().await {
        Ok(version) => OpenMetadata {
            fits: app.version.fits(&version),
            version: Some(version.to_string()),
            reason: None,
            ingestion_image,
        },
        Err(reason) => {
            OpenMetadata { version: None, reason: Some(reason), fits: None, ingestion_image }
        }
    }
}

impl From<Right> for MissingRight {
    fn from(right: Right) -> Self {
        let Right { group, resource, verb } = right;
        Self { group, resource, verb }
    }
}
