//! Crashes at every write, stale views, late events (after Sieve, OSDI'22): the same end each time.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use ompipe_api::Phase;
use ompipe_tests::api_proxy::{ApiProxy, Stop};
use rstest::rstest;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Duration;

use super::stage::{condition, exit_code, phase};
use super::{Operator, Stage};
use crate::support::UNTIL_TOLD;

/// Writes of `OMJob`s and pods of one run, from the first to the last; a test counts them.
const WRITES: usize = 9;
/// Watch events of a kind worth delaying.
const EVENTS: usize = 8;
/// Runs at the same time.
const AT_ONCE: usize = 3;

/// Every pod that ever came to be in a namespace, by name and UID.
struct Witness {
    task: JoinHandle<()>,
    seen: std::sync::Arc<std::sync::Mutex<BTreeSet<(String, String)>>>,
}

impl Witness {
    async fn of(stage: &Stage) -> Self {
        let pods = stage.pods();
        let version = pods.list(&ListParams::default()).await.unwrap().metadata.resource_version;
        let seen = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
        let known = std::sync::Arc::clone(&seen);
        let mut events =
            Box::pin(pods.watch(&WatchParams::default(), &version.unwrap()).await.unwrap());
        #[expect(clippy::disallowed_methods, reason = "it ends with the witness")]
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let WatchEvent::Added(pod) = event.unwrap() {
                    known.lock().unwrap().insert(named(&pod));
                }
            }
        });
        Self { task, seen }
    }

    /// Names of the pods, each as often as there was one.
    fn names(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn named(pod: &Pod) -> (String, String) {
    (pod.name_any(), pod.uid().unwrap())
}

/// What has to come of a run with exit code 3, whatever happened to its operator.
async fn assert_one_true_end(stage: &Stage, witness: &Witness, what: &str) {
    let job = stage.over("run").await;
    assert_eq!((phase(&job), exit_code(&job)), (Some(Phase::Failed), Some(3)), "{what}");
    assert_eq!(condition(&job, "Reported"), "True ExitHandler", "{what}");
    assert_eq!(witness.names(), ["run-exit", "run-main"], "{what}");
    assert_eq!(job.status.unwrap().attempts.len(), 1, "{what}");
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed", "{what}");
    let pods = stage.pods().list(&ListParams::default()).await.unwrap();
    let held: Vec<_> = pods.iter().filter(|pod| !pod.finalizers().is_empty()).collect();
    assert!(held.is_empty(), "{what}: a pod is still tracked");
}

fn behind(stage: &Stage, proxy: &ApiProxy) -> Operator {
    let kubeconfig = stage.scene.file("proxy.kubeconfig", &proxy.kubeconfig());
    // Jobs have watches of their own, which are not what is counted here.
    let only_omjobs = ("REPORT_JOBS", "false");
    let variables = [("KUBECONFIG", kubeconfig.as_str()), ("LEADER_ELECT", "false"), only_omjobs];
    Operator::start(&stage.scene, &variables)
}

/// A main whose end a test can hold back until the operator has recorded that it runs.
fn ends_with_3() -> String {
    format!("{UNTIL_TOLD}; exit 3")
}

async fn crash_at(stop: Stop, write: usize) {
    let what = format!("crashed {stop:?} write {write}");
    let stage = Stage::new("crash").await;
    let witness = Witness::of(&stage).await;
    let past = stage.pods().list(&ListParams::default()).await.unwrap().metadata.resource_version;
    let proxy = ApiProxy::start(stage.scene.client.clone()).await.unwrap();
    proxy.stop_at_write(stop, write);
    let operator = behind(&stage, &proxy);
    stage.run("run", &ends_with_3(), json!({})).await;
    let another_takes_over = async {
        // What is seen only once may come to be one write: then there is no such crash.
        tokio::select! {
            () = proxy.stopped() => {}
            _ = stage.over("run") => {}
        }
        operator.kill().await;
        // The next one first sees the world as it was before the run.
        let proxy = ApiProxy::start(stage.scene.client.clone()).await.unwrap();
        proxy.show_the_past(&past.unwrap());
        (behind(&stage, &proxy), proxy)
    };
    let main_ends = async {
        tokio::select! {
            () = proxy.stopped() => {}
            _ = stage.phase("run", Phase::Running) => {}
        }
        stage.running("run-main").await;
        stage.tell("run-main").await;
    };
    // The second proxy has to live as long as the operator behind it.
    let ((operator, _proxy), ()) = tokio::join!(another_takes_over, main_ends);
    assert_one_true_end(&stage, &witness, &what).await;
    operator.terminate().await;
    drop(witness);
    stage.scene.end().await;
}

#[rstest]
#[case::before(Stop::Before)]
#[case::after(Stop::After)]
#[tokio::test]
async fn a_crash_at_any_write(#[case] stop: Stop) {
    stream::iter(0..WRITES).for_each_concurrent(AT_ONCE, |write| crash_at(stop, write)).await;
}

#[tokio::test]
async fn one_run_costs_as_many_writes_as_the_crashes_cover() {
    let stage = Stage::new("writes").await;
    let proxy = ApiProxy::start(stage.scene.client.clone()).await.unwrap();
    let operator = behind(&stage, &proxy);
    stage.run("run", &ends_with_3(), json!({})).await;
    stage.phase("run", Phase::Running).await;
    stage.tell("run-main").await;
    stage.over("run").await;
    operator.terminate().await;
    let calls = proxy.take_calls();
    let of_run = |path: &str| path.contains("/omjobs") || path.contains("/pods");
    let writes: Vec<_> =
        calls.iter().filter(|call| call.is_write() && of_run(&call.path)).collect();
    assert!(writes.len() <= WRITES, "{writes:#?}");
    let lists =
        calls.iter().filter(|call| call.is_list_of("pods") && !call.query.contains("watch"));
    assert_eq!(lists.count(), 1, "the cache's own, none for the run");
    stage.scene.end().await;
}

async fn delay(plural: &str, number: usize) {
    let what = format!("event {number} of {plural} came late");
    let stage = Stage::new("late").await;
    let witness = Witness::of(&stage).await;
    let proxy = ApiProxy::start(stage.scene.client.clone()).await.unwrap();
    proxy.delay_event(plural, number, Duration::from_secs(2));
    let operator = behind(&stage, &proxy);
    stage.run("run", "exit 3", json!({})).await;
    assert_one_true_end(&stage, &witness, &what).await;
    operator.terminate().await;
    drop(witness);
    stage.scene.end().await;
}

#[rstest]
#[case::pods("pods")]
#[case::omjobs("omjobs")]
#[tokio::test]
async fn any_event_may_come_late_or_never(#[case] plural: &str) {
    stream::iter(0..EVENTS).for_each_concurrent(AT_ONCE, |number| delay(plural, number)).await;
}
