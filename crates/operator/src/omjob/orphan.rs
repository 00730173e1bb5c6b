//! Pods whose `OMJob` is gone, although our finalizer should have kept it: somebody took that off.
//! Their own finalizer would keep them for ever.

use std::convert::Infallible;
use std::sync::Arc;

use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;

use crate::context::Context;
use crate::error::Error;
use crate::view::JobView;

type Reconciled = Result<(ObjectRef<JobView>, Action), controller::Error<Error, Infallible>>;

/// Looks at what the controller could not find: releases the pods of an `OMJob` that is gone.
pub(super) async fn release_if_gone(context: Arc<Context>, result: Reconciled) {
    let Err(controller::Error::ObjectNotFound(omjob)) = result else { return };
    let namespace = omjob.namespace.as_deref().unwrap_or_default();
    let key = ObjectRef::new(&omjob.name).within(namespace);
    context.jobs.take(&key);
    context.job_failures.clear(&key);
    let released = context.attempts().release_orphans::<JobView>(&omjob, "read the OMJob").await;
    if let Err(error) = released {
        tracing::warn!(%omjob, %error, "could not release the pods of an OMJob that is gone");
    }
}
