//! The log of a run: whole, followed, and in pages.

use ompipe_client::PipelineServiceClient;
use ompipe_core::logs::{PAGE_BYTES, PageError};
use ompipe_core::{IngestionPipeline, PipelineType, yaml};
use serde_json::json;

use crate::access::library;
use crate::support::{Scene, eventually};

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
    let whole = scene.ompipe(&["logs", "-c", &config, "-f", &pipeline]).await.good().stdout;
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
async fn a_running_log_can_be_read_and_followed() {
    let scene = Scene::new("live").await;
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let main = "WORKER_MAIN:echo first; until [ -e /tmp/go ]; do sleep 0.1; done; echo last";
    let config = scene.config(&json!({ "extraEnvVars": [main] }));
    scene.ompipe(&["run", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    let logs = ["logs", "-c", &config, "-f", &pipeline];
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

/// Makes the file that the worker waits for, from outside: the kubelet's exec is not what is
/// tested here, so the file is made through the worker's own root.
async fn let_go(scene: &Scene) {
    use k8s_openapi::api::core::v1::Pod;
    let pods = scene.ours::<Pod>().await;
    let name = pods.keys().next().unwrap();
    let exec = ["touch", "/tmp/go"];
    let params = kube::api::AttachParams::default().stdout(false).stderr(true);
    let mut process = scene.api::<Pod>().exec(name, exec, &params).await.unwrap();
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.status.as_deref(), Some("Success"), "{status:?}");
}
