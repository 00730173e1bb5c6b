//! Pods whose Job is gone: somebody took our finalizer off, or it was never ours. Their own
//! finalizer would keep them for ever.

use std::convert::Infallible;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;

use super::Reporter;
use super::view::RunView;
use crate::error::Error;

type Reconciled = Result<(ObjectRef<RunView>, Action), controller::Error<Error, Infallible>>;

/// Handles a Job that the controller could not find: releases the pods of a Job that is gone.
pub(super) async fn release_if_gone(reporter: Arc<Reporter>, result: Reconciled) {
    let Err(controller::Error::ObjectNotFound(job)) = result else { return };
    let namespace = job.namespace.as_deref().unwrap_or_default();
    reporter.forget(&ObjectRef::new(&job.name).within(namespace));
    let released = reporter.attempts().release_orphans::<Job>(&job, "read the Job").await;
    if let Err(error) = released {
        tracing::warn!(%job, %error, "could not release the pods of a Job that is gone");
    }
}
