//! The log of a run: whole, followed, and in pages.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use ompipe_client::PipelineServiceClient;
use ompipe_core::logs::{PAGE_BYTES, PageError};
use ompipe_core::{IngestionPipeline, PipelineType, RunId, yaml};
use serde_json::json;

use crate::access::library;
use crate::support::{BARRIER, Scene, eventually, release};

/// A worker that prints this many numbered lines of 100 bytes.
fn lines(count: usize) -> String {
    format!("WORKER_MAIN:seq 1 {count} | while read n; do printf '%-99s\\n' \"line $n\"; done")
}

fn expected(count: usize) -> String {
    let lines: Vec<String> =
        (1..=count).map(|n| format!("{:<99}\n", format!("line {n}"))).collect();
    lines.concat()
}

#[tokio::test]
async fn pages_join_to_the_log() {
    const LINES: usize = 25_000;
    let scene = Scene::new("pages").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({ "extraEnvVars": [lines(LINES)] }));
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--follow"];
    let followed = scene.ompipe(&run).await.good().stdout;
    assert!(followed == expected(LINES), "followed {} bytes", followed.len());
    let whole = scene.ompipe(&["logs", "-c", &config, "--file", &pipeline]).await.good().stdout;
    assert!(whole == followed, "read {} bytes", whole.len());

    let client = library(&scene).await;
    let document = yaml::parse(&std::fs::read_to_string(&pipeline).unwrap()).unwrap();
    let identity = IngestionPipeline::read(&document).unwrap().identity;
    let (mut joined, mut after) = (String::new(), None);
    loop {
        let page = client.get_last_ingestion_logs(&identity, after.as_deref()).await.unwrap();
        assert!(page.text.len() <= PAGE_BYTES && page.text.ends_with('\n'));
        let answer = page.into_answer(PipelineType::Metadata);
        assert_eq!(answer["total"], "3");
        joined.push_str(&answer["ingestion_task"]);
        after = answer.get("after").cloned();
        if after.is_none() {
            break;
        }
    }
    assert!(joined == whole, "joined {} bytes", joined.len());
    let behind = client.get_last_ingestion_logs(&identity, Some("3")).await.unwrap_err();
    assert!(behind.to_string().contains("has 3 pages"), "{behind}");
    let nonsense = client.get_last_ingestion_logs(&identity, Some("-1")).await.unwrap_err();
    assert!(matches!(nonsense, ompipe_client::Error::Page(PageError::NotANumber(_))));
    scene.end().await;
}

#[tokio::test]
async fn a_page_is_the_log_of_all_attempts_and_stays_as_it_is() {
    let scene = Scene::new("attempts").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    // The first attempt fills a page, the second says little. A busy container runtime drops what a
    // process says just before it ends, so both wait until their log has been seen.
    let worker = format!(
        "WORKER_MAIN:if mkdir /attempts/first 2>/dev/null; then yes 'a line of the first attempt' \
         | head -c 1000000; else echo the second attempt; fi; {BARRIER}; exit 1"
    );
    let config = scene.config(&json!({
        "backoffLimit": 1, "extraEnvVars": [worker],
        "podTemplate": { "spec": {
            "volumes": [{ "name": "attempts", "hostPath": { "path": format!("/tmp/{}", scene.namespace), "type": "DirectoryOrCreate" } }],
            "containers": [{ "name": "main", "volumeMounts": [{ "name": "attempts", "mountPath": "/attempts" }] }],
            "securityContext": { "runAsUser": 0, "runAsNonRoot": false },
        }},
        "runAsNonRoot": false,
    }));
    scene.ompipe(&["deploy", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let following = Scene::ompipe_in_background(&["run", "-c", &config, "nightly", "--follow"]);
    let page = |number: &'static str, more: &'static [&'static str]| {
        let logs = ["logs", "-c", config.as_str(), "nightly", "--page", number];
        let scene = &scene;
        async move { scene.ompipe(&[&logs[..], more].concat()).await }
    };
    let first = eventually("a full page of the first attempt", || async {
        let answer = page("0", &["-o", "json"]).await;
        let full = answer.code == Some(0) && answer.json()["after"] == "1";
        if full { Ok(answer.json()) } else { Err(answer.stderr) }
    })
    .await;
    let_go(&scene).await;
    let second = ["logs", "-c", &config, "nightly", "--attempt", "2"];
    eventually("the words of the second attempt", || async {
        let answer = scene.ompipe(&second).await;
        if answer.stdout.ends_with("attempt\n") { Ok(()) } else { Err(answer.stderr) }
    })
    .await;
    let_go(&scene).await;
    let ended = crate::support::Outcome::of(&following.wait_with_output().await.unwrap());
    ended.ended_with(1);
    let again = page("0", &["-o", "json"]).await.good().json();
    assert_eq!(again["ingestion_task"], first["ingestion_task"], "a full page never changes");
    let last = page("1", &["-o", "json"]).await.good().json();
    let text = last["ingestion_task"].as_str().unwrap();
    assert!(text.contains("----- attempt 2, pod om-job-nightly-"), "{text}");
    assert!(text.ends_with("the second attempt\n"), "{text}");
    assert_eq!((&last["total"], last.get("after")), (&json!("2"), None));
    assert_eq!(scene.ompipe(&second).await.good().stdout, "the second attempt\n");
    for (wanted, words) in
        [("2", "has 2 pages"), ("-1", "must be a page number"), ("x", "must be a page number")]
    {
        let refused = page(wanted, &[]).await;
        assert_eq!(refused.stdout, "", "an error is no log text");
        assert!(refused.ended_with(2).stderr.contains(words));
    }
    let third = ["logs", "-c", &config, "nightly", "--attempt", "3"];
    assert!(scene.ompipe(&third).await.ended_with(2).stderr.contains("has 2 attempts"));
    let handler = ["logs", "-c", &config, "nightly", "--container", "exit-handler"];
    let refused = scene.ompipe(&handler).await.ended_with(2);
    assert!(refused.stderr.contains("has no pod for its exit handler"), "{refused:?}");
    scene.end().await;
}

#[tokio::test]
async fn a_run_is_read_by_its_id_while_another_is_the_latest() {
    let scene = Scene::new("by-id").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(&json!({
        "concurrencyPolicy": "Allow", "extraEnvVars": ["WORKER_MAIN:echo this is $pipelineRunId"],
    }));
    let ids = [RunId::random().to_string(), RunId::random().to_string()];
    for id in &ids {
        let run = [
            "run",
            "-c",
            &config,
            "-f",
            &pipeline,
            "--service",
            &service,
            "--run-id",
            id,
            "--follow",
        ];
        scene.ompipe(&run).await.good();
    }
    for id in &ids {
        let logs = ["logs", "-c", &config, "--file", &pipeline, "--run", id];
        assert_eq!(scene.ompipe(&logs).await.good().stdout, format!("this is {id}\n"));
    }
    scene.end().await;
}

#[tokio::test]
async fn a_running_log_can_be_read_and_followed() {
    let scene = Scene::new("live").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let main = format!("WORKER_MAIN:echo first; {BARRIER}; echo last");
    let config = scene.config(&json!({ "extraEnvVars": [main] }));
    scene.ompipe(&["run", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let logs = ["logs", "-c", &config, "--file", &pipeline];
    let first = eventually("the first line", || async {
        let outcome = scene.ompipe(&logs).await;
        if outcome.stdout.is_empty() { Err(outcome.stderr) } else { Ok(outcome.stdout) }
    })
    .await;
    assert_eq!(first, "first\n");
    let following = Scene::ompipe_in_background(&[&logs[..], &["--follow"]].concat());
    let_go(&scene).await;
    let followed = crate::support::Outcome::of(&following.wait_with_output().await.unwrap()).good();
    assert_eq!(followed.stdout, "first\nlast\n");
    scene.end().await;
}

/// Lets the newest worker of the scene go on, which waits at the barrier.
pub(crate) async fn let_go(scene: &Scene) {
    let pods = scene.ours::<Pod>().await;
    let newest = pods.values().max_by_key(|pod| pod.creation_timestamp()).unwrap();
    release(&scene.api(), &newest.name_any()).await;
}
