//! `run` and `status`: one run at a time, one run for one id, and why a run waits or failed.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ResourceQuota, Secret};
use kube::ResourceExt;
use kube::api::PostParams;
use ompipe_core::RunId;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Scene, eventually, from};

/// Waits for what `status` says of the latest run.
async fn latest(
    scene: &Scene,
    config: &str,
    pipeline: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    eventually("the state of the run", || async {
        let seen =
            scene.ompipe(&["status", "-c", config, "-f", pipeline, "-o", "json"]).await.good();
        let run = seen.json()[0].clone();
        if wanted(&run) { Ok(run) } else { Err(run.to_string()) }
    })
    .await
}

#[tokio::test]
async fn a_pipeline_runs_once_at_a_time_and_an_id_is_one_run() {
    let scene = Scene::new("once").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:sleep 600"] }));
    let id = RunId::random().to_string();
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "-o", "json"];
    let with_id = [&run[..], &["--run-id", &id]].concat();
    let first = scene.ompipe(&with_id).await.good().json();
    assert_eq!(first["runId"], id.as_str());
    let again = scene.ompipe(&with_id).await.good().json();
    assert_eq!(again, first, "the same id is the same run");
    let other = scene.ompipe(&run).await.ended_with(3);
    assert!(other.stderr.contains(&format!("run {id} has not ended")), "{}", other.stderr);
    let jobs = scene.ours::<Job>().await;
    assert_eq!(jobs.keys().collect::<Vec<_>>(), [first["jobName"].as_str().unwrap()]);
    scene.end().await;
}

#[tokio::test]
async fn of_many_calls_at_once_one_starts_a_run() {
    const CALLS: usize = 8;
    let scene = Scene::new("crowd").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:sleep 600"] }));
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "-o", "json"];
    let calls = futures::future::join_all((0..CALLS).map(|_| scene.ompipe(&run))).await;
    let (good, bad): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.code == Some(0));
    assert!(good.len() <= 1, "{good:?}");
    assert!(bad.iter().all(|call| call.code == Some(3)), "{bad:?}");
    // When all withdrew, the pipeline is free again.
    let live: Vec<Job> = scene.ours::<Job>().await.into_values().collect();
    let live: Vec<&Job> =
        live.iter().filter(|job| job.metadata.deletion_timestamp.is_none()).collect();
    assert_eq!(live.len(), good.len(), "{live:?}");
    if let [started] = &good[..] {
        assert_eq!(started.json()["jobName"], live[0].name_any().as_str());
    }
    scene.end().await;
}

#[tokio::test]
async fn a_run_beside_another_and_one_in_its_place() {
    let scene = Scene::new("policy").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let worker = "WORKER_MAIN:trap 'exit 1' TERM; sleep 600 & wait";
    let source = ["-f", &pipeline, "--service", &service, "-o", "json"];
    for (policy, jobs) in [("Allow", 1), ("Allow", 2), ("Replace", 1)] {
        let config =
            scene.config(&json!({ "concurrencyPolicy": policy, "extraEnvVars": [worker] }));
        let run = [&["run", "-c", &config][..], &source].concat();
        let started = scene.ompipe(&run).await.good().json();
        let present = scene.ours::<Job>().await;
        assert_eq!(present.len(), jobs, "{policy}: {:?}", present.keys());
        assert!(present.contains_key(started["jobName"].as_str().unwrap()));
    }
    scene.end().await;
}

#[tokio::test]
async fn a_run_that_a_quota_refuses_says_so() {
    let scene = Scene::new("quota-run").await;
    let quota: ResourceQuota = from(json!({
        "metadata": { "name": "no-pods" }, "spec": { "hard": { "pods": "0" } },
    }));
    scene.api().create(&PostParams::default(), &quota).await.unwrap();
    let quotas = scene.api::<ResourceQuota>();
    eventually("the quota to count", || async {
        let status = quotas.get("no-pods").await.unwrap().status;
        status.and_then(|status| status.hard).map(drop).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({}));
    scene.ompipe(&["run", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let run = latest(&scene, &config, &pipeline, |run| run["reason"] == "Quota").await;
    assert_eq!(run["state"], "queued");
    assert!(run["message"].as_str().unwrap().contains("exceeded quota"), "{run}");
    scene.end().await;
}

#[tokio::test]
async fn a_run_may_differ_from_its_pipeline() {
    let scene = Scene::new("override").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:echo \"$config\""] }));
    scene.ompipe(&["deploy", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let filter =
        json!({ "sourceConfigOverride": { "tableFilterPattern": { "includes": ["one"] } } });
    let overrides = scene.file("overrides.json", &filter);
    let run = ["run", "-c", &config, "nightly", "--follow"];
    let changed = scene.ompipe(&[&run[..], &["--overrides", &overrides]].concat()).await.good();
    assert!(changed.stdout.contains("tableFilterPattern"), "{}", changed.stdout);
    let plain = scene.ompipe(&run).await.good();
    assert!(!plain.stdout.contains("tableFilterPattern"), "{}", plain.stdout);
    let wrong = scene.file("wrong.json", &json!({ "appConfigOverride": { "a": 1 } }));
    let refused = scene.ompipe(&[&run[..], &["--overrides", &wrong]].concat()).await.ended_with(2);
    assert!(
        refused.stderr.contains("appConfigOverride: is for applications"),
        "{}",
        refused.stderr
    );
    scene.end().await;
}

#[tokio::test]
async fn a_pipeline_that_never_ran_is_its_own_answer() {
    let scene = Scene::new("never").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({}));
    scene.ompipe(&["deploy", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let status = scene.ompipe(&["status", "-c", &config, "nightly"]).await.good();
    assert_eq!(
        status.stdout,
        "no runs found for pipeline shop.nightly: it never ran, or its runs are gone\n"
    );
    let id = RunId::random().to_string();
    let missing =
        scene.ompipe(&["status", "-c", &config, "nightly", "--run", &id]).await.ended_with(3);
    assert!(missing.stderr.contains(&format!("has no run {id}")), "{}", missing.stderr);
    let unknown = scene.ompipe(&["status", "-c", &config, "other"]).await.ended_with(2);
    assert!(
        unknown.stderr.contains("no deployed pipeline is called \"other\""),
        "{}",
        unknown.stderr
    );
    scene.end().await;
}

#[tokio::test]
async fn a_deployed_pipeline_runs_by_name_and_shares_its_config() {
    let scene = Scene::new("by-name").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({}));
    scene.ompipe(&["deploy", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let secrets = scene.ours::<Secret>().await.len();
    // No file, no service: what deploy stored is enough.
    let run = scene.ompipe(&["run", "-c", &config, "nightly", "--follow"]).await.good();
    assert!(run.stderr.contains("ended: success"), "{}", run.stderr);
    assert_eq!(scene.ours::<Secret>().await.len(), secrets);
    scene.end().await;
}

/// What the worker does, and how the run ends.
#[rstest]
#[case::success("true", 0, "success", Value::Null, 0)]
#[case::error("exit 3", 1, "failed", json!("Error"), 3)]
#[case::killed("kill -9 $$; sleep 60", 1, "failed", json!("Signal"), 137)]
#[case::out_of_memory("tail /dev/zero", 1, "failed", json!("OOMKilled"), 137)]
#[tokio::test]
async fn the_end_of_a_run_is_told_by_exit_code_and_status(
    #[case] worker: &str,
    #[case] exit: i32,
    #[case] state: &str,
    #[case] reason: Value,
    #[case] worker_exit: i32,
) {
    let scene = Scene::new("end").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    // As PID 1 a process cannot kill itself, so the worker is a child of a shell.
    let main = format!("WORKER_MAIN:sh -c '{worker}'; exit $?");
    let config = scene.config(&json!({
        "extraEnvVars": [main],
        "resources": { "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "48Mi" } },
    }));
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--follow"];
    let outcome = scene.ompipe(&run).await.ended_with(exit);
    assert!(outcome.stderr.contains(&format!("ended: {state}")), "{}", outcome.stderr);
    let status = latest(&scene, &config, &pipeline, |run| run["state"] == state).await;
    assert_eq!(
        (&status["reason"], &status["exitCode"]),
        (&reason, &json!(worker_exit)),
        "{status}"
    );
    scene.end().await;
}

#[tokio::test]
async fn a_deadline_ends_a_run() {
    let scene = Scene::new("deadline").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({
        "activeDeadlineSeconds": 3,
        "extraEnvVars": ["WORKER_MAIN:trap 'exit 1' TERM; sleep 600 & wait"],
    }));
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--follow"];
    let outcome = scene.ompipe(&run).await.ended_with(1);
    assert!(outcome.stderr.contains("ended: failed (DeadlineExceeded)"), "{}", outcome.stderr);
    scene.end().await;
}

/// What keeps a run from starting, and how `status` says so.
#[rstest]
#[case::no_image(json!({ "ingestionImage": "ompipe.local/none:1", "imagePullPolicy": "Never" }), "ImagePull")]
#[case::no_node(json!({ "nodeSelector": "no=such-node" }), "Unschedulable")]
#[tokio::test]
async fn a_run_that_waits_says_why(#[case] parameters: Value, #[case] reason: &str) {
    let scene = Scene::new("waits").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&parameters);
    scene.ompipe(&["run", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let run = latest(&scene, &config, &pipeline, |run| run["reason"] == reason).await;
    assert_eq!(run["state"], "queued");
    assert!(!run["message"].as_str().unwrap().is_empty());
    let logs = scene.ompipe(&["logs", "-c", &config, "--file", &pipeline]).await.ended_with(3);
    assert!(logs.stderr.contains("has no log yet"), "{}", logs.stderr);
    assert_eq!(logs.stdout, "", "an error is no log text");
    scene.end().await;
}

#[tokio::test]
async fn every_attempt_is_one_run() {
    let scene = Scene::new("attempts").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({
        "backoffLimit": 1, "extraEnvVars": ["WORKER_MAIN:echo run=$pipelineRunId; exit 1"],
    }));
    let id = RunId::random().to_string();
    let run =
        ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--run-id", &id, "--follow"];
    let outcome = scene.ompipe(&run).await.ended_with(1);
    assert_eq!(outcome.stdout, format!("run={id}\nrun={id}\n"));
    assert!(outcome.stderr.contains("attempt 2"), "{}", outcome.stderr);
    let status = latest(&scene, &config, &pipeline, |run| run["state"] == "failed").await;
    assert_eq!((&status["runId"], &status["attempts"]), (&json!(id), &json!(2)));
    let logs = scene.ompipe(&["logs", "-c", &config, "--file", &pipeline]).await.good();
    assert_eq!(logs.stdout, outcome.stdout, "both attempts, oldest first");
    scene.end().await;
}

#[tokio::test]
async fn a_run_that_is_deleted_while_it_is_followed_ends_the_following() {
    let scene = Scene::new("deleted").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({ "nodeSelector": "no=such-node" }));
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--follow"];
    let following = Scene::ompipe_in_background(&run);
    let job = eventually("the run", || async {
        scene.ours::<Job>().await.into_values().next().ok_or_else(|| "no Job".to_owned())
    })
    .await;
    scene
        .api::<Job>()
        .delete(&job.name_any(), &kube::api::DeleteParams::background())
        .await
        .unwrap();
    let outcome = crate::support::Outcome::of(&following.wait_with_output().await.unwrap());
    let outcome = outcome.ended_with(3);
    assert!(outcome.stderr.contains("was deleted"), "{}", outcome.stderr);
    scene.end().await;
}
