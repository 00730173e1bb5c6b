//! The metadata that decisions need. Left out: `managedFields`, which is the larger half of a small
//! object and costs the most to read, and annotations.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    deletion_grace_period_seconds: Option<i64>,
    finalizers: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

impl From<Meta> for ObjectMeta {
    fn from(meta: Meta) -> Self {
        Self {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            resource_version: meta.resource_version,
            generation: meta.generation,
            creation_timestamp: meta.creation_timestamp,
            deletion_timestamp: meta.deletion_timestamp,
            deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
            finalizers: meta.finalizers,
            labels: meta.labels,
            owner_references: meta.owner_references,
            ..Self::default()
        }
    }
}

/// The owner of that kind, whatever the version of its API.
pub(super) fn owner_of<'m>(metadata: &'m ObjectMeta, kind: &str) -> Option<&'m OwnerReference> {
    const GROUP: &str = "pipelines.openmetadata.org/";
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.kind == kind && owner.api_version.starts_with(GROUP))
}
