//! What is around a run fails: its operator, OpenMetadata, its exit handler, its pods.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use ompipe_api::OMJob;
use ompipe_tests::matrix::Mode;
use ompipe_tests::standin::Fault;
use ompipe_tests::standin::PipelineState::{Failed, Success};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::run::{Plan, Run, Truth, WAITS};
use super::witness::has_ended;
pub(super) use crate::support::UNTIL_TOLD;
use crate::support::{INJECTED, Injector, bed, eventually};

const SUCCEEDED: Truth = Truth::Is(Success, "");
const FAILED: Truth = Truth::Is(Failed, "Error: ended with exit code 1");

#[rstest]
#[tokio::test]
async fn an_operator_that_is_killed_before_the_pod(
    #[values(Mode::Operator, Mode::JobAndOperator)] mode: Mode,
) {
    let plan = Plan::new("operator killed before the pod", mode, UNTIL_TOLD);
    let mut run = plan.begin().await;
    run.kill_operators().await;
    run.start_operator().await;
    let pod = run.up().await;
    run.tell(&pod).await;
    run.ends(SUCCEEDED).await;
}

#[rstest]
#[tokio::test]
async fn an_operator_that_is_killed_while_running(
    #[values(Mode::Operator, Mode::JobAndOperator)] mode: Mode,
) {
    let mut run = Plan::new("operator killed while running", mode, UNTIL_TOLD).begin().await;
    let pod = run.up().await;
    run.kill_operators().await;
    run.start_operator().await;
    run.tell(&pod).await;
    run.ends(SUCCEEDED).await;
}

/// It takes over a minute, since no schedule has a finer step. The slot fires late, and once.
#[tokio::test]
async fn a_slot_that_is_due_while_no_operator_leads() {
    let worker = format!("{UNTIL_TOLD}; exit 1");
    let row = "a slot is due while no operator leads";
    let mut run = Plan::new(row, Mode::Operator, &worker).says("queued").prepare().await;
    run.start_by_slot_without_leader().await;
    let pod = run.up().await;
    run.tell(&pod).await;
    run.ends(FAILED).await;
}

/// It is killed while OpenMetadata does not take the report, and comes back when that does.
#[rstest]
#[tokio::test]
async fn an_operator_that_is_killed_while_exiting(
    #[values(Mode::Operator, Mode::JobAndOperator)] mode: Mode,
) {
    let mut run = Plan::new("operator killed while exiting", mode, UNTIL_TOLD).begin().await;
    let pod = run.up().await;
    run.scene.standin.inject(Fault::status(503));
    run.tell(&pod).await;
    run.tried_to_report().await;
    run.kill_operators().await;
    run.scene.standin.clear_faults();
    run.start_operator().await;
    run.healed();
    run.ends(SUCCEEDED).await;
}

/// The object that the API server has is not the one that was sent, and its pod has a container more.
#[rstest]
#[tokio::test]
async fn a_sidecar_that_a_webhook_adds(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let worker = format!("{UNTIL_TOLD}; exit 1");
    let plan = Plan::new("a webhook adds a sidecar", mode, &worker);
    let run = plan.prepare().await;
    let injector = Injector::start(&run.scene).await;
    run.start().await;
    let name = run.up().await;
    let pod = run.scene.api::<Pod>().get(&name).await.unwrap();
    assert!(pod.annotations().contains_key(INJECTED), "{:?}", pod.metadata);
    run.tell(&name).await;
    run.ends(FAILED).await;
    injector.remove().await;
}

#[rstest]
#[tokio::test]
async fn no_operator_until_after_the_end(
    #[values(Mode::Operator, Mode::JobAndOperator)] mode: Mode,
) {
    let plan = Plan::new("both replicas down until after the end", mode, UNTIL_TOLD);
    let mut run = plan.prepare().await;
    let second = run.another_operator();
    second.ready("follower").await;
    run.operators.push(second);
    run.start().await;
    let pod = run.up().await;
    run.kill_operators().await;
    run.tell(&pod).await;
    run.ended().await;
    run.start_operator().await;
    run.healed();
    run.ends(SUCCEEDED).await;
}

#[rstest]
#[tokio::test]
async fn another_leader(#[values(Mode::Operator, Mode::JobAndOperator)] mode: Mode) {
    let mut run = Plan::new("another leader in mid-run", mode, UNTIL_TOLD).begin().await;
    let second = run.another_operator();
    second.ready("follower").await;
    let pod = run.up().await;
    run.operators.remove(0).terminate().await;
    second.ready("leader").await;
    run.operators.push(second);
    run.tell(&pod).await;
    run.ends(SUCCEEDED).await;
}

#[rstest]
#[case::down("OpenMetadata down for 2 minutes at the end", Fault::reset(), 120)]
#[case::broken("OpenMetadata answers 500 for 20 s", Fault::status(500), 20)]
#[case::proxy("a proxy answers 404 for 20 s", Fault::answer(404, "404 page not found\n"), 20)]
#[case::login("a login page answers for 20 s", Fault::answer(200, "<html>Sign in</html>"), 20)]
#[case::redirect("a redirect answers for 20 s", Fault::answer(308, ""), 20)]
#[case::reset("OpenMetadata resets connections for 20 s", Fault::reset(), 20)]
#[case::hangs("OpenMetadata hangs for 20 s", Fault::hang(), 20)]
#[tokio::test]
async fn an_openmetadata_that_fails(
    #[case] row: &str,
    #[case] fault: Fault,
    #[case] seconds: u64,
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let worker = format!("{UNTIL_TOLD}; exit 1");
    let mut run = Plan::new(row, mode, &worker).begin().await;
    let pod = run.up().await;
    run.openmetadata_fails(fault, Duration::from_secs(seconds));
    run.tell(&pod).await;
    run.ends(FAILED).await;
}

/// The reason has no place in a row there, the state has.
#[rstest]
#[tokio::test]
async fn a_server_of_1_1(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let row = "a server of 1.1 refuses what it does not know";
    let worker = format!("{UNTIL_TOLD}; exit 1");
    let run = Plan::new(row, mode, &worker).begin().await;
    run.scene.standin.play("1.1.0");
    let pod = run.up().await;
    run.tell(&pod).await;
    run.ends(Truth::Is(Failed, "")).await;
}

/// Whoever tries for three seconds only gives up long before OpenMetadata is back; the operator does
/// not.
#[rstest]
#[tokio::test]
async fn an_openmetadata_that_is_away_too_long(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let worker = format!("{UNTIL_TOLD}; exit 1");
    let row = "OpenMetadata down until the exit handler has given up";
    let plan = Plan::new(row, mode, &worker);
    let mut run = plan.with(&variables(&worker, "3")).begin().await;
    let pod = run.up().await;
    run.openmetadata_fails(Fault::reset(), Duration::from_secs(40));
    run.tell(&pod).await;
    run.ends(if mode.has_operator() { FAILED } else { Truth::Stands }).await;
}

/// Variables of a worker that does so, and how long its exit handler tries.
fn variables(worker: &str, seconds: &str) -> Value {
    json!({ "extraEnvVars": {
        "WORKER_MAIN": worker, ompipe_core::report::DEADLINE_ENV: seconds,
    }})
}

/// The run has the token that was good when it started; the operator finds that of the deployment.
#[rstest]
#[tokio::test]
async fn a_token_that_was_rotated(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let plan = Plan::new("token rotated, pipeline deployed anew", mode, UNTIL_TOLD);
    let run = plan.with(&variables(UNTIL_TOLD, "5")).prepare().await;
    let mut good = Value::Null;
    run.edit_pipeline(|pipeline| {
        let token = &mut pipeline["openMetadataServerConnection"]["securityConfig"]["jwtToken"];
        good = std::mem::replace(token, "a.former.token".into());
    });
    run.start().await;
    run.edit_pipeline(|pipeline| {
        pipeline["openMetadataServerConnection"]["securityConfig"]["jwtToken"] = good;
    });
    let pod = run.up().await;
    run.deploy().await;
    run.tell(&pod).await;
    let truth = if mode.has_operator() { SUCCEEDED } else { Truth::Stands };
    run.ends(truth).await;
}

/// An `OMJob` whose exit handler is that of its maker, as those of the Java client are.
async fn with_exit_handler(run: &mut Run, changes: &Value) {
    run.kill_operators().await;
    run.start().await;
    let jobs: Api<OMJob> = run.scene.api();
    let mut job = run.only::<OMJob>().await.unwrap();
    // It cannot be changed; so another one of that name takes its place.
    jobs.delete(&job.name_any(), &DeleteParams::background()).await.unwrap();
    eventually("no OMJob", || async {
        let left = jobs.get_opt(&job.name_any()).await.map_err(|error| error.to_string())?;
        if left.is_none() { Ok(()) } else { Err("it is there".to_owned()) }
    })
    .await;
    let mut exit = json!(job.spec.exit_handler_spec);
    exit.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    job.spec.exit_handler_spec = serde_json::from_value(exit).unwrap();
    (job.metadata.resource_version, job.metadata.uid) = (None, None);
    job.metadata.managed_fields = None;
    jobs.create(&PostParams::default(), &job).await.unwrap();
    run.start_operator().await;
}

#[rstest]
#[case::no_image("exit handler's pod has no image", json!({ "image": "ompipe.local/no-such:1" }))]
#[case::crashes(
    "exit handler crashes",
    json!({ "image": bed().worker_image, "command": ["sh", "-c", "kill -9 $$; exit 9"] })
)]
#[tokio::test]
async fn an_exit_handler_that_cannot_report(#[case] row: &str, #[case] changes: Value) {
    let mut run = Plan::new(row, Mode::Operator, "exit 1").prepare().await;
    with_exit_handler(&mut run, &changes).await;
    run.ends_without_exit_handler(FAILED).await;
}

#[rstest]
#[tokio::test]
async fn a_hook_that_crashes(#[values(Mode::JobAndOperator, Mode::Hook)] mode: Mode) {
    let crashes = json!({
        "ingestionImage": bed().worker_image, "podTemplate": {},
        "extraEnvVars": { "WORKER_MAIN": WAITS, "WORKER_EXIT_HANDLER": "kill -9 $$" },
    });
    let run = Plan::new("exit handler crashes", mode, WAITS).with(&crashes).begin().await;
    let pod = run.up().await;
    run.scene.api::<Pod>().delete(&pod, &DeleteParams::default()).await.unwrap();
    let truth = Truth::Is(Failed, "Deleted: ");
    run.ends(if mode.has_operator() { truth } else { Truth::Stands }).await;
}

/// As the controller manager does when there are too many pods that have ended.
#[rstest]
#[tokio::test]
async fn pods_that_are_removed_as_soon_as_they_end(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let worker = format!("{UNTIL_TOLD}; exit 1");
    let run = Plan::new("pods removed as soon as they end", mode, &worker).prepare().await;
    let mut collector = JoinSet::new();
    collector.spawn(remove_ended(run.scene.api()));
    run.start().await;
    let pod = run.up().await;
    run.tell(&pod).await;
    run.ends(FAILED).await;
}

async fn remove_ended(pods: Api<Pod>) {
    let now = DeleteParams::default().grace_period(0);
    let changes = watcher(pods.clone(), watcher::Config::default()).default_backoff();
    let mut changed = pin!(changes.applied_objects());
    while let Some(pod) = changed.next().await {
        // A watch that broke starts again; a pod that is already gone needs no removal.
        if let Some(pod) = pod.ok().filter(has_ended) {
            drop(pods.delete(&pod.name_any(), &now).await);
        }
    }
}
