//! The archive: the log of a run is read long after its pod and its objects are gone, whoever ended the
//! run and whatever happened to the operator.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use ompipe_api::OMJob;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::operator::Operator;
use crate::support::{BARRIER, Scene, eventually, install_crds, release};

/// A scene with an archive in a directory.
struct Archived {
    scene: Scene,
    directory: TempDir,
    config: String,
    pipeline: String,
}

impl Archived {
    async fn new(name: &str, worker: &str, omjobs: bool) -> Self {
        let scene = Scene::new(name).await;
        if omjobs {
            install_crds(&scene.client).await;
        }
        let config = scene.config(&json!({
            "useOMJobOperator": omjobs, "activeDeadlineSeconds": 600,
            "extraEnvVars": [format!("WORKER_MAIN:{worker}")],
            "podTemplate": { "spec": { "terminationGracePeriodSeconds": 2 } },
        }));
        let pipeline = scene.scheduled_nightly();
        Self { scene, directory: TempDir::new().unwrap(), config, pipeline }
    }

    fn url(&self) -> String {
        format!("file://{}", self.directory.path().display())
    }

    fn operator(&self) -> Operator {
        Operator::start(&self.scene, &[("LOGS_ARCHIVE_URL", &self.url())])
    }

    /// Calls ompipe about the pipeline, with the archive.
    async fn ompipe(&self, args: &[&str]) -> String {
        let url = self.url();
        let all = [args, &["-c", &self.config, "--file", &self.pipeline]].concat();
        self.scene.ompipe_with(&all, &[("LOGS_ARCHIVE_URL", &url)]).await.good().stdout
    }

    async fn run(&self) -> String {
        self.scene.ompipe(&["deploy", "-c", &self.config, "-f", &self.pipeline]).await.good();
        let id = Uuid::new_v4().to_string();
        self.ompipe(&["run", "--run-id", &id]).await;
        id
    }

    /// Waits until the record of a run says so.
    async fn recorded(&self, id: &str, passes: impl Fn(&Value) -> bool) -> Value {
        eventually("a record of the run", || async {
            let url = self.url();
            let args = ["history", "-c", &self.config, "-o", "json"];
            let records = self.scene.ompipe_with(&args, &[("LOGS_ARCHIVE_URL", &url)]).await;
            let records = records.good().json();
            let runs = records.as_array().unwrap();
            let found = runs.iter().find(|run| run["runId"] == id).ok_or("no record")?;
            if passes(found) { Ok(found.clone()) } else { Err(found.to_string()) }
        })
        .await
    }

    /// Waits until the log in the archive is this.
    async fn has_log(&self, id: &str, expected: &str) {
        eventually("the archived log", || async {
            let args = ["logs", "--run", id, "-c", &self.config, "--file", &self.pipeline];
            let log = self.scene.ompipe_with(&args, &[("LOGS_ARCHIVE_URL", &self.url())]).await;
            // Until the pod has started, this fails.
            let log = log.stdout;
            let ends = &log[log.len().saturating_sub(200)..];
            if log == expected { Ok(()) } else { Err(format!("{} bytes: {ends}", log.len())) }
        })
        .await;
    }

    async fn delete_runs(&self) {
        let background = DeleteParams::background();
        for name in self.scene.ours::<Job>().await.keys() {
            self.scene.api::<Job>().delete(name, &background).await.unwrap();
        }
        for name in self.om_jobs().await {
            self.scene.api::<OMJob>().delete(&name, &background).await.unwrap();
        }
        self.gone().await;
    }

    async fn om_jobs(&self) -> Vec<String> {
        let listed = self.scene.api::<OMJob>().list(&ListParams::default()).await;
        // Without the custom resource there are none.
        let listed = listed.map(|found| found.items).unwrap_or_default();
        listed.iter().map(ResourceExt::name_any).collect()
    }

    /// Waits until neither pods nor objects of runs are left.
    async fn gone(&self) {
        eventually("the end of all runs", || async {
            let pods = self.scene.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
            let jobs = self.scene.ours::<Job>().await;
            let left = (jobs.len(), pods.len(), self.om_jobs().await.len());
            if left == (0, 0, 0) { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }

    async fn pod(&self) -> String {
        eventually("a pod that runs", || async {
            let pods = self.scene.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
            let is_ready = |pod: &&Pod| {
                let status = pod.status.as_ref();
                status.is_some_and(|status| status.phase.as_deref() == Some("Running"))
            };
            pods.iter()
                .find(is_ready)
                .map(ResourceExt::name_any)
                .ok_or_else(|| "none runs".to_owned())
        })
        .await
    }
}

fn lines(count: usize) -> String {
    let lines: Vec<String> =
        (1..=count).map(|n| format!("{:<99}\n", format!("line {n}"))).collect();
    lines.concat()
}

/// It takes half a minute: a run ends, is archived, and its pod is deleted.
#[rstest]
#[case::job(false)]
#[case::omjob(true)]
#[tokio::test]
async fn the_log_of_a_run_is_read_after_its_pod_is_gone(#[case] omjobs: bool) {
    const LINES: usize = 25_000;
    let worker = format!(
        "seq 1 {LINES} | while read n; do printf '%-99s\\n' \"line $n\"; done; {BARRIER}; exit 3"
    );
    let archived = Archived::new("archived", &worker, omjobs).await;
    let operator = archived.operator();
    let id = archived.run().await;
    let expected = lines(LINES);
    archived.has_log(&id, &expected).await;
    let page = ["logs", "--run", &id, "--page", "1", "-o", "json"];
    release(&archived.scene.api(), &archived.pod().await).await;
    let record = archived.recorded(&id, |run| run["state"] == "failed").await;
    assert_eq!((&record["exitCode"], &record["trigger"]), (&json!(3), &json!("onDemand")));
    assert_eq!(record["pipeline"], "shop.nightly");
    let of_pod = [&page[..], &["-c", &archived.config, "--file", &archived.pipeline]].concat();
    let of_pod = archived.scene.ompipe(&of_pod).await.good().stdout;
    archived.delete_runs().await;
    assert!(archived.ompipe(&page).await == of_pod, "a page is the same from pod and archive");
    assert!(archived.ompipe(&["logs"]).await == expected, "the latest run is the archived one");
    let status = archived.ompipe(&["status"]).await;
    assert!(status.contains(&id[..8]), "{status}");
    // Without the archive nothing is known of it.
    let live = ["logs", "-c", &archived.config, "--file", &archived.pipeline, "--run", &id];
    assert!(archived.scene.ompipe(&live).await.stdout.is_empty());
    operator.terminate().await;
    archived.scene.end().await;
}

#[rstest]
#[case::job(false)]
#[case::omjob(true)]
#[tokio::test]
async fn a_killed_run_is_on_record_with_its_log(#[case] omjobs: bool) {
    let worker = format!("trap 'echo stopped; exit 143' TERM; echo up; {BARRIER}");
    let archived = Archived::new("killed", &worker, omjobs).await;
    let operator = archived.operator();
    let id = archived.run().await;
    archived.has_log(&id, "up\n").await;
    archived.ompipe(&["kill"]).await;
    archived.gone().await;
    let record = archived.recorded(&id, |run| run["state"] == "stopped").await;
    assert_eq!(record["attempts"].as_array().unwrap().len(), 1, "{record}");
    archived.has_log(&id, "up\nstopped\n").await;
    operator.terminate().await;
    archived.scene.end().await;
}

/// It takes most of a minute: the operator is killed and started again several times while a log grows.
#[tokio::test]
async fn crashes_of_the_operator_lose_and_double_no_line() {
    const LINES: usize = 3000;
    // About ten seconds of work, so that the operator dies several times in it.
    let worker =
        format!("for n in $(seq 1 {LINES}); do printf '%-99s\\n' \"line $n\"; sleep 0.002; done");
    let archived = Archived::new("crashes", &worker, false).await;
    let mut operator = archived.operator();
    let id = archived.run().await;
    archived.pod().await;
    for _ in 0..3 {
        operator.ready("leader").await;
        // What the test is about: a part of the log is written meanwhile.
        tokio::time::sleep(std::time::Duration::from_secs(6)).await;
        operator.kill().await;
        operator = archived.operator();
    }
    archived.recorded(&id, |run| run["state"] == "success").await;
    archived.has_log(&id, &lines(LINES)).await;
    operator.terminate().await;
    archived.scene.end().await;
}

#[tokio::test]
async fn a_report_does_not_wait_for_a_store_that_is_away() {
    let archived = Archived::new("away", "echo up; exit 3", false).await;
    // A file stands where the directory should be: nothing can be stored.
    let away = format!("{}/file", archived.directory.path().display());
    std::fs::write(&away, "").unwrap();
    let url = format!("file://{away}");
    let operator = Operator::start(&archived.scene, &[("LOGS_ARCHIVE_URL", &url)]);
    let id: Uuid = archived.run().await.parse().unwrap();
    eventually("the row of the run", || async {
        let rows = archived.scene.standin.status_history("shop.nightly", id);
        if rows.is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    // Its pod waits for the archive; a drain does not.
    let pods = archived.scene.ours::<Pod>().await;
    assert!(pods.values().any(|pod| !pod.finalizers().is_empty()), "{:?}", pods.keys());
    operator.terminate().await;
    Operator::drain(&archived.scene).await;
    let pods = archived.scene.ours::<Pod>().await;
    assert!(pods.values().all(|pod| pod.finalizers().is_empty()), "{:?}", pods.keys());
    archived.scene.end().await;
}

/// It takes half a minute: a run is archived to its end, and read in every way from the pod and from the
/// archive.
#[tokio::test]
async fn lines_are_the_same_from_the_pod_and_from_the_archive_and_outlast_the_pipeline() {
    let worker = format!(
        "printf '%s\\n' \"$config\" | grep jwtToken; seq 1 500; printf 'no end'; {BARRIER}; exit 3"
    );
    let archived = Archived::new("lines", &worker, false).await;
    let operator = archived.operator();
    let id = archived.run().await;
    release(&archived.scene.api(), &archived.pod().await).await;
    archived.recorded(&id, |run| run["state"] == "failed").await;
    let queries: [&[&str]; 6] = [
        &[],
        &["--tail", "3"],
        &["--grep", "^4.$"],
        &["--since", "1h", "--tail", "5", "--timestamps"],
        &["--tail", "7", "--grep", "9", "--timestamps"],
        &["--since", "2020-01-01T00:00:00Z", "--timestamps"],
    ];
    let mut found = Vec::new();
    for query in queries {
        let logs = [&["logs", "--run", &id], query].concat();
        let of_pod = [&logs[..], &["-c", &archived.config, "--file", &archived.pipeline]].concat();
        let of_pod = archived.scene.ompipe(&of_pod).await.good().stdout;
        assert_eq!(archived.ompipe(&logs).await, of_pod, "{query:?}");
        found.push(of_pod);
    }
    let whole: Vec<&str> = found[0].lines().collect();
    assert!(whole[0].contains("<from-secret>"), "the token is masked in both: {}", whole[0]);
    assert_eq!(found[1], "499\n500\nno end");
    assert_eq!(found[2].lines().count(), 10);
    assert_eq!(found[4].lines().count(), 7);
    assert!(found[5].lines().all(|line| line.split_once("Z ").is_some()), "{}", found[5]);
    let url = archived.url();
    let of_none = ["logs", "--previous", "-c", &archived.config, "--file", &archived.pipeline];
    let refused = archived.scene.ompipe_with(&of_none, &[("LOGS_ARCHIVE_URL", &url)]).await;
    assert!(refused.ended_with(2).stderr.contains("no attempt before the last one"));

    archived.scene.ompipe(&["delete", "-c", &archived.config, "shop.nightly"]).await.good();
    archived.gone().await;
    let by_name = ["logs", "-c", &archived.config, "nightly"];
    let by_name = archived.scene.ompipe_with(&by_name, &[("LOGS_ARCHIVE_URL", &url)]).await;
    assert_eq!(by_name.good().stdout, found[0]);
    let history = ["history", "-c", &archived.config, "shop.nightly", "--reason", "Error"];
    let history = [&history[..], &["--state", "failed", "--since", "1h", "-o", "name"]].concat();
    let history = archived.scene.ompipe_with(&history, &[("LOGS_ARCHIVE_URL", &url)]).await;
    assert_eq!(history.good().stdout, format!("{id}\n"));
    operator.terminate().await;
    archived.scene.end().await;
}
