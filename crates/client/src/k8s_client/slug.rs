//! Which names a pipeline's objects have: those they have already, else the first that belong to
//! no other pipeline (docs/adr/0003-identity-by-pipeline-id.md). What upstream's Java client made
//! of the same pipeline is the pipeline's own.

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, EnvVar, Secret};
use kube::ResourceExt;
use ompipe_api::CronOMJob;
use ompipe_core::{PipelineIdentity, Slug, labels, yaml};
use serde_json::Value;

use super::K8sPipelineClient;
use crate::error::{Error, Result};
use crate::object::Object;
use crate::objects::revision_of;

/// The objects of a pipeline that are there now, and what they are called.
pub(super) struct Present {
    pub(super) slug: Slug,
    pub(super) secret: Option<Secret>,
    pub(super) config_map: Option<ConfigMap>,
    pub(super) cron_job: Option<CronJob>,
    pub(super) cron_om_job: Option<CronOMJob>,
}

impl K8sPipelineClient {
    /// Reads what a pipeline has in the cluster, or where it may put it.
    pub(super) async fn present(&self, pipeline: &PipelineIdentity) -> Result<Present> {
        let secrets: Vec<Secret> = self.owned(pipeline).await?;
        for slug in slug_of(&secrets).into_iter().chain(candidates(pipeline)) {
            let present = self.present_under(slug).await?;
            if !present.belongs_to_another(pipeline) {
                return Ok(present);
            }
        }
        Err(Error::NoFreeName(pipeline.fully_qualified_name.clone()))
    }

    async fn present_under(&self, slug: Slug) -> Result<Present> {
        let (secret, config_map) = (slug.secret(), slug.config_map());
        let (cron_job, cron_om_job) = (slug.cron_job(), slug.cron_om_job());
        let (secret, config_map, cron_job, cron_om_job) = tokio::try_join!(
            self.get(&secret),
            self.get(&config_map),
            self.get(&cron_job),
            self.get_custom(&cron_om_job),
        )?;
        Ok(Present { slug, secret, config_map, cron_job, cron_om_job })
    }
}

/// What is being deleted cannot be built on: a change of it would go with it.
fn refuse_going<K: Object>(object: Option<&K>) -> Result<()> {
    match object.filter(|object| object.meta().deletion_timestamp.is_some()) {
        Some(going) => Err(Error::StillGoing(format!("{} {}", K::kind(&()), going.name_any()))),
        None => Ok(()),
    }
}

impl Present {
    /// Nothing of it is on its way out.
    pub(super) fn settled(self) -> Result<Self> {
        refuse_going(self.secret.as_ref())?;
        refuse_going(self.config_map.as_ref())?;
        refuse_going(self.cron_job.as_ref())?;
        refuse_going(self.cron_om_job.as_ref())?;
        Ok(self)
    }

    fn belongs_to_another(&self, pipeline: &PipelineIdentity) -> bool {
        let config_map_is = self.config_map.as_ref().map(|found| found.owner(pipeline));
        let secret_is =
            self.secret.as_ref().map(|secret| match owner_by_identity(secret, pipeline) {
                // Upstream's Secret does not say whose it is; the ConfigMap of that name does.
                Owner::Unknown
                    if is_upstreams(secret) && config_map_is == Some(Owner::Upstream) =>
                {
                    Owner::Upstream
                }
                owner => owner,
            });
        let schedules = [
            self.cron_job.as_ref().map(|found| found.owner(pipeline)),
            self.cron_om_job.as_ref().map(|found| found.owner(pipeline)),
        ];
        let owners = [secret_is, config_map_is].into_iter().chain(schedules).flatten();
        owners.into_iter().any(|owner| matches!(owner, Owner::Other | Owner::Unknown))
    }
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The pipeline's, made by ompipe.
    Ompipe,
    /// The pipeline's, made by upstream's Java client.
    Upstream,
    /// Another pipeline's.
    Other,
    /// Its owner is unknown.
    Unknown,
}

/// A kind of which the Java client makes objects that say whose they are.
pub(super) trait Owned: Object {
    /// The FQN of the pipeline, as its worker gets it.
    fn pipeline_fqn(&self) -> Option<String>;

    /// Whose this is, seen from one pipeline.
    fn owner(&self, pipeline: &PipelineIdentity) -> Owner {
        let by_identity = owner_by_identity(self, pipeline);
        if by_identity != Owner::Unknown || !is_upstreams(self) {
            return by_identity;
        }
        match self.pipeline_fqn() {
            Some(fqn) if fqn == pipeline.fully_qualified_name => Owner::Upstream,
            Some(_) => Owner::Other,
            None => Owner::Unknown,
        }
    }
}

impl Owned for CronJob {
    fn pipeline_fqn(&self) -> Option<String> {
        let job = self.spec.as_ref()?.job_template.spec.as_ref()?;
        let container = job.template.spec.as_ref()?.containers.first()?;
        labels::fqn_in(variables(container.env.as_ref()))
    }
}

impl Owned for CronOMJob {
    fn pipeline_fqn(&self) -> Option<String> {
        labels::fqn_in(variables(self.spec.om_job_spec.main_pod_spec.env.as_ref()))
    }
}

impl Owned for ConfigMap {
    fn pipeline_fqn(&self) -> Option<String> {
        let config = yaml::parse(self.data.as_ref()?.get("config")?).ok()?;
        config.get("ingestionPipelineFQN").and_then(Value::as_str).map(str::to_owned)
    }
}

fn variables(env: Option<&Vec<EnvVar>>) -> &[EnvVar] {
    env.map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn is_upstreams<K: Object>(object: &K) -> bool {
    let is_theirs = |by: &String| by == labels::NAME_VALUE;
    object.labels().get(labels::MANAGED_BY).is_some_and(is_theirs)
}

fn owner_by_identity<K: Object>(object: &K, pipeline: &PipelineIdentity) -> Owner {
    match labels::identity_of(object.labels(), object.annotations()) {
        Some(owner) if owner.is_same_pipeline(pipeline) => Owner::Ompipe,
        Some(_) => Owner::Other,
        None => Owner::Unknown,
    }
}

/// The slug that a pipeline's Secret says, which outlives a renamed service.
fn slug_of(secrets: &[Secret]) -> Option<Slug> {
    let of_pipeline = secrets.iter().find(|secret| revision_of(secret.labels()).is_none())?;
    of_pipeline.annotations().get(labels::SLUG)?.parse().ok()
}

fn candidates(pipeline: &PipelineIdentity) -> impl Iterator<Item = Slug> + use<> {
    Slug::candidates(&pipeline.name, &pipeline.fully_qualified_name)
}
