//! Letting go of everything, before the operator is uninstalled (`ompipe operator --drain`): without
//! an operator our finalizers would stay for ever.
//!
//! The operator may still run: a drain takes its Lease (`lease::Purpose::Retire`).
//!
//! Runs under way may come to their end within the time that they are given; nothing new is begun.
//! Then what is left is released: its pods run on, and no exit handler follows.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::Store;
use ompipe_core::omjob::FINALIZER;
use serde_json::json;
use tokio::time::{Duration, Instant, timeout_at};

use crate::context::Context;
use crate::error::{Error, code};
use crate::omjob::finalizers;
use crate::view::JobView;

/// Lets go of every `OMJob` and pod of a scope.
pub(crate) async fn drain(context: &Context, jobs: &Store<JobView>, limit: Duration) {
    let end = Instant::now() + limit;
    context.writes.leadership().wait_until_held().await;
    if timeout_at(end, all_over(context, jobs)).await.is_err() {
        tracing::warn!(
            ?limit,
            "some runs have not ended in time; the drain releases them as they are"
        );
    }
    // It retries what fails, because no other part will ever do it.
    while let Err(error) = let_go(context, jobs).await {
        tracing::warn!(%error, "cannot release OMJobs yet; will retry");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until no run has our finalizer.
async fn all_over(context: &Context, jobs: &Store<JobView>) {
    let mut changes = context.changes.subscribe();
    loop {
        changes.borrow_and_update();
        if jobs.find(JobView::is_held).is_none() {
            return;
        }
        // The sender lives as long as the context.
        drop(changes.changed().await);
    }
}

/// Runs first: the pods of one that is not ours any more are not taken up again.
async fn let_go(context: &Context, jobs: &Store<JobView>) -> Result<(), Error> {
    for job in jobs.state_filter(JobView::is_held) {
        remove_finalizer(context, &job).await?;
    }
    for attempt in context.pods.filter(|attempt| attempt.seen.tracked) {
        context.attempts().release(attempt.id()).await?;
    }
    Ok(())
}

pub(crate) async fn remove_finalizer(context: &Context, job: &JobView) -> Result<(), Error> {
    let mut finalizers = finalizers::of(&context.writes, job).await?;
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    let patch = json!({ "metadata": {
        "resourceVersion": job.resource_version(), "finalizers": finalizers,
    }});
    let api = context.writes.to::<JobView>(&job.namespace().unwrap_or_default())?;
    match api.patch(&job.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(error) if code(&error) == 404 => Ok(()),
        Err(error) => Err(Error::api("release an OMJob")(error)),
    }
}
