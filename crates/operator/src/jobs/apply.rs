//! Carries a decision out: one call of the API for each action, in order.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use ompipe_core::job::{
    self, Action, Decision, FINALIZER, Observed, RECORD, REPORTED, Record, Report, Reported,
};
use ompipe_core::omjob::End;
use ompipe_core::{PipelineState, WorkloadKind};
use serde_json::{Value, json};

use super::Reporter;
use super::observe::Live;
use super::view::RunView;
use crate::archive::RunObject;
use crate::clock;
use crate::error::{Error, code};
use crate::events::{Kind, Note};
use crate::last_resort;
use crate::queue::Taken;
use crate::tracking::PodId;

/// One pass over a Job: it ends when nothing is left to do, or at the first error.
pub(super) struct Pass<'r> {
    reporter: &'r Reporter,
    /// The Job as it was seen, or as our last write left it.
    run: Arc<RunView>,
    /// Its place among the reconciles that go on.
    place: Option<Taken>,
    /// What was read last.
    live: Option<Live>,
}

/// How far a decision was carried out.
pub(super) enum Outcome {
    /// To its end.
    Done,
    /// Up to something that only a new decision can answer.
    Again(Box<Observed>),
    /// The Job is gone.
    Gone,
}

impl<'r> Pass<'r> {
    pub(super) const fn new(
        reporter: &'r Reporter,
        run: Arc<RunView>,
        place: Option<Taken>,
    ) -> Self {
        Self { reporter, run, place, live: None }
    }

    /// Does what was decided about `observed`.
    pub(super) async fn apply(
        &mut self,
        decision: &Decision,
        observed: &Observed,
    ) -> Result<Outcome, Error> {
        let namespace = &self.namespace();
        for action in &decision.actions {
            match action {
                Action::Hold => self.patch(json!({ "finalizers": [FINALIZER] })).await?,
                Action::Remember(record) => self.remember(record).await?,
                Action::Track { name, uid } => self.track(PodId { namespace, name, uid }).await?,
                Action::Delete { name, uid } => {
                    self.reporter.attempts().delete(PodId { namespace, name, uid }).await?;
                }
                Action::Release { name, uid } => {
                    self.reporter.attempts().release(PodId { namespace, name, uid }).await?;
                }
                Action::ReadFresh => return self.read_fresh().await,
                // Once and large: in every pass it would be most of what moves.
                Action::Report(end) => {
                    // A server that hangs must not keep others from their turn.
                    drop(self.place.take());
                    return Box::pin(self.report(end, observed)).await;
                }
                Action::Settle(reported) => self.settle(reported).await?,
                Action::LetGo => {
                    self.note_end(None).await;
                    self.patch(let_go()).await?;
                }
            }
        }
        Ok(Outcome::Done)
    }

    fn namespace(&self) -> String {
        self.run.namespace().unwrap_or_default()
    }

    async fn read_fresh(&mut self) -> Result<Outcome, Error> {
        let Some(live) = self.reporter.live(&self.run).await? else { return Ok(Outcome::Gone) };
        let observed = live.observed.clone();
        self.live = Some(live);
        Ok(Outcome::Again(Box::new(observed)))
    }

    async fn report(&self, end: &End, observed: &Observed) -> Result<Outcome, Error> {
        let Some(live) = &self.live else { return Ok(Outcome::Done) };
        let context = &self.reporter.context;
        // A report is a write: only the leader may.
        context.writes.to::<Pod>(&self.namespace())?;
        let recorded = observed.record.last.as_ref().map(|last| last.pod.as_str());
        let run = last_resort::Run::of_job(&live.job, live.pods.last(), recorded, clock::now());
        let is_first = !context.servers.is_waited_for_by(self.run.uid());
        let report = last_resort::report_job(context, &run, end, clock::now()).await;
        context.metrics.job_reported(&report);
        if let (Report::Unavailable(why), true) = (&report, is_first) {
            let note = Note::new(Kind::Warning, "ReportOutstanding", why.clone());
            context.events.tell(&*self.run, &note);
        }
        Ok(Outcome::Again(Box::new(Observed { report: Some(report), ..observed.clone() })))
    }

    async fn remember(&mut self, record: &Record) -> Result<(), Error> {
        self.patch(json!({ "annotations": { RECORD: record.value() } })).await
    }

    /// Puts the run on record before it is let go, where records are kept.
    async fn note_end(&self, reported: Option<&Reported>) {
        let context = &self.reporter.context;
        let Some(archiver) = &context.archiver else { return };
        let (namespace, name) = (&self.namespace(), &self.run.name_any());
        let kind = WorkloadKind::Job;
        let object = RunObject { kind, namespace, name, uid: self.run.uid() };
        Box::pin(archiver.note_end(context, object, reported)).await;
    }

    async fn settle(&mut self, reported: &Reported) -> Result<(), Error> {
        self.note_end(Some(reported)).await;
        let mut metadata = let_go();
        metadata["annotations"] = json!({ REPORTED: reported.value() });
        self.patch(metadata).await?;
        // The audit trail where no archive keeps records.
        let state = reported.state.map(PipelineState::as_str);
        let (job, by) = (ObjectRef::from_obj(&*self.run), reported.by.as_str());
        tracing::info!(%job, state, by, "a run has ended");
        self.reporter.context.servers.forget(self.run.uid());
        self.reporter.context.events.tell(&*self.run, &settled(reported));
        Ok(())
    }

    /// Changes the Job's metadata. A strategic patch adds or takes off one finalizer, whatever the
    /// others are.
    async fn patch(&mut self, mut metadata: Value) -> Result<(), Error> {
        metadata["uid"] = self.run.uid().into();
        let context = &self.reporter.context;
        let api = context.writes.to::<RunView>(&self.namespace())?;
        let patch = Patch::Strategic(json!({ "metadata": metadata }));
        match api.patch(&self.run.name_any(), &PatchParams::default(), &patch).await {
            Ok(run) => {
                context.written.note(&run);
                self.run = Arc::new(run);
                Ok(())
            }
            // Gone, or another one has its name; or it is being deleted and takes no finalizer.
            Err(error) if matches!(code(&error), 404 | 409 | 422) => {
                Err(Error::Conflict(format!("the Job {}", self.run.name_any())))
            }
            Err(error) => Err(Error::api("write a Job's metadata")(error)),
        }
    }

    /// A pod that is being deleted takes no finalizer; the watch brings its deletion.
    async fn track(&self, pod: PodId<'_>) -> Result<(), Error> {
        match self.reporter.attempts().track(pod).await {
            Err(Error::Api { source, .. }) if code(&source) == 422 => Ok(()),
            tracked => tracked,
        }
    }
}

fn let_go() -> Value {
    json!({ "$deleteFromPrimitiveList/finalizers": [FINALIZER] })
}

fn settled(reported: &Reported) -> Note {
    let state = reported.state.map_or("its end", PipelineState::as_str);
    match reported.by {
        job::Reporter::Run => {
            Note::new(Kind::Normal, "Reported", format!("the run itself reported {state}"))
        }
        job::Reporter::Operator => {
            Note::new(Kind::Normal, "Reported", format!("the operator reported {state}"))
        }
        job::Reporter::Nobody => {
            let why = reported.message.as_deref().unwrap_or("the reason is unknown");
            Note::new(Kind::Warning, "NotReported", why)
        }
    }
}
