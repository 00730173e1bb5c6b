//! Carries a decision out: one call of the API for each action, in order.

use std::sync::Arc;

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use ompipe_api::{OMJob, OMJobStatus, status_patch};
use ompipe_core::WorkloadKind;
use ompipe_core::omjob::{
    Action, Decision, ENDED, FINALIZER, Lasting, Observed, PodSeen, Reason, Refusal, Report, Stage,
    Status, Trouble, ended_value,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Context, finalizers, happening, observe, pod};
use crate::archive::RunObject;
use crate::clock;
use crate::create::create;
use crate::error::{Error, code};
use crate::last_resort;
use crate::queue::Taken;
use crate::tracking::PodId;
use crate::view::{JobView, PodView, WholeJob};

/// One pass over an `OMJob`: it ends when nothing is left to do, or at the first error.
pub(super) struct Pass<'c> {
    context: &'c Context,
    /// The `OMJob` as it was seen, or as our last write left it: what the next write expects.
    job: Arc<JobView>,
    /// Its place among the reconciles that go on.
    place: Option<Taken>,
    /// When it was asked for.
    triggered: Option<Instant>,
}

/// How far a decision was carried out.
pub(super) enum Outcome {
    /// To its end.
    Done,
    /// Up to something that only a new decision can answer.
    Again(Box<Observed>),
    /// The `OMJob` is gone.
    Gone,
}

impl<'c> Pass<'c> {
    pub(super) const fn new(
        context: &'c Context,
        job: Arc<JobView>,
        place: Option<Taken>,
        triggered: Option<Instant>,
    ) -> Self {
        Self { context, job, place, triggered }
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
                Action::AddFinalizer => {
                    self.set_finalizers(|all| all.push(FINALIZER.to_owned())).await?;
                }
                Action::RemoveFinalizer => {
                    self.note_end().await;
                    self.set_finalizers(|all| all.retain(|one| one != FINALIZER)).await?;
                }
                Action::Record(status) => self.record(status, &observed.pods).await?,
                Action::CreatePod { stage, attempt } => {
                    if let Some(refusal) = self.create_pod(*stage, *attempt).await? {
                        let again = Observed { refusal: Some(refusal), ..self.again() };
                        return Ok(Outcome::Again(Box::new(again)));
                    }
                }
                Action::TrackPod { name, uid } => {
                    self.context.attempts().track(PodId { namespace, name, uid }).await?;
                }
                Action::DeletePod { name, uid } => {
                    self.context.attempts().delete(PodId { namespace, name, uid }).await?;
                }
                Action::ReleasePod { name, uid } => {
                    self.context.attempts().release(PodId { namespace, name, uid }).await?;
                }
                Action::ReportLastResort => {
                    // A server that hangs must not keep others from their turn.
                    drop(self.place.take());
                    // Seldom and large: in every pass it would be most of what moves.
                    let report = Some(Box::pin(self.report()).await?);
                    let again = Observed { report, ..self.again() };
                    return Ok(Outcome::Again(Box::new(again)));
                }
                Action::DeleteOmJob => self.delete_omjob().await?,
                Action::ReadFresh => return self.read_fresh(observed.refusal.clone()).await,
            }
        }
        Ok(Outcome::Done)
    }

    /// The same after what this pass has written, as the caches know it.
    fn again(&self) -> Observed {
        observe::cached(self.context, &self.job)
    }

    async fn read_fresh(&mut self, refusal: Option<Refusal>) -> Result<Outcome, Error> {
        let read = observe::live(self.context, &self.job).await?;
        Ok(match read {
            Some((job, observed)) => {
                self.job = Arc::new(job);
                Outcome::Again(Box::new(Observed { refusal, ..observed }))
            }
            None => Outcome::Gone,
        })
    }

    fn namespace(&self) -> String {
        self.job.namespace().unwrap_or_default()
    }

    fn jobs(&self) -> Result<Api<JobView>, Error> {
        self.context.writes.to(&self.namespace())
    }

    fn pods(&self) -> Result<Api<PodView>, Error> {
        self.context.writes.to(&self.namespace())
    }

    /// Takes in the answer to a write of the `OMJob`.
    fn took(
        &mut self,
        answer: Result<JobView, kube::Error>,
        what: &'static str,
    ) -> Result<(), Error> {
        let job = answer.map_err(|error| match code(&error) {
            409 => Error::Conflict(format!("the OMJob {}", self.job.name_any())),
            _ => Error::api(what)(error),
        })?;
        self.context.written.note(&job);
        self.job = Arc::new(job);
        Ok(())
    }

    /// Puts the run on record before it is let go, where records are kept.
    async fn note_end(&self) {
        let Some(archiver) = &self.context.archiver else { return };
        let (namespace, name) = (&self.namespace(), &self.job.name_any());
        let kind = WorkloadKind::OmJob;
        let object = RunObject { kind, namespace, name, uid: self.job.uid() };
        Box::pin(archiver.note_end(self.context, object, None)).await;
    }

    async fn set_finalizers(&mut self, change: impl FnOnce(&mut Vec<String>)) -> Result<(), Error> {
        let mut finalizers = finalizers::of(&self.context.writes, &self.job).await?;
        change(&mut finalizers);
        let mut metadata = json!({
            "resourceVersion": self.job.resource_version(), "finalizers": finalizers,
        });
        let phase = self.job.record.phase;
        if phase.is_terminal() && self.job.deleted().is_none() {
            // A backup keeps metadata, and no status.
            let ended = ended_value(phase, &self.job.name_any(), self.job.uid());
            metadata["annotations"] = json!({ ENDED: ended });
        }
        let patch = json!({ "metadata": metadata });
        let patched = patch_merge(&self.jobs()?, &self.job.name_any(), patch).await;
        self.took(patched, "write the OMJob's finalizers")
    }

    async fn record(&mut self, status: &Status, pods: &[PodSeen]) -> Result<(), Error> {
        let before = Arc::clone(&self.job.record);
        let new = OMJobStatus::of(status, &self.job.without_spec(), pods, clock::now());
        let patch = status_patch(&*self.job, &new).map_err(Error::unwritable)?;
        let name = self.job.name_any();
        let patched =
            self.jobs()?.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        self.took(patched, "write the OMJob's status")?;
        for note in happening::of_record(&before, status) {
            self.context.events.tell(&*self.job, &note);
        }
        if status.phase.is_terminal() && !before.phase.is_terminal() {
            // The audit trail where no archive keeps records.
            let omjob = ObjectRef::from_obj(&*self.job);
            let reason = status.main.end.as_ref().map(|end| end.reason.as_str());
            tracing::info!(%omjob, phase = status.phase.as_str(), reason, "a run has ended");
        }
        self.context.count(&before, status);
        Ok(())
    }

    /// Makes a pod; `Some` when the API server refuses it.
    async fn create_pod(&self, stage: Stage, attempt: u32) -> Result<Option<Refusal>, Error> {
        // Not many large ones are in memory at the same time.
        let mut large = None;
        let spec = if let Some(spec) = self.job.stage_spec(stage) {
            spec
        } else {
            large = Some(self.context.large_objects.acquire().await);
            self.whole().await?.stage_spec(stage)
        };
        let spec = match spec {
            Ok(spec) => spec,
            Err(message) => return Ok(Some(self.refused(stage, unreadable(&message)))),
        };
        let end = self.job.record.main.end.as_ref();
        let pod = pod::build(&self.job, (stage, attempt), &spec, end);
        let violations = self.context.pod_policy.violations(&self.namespace(), &pod);
        if !violations.is_empty() {
            return Ok(Some(self.refused(stage, forbidden(&violations))));
        }
        let created = create(self.context.writes.leading()?, &pod).await;
        drop(large);
        match created {
            Ok(pod) => {
                self.created(stage, &pod);
                Ok(None)
            }
            Err(error) if code(&error) == 409 => self.find(stage, &pod.name_any()).await,
            Err(error) => Ok(Some(self.refused(stage, refusal(&error)))),
        }
    }

    /// The `OMJob` with its specification, as it was decided about.
    async fn whole(&self) -> Result<WholeJob, Error> {
        let (api, name) = (self.context.writes.to(&self.namespace())?, self.job.name_any());
        let whole: WholeJob = api.get(&name).await.map_err(Error::api("read the OMJob"))?;
        if !self.job.is_described_by(&whole) {
            return Err(Error::Conflict(format!("the OMJob {name}")));
        }
        Ok(whole)
    }

    fn created(&self, stage: Stage, pod: &PodView) {
        self.context.pods.note(pod);
        self.context.events.tell(&*self.job, &happening::pod_created(stage, &pod.name_any()));
        self.context.pod_created(stage, self.triggered.map(|time| time.elapsed()));
    }

    fn refused(&self, stage: Stage, refusal: Refusal) -> Refusal {
        self.context.events.tell(&*self.job, &happening::pod_refused(stage, &refusal));
        refusal
    }

    /// A pod of that name exists: made by an earlier call, or left by an `OMJob` of the same name.
    async fn find(&self, stage: Stage, name: &str) -> Result<Option<Refusal>, Error> {
        let found: Option<PodView> =
            self.pods()?.get_opt(name).await.map_err(Error::api("read a pod"))?;
        let is_ours = |pod: &PodView| {
            pod.attempt.as_ref().is_some_and(|attempt| attempt.owner == self.job.uid())
        };
        if let Some(pod) = found.filter(is_ours) {
            self.context.pods.note(&pod);
            return Ok(None);
        }
        let message =
            format!("a pod {name} exists that belongs to something else; waiting until it is gone");
        let trouble = Trouble::new(Reason::Admission, message);
        Ok(Some(self.refused(stage, Refusal { lasting: Lasting::ForNow, trouble })))
    }

    async fn delete_omjob(&self) -> Result<(), Error> {
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: Some(self.job.uid().to_owned()),
            resource_version: Some(self.job.resource_version().to_owned()),
        });
        match self.jobs()?.delete(&self.job.name_any(), &params).await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == 404 => Ok(()),
            Err(error) if code(&error) == 409 => {
                Err(Error::Conflict(format!("the OMJob {}", self.job.name_any())))
            }
            Err(error) => Err(Error::api("delete the OMJob")(error)),
        }
    }

    /// Reports from here what the exit handler could not.
    async fn report(&self) -> Result<Report, Error> {
        let api: Api<OMJob> = self.context.writes.to(&self.namespace())?;
        let job = api.get(&self.job.name_any()).await.map_err(Error::api("read the OMJob"))?;
        let Some(end) = &self.job.record.main.end else {
            return Ok(Report::Impossible("it is unknown how the run ended".to_owned()));
        };
        let report = last_resort::report(self.context, &job, end, clock::now()).await;
        self.context.metrics.reported(&report);
        Ok(report)
    }
}

async fn patch_merge(api: &Api<JobView>, name: &str, patch: Value) -> Result<JobView, kube::Error> {
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
}

fn refusal(error: &kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) => Refusal::of_answer(status.code, &status.message),
        other => Refusal::of_answer(0, &other.to_string()),
    }
}

/// A pod that the operator does not make: only another specification, or another policy, helps.
fn forbidden(violations: &[String]) -> Refusal {
    let message = format!("the operator's pod policy forbids this pod: {}", violations.join("; "));
    Refusal { lasting: Lasting::ForGood, trouble: Trouble::new(Reason::Admission, message) }
}

/// A specification that is no pod: the API server would refuse it too.
fn unreadable(message: &str) -> Refusal {
    let trouble = Trouble::new(Reason::Admission, message);
    Refusal { lasting: Lasting::ForGood, trouble }
}
