//! The pictures of the documents: every page in a real browser, with a month of runs in the archive and
//! two runs of now in the cluster. `make docs-images` copies them to docs/images.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use ompipe_archive::Archive;
use ompipe_core::RunId;
use ompipe_core::archive::{RunFolder, RunRecord};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::{Browser, LOGIN, Scene, Serving, VERSION, answer, eventually};

const SIZE: (u32, u32) = (1120, 800);
/// Largest picture, in bytes.
const LARGEST: u64 = 300_000;
const RUNS: i64 = 28;
/// What the workers of now do: one fails, one goes on.
const WORKER: &str = "WORKER_MAIN:say() { echo \"[$(date '+%F %T')] INFO {metadata.$1} $2\"; }; \
    say Ingestion 'Starting the workflow'; case \"$config\" in \
    *crm*) say Utils 'Connecting to crm-db:5432 as ingest'; \
        echo 'Traceback (most recent call last):'; \
        echo '  File \"/ingestion/main.py\", line 41, in <module>'; \
        echo 'OperationalError: FATAL: password authentication failed for user \"ingest\"'; exit 1 ;; \
    *profiler*) for table in orders items customers invoices; do \
        say Profiler \"Profiling warehouse.public.$table\"; done; \
        trap 'exit 143' TERM; sleep 600 & wait ;; esac";

/// A pipeline of the pictures.
struct Plan {
    service: &'static str,
    name: &'static str,
    kind: &'static str,
    cron: &'static str,
    /// Hours between two runs.
    every: i64,
    /// Seconds that a run takes, more or less.
    takes: i64,
    /// Which of its runs failed, counted back from now, and why.
    failed: (&'static [i64], &'static str, &'static str),
}

const PASSWORD: &str =
    "OperationalError: FATAL: password authentication failed for user \"ingest\"";
const PLANS: [Plan; 7] = [
    Plan {
        service: "shop",
        name: "metadata",
        kind: "metadata",
        cron: "0 3 * * *",
        every: 24,
        takes: 340,
        failed: (&[9], "SourceUnreachable", "OperationalError: could not connect to shop-db:5432"),
    },
    Plan {
        service: "shop",
        name: "usage",
        kind: "usage",
        cron: "30 4 * * *",
        every: 24,
        takes: 95,
        failed: (&[], "", ""),
    },
    Plan {
        service: "shop",
        name: "profiler",
        kind: "profiler",
        cron: "0 5 * * *",
        every: 24,
        takes: 2700,
        failed: (
            &[4, 17],
            "OOMKilled",
            "the kernel ended the worker, which needed more than its limit of 4Gi",
        ),
    },
    Plan {
        service: "crm",
        name: "metadata",
        kind: "metadata",
        cron: "0 * * * *",
        every: 1,
        takes: 130,
        failed: (&[1, 2, 3], "SourceAuth", PASSWORD),
    },
    Plan {
        service: "warehouse",
        name: "metadata",
        kind: "metadata",
        cron: "15 2 * * *",
        every: 24,
        takes: 1260,
        failed: (&[], "", ""),
    },
    Plan {
        service: "warehouse",
        name: "profiler",
        kind: "profiler",
        cron: "0 */6 * * *",
        every: 6,
        takes: 3900,
        failed: (&[6], "Evicted", "the node was low on ephemeral storage"),
    },
    Plan {
        service: "bi",
        name: "dashboards",
        kind: "metadata",
        cron: "45 6 * * *",
        every: 24,
        takes: 210,
        failed: (&[12], "DeadlineExceeded", "it ran longer than activeDeadlineSeconds (7200)"),
    },
];

impl Plan {
    fn fqn(&self) -> String {
        format!("{}.{}", self.service, self.name)
    }

    async fn deploy(&self, scene: &Scene, config: &str) {
        let source = match self.kind {
            "usage" => "DatabaseUsage",
            "profiler" => "Profiler",
            _ => "DatabaseMetadata",
        };
        let fields = json!({
            "name": self.name, "pipelineType": self.kind,
            "sourceConfig": { "config": { "type": source } },
            "service": { "type": "databaseService", "name": self.service },
            "airflowConfig": { "scheduleInterval": self.cron, "retries": 0 },
        });
        let pipeline = scene.pipeline(&self.fqn(), &fields);
        let service = json!({ "name": self.service, "serviceType": "Postgres" });
        let service = scene.file("service.json", &service);
        let deploy = ["deploy", "-c", config, "-f", &pipeline, "--service", &service];
        scene.ompipe(&deploy).await.good();
    }

    /// The run that began so many intervals before a time.
    fn record(&self, back: i64, now: Timestamp, namespace: &str, key: &str) -> RunRecord {
        // Scattered, and the same each time.
        let scattered = |range: i64| (back * 37 + self.takes * 11) % range;
        let created = now - SignedDuration::from_hours(back * self.every);
        let after = |seconds: i64| created + SignedDuration::from_secs(seconds);
        let started = 4 + scattered(9);
        let finished = after(started + self.takes * (80 + scattered(45)) / 100);
        let (failures, reason, message) = self.failed;
        let failed = failures.contains(&back);
        let object = format!("om-cronjob-{}-{}-{back:08}", self.service, self.name);
        let mut document = json!({
            "format": 1, "runId": Uuid::new_v4(), "pipeline": self.fqn(), "pipelineKey": key,
            "namespace": namespace, "kind": "Job", "object": object, "trigger": "schedule",
            "state": if failed { "failed" } else { "success" },
            "created": created, "finished": finished, "updated": finished, "exitCode": i32::from(failed),
            "reportedBy": "exitHandler", "reportedAt": finished + SignedDuration::from_secs(1),
            "attempts": [{
                "pod": format!("{object}-x7k2p"), "node": "worker-2", "created": after(1),
                "scheduled": after(1), "started": after(started), "finished": finished,
                "exitCode": i32::from(failed),
            }],
        });
        if failed {
            document["reason"] = reason.into();
            document["message"] = message.into();
        }
        serde_json::from_value(document).unwrap()
    }
}

/// Fills the archive with what each pipeline has done until a time.
async fn remember(archive: &Archive, namespace: &str, ids: &[(String, String)], now: Timestamp) {
    for plan in &PLANS {
        let fqn = plan.fqn();
        let (_, key) = ids.iter().find(|(name, _)| *name == fqn).unwrap();
        for back in 1..=RUNS {
            let record = plan.record(back, now, namespace, key);
            let folder = RunFolder::new(record.created.unwrap(), record.run_id);
            archive.keep_record(namespace, key, folder, record).await.unwrap();
        }
    }
}

async fn api(serving: &Serving, method: Method, path: &str) -> Value {
    let answer = answer(serving.request(method, &format!("/api/v1{path}"))).await;
    assert!(answer.status < 300, "{answer:?}");
    answer.json()
}

/// Name and id of each deployed pipeline.
async fn ids(serving: &Serving) -> Vec<(String, String)> {
    let listed = api(serving, Method::GET, "/pipelines").await;
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let listed = listed["pipelines"].as_array().unwrap().iter();
    listed.map(|one| (text(one, "fullyQualifiedName"), text(one, "id"))).collect()
}

/// Starts a run and waits for its state; its id, and when it was asked for.
async fn run_to(serving: &Serving, pipeline: &str, state: &str) -> (RunId, Timestamp) {
    let started = api(serving, Method::POST, &format!("/pipelines/{pipeline}/runs")).await;
    let run: RunId = started["runId"].as_str().unwrap().parse().unwrap();
    eventually("the state of a run", || async {
        let listed = api(serving, Method::GET, &format!("/runs?pipeline={pipeline}")).await;
        let runs = listed["runs"].as_array().unwrap().iter();
        let found = runs.clone().find(|found| found["runId"] == run.to_string());
        let found =
            found.filter(|found| found["state"] == state).ok_or_else(|| listed.to_string())?;
        Ok((run, found["created"].as_str().unwrap().parse().unwrap()))
    })
    .await
}

#[tokio::test]
async fn every_page_has_a_picture_that_is_small_enough() {
    let scene = Scene::new("pictures").await;
    let parameters = json!({ "extraEnvVars": [WORKER], "activeDeadlineSeconds": 600 });
    let config = scene.config(&parameters);
    for plan in &PLANS {
        plan.deploy(&scene, &config).await;
    }
    let directory = TempDir::new().unwrap();
    let url = format!("file://{}", directory.path().display());
    let variables = [("KUBECONFIG", scene.kubeconfig.as_str()), ("LOGS_ARCHIVE_URL", &url)];
    let section = json!({ "openMetadataVersion": VERSION, "ui": { "actions": true } });
    let serving = Serving::with_environment(&scene, &variables, &parameters, &section).await;
    let (failed, now) = run_to(&serving, "crm.metadata", "failed").await;
    let (running, _) = run_to(&serving, "warehouse.profiler", "running").await;
    let archive = Archive::open(&url, []).unwrap();
    remember(&archive, &scene.namespace, &ids(&serving).await, now).await;
    drop(serving);
    // What is archived is listed once a minute; another replica has not listed it yet.
    let serving = Serving::with_environment(&scene, &variables, &parameters, &section).await;
    let pages = [
        ("overview", "/".to_owned(), "Failing now"),
        ("pipelines", "/pipelines".to_owned(), "7 of 7 pipelines"),
        ("pipeline", "/pipelines/shop.profiler".to_owned(), "Next runs"),
        ("run-failed", format!("/pipelines/crm.metadata/runs/{failed}"), "What to do"),
        (
            "run-running",
            format!("/pipelines/warehouse.profiler/runs/{running}"),
            "Following the log",
        ),
        ("confirm", format!("/pipelines/warehouse.profiler/runs/{running}/kill"), "Kill"),
    ];
    let light = Browser::start(SIZE, false).await;
    for (name, path, words) in &pages {
        take(&light, &serving, name, path, words).await;
    }
    take(&Browser::start(SIZE, true).await, &serving, "overview-dark", "/", "Failing now").await;
    scene.end().await;
}

async fn take(browser: &Browser, serving: &Serving, name: &str, path: &str, words: &str) {
    let password =
        percent_encoding::utf8_percent_encode(LOGIN.1, percent_encoding::NON_ALPHANUMERIC);
    browser.open(&format!("http://{}:{password}@{}{path}", LOGIN.0, serving.address)).await;
    eventually("the page", || async {
        let text = browser.text().await;
        let has_log = !name.starts_with("run-") || text.contains("Starting the workflow");
        if text.contains(words) && has_log { Ok(()) } else { Err(text) }
    })
    .await;
    let name = format!("docs-{name}");
    browser.screenshot(&name).await;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.build/screenshots");
    let size = fs::metadata(folder.join(format!("{name}.png"))).unwrap().len();
    assert!(size <= LARGEST, "{name}: {size} bytes");
}
