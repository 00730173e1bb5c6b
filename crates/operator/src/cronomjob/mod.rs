//! The controller of `CronOMJob`s: fetch · validate · decide · apply · report.
//!
//! ```text
//!  CronOMJobs ──watch──► ScheduleView ─┐                           ┌─► OMJobs: make, delete
//!                                      ├─► cron::decide_schedule ──┤
//!  OMJobs ──────watch──► children ─────┘      (pure)               └─► CronOMJob: status
//! ```
//!
//! A slot is an `OMJob`'s name, so that no slot fires twice; which slots do is in
//! [`ompipe_core::cron`]. It wakes for the next slot and for changes, and never polls.

mod apply;
mod child;

use std::sync::Arc;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::core::DynamicObject;
use kube::runtime::controller::{self, Action, applier};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use ompipe_core::cron::decide_schedule;
use tokio::time::Instant;

use crate::apart::apart;
use crate::clock;
use crate::context::Context;
use crate::error::{Error, result_of};
use crate::metrics::Controller;
use crate::retry::after_failure;
use crate::view::ScheduleView;

/// Reconciles what the queue brings, until it ends.
pub(crate) async fn control(
    context: Arc<Context>,
    schedules: Store<ScheduleView>,
    triggers: impl Stream<Item = ObjectRef<ScheduleView>> + Send,
) {
    let triggers = triggers.map(Ok::<_, std::convert::Infallible>);
    // How many go on at once is the queue's to say.
    let config = controller::Config::default();
    let reconcile = |schedule, context| Box::pin(apart(reconcile(schedule, context)));
    let queue = Arc::clone(&context);
    applier(reconcile, error_policy, context, schedules, Box::pin(triggers), config)
        .for_each(|result| {
            if let Err(controller::Error::ObjectNotFound(gone)) = result {
                queue.forget_schedule(&gone);
            }
            std::future::ready(())
        })
        .await;
}

impl Context {
    /// Forgets a schedule that is gone.
    fn forget_schedule(&self, gone: &ObjectRef<DynamicObject>) {
        let namespace = gone.namespace.as_deref().unwrap_or_default();
        let key = ObjectRef::new(&gone.name).within(namespace);
        self.schedules.take(&key);
        self.schedule_failures.clear(&key);
    }
}

/// One pass, measured.
async fn reconcile(schedule: Arc<ScheduleView>, context: Arc<Context>) -> Result<Action, Error> {
    let key = ObjectRef::from_obj(&*schedule);
    // It keeps its place until this ends.
    let taken = context.schedules.take(&key);
    taken.as_ref().inspect(|one| context.metrics.dequeued(Controller::CronOmJob, one.waited));
    let stale = context.written.is_ahead_of(&*schedule);
    let ends = context.draining || schedule.meta().deletion_timestamp.is_some();
    if !context.writes.leadership().is_held() || stale || ends {
        return Ok(Action::await_change());
    }
    let begin = Instant::now();
    let result = pass(&schedule, &context).await;
    context.metrics.reconciled(Controller::CronOmJob, result_of(&result), begin.elapsed());
    let next_look = result?;
    context.schedule_failures.clear(&key);
    Ok(next_look.map_or_else(Action::await_change, |time| Action::requeue(clock::until(time))))
}

/// Decides and applies; when to look again.
async fn pass(view: &ScheduleView, context: &Context) -> Result<Option<Timestamp>, Error> {
    let children = context.children.of(&view.uid().unwrap_or_default());
    let observed = view.schedule().and_then(|schedule| {
        let observed = schedule.observed(children.iter().map(|child| &*child.job));
        Ok((observed.map_err(|problem| problem.to_string())?, schedule))
    });
    let (observed, schedule) = match observed {
        Ok(observed) => observed,
        Err(problem) => {
            apply::refuse(context, view, &problem).await?;
            return Ok(None);
        }
    };
    let decision = decide_schedule(&observed, clock::now());
    apply::apply(context, view, &schedule, &children, &decision).await?;
    Ok(decision.next_look)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the applier's")]
fn error_policy(schedule: Arc<ScheduleView>, error: &Error, context: Arc<Context>) -> Action {
    after_failure(&*schedule, error, &context.schedule_failures, &context.events)
}
