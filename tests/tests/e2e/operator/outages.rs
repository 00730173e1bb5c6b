//! What a cluster does to a run: its API server or store is away, its node is drained or lost.

use std::time::Duration;

use futures::future::join_all;
use kube::ResourceExt;
use kube::api::ListParams;
use ompipe_api::Phase;
use rstest::rstest;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::endings::OBEDIENT;
use super::stage::{condition, exit_code, phase, reason};
use super::{Operator, Stage};
use crate::support::{Breakable, UNTIL_TOLD, eventually, release_on_node};

/// What must have come of the run: one main pod, one exit pod, nothing held.
async fn assert_two_pods(stage: &Stage) {
    let pods = stage.pods().list(&ListParams::default()).await.unwrap();
    let names: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["run-exit", "run-main"]);
    let held: Vec<_> = pods.iter().filter(|pod| !pod.finalizers().is_empty()).collect();
    assert!(held.is_empty(), "a pod is still tracked");
}

#[rstest]
#[case::api_server("apiserver", Duration::from_mins(1))]
#[case::store("etcd", Duration::from_secs(20))]
#[tokio::test]
async fn a_control_plane_that_is_away(#[case] component: &str, #[case] outage: Duration) {
    let cluster = Breakable::take().await;
    let stage = Stage::on(&cluster, "away").await;
    let replicas = [(); 2].map(|()| Operator::start(&stage.scene, &[]));
    stage.run("run", &format!("{UNTIL_TOLD}; exit 3"), json!({})).await;
    let main = stage.running("run-main").await;
    cluster.stop(component).await;
    let began = Instant::now();
    // Its end falls into the outage.
    release_on_node(&main).await;
    // Not a wait for something: the outage, whose length is what is tested.
    sleep_until(began + outage).await;
    cluster.start(component).await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), exit_code(&job)), (Some(Phase::Failed), Some(3)));
    assert_eq!(
        (reason(&job), condition(&job, "Reported")),
        ("Error", "True ExitHandler".to_owned())
    );
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    assert_two_pods(&stage).await;
    eventually("one leader, and one that waits", || async {
        let leads = join_all(replicas.iter().map(Operator::leads_and_is_ready)).await;
        let leaders = leads.iter().filter(|leads| **leads).count();
        if leaders == 1 { Ok(()) } else { Err(format!("{leaders} lead")) }
    })
    .await;
    join_all(replicas.map(Operator::terminate)).await;
    cluster.well(&stage.scene).await;
    stage.scene.end().await;
}

#[tokio::test]
async fn a_node_that_is_drained() {
    let cluster = Breakable::take().await;
    let stage = Stage::on(&cluster, "drained").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", OBEDIENT, json!({})).await;
    stage.running("run-main").await;
    let ours = "--pod-selector=omjob.pipelines.openmetadata.org/pod-type=main";
    cluster.kubectl(&["drain", "sandbox", "--timeout=120s", ours]).await;
    // There is no other node for the exit handler.
    cluster.kubectl(&["uncordon", "sandbox"]).await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), reason(&job)), (Some(Phase::Failed), "Evicted"));
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_node_that_is_lost() {
    let cluster = Breakable::take().await;
    let stage = Stage::on(&cluster, "lost").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.run("run", OBEDIENT, json!({})).await;
    stage.running("run-main").await;
    // As a cloud does with a machine that died: it goes, and then its node.
    cluster.stop("kubelet").await;
    cluster.kubectl(&["delete", "node", "sandbox"]).await;
    let finished = |job: &ompipe_api::OMJob| condition(job, "MainFinished").starts_with("True");
    let job = stage.job("run", "an end of main", finished).await;
    assert_eq!((reason(&job), exit_code(&job)), ("NodeLost", None));
    // No node takes the exit handler, which has nothing to look at anyway.
    let job = stage.over("run").await;
    assert_eq!((phase(&job), reason(&job)), (Some(Phase::Failed), "NodeLost"));
    assert!(condition(&job, "ExitHandlerSucceeded").starts_with("False"), "{job:?}");
    cluster.start("kubelet").await;
    cluster.well(&stage.scene).await;
    stage.scene.end().await;
}
