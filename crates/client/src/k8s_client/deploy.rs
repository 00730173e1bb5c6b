//! `deploy`: fetch what is there, check, build, apply as one transaction, tidy up.

use std::collections::BTreeMap;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use ompipe_api::CronOMJob;
use ompipe_core::config::Mode;
use ompipe_core::{IngestionPipeline, PipelineIdentity, Service, upstream};
use tracing::warn;

use super::K8sPipelineClient;
use super::anchor::Standing;
use super::plan::Plan;
use super::revisions::Need;
use super::slug::{Owned, Owner, Present, is_upstreams};
use crate::clock;
use crate::error::{Error, Result};
use crate::object::Object;
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
        // Boxed, as in `deploy_once`: in a debug build, moving these futures from frame to frame overflows the
        // 2 MiB of stack that a thread of the caller's runtime has by default.
        let (written, plan) = (|| Box::pin(self.deploy_once(&runnable)))
            .retry(again)
            .when(Error::is_conflict)
            .await?;
        // The deployment is complete; an old revision that stays does no harm until the next deploy.
        if let Err(error) = self.prune_revisions(&runnable.pipeline.identity).await {
            warn!(%error, "old revisions could not be removed");
        }
        Ok(self.deployed(&runnable, written, plan))
    }

    async fn deploy_once(&self, runnable: &RunnablePipeline) -> Result<(Vec<Written>, Plan)> {
        let present = self.present(&runnable.pipeline.identity).await?;
        self.finish_deletion(&present).await?;
        let present = present.settled()?;
        let slug = present.slug.clone();
        let upstreams = self.schedules_of_upstream(&runnable.pipeline.identity).await?;
        let plan = Plan::new(
            &runnable.pipeline,
            present.cron_job.as_ref().or(upstreams.0.as_ref()),
            present.cron_om_job.as_ref().or(upstreams.1.as_ref()),
        );
        let objects = Objects::new(&self.config, runnable, &slug).with_suspended(plan.suspended);
        let mut transaction = Transaction::default();
        let applied = Box::pin(self.apply_all(&mut transaction, &objects, present, upstreams));
        match applied.await {
            Ok(()) => Ok((transaction.commit(), plan)),
            // The other deploy has written some of the same objects: the next try writes all of them.
            Err(overtaken @ Error::Overtaken(_)) => Err(overtaken),
            Err(refused) => Err(transaction.roll_back(refused).await),
        }
    }

    /// The pipeline's Secret goes first: it is applied only as it was read, so of two deploys at
    /// once one is refused before it has changed anything. The schedule goes last: from then on
    /// runs start with what everything before it put in place. Then the Secret is read again, since a
    /// delete may have begun meanwhile (see [`super::anchor`]).
    async fn apply_all(
        &self,
        transaction: &mut Transaction,
        objects: &Objects<'_>,
        present: Present,
        upstreams: (Option<CronJob>, Option<CronOMJob>),
    ) -> Result<()> {
        let need = match &present.secret {
            Some(secret) if objects.are_deployed(secret) => Need::Deployed,
            _ => Need::Deploy,
        };
        let anchor = self.apply_secret(transaction, objects, present.secret).await?;
        let objects = &objects.anchored(&anchor);
        self.ensure_revision(transaction, objects, need).await?;
        match present.config_map {
            Some(found) if is_upstreams(&found) => {
                transaction.replace(&self.api(), objects.config_map(), &found).await?
            }
            previous => transaction.apply(&self.api(), objects.config_map(), previous).await?,
        };
        // The Java client's schedules have names of their own rules, and would go on firing.
        remove(transaction, &self.api(), upstreams.0).await?;
        remove(transaction, &self.api(), upstreams.1).await?;
        self.apply_schedule(transaction, objects, present.cron_job, present.cron_om_job).await?;
        self.confirm(transaction.is_guarded(), &anchor).await
    }

    /// Whether the pipeline that was deployed is there. Of two deploys at once the earlier one is done
    /// when its writes were guarded: then they cannot have gone over those of the later one.
    async fn confirm(&self, was_guarded: bool, anchor: &Secret) -> Result<()> {
        match self.standing_of(anchor).await? {
            Standing::Same => Ok(()),
            Standing::Superseded if was_guarded => Ok(()),
            Standing::Superseded => Err(Error::Overtaken(anchor.name_any())),
            Standing::Gone => Err(Error::StillGoing(format!("Secret {}", anchor.name_any()))),
        }
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

    fn deployed(&self, runnable: &RunnablePipeline, objects: Vec<Written>, plan: Plan) -> Deployed {
        let pipeline = &runnable.pipeline;
        let schedule = pipeline.schedule.as_ref();
        Deployed {
            pipeline: pipeline.identity.clone(),
            namespace: self.config.namespace.to_string(),
            objects,
            schedule: schedule.map(|s| format!("{} {}", s.as_cron(), s.zone())),
            next_run: schedule.filter(|_| !plan.suspended).and_then(|s| s.next_after(clock::now())),
            notices: plan.change.into_iter().chain(pipeline.notices(clock::now())).collect(),
        }
    }
}

/// True for the Secret of a deploy that has come no further, or of which nothing more is known.
fn is_claim(secret: &Secret) -> bool {
    secret.data.as_ref().is_none_or(BTreeMap::is_empty)
}

/// Removes a schedule, if there is one, without its runs, and waits until it is gone.
async fn remove<K: Object>(
    transaction: &mut Transaction,
    api: &Api<K>,
    schedule: Option<K>,
) -> Result<()> {
    let Some(schedule) = schedule else { return Ok(()) };
    transaction.orphan(api, &schedule).await
}
