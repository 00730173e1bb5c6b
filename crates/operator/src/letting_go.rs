//! Letting go of everything when the operator's own namespace is being deleted: its pods end, none can
//! be made again, and what it holds by its finalizers would stay for ever, the namespace with it.
//!
//! Kubernetes deletes pods first, so that the end of this pod is the last time at which something can
//! be done. Nothing is decided any more then: runs were deleted with the namespace, and their pods
//! report for themselves.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use ompipe_api::POD_TYPE;
use tokio::time::{Duration, sleep, timeout};

use crate::context::Context;
use crate::drain;
use crate::error::Error;
use crate::jobs;
use crate::scope::Scope;
use crate::view::{JobView, PodView};

/// How long the question and the letting go may take: less than the pod's grace period.
const LIMIT: Duration = Duration::from_secs(20);

/// Lets go of everything in these scopes if `own` is being deleted.
pub(crate) async fn if_namespace_ends(
    own: &str,
    scopes: &[Scope],
    context: &Context,
    reports_jobs: bool,
) {
    if !is_terminating(context.writes.client(), own).await {
        return;
    }
    tracing::warn!(
        namespace = own,
        "the operator's namespace is being deleted: lets go of all runs"
    );
    let work = async {
        // Another replica may be at it.
        context.writes.leadership().wait_until_held().await;
        while let Err(error) = everything(scopes, context, reports_jobs).await {
            tracing::warn!(%error, "cannot let go yet");
            sleep(Duration::from_secs(1)).await;
        }
    };
    if timeout(LIMIT, work).await.is_err() {
        tracing::warn!("not everything was let go of; see docs/operator.md");
    }
}

/// Asks by a creation that is not carried out, which needs no right to read namespaces.
async fn is_terminating(client: &Client, namespace: &str) -> bool {
    const TERMINATING: &str = "NamespaceTerminating";
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let mut lease = Lease::default();
    lease.metadata.name = Some("ompipe-is-the-namespace-deleted".to_owned());
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let asked = timeout(LIMIT, api.create(&dry_run, &lease)).await;
    let Ok(Err(kube::Error::Api(status))) = asked else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == TERMINATING)
}

/// As the API server has it: the watches have ended.
async fn everything(scopes: &[Scope], context: &Context, reports_jobs: bool) -> Result<(), Error> {
    let client = context.writes.client();
    for scope in scopes {
        let held = scope.api::<JobView>(client).list(&ListParams::default()).await;
        for job in held.map_err(Error::api("list the OMJobs"))?.items {
            if job.is_held() {
                drain::remove_finalizer(context, &job).await?;
            }
        }
        let pods = scope.api::<PodView>(client).list(&ListParams::default().labels(POD_TYPE)).await;
        for pod in pods.map_err(Error::api("list the pods"))?.items {
            if let Some(attempt) = pod.attempt.as_ref().filter(|attempt| attempt.seen.tracked) {
                context.attempts().let_go(attempt.id()).await?;
            }
        }
        if reports_jobs {
            jobs::let_go_of(scope, context).await?;
        }
    }
    Ok(())
}
