//! The cluster itself fails: runs of every mode go through one outage together.

use std::time::Duration;

use futures::future::join_all;
use ompipe_tests::matrix::Mode;
use ompipe_tests::standin::PipelineState::Failed;

use super::run::{Plan, Run, Truth};
use crate::support::Breakable;

const MODES: [Mode; 3] = [Mode::Operator, Mode::JobAndOperator, Mode::Supervised];

/// A run of each mode, whose workers are up.
async fn up_in_all_modes(cluster: &Breakable, row: &str, worker: &str) -> Vec<Run> {
    let runs = MODES.map(|mode| async move {
        let run = Plan::new(row, mode, worker).prepare_on(cluster).await;
        run.start().await;
        run.up().await;
        run
    });
    join_all(runs).await
}

#[tokio::test]
async fn a_control_plane_that_is_away() {
    let cluster = Breakable::take().await;
    let worker = "trap 'exit 143' TERM; echo up; sleep 12; exit 1";
    let mut runs = up_in_all_modes(&cluster, "etcd down for 20 s at the end", worker).await;
    cluster.stop("etcd").await;
    // Not a wait for something: the outage itself.
    tokio::time::sleep(Duration::from_secs(20)).await;
    cluster.start("etcd").await;
    cluster.well(&runs[0].scene).await;
    runs.iter_mut().for_each(Run::healed);
    join_all(runs.into_iter().map(|run| run.ends(Truth::Is(Failed, "Error: ")))).await;
}
