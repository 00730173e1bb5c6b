//! What follows an attempt that ended: which ends count, and what the next attempt gets.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{EvictParams, ListParams};
use ompipe_api::Phase;
use serde_json::json;

use super::stage::{exit_code, phase};
use super::{Operator, Stage};
use crate::support::UNTIL_TOLD;

/// A worker that needs more than 48 MiB, and less than 192.
const HUNGRY: &str = "x=$(head -c 48M /dev/zero | tr '\\0' a); echo ${#x}";

/// A resource of the main container, such as `limits` of memory.
fn memory(pod: &Pod, kind: &str) -> String {
    let main = serde_json::to_value(&pod.spec.as_ref().unwrap().containers[0]).unwrap();
    main["resources"][kind]["memory"].as_str().unwrap().to_owned()
}

/// The kernel kills the first attempt; with eight times the memory the second one ends well.
#[tokio::test]
async fn an_oom_kill_is_followed_by_an_attempt_with_more_memory() {
    let stage = Stage::new("hungry").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let mut main = Stage::shell(HUNGRY);
    main["resources"]["limits"] = json!({ "memory": "32Mi" });
    let spec = json!({
        "mainPodSpec": main, "backoffLimit": 1,
        "retryWithMoreMemory": { "factor": 8, "limit": "1Gi" },
    });
    stage.run("run", "", spec).await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), exit_code(&job)), (Some(Phase::Succeeded), Some(0)));
    let status = job.status.unwrap();
    let reasons: Vec<_> =
        status.attempts.iter().map(|attempt| attempt.reason.as_deref().unwrap()).collect();
    assert_eq!(reasons, ["OOMKilled", "Completed"]);
    let message = status.message.unwrap();
    assert!(message.ends_with("its memory limit was 256Mi, raised after an OOM kill"), "{message}");
    let pods = [stage.pods().get("run-main").await, stage.pods().get("run-main-1").await];
    let [first, second] = pods.map(Result::unwrap);
    assert_eq!(
        (memory(&first, "limits"), memory(&second, "limits")),
        ("32Mi".into(), "256Mi".into())
    );
    assert_eq!(memory(&second, "requests"), "128Mi", "in the proportion of 16Mi to 32Mi");
    let about = ListParams::default().fields("involvedObject.name=run,reason=MainPodRetried");
    let events = stage.scene.api::<Event>().list(&about).await.unwrap().items;
    let told = events[0].message.as_deref().unwrap();
    assert!(told.contains("a memory limit of 256Mi"), "{told}");
    stage.scene.end().await;
}

/// The largest limit is too little as well, and the end says which it was.
#[tokio::test]
async fn memory_grows_up_to_its_limit() {
    let stage = Stage::new("insatiable").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let mut main = Stage::shell("tail /dev/zero");
    main["resources"]["limits"] = json!({ "memory": "24Mi" });
    let spec = json!({
        "mainPodSpec": main, "backoffLimit": 1, "retryWithMoreMemory": { "limit": "32Mi" },
    });
    stage.run("run", "", spec).await;
    let job = stage.over("run").await;
    assert_eq!(phase(&job), Some(Phase::Failed));
    let message = job.status.unwrap().message.unwrap();
    let told = "its memory limit was 32Mi, and retryWithMoreMemory allows no more";
    assert!(message.ends_with(told), "{message}");
    assert_eq!(stage.told("run-exit").await.trim(), "told: failed");
    stage.scene.end().await;
}

/// `backoffLimit: 0` allows no retry of a failure, and a disruption is none.
#[tokio::test]
async fn an_eviction_is_no_failure() {
    let stage = Stage::new("disrupted").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let main = format!("{UNTIL_TOLD}; case $HOSTNAME in run-main-1) exit 3 ;; esac");
    stage.run("run", &main, json!({ "backoffLimit": 0 })).await;
    stage.running("run-main").await;
    stage.pods().evict("run-main", &EvictParams::default()).await.unwrap();
    stage.running("run-main-1").await;
    stage.tell("run-main-1").await;
    let job = stage.over("run").await;
    assert_eq!((phase(&job), exit_code(&job)), (Some(Phase::Failed), Some(3)));
    let status = job.status.unwrap();
    let reasons: Vec<_> =
        status.attempts.iter().map(|attempt| attempt.reason.as_deref().unwrap()).collect();
    assert_eq!(reasons, ["Evicted", "Error"]);
    let main = status.main.unwrap();
    assert_eq!((main.disruptions, main.failures), (1, 1));
    stage.scene.end().await;
}
