//! The controller of `OMJob`s: fetch · validate · decide · apply · report.
//!
//! ```text
//!  OMJobs ──watch──► JobView ─┐                       ┌─► pods: make, track, delete, release
//!                             ├─► omjob::decide ──────┼─► OMJob: status, finalizer, TTL
//!  Pods ────watch──► PodView ─┘   (pure, model-checked)└─► OpenMetadata: last resort
//! ```
//!
//! What must hold is in [`ompipe_core::omjob`]. What this side owes it: writes go through the lease,
//! each with the condition that the decision asks for; caches may lag, but never behind our own
//! writes; an error ends a pass and changes no phase.

mod apply;
pub(crate) mod finalizers;
mod happening;
mod memory;
mod observe;
mod orphan;
mod pod;

use std::sync::Arc;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::runtime::controller::{self, Action, applier};
use kube::runtime::reflector::{ObjectRef, Store};
use ompipe_core::omjob::{PodSeen, decide};
use tokio::time::Instant;

use crate::apart::apart;
use crate::clock;
use crate::context::Context;
use crate::error::{Error, result_of};
use crate::metrics::Controller;
use crate::queue::Taken;
use crate::retry::after_failure;
use crate::view::JobView;
use apply::{Outcome, Pass};

/// Decisions that may follow each other in one pass; more would be a defect of `decide`.
const DECISIONS: usize = 16;

/// Reconciles what the queue brings, until it ends.
pub(crate) async fn control(
    context: Arc<Context>,
    jobs: Store<JobView>,
    triggers: impl Stream<Item = ObjectRef<JobView>> + Send,
) {
    let triggers = triggers.map(Ok::<_, std::convert::Infallible>);
    // How many go on at once is the queue's to say.
    let config = controller::Config::default();
    let orphans = Arc::clone(&context);
    let reconcile = |job, context| Box::pin(apart(reconcile(job, context)));
    applier(reconcile, error_policy, context, jobs, Box::pin(triggers), config)
        .for_each_concurrent(None, |result| orphan::release_if_gone(Arc::clone(&orphans), result))
        .await;
}

/// One pass, measured.
async fn reconcile(job: Arc<JobView>, context: Arc<Context>) -> Result<Action, Error> {
    let key = ObjectRef::from_obj(&*job);
    // It keeps its place until this ends, or until it waits for OpenMetadata.
    let taken = context.jobs.take(&key);
    let waited = taken.as_ref().map(|taken| taken.waited);
    waited.inspect(|waited| context.metrics.dequeued(Controller::OmJob, *waited));
    if !is_ours(&context, &job) || context.written.is_ahead_of(&*job) {
        // The next leader does it, or the watch brings what we wrote.
        return Ok(Action::await_change());
    }
    let begin = Instant::now();
    let triggered = waited.and_then(|waited| begin.checked_sub(waited));
    let result = pass(job, &context, taken, triggered).await;
    context.metrics.reconciled(Controller::OmJob, result_of(&result), begin.elapsed());
    let next_look = result?;
    context.job_failures.clear(&key);
    Ok(next_look.map_or_else(Action::await_change, |time| Action::requeue(clock::until(time))))
}

/// True for what this replica has to deal with: a drain takes up nothing new.
fn is_ours(context: &Context, job: &JobView) -> bool {
    let known = !context.draining || job.is_held();
    known && context.writes.leadership().is_held()
}

/// Decides and applies until nothing is left to do now; when to look again.
async fn pass(
    job: Arc<JobView>,
    context: &Context,
    place: Option<Taken>,
    triggered: Option<Instant>,
) -> Result<Option<Timestamp>, Error> {
    let mut observed = observe::cached(context, &job);
    let look = observe::explain(context, &job, &mut observed).await;
    let mut pass = Pass::new(context, job, place, triggered);
    for _ in 0..DECISIONS {
        let decision = decide(&observed, clock::now());
        match pass.apply(&decision, &observed).await? {
            Outcome::Done => return Ok(decision.next_look.into_iter().chain(look).min()),
            Outcome::Again(again) => observed = *again,
            Outcome::Gone => return Ok(None),
        }
    }
    tracing::error!(
        omjob = observed.name,
        "the reconcile did not converge: this is a defect of the operator"
    );
    Ok(None)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the applier's")]
fn error_policy(job: Arc<JobView>, error: &Error, context: Arc<Context>) -> Action {
    after_failure(&*job, error, &context.job_failures, &context.events)
}

impl Context {
    /// The pods of an `OMJob` that the caches know.
    fn attempts_of(&self, job: &JobView) -> Vec<PodSeen> {
        self.pods.of(job.uid()).into_iter().map(|attempt| attempt.seen).collect()
    }
}
