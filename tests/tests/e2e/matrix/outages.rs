//! The cluster itself fails: runs of every mode go through one outage together.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use ompipe_tests::matrix::Mode;
use ompipe_tests::standin::PipelineState::{Failed, Success};
use rstest::rstest;
use tokio::time::{Instant, sleep_until};

use super::run::{Plan, Run, Truth};
use super::surroundings::UNTIL_TOLD;
use super::witness::has_ended;
use crate::support::{Breakable, eventually, release_on_node};

/// The longest time, in seconds, after which the scheduler and the kubelet, both of which an exit
/// handler's pod needs one after the other, try an API server again that was away: 30 each, and by chance
/// up to twice as many (client-go, `Reflector`).
const KUBERNETES_TRIES_AGAIN: f64 = 120.0;

/// A run of each mode, and the pod of its worker, which is up.
async fn up_in_all_modes(cluster: &Breakable, row: &str, worker: &str) -> Vec<(Run, String)> {
    let runs = Mode::ALL.map(|mode| async move {
        let run = Plan::new(row, mode, worker).prepare_on(cluster).await;
        run.start().await;
        let pod = run.up().await;
        (run, pod)
    });
    join_all(runs).await
}

/// The worker's end falls into the outage.
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
    let worker = format!("{UNTIL_TOLD}; exit 1");
    let mut runs = up_in_all_modes(&cluster, row, &worker).await;
    let pods = join_all(runs.iter().map(|(run, pod)| run.pod(pod))).await;
    cluster.stop(component).await;
    let began = Instant::now();
    join_all(pods.iter().map(release_on_node)).await;
    // Not a wait for something: the outage, whose length is what is tested.
    sleep_until(began + outage).await;
    cluster.start(component).await;
    cluster.well(&runs[0].0.scene).await;
    for (run, _) in &mut runs {
        run.healed();
    }
    let failed = Truth::Is(Failed, "Error: ");
    join_all(runs.into_iter().map(|(run, _)| async move {
        match run.mode {
            Mode::Operator => run.ends_after(failed, KUBERNETES_TRIES_AGAIN).await,
            Mode::JobAndOperator | Mode::Supervised => run.ends(failed).await,
            Mode::Hook => run.ends(Truth::Is(Failed, "")).await,
        }
    }))
    .await;
}

/// What a drain stopped is tried again, so the next attempt decides, on a node that takes it.
#[tokio::test]
async fn a_node_that_is_drained() {
    let cluster = Breakable::take().await;
    let runs = up_in_all_modes(&cluster, "drain of the node", UNTIL_TOLD).await;
    let ours = "--pod-selector=app.kubernetes.io/managed-by=ompipe";
    let drain = ["drain", "sandbox", "--timeout=120s", "--delete-emptydir-data", ours];
    cluster.kubectl(&drain).await;
    cluster.kubectl(&["uncordon", "sandbox"]).await;
    join_all(runs.into_iter().map(|(run, pod)| async move {
        let truth = match run.mode {
            Mode::Operator | Mode::JobAndOperator | Mode::Supervised => Truth::Is(Success, ""),
            Mode::Hook => Truth::Is(Failed, ""),
        };
        run.goes_on_after(pod).await.ends(truth).await;
    }))
    .await;
}

/// As a cloud does with a machine that died: it goes, and then its node. Another one comes.
#[tokio::test]
async fn a_node_that_is_lost() {
    let cluster = Breakable::take().await;
    let runs = up_in_all_modes(&cluster, "node lost with its kubelet", UNTIL_TOLD).await;
    cluster.stop("kubelet").await;
    for (run, pod) in &runs {
        let pod = run.pod(pod).await;
        cluster.kill_containers(&pod).await;
    }
    cluster.kubectl(&["delete", "node", "sandbox"]).await;
    join_all(runs.iter().map(|(run, pod)| run.lost(pod))).await;
    cluster.start("kubelet").await;
    cluster.well(&runs[0].0.scene).await;
    join_all(runs.into_iter().map(|(run, pod)| async move {
        run.goes_on_after(pod).await.ends(Truth::Is(Success, "")).await;
    }))
    .await;
}

impl Run {
    async fn pod(&self, name: &str) -> Pod {
        self.scene.api().get(name).await.unwrap()
    }

    /// The cluster has a node again, and the worker of the next attempt ends well.
    async fn goes_on_after(self, pod: String) -> Self {
        let next = self.up_beside(&[pod]).await;
        self.tell(&next).await;
        self
    }

    /// Waits until the API says that a pod is lost.
    async fn lost(&self, pod: &str) {
        eventually("a pod that is lost", || async {
            let pods = self.scene.api::<Pod>();
            let pod = pods.get_opt(pod).await.map_err(|error| error.to_string())?;
            match pod {
                Some(pod) if !has_ended(&pod) => Err("it lives".to_owned()),
                Some(_) | None => Ok(()),
            }
        })
        .await;
    }
}
