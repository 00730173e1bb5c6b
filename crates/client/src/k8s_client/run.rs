//! `run`: check that nothing runs, make sure of the config, create the run's object.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use ompipe_api::OMJob;
use ompipe_core::config::{ConcurrencyPolicy, Mode};
use ompipe_core::{IngestionPipeline, PipelineIdentity, RunId, Service, Workload, WorkloadKind};

use super::K8sPipelineClient;
use super::revisions::Need;
use crate::error::{Error, Result};
use crate::objects::{Objects, RunnablePipeline};
use crate::service_client::{RunRequest, Started};
use crate::transaction::{Object, Transaction};

/// Tries of a run that meets another of the same pipeline which starts at the same moment.
const TRIES: usize = 6;

impl K8sPipelineClient {
    pub(super) async fn run(
        &self,
        pipeline: IngestionPipeline,
        service: Option<Service>,
        request: RunRequest,
    ) -> Result<Started> {
        let pipeline = pipeline.with_overrides(&request.overrides)?;
        let runnable = self.preparation.prepare(pipeline, service).await?;
        let again = ExponentialBuilder::default().with_jitter().with_max_times(TRIES);
        let again = again.with_min_delay(Duration::from_millis(100));
        let contended = |error: &Error| matches!(error, Error::Contended(_));
        (|| self.start(&runnable, request.run)).retry(again).when(contended).await
    }

    async fn start(&self, runnable: &RunnablePipeline, run: RunId) -> Result<Started> {
        let identity = &runnable.pipeline.identity;
        let others = match self.same_or_others(identity, run).await? {
            SameOrOthers::Same(workload) => {
                return Ok(self.started(identity, run, workload.kind, workload.name));
            }
            SameOrOthers::Others(others) => others,
        };
        self.make_way(identity, others).await?;
        let present = self.present(identity).await?;
        let objects = Objects::new(&self.config, runnable, &present.slug);
        let deployed = present.secret.is_some_and(|secret| objects.are_deployed(&secret));
        let mut transaction = Transaction::default();
        match self.create_run(&mut transaction, &objects, run, Need::Run { deployed }).await {
            Ok((kind, name)) => Ok(self.started(identity, run, kind, name)),
            Err(refused) => Err(transaction.roll_back(refused).await),
        }
    }

    /// The object of a run that was started before, or the other runs that have not ended.
    async fn same_or_others(
        &self,
        pipeline: &PipelineIdentity,
        run: RunId,
    ) -> Result<SameOrOthers> {
        let workloads = self.workloads(pipeline).await?;
        let (mut same, others): (Vec<_>, Vec<_>) =
            workloads.into_iter().partition(|workload| workload.run_id == run);
        Ok(match same.pop() {
            Some(workload) => SameOrOthers::Same(Box::new(workload)),
            None => SameOrOthers::Others(
                others.into_iter().filter(|workload| workload.end.is_none()).collect(),
            ),
        })
    }

    /// Does with runs that have not ended as the concurrency policy says.
    async fn make_way(&self, pipeline: &PipelineIdentity, others: Vec<Workload>) -> Result<()> {
        let Some(first) = others.first() else { return Ok(()) };
        match self.config.concurrency_policy {
            ConcurrencyPolicy::Allow => Ok(()),
            ConcurrencyPolicy::Forbid => Err(Error::AlreadyRunning {
                pipeline: pipeline.fully_qualified_name.clone(),
                run: first.run_id,
            }),
            ConcurrencyPolicy::Replace => {
                for other in &others {
                    self.stop(other).await?;
                    self.until_gone(other).await?;
                }
                Ok(())
            }
        }
    }

    async fn create_run(
        &self,
        transaction: &mut Transaction,
        objects: &Objects<'_>,
        run: RunId,
        need: Need,
    ) -> Result<(WorkloadKind, String)> {
        self.ensure_revision(transaction, objects, need).await?;
        let created = match self.config.mode {
            Mode::Job => {
                let job = objects.job(run);
                self.create_once(transaction, &job, |found: &Job| Workload::of_job(found)).await?
            }
            Mode::Operator => {
                let job = objects.om_job(run);
                self.create_once(transaction, &job, OMJob::workload).await?
            }
        };
        let (kind, name) = (created.kind, created.name.clone());
        self.be_alone(objects.identity(), &created).await?;
        Ok((kind, name))
    }

    /// Creates a run's object, or finds it after a lost answer to an earlier call: then it is still
    /// this call's, to be withdrawn like one whose answer came.
    async fn create_once<K: Object>(
        &self,
        transaction: &mut Transaction,
        object: &K,
        workload: impl Fn(&K) -> Option<Workload>,
    ) -> Result<Workload> {
        let name = object.name_any();
        let taken = || Error::JobNameTaken { job: format!("{} {name}", K::kind(&())) };
        let wanted = object.labels().get(ompipe_core::labels::RUN_ID).cloned();
        let is_same = |found: &Workload| Some(found.run_id.to_string()) == wanted;
        if let Some(created) = transaction.create(&self.api(), object).await? {
            return workload(&created).filter(is_same).ok_or_else(taken);
        }
        let found: K = self.get(&name).await?.ok_or_else(taken)?;
        let same = workload(&found).filter(is_same).ok_or_else(taken)?;
        transaction.adopt(&self.api(), &found);
        Ok(same)
    }

    /// Two calls may both have seen no other run before they created theirs. Whoever sees another
    /// one afterwards withdraws: of any two at least the later one does.
    async fn be_alone(&self, pipeline: &PipelineIdentity, created: &Workload) -> Result<()> {
        if self.config.concurrency_policy == ConcurrencyPolicy::Allow {
            return Ok(());
        }
        let workloads = self.workloads(pipeline).await?;
        let live = |other: &&Workload| other.end.is_none() && !other.deleting;
        let is_alone = workloads.iter().filter(live).all(|other| other.uid == created.uid);
        if is_alone {
            return Ok(());
        }
        // The object goes with the transaction; its pod must not start meanwhile.
        Err(Error::Contended(pipeline.fully_qualified_name.clone()))
    }

    fn started(
        &self,
        pipeline: &PipelineIdentity,
        run: RunId,
        kind: WorkloadKind,
        job_name: String,
    ) -> Started {
        Started {
            pipeline: pipeline.fully_qualified_name.clone(),
            namespace: self.config.namespace.to_string(),
            run_id: run,
            kind,
            job_name,
        }
    }
}

enum SameOrOthers {
    Same(Box<Workload>),
    Others(Vec<Workload>),
}
