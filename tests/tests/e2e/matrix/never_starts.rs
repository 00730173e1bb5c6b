//! The worker never starts. Only an operator can tell that: no process of the run's own is there.

use ompipe_tests::matrix::Mode;
use ompipe_tests::standin::PipelineState::Failed;
use rstest::rstest;
use serde_json::{Value, json};

use super::run::{Plan, Truth};
use crate::operator::{Webhook, denied};
use crate::support::no_pods_allowed;

fn told(mode: Mode, reason: &'static str) -> Truth {
    if mode.has_operator() { Truth::Is(Failed, reason) } else { Truth::Stands }
}

/// Long enough for a busy scheduler or kubelet to say why.
fn until(seconds: u32) -> Value {
    json!({ "activeDeadlineSeconds": seconds })
}

#[rstest]
#[tokio::test]
async fn without_an_image(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let image = json!({ "ingestionImage": "ompipe.local/no-such:1" });
    let plan = Plan::new("no image", mode, "true").says("queued").with(&until(20)).with(&image);
    plan.begin().await.ends(told(mode, "ImagePull: ")).await;
}

#[rstest]
#[tokio::test]
async fn without_a_node(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let nowhere = json!({ "nodeSelector": "ompipe.test/nowhere=1" });
    let plan = Plan::new("no node", mode, "true").says("queued").with(&until(20)).with(&nowhere);
    let run = plan.begin().await;
    run.ends(told(mode, "Unschedulable: ")).await;
}

#[rstest]
#[tokio::test]
async fn without_quota(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let plan = Plan::new("no quota", mode, "true").says("queued").with(&until(15));
    let run = plan.prepare().await;
    no_pods_allowed(&run.scene).await;
    run.start().await;
    run.ends(told(mode, "Quota: ")).await;
}

#[rstest]
#[tokio::test]
async fn denied_by_a_webhook(
    #[values(Mode::Operator, Mode::JobAndOperator, Mode::Supervised, Mode::Hook)] mode: Mode,
) {
    let plan = Plan::new("denied by a webhook", mode, "true").says("queued").with(&until(20));
    let run = plan.prepare().await;
    let webhook = Webhook::start(&run.scene, true, denied).await;
    webhook.in_force(&run.scene).await;
    run.start().await;
    run.ends(told(mode, "Admission: ")).await;
    webhook.remove().await;
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
    let run = plan.with(&until(20)).with(&image).begin().await;
    run.ends(told(mode, "ImagePull: ")).await;
}
