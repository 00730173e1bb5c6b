//! Letting go of every Job and pod, before the operator is uninstalled: see [`crate::drain`]. There
//! is nothing to wait for: their runs go on without us, only unwatched.

use std::sync::Arc;

use kube::api::{ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use ompipe_core::job::FINALIZER;
use serde_json::json;
use tokio::time::Duration;

use super::Reporter;
use super::view::{RunPod, RunView};
use super::watches::{job_selector, pod_selector};
use crate::by_owner::ByOwner;
use crate::context::Context;
use crate::error::{Error, code};
use crate::scope::Scope;
use crate::tracking::Pods;

const FORBIDDEN: u16 = 403;

/// That Jobs can be seen. The watches cannot tell: they wait for rights that may still come.
///
/// # Errors
/// What the API server says, where it forbids it.
pub(crate) async fn require_rights(
    scopes: &[Scope],
    client: &Client,
) -> Result<(), Box<kube::Error>> {
    for scope in scopes {
        let listed = scope.api::<RunView>(client).list(&ListParams::default().limit(1)).await;
        match listed {
            Err(error) if code(&error) == FORBIDDEN => return Err(Box::new(error)),
            // What else is wrong passes, and the drain waits for that.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Releases everything. It retries what fails, because no other part will ever do it.
pub(super) async fn drain(reporter: &Arc<Reporter>) {
    reporter.context.writes.leadership().wait_until_held().await;
    reporter.ready().await;
    while let Err(error) = let_go(reporter).await {
        tracing::warn!(%error, "cannot release Jobs yet; will retry");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn let_go(reporter: &Reporter) -> Result<(), Error> {
    for run in reporter.cache.state_filter(|run| run.seen().held) {
        remove_finalizer(&reporter.context, &run).await?;
    }
    for attempt in reporter.pods.filter(|attempt| attempt.seen.tracked) {
        reporter.attempts().release(attempt.id()).await?;
    }
    Ok(())
}

/// Lets go of everything as the API server has it, without caches.
pub(crate) async fn let_go_of(scope: &Scope, context: &Context) -> Result<(), Error> {
    let client = context.writes.client();
    let of_runs = ListParams::default().labels(&job_selector());
    let runs = scope.api::<RunView>(client).list(&of_runs).await;
    for run in runs.map_err(Error::api("list the Jobs"))?.items {
        if run.seen().held {
            remove_finalizer(context, &run).await?;
        }
    }
    let pods =
        scope.api::<RunPod>(client).list(&ListParams::default().labels(&pod_selector())).await;
    let cache: ByOwner<RunPod> = ByOwner::default();
    let held = Pods { writes: &context.writes, cache: &cache, archiver: None };
    for pod in pods.map_err(Error::api("list the pods of Jobs"))?.items {
        if let Some(attempt) = pod.attempt.as_ref().filter(|attempt| attempt.seen.tracked) {
            held.let_go(attempt.id()).await?;
        }
    }
    Ok(())
}

async fn remove_finalizer(context: &Context, run: &RunView) -> Result<(), Error> {
    let api = context.writes.to::<RunView>(&run.namespace().unwrap_or_default())?;
    let metadata = json!({ "uid": run.uid(), "$deleteFromPrimitiveList/finalizers": [FINALIZER] });
    let patch = Patch::Strategic(json!({ "metadata": metadata }));
    match api.patch(&run.name_any(), &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(code(&error), 404 | 409 | 422) => Ok(()),
        Err(error) => Err(Error::api("release a Job")(error)),
    }
}
