//! The metadata that decisions need. Left out: `managedFields`, which is the larger half of a small
//! object and costs the most to read, and annotations.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use ompipe_core::labels;
use ompipe_core::omjob::{FINALIZER, Status, of_restored};
use serde::{Deserialize, Deserializer};

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
    annotations: Option<Kept>,
}

/// Of the annotations, those that decisions need.
#[derive(Deserialize)]
struct Kept {
    #[serde(rename = "pipelines.openmetadata.org/ended")]
    ended: Option<String>,
}

impl Meta {
    /// The status that a backup did not bring back, if the object says that it has ended.
    pub(super) fn restored(&self) -> Option<Status> {
        let ended = self.annotations.as_ref()?.ended.as_deref()?;
        of_restored(ended, self.name.as_deref()?, self.uid.as_deref()?)
    }
}

/// Most finalizers and owners of an object that are kept. Nothing but an attack has more.
pub(crate) const MOST_NAMES: usize = 32;

/// Metadata as it is kept.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    Meta::deserialize(deserializer).map(ObjectMeta::from)
}

/// Labels that something asks for.
fn is_needed(label: &str) -> bool {
    const NEEDED: [&str; 10] = [
        labels::KUEUE_QUEUE,
        labels::NAME,
        labels::COMPONENT,
        labels::MANAGED_BY,
        labels::PIPELINE,
        labels::PIPELINE_ID,
        labels::PIPELINE_TYPE,
        labels::APP_NAME,
        labels::RUN_ID,
        labels::CONFIG_REVISION,
    ];
    NEEDED.contains(&label)
}

fn needed(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels.retain(|key, _| is_needed(key));
    labels
}

/// A cut list has ours if the whole one has.
fn ours_and_few(mut all: Vec<String>) -> Vec<String> {
    if all.len() > MOST_NAMES {
        all.sort_by_key(|finalizer| finalizer != FINALIZER);
    }
    few(all)
}

fn few<T>(all: Vec<T>) -> Vec<T> {
    all.into_iter().take(MOST_NAMES).collect()
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
            finalizers: meta.finalizers.map(ours_and_few),
            labels: meta.labels.map(needed),
            owner_references: meta.owner_references.map(few),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_attacker_adds_is_not_kept() {
        let mut finalizers: Vec<String> = (0..1_000).map(|n| format!("x.io/{n}")).collect();
        finalizers.push(FINALIZER.to_owned());
        let labels: BTreeMap<String, String> =
            (0..1_000).map(|n| (format!("l{n}"), "v".into())).collect();
        let owner = json!({ "apiVersion": "v1", "kind": "K", "name": "n", "uid": "u" });
        let meta = json!({
            "name": "a", "finalizers": finalizers, "labels": labels, "ownerReferences": vec![owner; 1_000],
        });
        let kept = read(meta).unwrap();
        assert_eq!(kept.finalizers.as_ref().unwrap().len(), MOST_NAMES);
        assert!(kept.finalizers.unwrap().iter().any(|one| one == FINALIZER));
        assert!(kept.labels.unwrap().is_empty());
        assert_eq!(kept.owner_references.unwrap().len(), MOST_NAMES);
    }
}
