//! `diff` and `deploy --dry-run`: what a deploy would change, as the API server would have it.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use ompipe_core::config::Mode;
use ompipe_core::labels::OMPIPE;
use ompipe_core::{IngestionPipeline, PipelineIdentity, Service};
use serde_json::Value;

use super::K8sPipelineClient;
use super::plan::Plan;
use super::slug::{Present, is_upstreams};
use crate::error::{KubernetesError, Result};
use crate::manifest::{Manifests, Visibility};
use crate::object::Object;
use crate::objects::Objects;
use crate::transaction::Change;

/// What a deploy would do.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedDeploy {
    /// The pipeline.
    pub pipeline: PipelineIdentity,
    /// Where it would be deployed to.
    pub namespace: String,
    /// Every object that it has, would have, or would lose.
    pub objects: Vec<PlannedChange>,
    /// What would change about the schedule, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_change: Option<String>,
}

/// What a deploy would do to an object.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedChange {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What would happen to it.
    pub change: Change,
    /// The object as it is, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The object as it would be, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl K8sPipelineClient {
    /// What a deploy would do. The API server is asked to carry out each write without keeping it, so
    /// that its rules and defaults count.
    ///
    /// # Errors
    /// As for the deploy itself.
    pub async fn plan_deploy(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
    ) -> Result<PlannedDeploy> {
        let runnable = self.preparation.prepare(pipeline, service).await?;
        let identity = &runnable.pipeline.identity;
        let present = self.present(identity).await?.settled()?;
        let upstreams = self.schedules_of_upstream(identity).await?;
        let plan = Plan::new(
            &runnable.pipeline,
            present.cron_job.as_ref().or(upstreams.0.as_ref()),
            present.cron_om_job.as_ref().or(upstreams.1.as_ref()),
        );
        let slug = present.slug.clone();
        let objects = Objects::new(&self.config, &runnable, &slug).with_suspended(plan.suspended);
        let objects = match &present.secret {
            Some(secret) if !is_upstreams(secret) => objects.anchored(secret),
            _ => objects,
        };
        let changes = self.planned_changes(&objects, present).await?;
        Ok(PlannedDeploy {
            pipeline: identity.clone(),
            namespace: self.config.namespace.to_string(),
            objects: changes,
            schedule_change: plan.change,
        })
    }

    async fn planned_changes(
        &self,
        objects: &Objects<'_>,
        present: Present,
    ) -> Result<Vec<PlannedChange>> {
        let revision = objects.revision_secret();
        let kept: Option<Secret> = self.get(&revision.name_any()).await?;
        let mut changes = vec![self.planned(objects.pipeline_secret(), present.secret).await?];
        // A revision never changes; what differs is who uses it.
        changes.push(match kept {
            Some(kept) => change(Change::Unchanged, Some(&kept), Some(&kept)),
            None => self.planned(revision, None).await?,
        });
        changes.push(self.planned(objects.config_map(), present.config_map).await?);
        let (job, om_job) = match self.config.mode {
            Mode::Job => (objects.cron_job(), None),
            Mode::Operator => (None, objects.cron_om_job()),
        };
        changes.extend(self.planned_schedule(job, present.cron_job).await?);
        changes.extend(self.planned_schedule(om_job, present.cron_om_job).await?);
        Ok(changes)
    }

    async fn planned_schedule<K: Object>(
        &self,
        wanted: Option<K>,
        present: Option<K>,
    ) -> Result<Option<PlannedChange>> {
        Ok(match (wanted, present) {
            (Some(wanted), present) => Some(self.planned(wanted, present).await?),
            (None, Some(present)) => Some(change(Change::Deleted, Some(&present), None)),
            (None, None) => None,
        })
    }

    async fn planned<K: Object>(
        &self,
        mut desired: K,
        present: Option<K>,
    ) -> Result<PlannedChange> {
        // What upstream's client made is deleted first, which a trial cannot do.
        if present.as_ref().is_some_and(is_upstreams) {
            return Ok(change(Change::Configured, present.as_ref(), Some(&desired)));
        }
        desired.meta_mut().resource_version = present.as_ref().and_then(K::resource_version);
        let params = PatchParams { dry_run: true, ..PatchParams::apply(OMPIPE).force() };
        let name = desired.name_any();
        let tried = self.api::<K>().patch(&name, &params, &Patch::Apply(&desired)).await;
        let doing = || format!("trying to apply {} {name}", K::kind(&()));
        let after = tried.map_err(|error| KubernetesError::new(doing(), error))?;
        let is_same = |present: &K| comparable(present) == comparable(&after);
        let what = match &present {
            None => Change::Created,
            Some(present) if is_same(present) => Change::Unchanged,
            Some(_) => Change::Configured,
        };
        Ok(change(what, present.as_ref(), Some(&after)))
    }
}

fn change<K: Object>(change: Change, before: Option<&K>, after: Option<&K>) -> PlannedChange {
    let name = before.or(after).map(ResourceExt::name_any).unwrap_or_default();
    let [before, after] = [before, after].map(|object| object.and_then(shown));
    PlannedChange { kind: K::kind(&()).into_owned(), name, change, before, after }
}

/// The object without what the API server counts, with the secrets that it has.
fn comparable<K: Object>(object: &K) -> Option<Value> {
    let mut value = serde_json::to_value(object).ok()?;
    value.as_object_mut()?.remove("status");
    let metadata = value.get_mut("metadata")?.as_object_mut()?;
    for counted in ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp"] {
        metadata.remove(counted);
    }
    Some(value)
}

/// The same for people: no secrets, and the texts of a Secret in the clear.
fn shown<K: Object>(object: &K) -> Option<Value> {
    Manifests::of_object(comparable(object)?).to_values(Visibility::Masked).pop()
}
