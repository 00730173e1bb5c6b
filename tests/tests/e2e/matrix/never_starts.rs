//! The worker never starts. Only an operator can tell that: no process of the run's own is there.

use ompipe_tests::matrix::Mode;
use ompipe_tests::standin::PipelineState::Failed;
use rstest::rstest;
use serde_json::json;

use super::run::{Plan, Run, Truth};
use crate::operator::{Webhook, denied};
use crate::support::{bed, late_job, late_omjob, no_pods_allowed};

fn told(mode: Mode, reason: &'static str) -> Truth {
    if mode.has_operator() { Truth::Is(Failed, reason) } else { Truth::Stands }
}

/// Gives the run up once it is known why its worker does not start; `words` is how that is told.
async fn gives_up(run: Run, words: &'static str) {
    let reason = words.trim_end_matches(": ");
    match run.mode {
        Mode::Operator => late_omjob(&run.scene, reason).await,
        mode => late_job(&run.scene, reason, mode.has_operator()).await,
    }
    let truth = told(run.mode, words);
    run.ends(truth).await;
}

#[rstest]
#[tokio::test]
async fn without_an_image(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let image = json!({ "ingestionImage": "ompipe.local/no-such:1" });
    let plan = Plan::new("no image", mode, "true").says("queued").with(&image);
    gives_up(plan.begin().await, "ImagePull: ").await;
}

#[rstest]
#[tokio::test]
async fn without_a_node(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let nowhere = json!({ "nodeSelector": "ompipe.test/nowhere=1" });
    let plan = Plan::new("no node", mode, "true").says("queued").with(&nowhere);
    gives_up(plan.begin().await, "Unschedulable: ").await;
}

#[rstest]
#[tokio::test]
async fn without_quota(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let plan = Plan::new("no quota", mode, "true").says("queued");
    let run = plan.prepare().await;
    no_pods_allowed(&run.scene).await;
    run.start().await;
    gives_up(run, "Quota: ").await;
}

#[rstest]
#[tokio::test]
async fn denied_by_a_webhook(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let plan = Plan::new("denied by a webhook", mode, "true").says("queued");
    let run = plan.prepare().await;
    let webhook = Webhook::start(&run.scene, true, denied()).await;
    webhook.in_force(&run.scene).await;
    run.start().await;
    match mode {
        // A refusal for good needs no deadline.
        Mode::Operator => run.ends(told(mode, "Admission: ")).await,
        _ => gives_up(run, "Admission: ").await,
    }
    webhook.remove().await;
}

/// Containers and volumes beside the worker's, in whichever mode.
fn beside(spec: &serde_json::Value) -> serde_json::Value {
    json!({ "backoffLimit": 0, "servicePodTemplates": { "shop": { "spec": spec } } })
}

/// It ends the run without a deadline.
#[rstest]
#[tokio::test]
async fn an_init_container_that_fails(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let spec = beside(&json!({ "initContainers": [{
        "name": "fetch-ca", "image": bed().worker_image, "terminationMessagePolicy": "FallbackToLogsOnError",
        "command": ["sh", "-c", "echo no CA bundle at /ca >&2; exit 3"],
    }]}));
    let plan = Plan::new("an init container fails", mode, "true").says("queued").with(&spec);
    let words =
        "InitContainerFailed: init container fetch-ca ended with exit code 3: no CA bundle at /ca";
    plan.begin().await.ends(told(mode, words)).await;
}

#[rstest]
#[tokio::test]
async fn a_volume_that_cannot_be_mounted(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let spec = beside(&json!({
        "volumes": [{ "name": "ca", "secret": { "secretName": "not-there" } }],
        "containers": [{ "name": "main", "volumeMounts": [{ "name": "ca", "mountPath": "/ca" }] }],
    }));
    let plan = Plan::new("a volume cannot be mounted", mode, "true").says("queued").with(&spec);
    gives_up(plan.begin().await, "FailedMount: ").await;
}

#[rstest]
#[tokio::test]
async fn a_sidecar_that_crashes_again_and_again(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let spec = beside(&json!({ "initContainers": [{
        "name": "mesh", "image": bed().worker_image, "restartPolicy": "Always",
        "command": ["sh", "-c", "exit 1"], "startupProbe": { "exec": { "command": ["true"] } },
    }]}));
    let plan =
        Plan::new("a sidecar crashes again and again", mode, "true").says("queued").with(&spec);
    gives_up(plan.begin().await, "SidecarFailed: ").await;
}

/// Its init container brings the supervisor; without an operator's own exit handler nobody else has
/// a need of the image.
#[rstest]
#[tokio::test]
async fn without_an_image_of_the_exit_handler(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised)] mode: Mode,
) {
    let image = json!({ "exitHandlerImage": "ompipe.local/no-such:1" });
    let plan = Plan::new("no image of the exit handler", mode, "true").says("queued");
    gives_up(plan.with(&image).begin().await, "ImagePull: ").await;
}
