//! `run`: check that nothing runs, make sure of the config, create the run's object.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use ompipe_api::OMJob;
use ompipe_core::config::{ConcurrencyPolicy, Mode};
use ompipe_core::{
    IngestionPipeline, MaxActiveRuns, PipelineIdentity, Queue, RunId, Service, Workload, labels,
};

use super::K8sPipelineClient;
use super::anchor::Standing;
use super::revisions::Need;
use crate::clock;
use crate::error::{Error, Result};
use crate::object::Object;
use crate::objects::{Objects, RunnablePipeline};
use crate::service_client::{RunRequest, Started};
use crate::transaction::Transaction;

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
        self.start_prepared(&runnable, &request).await
    }

    pub(super) async fn start_prepared(
        &self,
        runnable: &RunnablePipeline,
        request: &RunRequest,
    ) -> Result<Started> {
        let again = ExponentialBuilder::default().with_jitter().with_max_times(TRIES);
        let again = again.with_min_delay(Duration::from_millis(100));
        let contended = |error: &Error| matches!(error, Error::Contended(_));
        (|| self.start(runnable, request)).retry(again).when(contended).await
    }

    async fn start(&self, runnable: &RunnablePipeline, request: &RunRequest) -> Result<Started> {
        let identity = &runnable.pipeline.identity;
        let others = match self.same_or_others(identity, request.run).await? {
            SameOrOthers::Same(workload) => return Ok(self.started(identity, *workload)),
            SameOrOthers::Others(others) => others,
        };
        let turn = self.turn(runnable, request, others).await?;
        let present = self.present(identity).await?;
        let anchor = present.anchor_of_run()?;
        if anchor.is_none() && request.only_deployed {
            return Err(self.not_deployed(identity));
        }
        let objects = Objects::new(&self.config, runnable, &present.slug);
        let deployed = anchor.is_some_and(|secret| objects.are_deployed(secret));
        let objects = anchor.map_or_else(|| objects.clone(), |anchor| objects.anchored(anchor));
        let run = NewRun { run: request.run, recorded: request.recorded, turn };
        let mut transaction = Transaction::default();
        let created = async {
            let need = Need::Run { deployed };
            let created = self.create_run(&mut transaction, &objects, run, need).await?;
            self.confirm_run(&objects, anchor).await?;
            Ok(created)
        };
        match created.await {
            Ok(created) => Ok(self.started(identity, created)),
            Err(refused) => Err(transaction.roll_back(refused).await),
        }
    }

    /// Whether what a new run needs is still there: somebody may have deleted the pipeline meanwhile
    /// (see [`super::anchor`]).
    async fn confirm_run(&self, objects: &Objects<'_>, anchor: Option<&Secret>) -> Result<()> {
        let standing = async {
            match anchor {
                Some(anchor) => self.standing_of(anchor).await,
                None => Ok(Standing::Same),
            }
        };
        let config = objects.revision_secret().name_any();
        let (standing, config) = tokio::try_join!(standing, self.get::<Secret>(&config))?;
        if standing == Standing::Gone {
            return Err(self.not_deployed(objects.identity()));
        }
        let fqn = || objects.identity().fully_qualified_name.clone();
        config.map(drop).ok_or_else(|| Error::Contended(fqn()))
    }

    /// Whether a run starts at once or waits for others that have not ended.
    async fn turn(
        &self,
        runnable: &RunnablePipeline,
        request: &RunRequest,
        others: Vec<Workload>,
    ) -> Result<Turn> {
        let pipeline = &runnable.pipeline;
        let limit = pipeline.max_active_runs;
        if request.may_wait && self.config.concurrency_policy == ConcurrencyPolicy::Forbid {
            let has_place = Queue::of(&others).has_place(limit);
            return Ok(if has_place { Turn::Among(limit) } else { Turn::Waits(limit) });
        }
        self.make_way(&pipeline.identity, others).await?;
        Ok(match self.config.concurrency_policy {
            ConcurrencyPolicy::Allow => Turn::Any,
            ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Replace => {
                Turn::Among(MaxActiveRuns::default())
            }
        })
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
        run: NewRun,
        need: Need,
    ) -> Result<Workload> {
        self.ensure_revision(transaction, objects, need).await?;
        let created = match self.config.mode {
            Mode::Job => {
                let mut job = objects.job(run.run);
                job.spec.get_or_insert_default().suspend = run.suspend();
                run.mark(&mut job.metadata);
                run.keep_from_kueue(&mut job.metadata);
                self.create_once(transaction, &job, |found: &Job| Workload::of_job(found)).await?
            }
            Mode::Operator => {
                let mut job = objects.om_job(run.run);
                job.spec.suspend = run.suspend();
                run.mark(&mut job.metadata);
                self.create_once(transaction, &job, OMJob::workload).await?
            }
        };
        if let Turn::Among(limit) = run.turn {
            self.be_among(objects.identity(), &created, limit).await?;
        }
        Ok(created)
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

    /// Several calls may all have seen a place for their run before they created it. Whoever sees too
    /// many afterwards withdraws: of any two at least the later one does. A run that waits counts as
    /// one that goes on, since somebody may be about to resume it who has not seen this one.
    async fn be_among(
        &self,
        pipeline: &PipelineIdentity,
        created: &Workload,
        limit: MaxActiveRuns,
    ) -> Result<()> {
        let workloads = self.workloads(pipeline).await?;
        let is_other = |other: &&Workload| other.is_live() && other.uid != created.uid;
        if workloads.iter().filter(is_other).count() < limit.get() {
            return Ok(());
        }
        // The object goes with the transaction; its pod must not start meanwhile.
        Err(Error::Contended(pipeline.fully_qualified_name.clone()))
    }

    fn started(&self, pipeline: &PipelineIdentity, workload: Workload) -> Started {
        Started {
            pipeline: pipeline.fully_qualified_name.clone(),
            namespace: self.config.namespace.to_string(),
            run_id: workload.run_id,
            kind: workload.kind,
            queued: workload.queued.is_some(),
            job_name: workload.name,
        }
    }
}

/// A run that is about to be created.
struct NewRun {
    run: RunId,
    recorded: bool,
    turn: Turn,
}

/// When a run may start.
#[derive(Clone, Copy)]
enum Turn {
    /// At once, whatever else runs.
    Any,
    /// At once, unless it turns out that so many others do already.
    Among(MaxActiveRuns),
    /// When fewer than so many go on.
    Waits(MaxActiveRuns),
}

impl NewRun {
    const fn suspend(&self) -> Option<bool> {
        if matches!(self.turn, Turn::Waits(_)) { Some(true) } else { None }
    }

    /// Notes on the run's object what others have to know of it.
    fn mark(&self, metadata: &mut ObjectMeta) {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(labels::TRIGGERED_AT.to_owned(), format!("{:.6}", clock::now()));
        if self.recorded {
            annotations.insert(labels::RECORDED.to_owned(), true.to_string());
        }
        if let Turn::Waits(limit) = self.turn {
            let labels = metadata.labels.get_or_insert_default();
            labels.insert(labels::QUEUED.to_owned(), limit.to_string());
        }
    }

    /// Kueue would resume a Job that waits for its turn in our queue: it gets to know it afterwards.
    fn keep_from_kueue(&self, metadata: &mut ObjectMeta) {
        if !matches!(self.turn, Turn::Waits(_)) {
            return;
        }
        let labels = metadata.labels.get_or_insert_default();
        if let Some(queue) = labels.remove(labels::KUEUE_QUEUE) {
            let annotations = metadata.annotations.get_or_insert_default();
            annotations.insert(labels::QUEUE_NEXT.to_owned(), queue);
        }
    }
}

enum SameOrOthers {
    Same(Box<Workload>),
    Others(Vec<Workload>),
}
