//! `deploy`: fetch what is there, check, build, apply as one transaction, tidy up.

use std::collections::BTreeMap;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use ompipe_api::CronOMJob;
use ompipe_core::config::Mode;
use ompipe_core::{IngestionPipeline, PipelineIdentity, Service, upstream};
use tracing::warn;

use super::K8sPipelineClient;
use super::revisions::Need;
use super::slug::{Owned, Owner, Present, is_upstreams};
use crate::clock;
use crate::error::{Error, Result};
use crate::objects::{Objects, RunnablePipeline};
use crate::service_client::Deployed;
use crate::transaction::{Transaction, Written};

/// Tries of a deploy that meets others of the same pipeline, or a deletion that is not over: half a
/// minute in all.
const TRIES: usize = 14;
/// Longest pause between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

impl K8sPipelineClient {
    pub(super) async fn deploy(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
    ) -> Result<Deployed> {
        let runnable = self.preparation.prepare(pipeline, service).await?;
        let again = ExponentialBuilder::default().with_jitter().with_max_times(TRIES);
        let again = again.with_min_delay(Duration::from_millis(50)).with_max_delay(LONGEST_PAUSE);
        let written =
            (|| self.deploy_once(&runnable)).retry(again).when(Error::is_conflict).await?;
        // What is deployed stands; an old revision that stays does no harm until the next deploy.
        if let Err(error) = self.prune_revisions(&runnable.pipeline.identity).await {
            warn!(%error, "old revisions could not be removed");
        }
        Ok(self.deployed(&runnable, written))
    }

    async fn deploy_once(&self, runnable: &RunnablePipeline) -> Result<Vec<Written>> {
        let present = self.present(&runnable.pipeline.identity).await?.settled()?;
        let slug = present.slug.clone();
        let objects = Objects::new(&self.config, runnable, &slug);
        let mut transaction = Transaction::default();
        match self.apply_all(&mut transaction, &objects, present).await {
            Ok(()) => Ok(transaction.commit()),
            Err(refused) => Err(transaction.roll_back(refused).await),
        }
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
        self.apply_secret(transaction, objects, present.secret).await?;
        self.ensure_revision(transaction, objects, need).await?;
        match present.config_map {
            Some(found) if is_upstreams(&found) => {
                transaction.replace(&self.api(), objects.config_map(), &found).await?
            }
            previous => transaction.apply(&self.api(), objects.config_map(), previous).await?,
        };
        self.remove_schedules_of_upstream(transaction, objects.identity()).await?;
        self.apply_schedule(transaction, objects, present.cron_job, present.cron_om_job).await
    }

    async fn apply_secret(
        &self,
        transaction: &mut Transaction,
        objects: &Objects<'_>,
        present: Option<Secret>,
    ) -> Result<Secret> {
        let desired = objects.pipeline_secret();
        match present {
            Some(found) if is_upstreams(&found) => {
                transaction.replace(&self.api(), desired, &found).await
            }
            Some(found) if is_claim(&found) => transaction.fill(&self.api(), desired, &found).await,
            Some(found) => transaction.apply(&self.api(), desired, Some(found)).await,
            None => {
                let claimed = self.claim(transaction, objects).await?;
                transaction.fill(&self.api(), desired, &claimed).await
            }
        }
    }

    /// Takes the names: only one creation of the Secret can succeed.
    async fn claim(&self, transaction: &mut Transaction, objects: &Objects<'_>) -> Result<Secret> {
        let claim = Secret { data: None, ..objects.pipeline_secret() };
        let claimed = transaction.claim(&self.api(), &claim).await?;
        claimed.ok_or_else(|| Error::ConcurrentDeploy(claim.name_any()))
    }

    /// One schedule of the configured kind, or none. The other kind's goes first: for a moment
    /// there is no schedule, but never two that fire.
    async fn apply_schedule(
        &self,
        transaction: &mut Transaction,
        objects: &Objects<'_>,
        cron_job: Option<CronJob>,
        cron_om_job: Option<CronOMJob>,
    ) -> Result<()> {
        let (wanted_job, wanted_om_job) = match self.config.mode {
            Mode::Job => (objects.cron_job(), None),
            Mode::Operator => (None, objects.cron_om_job()),
        };
        // Upstream's schedules are gone by now.
        let cron_job = cron_job.filter(|found| !is_upstreams(found));
        let cron_om_job = cron_om_job.filter(|found| !is_upstreams(found));
        if let (None, Some(found)) = (&wanted_job, &cron_job) {
            transaction.orphan(&self.api(), found).await?;
        }
        if let (None, Some(found)) = (&wanted_om_job, &cron_om_job) {
            transaction.orphan(&self.api(), found).await?;
        }
        if let Some(wanted) = wanted_job {
            transaction.apply(&self.api(), wanted, cron_job).await?;
        }
        if let Some(wanted) = wanted_om_job {
            transaction.apply(&self.api(), wanted, cron_om_job).await?;
        }
        Ok(())
    }

    /// The Java client's schedules have names of their own rules, and would go on firing.
    async fn remove_schedules_of_upstream(
        &self,
        transaction: &mut Transaction,
        pipeline: &PipelineIdentity,
    ) -> Result<()> {
        let (cron_job, cron_om_job) = self.schedules_of_upstream(pipeline).await?;
        if let Some(found) = cron_job {
            transaction.orphan(&self.api(), &found).await?;
        }
        if let Some(found) = cron_om_job {
            transaction.orphan(&self.api(), &found).await?;
        }
        Ok(())
    }

    /// The schedules that upstream's Java client made of this pipeline.
    pub(super) async fn schedules_of_upstream(
        &self,
        pipeline: &PipelineIdentity,
    ) -> Result<(Option<CronJob>, Option<CronOMJob>)> {
        let cron_job = upstream::cron_job(&pipeline.name);
        let cron_om_job = upstream::cron_om_job(&pipeline.name);
        let (Some(cron_job), Some(cron_om_job)) = (cron_job, cron_om_job) else {
            return Ok((None, None));
        };
        let (cron_job, cron_om_job): (Option<CronJob>, Option<CronOMJob>) =
            tokio::try_join!(self.get(&cron_job), self.get_custom(&cron_om_job))?;
        Ok((
            cron_job.filter(|found| found.owner(pipeline) == Owner::Upstream),
            cron_om_job.filter(|found| found.owner(pipeline) == Owner::Upstream),
        ))
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

/// True for the Secret of a deploy that has come no further, or of which nothing more is known.
fn is_claim(secret: &Secret) -> bool {
    secret.data.as_ref().is_none_or(BTreeMap::is_empty)
}
