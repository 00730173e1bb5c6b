//! Pods whose `OMJob` is gone, although our finalizer should have kept it: somebody took that off.
//! Their own finalizer would keep them for ever.

use std::convert::Infallible;
use std::sync::Arc;

use kube::core::DynamicObject;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;

use crate::context::Context;
use crate::error::Error;
use crate::tracking;
use crate::view::{Attempt, JobView};

type Reconciled = Result<(ObjectRef<JobView>, Action), controller::Error<Error, Infallible>>;

/// Looks at what the controller could not find: releases the pods of an `OMJob` that is gone.
pub(super) async fn release_if_gone(context: Arc<Context>, result: Reconciled) {
    let Err(controller::Error::ObjectNotFound(omjob)) = result else { return };
    let namespace = omjob.namespace.as_deref().unwrap_or_default();
    let key = ObjectRef::new(&omjob.name).within(namespace);
    context.jobs.take(&key);
    context.job_failures.clear(&key);
    if let Err(error) = release(&context, &omjob).await {
        tracing::warn!(%omjob, %error, "could not release the pods of an OMJob that is gone");
    }
}

async fn release(context: &Context, omjob: &ObjectRef<DynamicObject>) -> Result<(), Error> {
    let namespace = omjob.namespace.as_deref().unwrap_or_default();
    let of_it = |attempt: &Attempt| {
        let is_of_it = attempt.omjob == omjob.name && attempt.namespace == namespace;
        is_of_it && attempt.seen.tracked
    };
    let left = context.pods.filter(of_it);
    if left.is_empty() || !context.writes.leadership().is_held() {
        return Ok(());
    }
    let found: Option<JobView> = context
        .writes
        .read(namespace)
        .get_opt(&omjob.name)
        .await
        .map_err(Error::api("read the OMJob"))?;
    let gone = |attempt: &&Attempt| found.as_ref().is_none_or(|job| job.uid() != attempt.owner);
    for attempt in left.iter().filter(gone) {
        tracking::release(context, attempt.id()).await?;
    }
    Ok(())
}
