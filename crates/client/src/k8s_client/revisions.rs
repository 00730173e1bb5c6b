//! The Secrets that hold what runs get: made when they are missing, removed when nothing needs
//! them (docs/adr/0005-content-addressed-config.md).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use ompipe_core::labels::{self, OMPIPE};
use ompipe_core::revision::{self, Revision};
use ompipe_core::{PipelineIdentity, Workload};
use serde_json::json;

use super::K8sPipelineClient;
use crate::clock;
use crate::deletion::{self, unchanged};
use crate::error::{Error, KubernetesError, Result};
use crate::objects::{Objects, revision_of};
use crate::transaction::Transaction;

/// Who needs a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A deploy of the config that is deployed already: it is never removed.
    Deployed,
    /// A deploy that changes the config.
    Deploy,
    /// A run, whose object does not exist yet.
    Run {
        /// Whether the deployed config is its own, so that the revision is there.
        deployed: bool,
    },
}

impl K8sPipelineClient {
    /// Makes sure that a revision is there and stays until it is seen to be in use.
    pub(super) async fn ensure_revision(
        &self,
        transaction: &mut Transaction,
        objects: &Objects<'_>,
        need: Need,
    ) -> Result<()> {
        let mut revision = objects.revision_secret();
        if matches!(need, Need::Run { .. }) {
            revision
                .annotations_mut()
                .insert(labels::LAST_USED.to_owned(), clock::now().to_string());
        }
        let name = revision.name_any();
        let mut is_there = need == Need::Run { deployed: true };
        loop {
            if !is_there && transaction.create(&self.api(), &revision).await?.is_some() {
                return Ok(());
            }
            let present = match need {
                Need::Deployed => match self.get(&name).await? {
                    Some(present) if !is_owned(&present, objects.anchor()) => {
                        self.mark_used(&name, objects.anchor()).await?
                    }
                    present => present,
                },
                Need::Deploy | Need::Run { .. } => self.mark_used(&name, objects.anchor()).await?,
            };
            match present {
                Some(present) if digest_of(&present) == digest_of(&revision) => return Ok(()),
                Some(_) => return Err(Error::RevisionNameTaken(name)),
                // It went away in the meantime: make it again.
                None => is_there = false,
            }
        }
    }

    /// Notes the time on a revision, which also keeps [`Self::prune_revisions`] from removing it:
    /// it removes only what has not changed since it looked. The pipeline's Secret becomes an owner of
    /// it in addition to those that it has: it may have been left to the runs of a deleted pipeline, and would
    /// go with the last of them. `None` when it is not there.
    async fn mark_used(
        &self,
        name: &str,
        anchor: Option<&OwnerReference>,
    ) -> Result<Option<Secret>> {
        let now = clock::now().to_string();
        let owners: Vec<&OwnerReference> = anchor.into_iter().collect();
        let annotations = json!({ labels::LAST_USED: now });
        let patch =
            json!({ "metadata": { "annotations": annotations, "ownerReferences": owners } });
        let params =
            PatchParams { field_manager: Some(OMPIPE.to_owned()), ..PatchParams::default() };
        match self.api().patch(name, &params, &Patch::Strategic(patch)).await {
            Ok(secret) => Ok(Some(secret)),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(KubernetesError::new(format!("marking Secret {name}"), error).into()),
        }
    }

    /// Removes the revisions that neither a run uses nor a rollback needs.
    pub(super) async fn prune_revisions(&self, pipeline: &PipelineIdentity) -> Result<()> {
        let secrets: Vec<Secret> = self.owned(pipeline).await?;
        let revisions: Vec<Revision> = secrets.iter().filter_map(read_revision).collect();
        if revisions.len() <= revision::KEPT {
            return Ok(());
        }
        let in_use = revisions_in_use(&self.workloads(pipeline).await?);
        let deployed = secrets.iter().find_map(deployed_revision);
        for expired in revision::expired(&revisions, deployed, &in_use, clock::now()) {
            let id = Some(expired.id.as_str());
            for secret in secrets.iter().filter(|secret| revision_of(secret.labels()) == id) {
                self.remove_revision(secret).await?;
            }
        }
        Ok(())
    }

    async fn remove_revision(&self, secret: &Secret) -> Result<()> {
        let (name, how) = (secret.name_any(), DeleteParams::default());
        let gone = deletion::delete(&self.api::<Secret>(), &name, unchanged(secret), how).await;
        let doing = || format!("deleting Secret {name}");
        Ok(gone.map(drop).map_err(|error| KubernetesError::new(doing(), error))?)
    }
}

/// True when the pipeline's Secret is among the owners of a revision, or there is none that could be.
fn is_owned(revision: &Secret, anchor: Option<&OwnerReference>) -> bool {
    let owners = revision.owner_references();
    anchor.is_none_or(|anchor| owners.iter().any(|owner| owner.uid == anchor.uid))
}

fn digest_of(secret: &Secret) -> Option<&String> {
    secret.annotations().get(labels::CONFIG_DIGEST)
}

fn read_revision(secret: &Secret) -> Option<Revision> {
    let marked = secret.annotations().get(labels::LAST_USED);
    Some(Revision {
        id: revision_of(secret.labels())?.to_owned(),
        created: secret.creation_timestamp()?.0,
        marked: marked.and_then(|time| time.parse().ok()),
    })
}

/// The revision that the pipeline's own Secret says is deployed.
fn deployed_revision(secret: &Secret) -> Option<&str> {
    match revision_of(secret.labels()) {
        None => digest_of(secret).map(|digest| revision::short(digest)),
        Some(_) => None,
    }
}

fn revisions_in_use(workloads: &[Workload]) -> BTreeSet<String> {
    let unfinished = workloads.iter().filter(|workload| workload.end.is_none());
    unfinished.filter_map(|workload| revision_of(&workload.labels)).map(str::to_owned).collect()
}
