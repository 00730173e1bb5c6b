//! Which names a pipeline's objects have: those they have already, else the first that belong to
//! no other pipeline (design §4).

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use ompipe_core::{PipelineIdentity, Slug, labels};

use super::K8sPipelineClient;
use crate::error::{Error, Result};
use crate::objects::revision_of;
use crate::transaction::Object;

/// The objects of a pipeline that are there now, and what they are called.
pub(super) struct Present {
    pub(super) slug: Slug,
    pub(super) secret: Option<Secret>,
    pub(super) config_map: Option<ConfigMap>,
    pub(super) cron_job: Option<CronJob>,
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
        let (secret, config_map, cron_job) = (slug.secret(), slug.config_map(), slug.cron_job());
        let (secret, config_map, cron_job) =
            tokio::try_join!(self.get(&secret), self.get(&config_map), self.get(&cron_job))?;
        Ok(Present { slug, secret, config_map, cron_job })
    }
}

impl Present {
    fn belongs_to_another(&self, pipeline: &PipelineIdentity) -> bool {
        is_foreign(self.secret.as_ref(), pipeline)
            || is_foreign(self.config_map.as_ref(), pipeline)
            || is_foreign(self.cron_job.as_ref(), pipeline)
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

/// True for what is there and is not this pipeline's: another's, or somebody's who is not ompipe.
fn is_foreign<K: Object>(object: Option<&K>, pipeline: &PipelineIdentity) -> bool {
    object.is_some_and(|object| {
        let owner = labels::identity_of(object.labels(), object.annotations());
        !owner.is_some_and(|owner| owner.is_same_pipeline(pipeline))
    })
}
