//! The cluster itself fails: runs of every mode go through one outage together.

use std::time::Duration;

use futures::future::join_all;
use ompipe_tests::matrix::Mode;
use ompipe_tests::standin::PipelineState::{Failed, Success};
use rstest::rstest;

use super::run::{Plan, Run, Truth};
use super::surroundings::UNTIL_TOLD;
use crate::support::Breakable;

const MODES: [Mode; 3] = [Mode::Operator, Mode::JobAndOperator, Mode::Supervised];

/// A run of each mode, whose workers are up.
async fn up_in_all_modes(cluster: &Breakable, row: &str, worker: &str) -> Vec<(Run, String)> {
    let runs = MODES.map(|mode| async move {
        let run = Plan::new(row, mode, worker).prepare_on(cluster).await;
        run.start().await;
        let pod = run.up().await;
        (run, pod)
    });
    join_all(runs).await
}

#[rstest]
#[case::api_server("API server down for 60 s at the end", "apiserver", Duration::from_mins(1))]
#[case::store("etcd down for 20 s at the end", "etcd", Duration::from_secs(20))]
#[tokio::test]
async fn a_control_plane_that_is_away(
    #[case] row: &str,
    #[case] component: &str,
    #[case] outage: Duration,
) {
    let cluster = Breakable::take().await;
    let worker = "trap 'exit 143' TERM; echo up; sleep 12; exit 1";
    let mut runs = up_in_all_modes(&cluster, row, worker).await;
    cluster.stop(component).await;
    // Not a wait for something: the outage itself.
    tokio::time::sleep(outage).await;
    cluster.start(component).await;
    cluster.well(&runs[0].0.scene).await;
    runs.iter_mut().for_each(|(run, _)| run.healed());
    join_all(runs.into_iter().map(|(run, _)| run.ends(Truth::Is(Failed, "Error: ")))).await;
}

/// The Jobs' next attempts are told to end well.
async fn end_of_all(runs: Vec<(Run, String)>, reason: &'static str) {
    let ends = runs.into_iter().map(|(run, first)| async move {
        if run.mode == Mode::Operator {
            return run.ends(Truth::Is(Failed, reason)).await;
        }
        let next = run.up_beside(&[first]).await;
        run.tell(&next).await;
        run.ends(Truth::Is(Success, "")).await;
    });
    join_all(ends).await;
}

#[tokio::test]
async fn a_node_that_is_drained() {
    let cluster = Breakable::take().await;
    let runs = up_in_all_modes(&cluster, "drain of the node", UNTIL_TOLD).await;
    let drain = [
        "drain",
        "sandbox",
        "--timeout=120s",
        "--delete-emptydir-data",
        "--pod-selector=app.kubernetes.io/pipeline",
    ];
    cluster.kubectl(&drain).await;
    // There is no other node for what follows.
    cluster.kubectl(&["uncordon", "sandbox"]).await;
    end_of_all(runs, "Evicted: ").await;
}

#[tokio::test]
async fn a_node_that_is_lost() {
    let cluster = Breakable::take().await;
    let mut runs = up_in_all_modes(&cluster, "node lost with its kubelet", UNTIL_TOLD).await;
    // As a cloud does with a machine that died: it goes, and then its node.
    cluster.stop("kubelet").await;
    cluster.kubectl(&["delete", "node", "sandbox"]).await;
    // The operator's own run is over before there is a node again.
    runs[0].0.ended().await;
    cluster.start("kubelet").await;
    cluster.well(&runs[0].0.scene).await;
    runs.iter_mut().for_each(|(run, _)| run.healed());
    end_of_all(runs, "NodeLost: ").await;
}
