//! Somebody or something stops a run.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, EvictParams};
use ompipe_api::{CronOMJob, OMJob};
use ompipe_tests::matrix::Mode;
use ompipe_tests::standin::Fault;
use ompipe_tests::standin::PipelineState::{Failed, Stopped, Success};
use rstest::rstest;
use serde_json::json;

use super::run::{Plan, Run, Truth, WAITS};
use super::surroundings::UNTIL_TOLD;
use crate::support::no_pods_allowed;

/// What the hook of the ingestion image says of every stop; it gives no reason.
const BY_HOOK: Truth = Truth::Is(Failed, "");
const KILLED: Truth = Truth::Is(Stopped, "");

/// What stands in a mode, where only the preStop hook differs.
fn unless_hook(mode: Mode, truth: Truth) -> Truth {
    if mode == Mode::Hook { BY_HOOK } else { truth }
}

/// What only an operator can tell, for there is no process yet.
fn with_operator(mode: Mode, truth: Truth) -> Truth {
    if mode.has_operator() { truth } else { Truth::Stands }
}

#[rstest]
#[tokio::test]
async fn a_pod_that_is_deleted(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let run = Plan::new("kubectl delete pod", mode, WAITS).begin().await;
    let pod = run.up().await;
    run.scene.api::<Pod>().delete(&pod, &DeleteParams::default()).await.unwrap();
    run.ends(unless_hook(mode, Truth::Is(Failed, "Deleted: "))).await;
}

/// Inside the pod the kubelet leaves no time to count on.
#[rstest]
#[tokio::test]
async fn a_pod_that_is_deleted_by_force(
    #[values(Mode::Operator, Mode::JobAndOperator)] mode: Mode,
) {
    let run = Plan::new("kubectl delete pod --force", mode, WAITS).begin().await;
    let pod = run.up().await;
    let now = DeleteParams::default().grace_period(0);
    run.scene.api::<Pod>().delete(&pod, &now).await.unwrap();
    run.ends(Truth::Is(Failed, "Deleted: ")).await;
}

/// An evicted run is tried again without counting that, so the next attempt decides.
#[rstest]
#[tokio::test]
async fn a_pod_that_is_evicted(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let run = Plan::new("eviction API", mode, UNTIL_TOLD).begin().await;
    let pod = run.up().await;
    run.scene.api::<Pod>().evict(&pod, &EvictParams::default()).await.unwrap();
    let next = run.up_beside(&[pod]).await;
    run.tell(&next).await;
    run.ends(unless_hook(mode, Truth::Is(Success, ""))).await;
}

/// It takes half a minute: the deadline has to pass while the worker runs.
#[rstest]
#[tokio::test]
async fn a_run_that_takes_too_long(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    // The pod is told its deadline, so it has to be long enough for its start on a busy machine.
    let limit = json!({ "activeDeadlineSeconds": 30 });
    let run = Plan::new("activeDeadlineSeconds", mode, WAITS).with(&limit).begin().await;
    run.ends(unless_hook(mode, Truth::Is(Failed, "DeadlineExceeded: "))).await;
}

#[rstest]
#[tokio::test]
async fn a_kill_before_there_is_a_pod(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let plan = Plan::new("kill while queued, no pod yet", mode, WAITS).says("queued");
    let run = plan.prepare().await;
    no_pods_allowed(&run.scene).await;
    run.start().await;
    run.held().await;
    run.ompipe(&["kill"]).await;
    run.ends(with_operator(mode, KILLED)).await;
}

#[rstest]
#[tokio::test]
async fn a_kill_while_pending(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let nowhere = json!({ "nodeSelector": "ompipe.test/nowhere=1" });
    let plan = Plan::new("kill while pending", mode, WAITS).says("queued").with(&nowhere);
    let run = plan.begin().await;
    run.pending().await;
    run.ompipe(&["kill"]).await;
    run.ends(with_operator(mode, KILLED)).await;
}

#[rstest]
#[tokio::test]
async fn a_kill_while_running(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let run = Plan::new("kill while running", mode, WAITS).begin().await;
    run.up().await;
    run.ompipe(&["kill"]).await;
    run.ends(unless_hook(mode, KILLED)).await;
}

/// The worker had ended well, which no kill changes any more.
#[rstest]
#[tokio::test]
async fn a_kill_while_exiting(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised)] mode: Mode,
) {
    let plan = Plan::new("kill while exiting, after exit 0", mode, UNTIL_TOLD);
    let mut run = plan.begin().await;
    let pod = run.up().await;
    run.scene.standin.inject(Fault::status(503));
    run.tell(&pod).await;
    run.tried_to_report().await;
    run.ompipe(&["kill"]).await;
    run.scene.standin.clear_faults();
    run.healed();
    run.ends(Truth::Is(Success, "")).await;
}

#[rstest]
#[tokio::test]
async fn a_run_that_is_deleted(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let run = Plan::new("kubectl delete job or omjob", mode, WAITS).begin().await;
    run.up().await;
    let background = DeleteParams::background();
    if mode == Mode::Operator {
        let name = kube::ResourceExt::name_any(&run.only::<OMJob>().await.unwrap());
        drop(run.scene.api::<OMJob>().delete(&name, &background).await.unwrap());
    } else {
        let name = kube::ResourceExt::name_any(&run.only::<Job>().await.unwrap());
        drop(run.scene.api::<Job>().delete(&name, &background).await.unwrap());
    }
    run.ends(unless_hook(mode, KILLED)).await;
}

#[rstest]
#[tokio::test]
async fn a_schedule_that_is_deleted_in_mid_run(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let plan = Plan::new("kubectl delete cronjob or cronomjob", mode, WAITS);
    let mut run = plan.prepare().await;
    run.start_by_schedule().await;
    run.up().await;
    let background = DeleteParams::background();
    if mode == Mode::Operator {
        let schedules = run.scene.api::<CronOMJob>();
        drop(schedules.delete("om-cronomjob-nightly", &background).await.unwrap());
    } else {
        let schedules = run.scene.api::<CronJob>();
        drop(schedules.delete("om-cronjob-nightly", &background).await.unwrap());
    }
    run.ends(unless_hook(mode, KILLED)).await;
}

#[rstest]
#[tokio::test]
async fn a_pipeline_that_is_deleted_in_mid_run(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let run = Plan::new("ompipe delete", mode, WAITS).prepare().await;
    run.deploy().await;
    run.start().await;
    run.up().await;
    run.ompipe(&["delete"]).await;
    run.ends(unless_hook(mode, KILLED)).await;
}

#[rstest]
#[tokio::test]
async fn a_namespace_that_is_deleted(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let run = Plan::new("kubectl delete namespace", mode, WAITS).begin().await;
    run.up().await;
    let namespaces: Api<Namespace> = Api::all(run.scene.client.clone());
    namespaces.delete(&run.scene.namespace, &DeleteParams::background()).await.unwrap();
    // Kubernetes deletes the pods first, and that is all that anybody sees.
    run.ends(unless_hook(mode, Truth::Is(Failed, "Deleted: "))).await;
}

impl Run {
    /// Waits for a pod that waits for a node, and for the operator to have seen it.
    async fn pending(&self) {
        self.held().await;
        crate::support::eventually("a pod that waits for a node", || async {
            let pod = self.only::<Pod>().await?;
            let conditions = pod.status.iter().flat_map(|status| &status.conditions).flatten();
            let reasons: Vec<_> = conditions.filter_map(|c| c.reason.as_deref()).collect();
            let waits = reasons.contains(&"Unschedulable");
            if waits { Ok(()) } else { Err(format!("{reasons:?}")) }
        })
        .await;
    }

    /// Waits until somebody asked OpenMetadata for the row, and was refused.
    pub(super) async fn tried_to_report(&self) {
        crate::support::eventually("a try to report", || async {
            let requests = self.scene.standin.requests();
            let tried = requests.iter().any(|seen| seen.fault == Some("status"));
            if tried { Ok(()) } else { Err(format!("{} requests", requests.len())) }
        })
        .await;
    }
}
