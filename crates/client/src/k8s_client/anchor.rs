//! The pipeline's Secret as what holds its other objects together. It is written first and deleted
//! last, and owns the others.
//!
//! ```text
//! deploy, run   write objects ──► read the Secret again: is it the same, and not marked?
//! delete        mark the Secret ──► list objects, delete them, until a list is empty
//! ```
//! Each side writes first and looks afterwards, so of a delete and a deploy or run at the same time at
//! least one sees the other: the delete lists the new object, or its writer finds the mark and takes
//! the object back. Where that writer has died, the garbage collector removes the object, because its
//! owner is gone.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use ompipe_core::PipelineIdentity;
use ompipe_core::labels::{self, OMPIPE};
use serde_json::json;

use super::K8sPipelineClient;
use super::slug::{Present, is_upstreams};
use crate::clock;
use crate::error::{Error, KubernetesError, Result};
use crate::object::Object;
use crate::objects::revision_of;

/// What has become of the pipeline's Secret since an operation read or wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Same,
    /// Another deploy has written it.
    Superseded,
    /// The pipeline is deleted, or about to be.
    Gone,
}

impl K8sPipelineClient {
    /// Reads the pipeline's Secret again.
    pub(super) async fn standing_of(&self, anchor: &Secret) -> Result<Standing> {
        let now: Option<Secret> = self.get(&anchor.name_any()).await?;
        let now = now.filter(|now| now.uid() == anchor.uid() && !is_marked(now));
        Ok(match now {
            None => Standing::Gone,
            Some(now) if content_of(&now) == content_of(anchor) => Standing::Same,
            Some(_) => Standing::Superseded,
        })
    }

    /// Notes on a pipeline's Secret that the pipeline is being deleted.
    pub(super) async fn mark_deleting(&self, anchor: &Secret) -> Result<()> {
        self.annotate(anchor, labels::DELETING).await
    }

    /// Notes on a pipeline's Secret that OpenMetadata asked to delete a pipeline of this name.
    pub(super) async fn mark_deletion_asked(&self, anchor: &Secret) -> Result<()> {
        self.annotate(anchor, labels::DELETION_ASKED).await
    }

    /// Writes the time into an annotation of the very Secret that was read, if it is still there.
    async fn annotate(&self, anchor: &Secret, key: &str) -> Result<()> {
        let (name, now) = (anchor.name_any(), clock::now().to_string());
        let patch = json!({ "metadata": { "uid": anchor.uid(), "annotations": { key: now } } });
        let params =
            PatchParams { field_manager: Some(OMPIPE.to_owned()), ..PatchParams::default() };
        match self.api::<Secret>().patch(&name, &params, &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            // Another Secret has the name: the one that was read is gone.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(())
            }
            Err(error) => Err(KubernetesError::new(format!("marking Secret {name}"), error).into()),
        }
    }

    /// The Secrets that identify a pipeline: one, unless it was deployed under another id or name.
    pub(super) async fn anchors(&self, pipeline: &PipelineIdentity) -> Result<Vec<Secret>> {
        let secrets: Vec<Secret> = self.owned(pipeline).await?;
        Ok(secrets.into_iter().filter(is_anchor).collect())
    }

    /// Finishes a deletion whose process may have died; then the caller has to look at
    /// the cluster again.
    pub(super) async fn finish_deletion(&self, present: &Present) -> Result<()> {
        let marked = present.secret.as_ref().filter(|secret| is_anchor(secret));
        let marked = marked.filter(|secret| has_mark(secret));
        let pipeline = marked.and_then(identity);
        let (Some(marked), Some(pipeline)) = (marked, pipeline) else { return Ok(()) };
        self.delete_marked(&pipeline).await?;
        Err(Error::StillGoing(format!("Secret {}", marked.name_any())))
    }
}

impl Present {
    /// The Secret that a new run belongs to. A pipeline that is not deployed has none, which is right
    /// for a run that does not need that.
    pub(super) fn anchor_of_run(&self) -> Result<Option<&Secret>> {
        let anchor = self.secret.as_ref().filter(|secret| is_anchor(secret));
        match anchor {
            Some(going) if is_marked(going) => {
                Err(Error::StillGoing(format!("Secret {}", going.name_any())))
            }
            anchor => Ok(anchor),
        }
    }
}

/// True for a Secret that identifies a pipeline; others hold the config of its runs.
pub(super) fn is_anchor(secret: &Secret) -> bool {
    revision_of(secret.labels()).is_none() && !is_upstreams(secret)
}

/// True when the pipeline of this Secret is deleted, or about to be.
pub(super) fn is_marked(anchor: &Secret) -> bool {
    has_mark(anchor) || anchor.metadata.deletion_timestamp.is_some()
}

fn has_mark(anchor: &Secret) -> bool {
    anchor.annotations().contains_key(labels::DELETING)
}

fn identity<K: Object>(object: &K) -> Option<PipelineIdentity> {
    labels::identity_of(object.labels(), object.annotations())
}

/// What two deploys differ in.
fn content_of(anchor: &Secret) -> (Option<&String>, Option<&BTreeMap<String, ByteString>>) {
    (anchor.annotations().get(labels::CONFIG_DIGEST), anchor.data.as_ref())
}
