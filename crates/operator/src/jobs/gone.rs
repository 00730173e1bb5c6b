//! Pods whose Job is gone: somebody took our finalizer off, or it was never ours. Their own
//! finalizer would keep them for ever.

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::core::DynamicObject;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;

use super::Reporter;
use super::view::{Attempt, RunView};
use crate::error::Error;

type Reconciled = Result<(ObjectRef<RunView>, Action), controller::Error<Error, Infallible>>;

/// Looks at what the controller could not find: releases the pods of a Job that is gone.
pub(super) async fn release_if_gone(reporter: Arc<Reporter>, result: Reconciled) {
    let Err(controller::Error::ObjectNotFound(job)) = result else { return };
    let namespace = job.namespace.as_deref().unwrap_or_default();
    reporter.forget(&ObjectRef::new(&job.name).within(namespace));
    if let Err(error) = release(&reporter, &job).await {
        tracing::warn!(%job, %error, "could not release the pods of a Job that is gone");
    }
}

async fn release(reporter: &Reporter, job: &ObjectRef<DynamicObject>) -> Result<(), Error> {
    let namespace = job.namespace.as_deref().unwrap_or_default();
    let of_it = |attempt: &Attempt| {
        let is_of_it = attempt.job == job.name && attempt.namespace == namespace;
        is_of_it && attempt.seen.tracked
    };
    let left = reporter.pods.filter(of_it);
    let writes = &reporter.context.writes;
    if left.is_empty() || !writes.leadership().is_held() {
        return Ok(());
    }
    let found = writes.read::<Job>(namespace).get_opt(&job.name).await;
    let found = found.map_err(Error::api("read the Job"))?.and_then(|job| job.uid());
    for attempt in left.iter().filter(|attempt| found.as_ref() != Some(&attempt.owner)) {
        reporter.release(namespace, &attempt.seen.name, &attempt.seen.uid).await?;
    }
    Ok(())
}
