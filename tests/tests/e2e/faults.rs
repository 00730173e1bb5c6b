//! An API server that fails for a moment is ridden out by every operation; one that stays broken
//! is told with its own words, in time; and how many calls an operation makes.

use std::collections::BTreeSet;

use axum::http::Method;
use ompipe_core::RunId;
use ompipe_tests::api_proxy::{ApiCall, ApiFault, ApiProxy, Failure};
use rstest::rstest;
use serde_json::json;
use tokio::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Secret;

use crate::support::{Outcome, Scene, eventually, install_crds};

/// A scene behind a proxy.
struct Behind {
    scene: Scene,
    proxy: ApiProxy,
    kubeconfig: String,
    config: String,
    pipeline: String,
    service: String,
}

impl Behind {
    async fn new(name: &str) -> Self {
        let scene = Scene::new(name).await;
        install_crds(&scene.client).await;
        let proxy = ApiProxy::start(scene.client.clone()).await.unwrap();
        let kubeconfig = scene.file("proxy.kubeconfig", &proxy.kubeconfig());
        let config = scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:echo hello"] }));
        let scheduled = json!({ "airflowConfig": { "scheduleInterval": "0 2 * * 0" } });
        let (pipeline, service) = (scene.pipeline("nightly", &scheduled), scene.service());
        Self { scene, proxy, kubeconfig, config, pipeline, service }
    }

    async fn ompipe(&self, args: &[&str]) -> Outcome {
        let source = ["-c", &self.config, "--file", &self.pipeline];
        let args = [args, &source].concat();
        self.scene.ompipe_with(&args, &[("KUBECONFIG", &self.kubeconfig)]).await
    }

    async fn deploy(&self) -> Outcome {
        self.ompipe(&["deploy", "--service", &self.service]).await
    }

    async fn run(&self, more: &[&str]) -> Outcome {
        self.ompipe(&[&["run", "--service", &self.service][..], more].concat()).await
    }
}

#[rstest]
#[case::too_many(Failure::TooMany)]
#[case::internal(Failure::Status(500))]
#[case::unavailable(Failure::Status(503))]
#[case::cut(Failure::Cut)]
#[tokio::test]
async fn every_operation_rides_out_a_passing_fault(#[case] failure: Failure) {
    let behind = Behind::new("faults").await;
    // The first two calls of every operation fail, whatever they are.
    let shaken = || behind.proxy.inject(ApiFault::new(failure).times(2));
    shaken();
    behind.deploy().await.good();
    shaken();
    behind.run(&["--follow"]).await.good();
    let operations: [&[&str]; 6] = [
        &["status"],
        &["logs"],
        &["toggle", "--disable"],
        &["kill"],
        &["delete"],
        &["status", "-o", "json"],
    ];
    for operation in operations {
        shaken();
        behind.ompipe(operation).await.good();
    }
    shaken();
    let list = ["list", "-c", &behind.config];
    behind.scene.ompipe_with(&list, &[("KUBECONFIG", &behind.kubeconfig)]).await.good();
    behind.scene.end().await;
}

/// One call that is carried out and not answered.
fn lost(method: Method, path: &str) -> ApiFault {
    ApiFault::new(Failure::LostAnswer).on(method, path).times(1)
}

fn refused(method: Method, path: &str) -> ApiFault {
    ApiFault::new(Failure::Status(403)).on(method, path)
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_goes_when_the_deploy_is_refused() {
    let behind = Behind::new("lost").await;
    behind.proxy.inject(lost(Method::POST, "/secrets"));
    behind.proxy.inject(refused(Method::PATCH, "/om-cronjob-nightly"));
    behind.deploy().await.ended_with(3);
    let left = behind.scene.ours::<Secret>().await;
    assert!(left.is_empty(), "{:?}", left.keys());
    behind.scene.end().await;
}

#[tokio::test]
async fn a_run_whose_answer_is_lost_goes_when_it_is_refused_afterwards() {
    let behind = Behind::new("lost").await;
    behind.deploy().await.good();
    behind.proxy.inject(lost(Method::POST, "/jobs"));
    // Other runs are looked for before; when this one stands, they are looked for once more.
    behind.proxy.inject(refused(Method::GET, "/jobs").after(1));
    behind.run(&[]).await.ended_with(3);
    eventually("the end of the run", || async {
        let jobs = behind.scene.ours::<Job>().await;
        if jobs.is_empty() { Ok(()) } else { Err(format!("{:?}", jobs.keys())) }
    })
    .await;
    behind.scene.end().await;
}

#[tokio::test]
async fn a_lost_answer_starts_one_run() {
    let behind = Behind::new("lost").await;
    let id = RunId::random().to_string();
    behind.proxy.inject(lost(Method::POST, "/jobs"));
    let started = behind.run(&["--run-id", &id, "-o", "json"]).await.good().json();
    assert_eq!(started["runId"], id.as_str());
    let jobs = behind.scene.ours::<Job>().await;
    assert_eq!(jobs.keys().collect::<Vec<_>>(), [started["jobName"].as_str().unwrap()]);
    behind.scene.end().await;
}

#[tokio::test]
async fn lost_answers_leave_a_whole_deployment() {
    let behind = Behind::new("lost").await;
    // One after the other: the claim of the names, the revision, the ConfigMap, the schedule.
    for (method, path) in [
        (Method::POST, "/secrets"),
        (Method::POST, "/secrets"),
        (Method::PATCH, "/om-config-nightly"),
        (Method::PATCH, "/om-cronjob-nightly"),
    ] {
        behind.proxy.inject(lost(method, path));
    }
    behind.deploy().await.good();
    let secrets = behind.scene.ours::<Secret>().await;
    assert_eq!(secrets.len(), 2, "{:?}", secrets.keys());
    assert!(secrets["om-secret-nightly"].data.as_ref().unwrap().contains_key("pipeline"));
    assert_eq!(behind.scene.ours::<CronJob>().await.len(), 1);
    let again = behind.ompipe(&["deploy", "--service", &behind.service, "-o", "json"]).await.good();
    let again = again.json();
    let objects = again["objects"].as_array().unwrap();
    assert!(objects.iter().all(|object| object["change"] == "unchanged"), "{again}");
    behind.scene.end().await;
}

#[tokio::test]
async fn a_fault_that_stays_is_told_whole_and_in_time() {
    let behind = Behind::new("stays").await;
    behind.proxy.inject(ApiFault::new(Failure::Status(500)).on_path("/om-cronjob-nightly"));
    let start = Instant::now();
    let refused = behind.deploy().await.ended_with(3);
    let took = start.elapsed();
    assert!(refused.stderr.contains("om-cronjob-nightly: the proxy says 500 (500)"), "{refused:?}");
    // Repeats end after ten seconds; the rest is for a machine that does other work.
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(40), "{took:?}");
    assert!(behind.scene.ours::<Secret>().await.is_empty(), "nothing is left");
    behind.scene.end().await;
}

#[tokio::test]
async fn what_is_forbidden_is_not_asked_again() {
    let behind = Behind::new("forbidden").await;
    behind.proxy.inject(ApiFault::new(Failure::Status(403)).on_path("/secrets"));
    let refused = behind.deploy().await.ended_with(3);
    assert!(refused.stderr.contains("the proxy says 403 (403)"), "{refused:?}");
    let mut asked = BTreeSet::new();
    for call in behind.proxy.take_calls() {
        let call = format!("{} {}?{}", call.method, call.path, call.query);
        assert!(asked.insert(call.clone()), "{call} came twice");
    }
    assert!(asked.iter().any(|call| call.contains("/secrets")), "{asked:?}");
    behind.scene.end().await;
}

#[tokio::test]
async fn an_operation_makes_few_calls() {
    let behind = Behind::new("calls").await;
    let writes = |calls: &[ApiCall]| calls.iter().filter(|call| call.is_write()).count();
    behind.deploy().await.good();
    let deploy = behind.proxy.take_calls();
    assert!(writes(&deploy) <= 5, "{deploy:?}");
    behind.run(&[]).await.good();
    let run = behind.proxy.take_calls();
    assert!(writes(&run) <= 2, "{run:?}");
    behind.ompipe(&["status"]).await.good();
    let status = behind.proxy.take_calls();
    for kind in ["jobs", "omjobs", "pods"] {
        let lists = status.iter().filter(|call| call.is_list_of(kind)).count();
        assert_eq!(lists, 1, "{kind}: {status:?}");
    }
    assert_eq!(writes(&status), 0, "{status:?}");
    behind.scene.end().await;
}
