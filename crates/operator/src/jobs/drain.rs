//! Letting go of every Job and pod, before the operator is uninstalled: see [`crate::drain`]. There
//! is nothing to wait for: their runs go on without us, only unwatched.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use ompipe_core::job::FINALIZER;
use serde_json::json;
use tokio::time::Duration;

use super::Reporter;
use super::view::RunView;
use crate::error::{Error, code};

/// Lets go of everything. What fails is tried again: nobody else will ever do it.
pub(super) async fn drain(reporter: &Arc<Reporter>) {
    reporter.context.writes.leadership().wait_until_held().await;
    reporter.ready().await;
    while let Err(error) = let_go(reporter).await {
        tracing::warn!(%error, "cannot let go of Jobs yet");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn let_go(reporter: &Reporter) -> Result<(), Error> {
    for run in reporter.cache.state_filter(|run| run.seen().held) {
        remove_finalizer(reporter, &run).await?;
    }
    for attempt in reporter.pods.filter(|attempt| attempt.seen.tracked) {
        reporter.attempts().release(attempt.id()).await?;
    }
    Ok(())
}

async fn remove_finalizer(reporter: &Reporter, run: &RunView) -> Result<(), Error> {
    let api = reporter.context.writes.to::<RunView>(&run.namespace().unwrap_or_default())?;
    let metadata = json!({ "uid": run.uid(), "$deleteFromPrimitiveList/finalizers": [FINALIZER] });
    let patch = Patch::Strategic(json!({ "metadata": metadata }));
    match api.patch(&run.name_any(), &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(code(&error), 404 | 409 | 422) => Ok(()),
        Err(error) => Err(Error::api("let go of a Job")(error)),
    }
}
