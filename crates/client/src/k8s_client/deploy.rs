//! `deploy`: fetch what is there, check, build, apply as one transaction, tidy up.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use ompipe_core::{IngestionPipeline, Service};
use tracing::warn;

use super::K8sPipelineClient;
use super::revisions::Need;
use super::slug::Present;
use crate::clock;
use crate::error::{Error, Result};
use crate::objects::{Objects, RunnablePipeline};
use crate::service_client::Deployed;
use crate::transaction::{Transaction, Written};

impl K8sPipelineClient {
    pub(super) async fn deploy(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
    ) -> Result<Deployed> {
        let runnable = self.preparation.prepare(pipeline, service).await?;
        let present = self.present(&runnable.pipeline.identity).await?;
        let slug = present.slug.clone();
        let objects = Objects::new(&self.config, &runnable, &slug);
        let mut transaction = Transaction::default();
        if let Err(refused) = self.apply_all(&mut transaction, &objects, present).await {
            return Err(transaction.roll_back(refused).await);
        }
        // What is deployed stands; an old revision that stays does no harm until the next deploy.
        if let Err(error) = self.prune_revisions(&runnable.pipeline.identity).await {
            warn!(%error, "old revisions could not be removed");
        }
        Ok(self.deployed(&runnable, transaction.commit()))
    }

    /// The pipeline's Secret goes first: it is applied only as it was read, so of two deploys at
    /// once one is refused before it has changed anything. The schedule goes last: from then on
    /// runs start with what everything before it put in place.
    async fn apply_all(
        &self,
        transaction: &mut Transaction,
        objects: &Objects<'_>,
        present: Present,
    ) -> Result<()> {
        let need = match &present.secret {
            Some(secret) if objects.are_deployed(secret) => Need::Deployed,
            _ => Need::Deploy,
        };
        let secret = match present.secret {
            Some(secret) => secret,
            None => self.claim(transaction, objects).await?,
        };
        transaction.apply(&self.api(), objects.pipeline_secret(), Some(secret)).await?;
        self.ensure_revision(transaction, objects, need).await?;
        transaction.apply(&self.api(), objects.config_map(), present.config_map).await?;
        match (objects.cron_job(), present.cron_job) {
            (Some(desired), previous) => {
                transaction.apply(&self.api(), desired, previous).await?;
            }
            (None, Some(schedule)) => transaction.orphan(&self.api(), &schedule).await?,
            (None, None) => {}
        }
        Ok(())
    }

    /// Takes the names: only one creation of the Secret can succeed.
    async fn claim(&self, transaction: &mut Transaction, objects: &Objects<'_>) -> Result<Secret> {
        let claim = Secret { data: None, ..objects.pipeline_secret() };
        let claimed = transaction.create(&self.api(), &claim).await?;
        claimed.ok_or_else(|| Error::ConcurrentDeploy(claim.name_any()))
    }

    fn deployed(&self, runnable: &RunnablePipeline, objects: Vec<Written>) -> Deployed {
        let pipeline = &runnable.pipeline;
        let schedule = pipeline.schedule.as_ref();
        Deployed {
            pipeline: pipeline.identity.clone(),
            namespace: self.config.namespace.to_string(),
            objects,
            schedule: schedule.map(|s| format!("{} {}", s.as_cron(), s.zone())),
            next_run: schedule
                .filter(|_| pipeline.enabled)
                .and_then(|s| s.next_after(clock::now())),
        }
    }
}
