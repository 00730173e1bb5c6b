//! Runs that wait for their turn: Airflow's `maxActiveRuns`.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::DeleteParams;
use ompipe_core::RunId;
use rstest::rstest;
use serde_json::{Value, json};

use super::{PATIENT, deployable, shop};
use crate::support::{Scene, Serving, VERSION, eventually, install_crds};

/// Triggers a run under an id of the server's, and says whether it waits.
async fn trigger(serving: &Serving, run: RunId) -> bool {
    let conf = json!({ "pipelineRunId": run.to_string() });
    let body = json!({ "dag_id": "nightly", "conf": conf });
    let answer = serving.post("trigger", &body).await.is(200).json();
    answer["message"].as_str().unwrap().contains("waits for its turn")
}

/// The Job of a run.
async fn job(scene: &Scene, run: RunId) -> Job {
    let jobs = scene.ours::<Job>().await;
    let id = run.to_string();
    jobs.into_values().find(|job| job.labels()["app.kubernetes.io/run-id"] == id).unwrap()
}

async fn is_suspended(scene: &Scene, run: RunId) -> bool {
    job(scene, run).await.spec.unwrap().suspend.unwrap_or(false)
}

async fn until_resumed(scene: &Scene, run: RunId) {
    eventually("the turn of a run", || async {
        if is_suspended(scene, run).await { Err("it waits".to_owned()) } else { Ok(()) }
    })
    .await;
}

async fn queued(serving: &Serving) -> Value {
    let query = [("dag_id", "nightly"), ("only_queued", "true")];
    serving.get("status", &query).await.is(200).json()
}

#[tokio::test]
async fn runs_start_one_after_the_other_in_the_order_of_their_triggers() {
    let scene = shop("queue").await;
    let parameters = json!({ "extraEnvVars": [PATIENT] });
    let version = json!({ "openMetadataVersion": VERSION });
    let serving = Serving::with(&scene, &parameters, &version).await;
    let _other_replica = Serving::with(&scene, &parameters, &version).await;
    serving.post("deploy", &deployable(&scene, "nightly", &json!({}))).await.is(200);
    let [first, second, third] = [(); 3].map(|()| RunId::random());
    assert!(!trigger(&serving, first).await);
    for later in [second, third] {
        assert!(trigger(&serving, later).await);
        assert!(trigger(&serving, later).await, "the same id is the same run");
        assert!(is_suspended(&scene, later).await);
    }
    assert_eq!(scene.ours::<Job>().await.len(), 3);
    assert_eq!(queued(&serving).await, json!([]), "the server has rows of these itself");
    for (ends, next, waits) in [(first, second, Some(third)), (second, third, None)] {
        let name = job(&scene, ends).await.name_any();
        let how = DeleteParams::foreground();
        scene.api::<Job>().delete(&name, &how).await.unwrap();
        until_resumed(&scene, next).await;
        if let Some(waits) = waits {
            assert!(is_suspended(&scene, waits).await, "one at a time");
        }
    }
    scene.end().await;
}

/// Kueue resumes Jobs that it knows, so it gets to know one when its turn in our queue has come.
#[tokio::test]
async fn a_run_that_waited_for_its_turn_waits_for_kueue_then() {
    const KUEUE: &str = "kueue.x-k8s.io/queue-name";
    let scene = shop("queue-kueue").await;
    let parameters = json!({ "extraEnvVars": [PATIENT], "queueName": "batch" });
    let serving =
        Serving::with(&scene, &parameters, &json!({ "openMetadataVersion": VERSION })).await;
    serving.post("deploy", &deployable(&scene, "nightly", &json!({}))).await.is(200);
    let [first, second] = [(); 2].map(|()| RunId::random());
    assert!(!trigger(&serving, first).await);
    assert!(trigger(&serving, second).await);
    assert_eq!(job(&scene, first).await.labels()[KUEUE], "batch");
    assert!(!job(&scene, second).await.labels().contains_key(KUEUE));
    let name = job(&scene, first).await.name_any();
    scene.api::<Job>().delete(&name, &DeleteParams::foreground()).await.unwrap();
    let next = eventually("the turn of a run", || async {
        let job = job(&scene, second).await;
        if job.labels().contains_key(KUEUE) { Ok(job) } else { Err("it waits".to_owned()) }
    })
    .await;
    assert_eq!(next.labels()[KUEUE], "batch");
    assert!(!next.labels().contains_key("pipelines.openmetadata.org/queued"));
    assert!(is_suspended(&scene, second).await, "Kueue decides when it starts");
    scene.end().await;
}

#[tokio::test]
async fn a_run_of_an_older_server_is_listed_until_it_starts_and_a_kill_takes_all() {
    let scene = shop("queue-old").await;
    let parameters = json!({ "extraEnvVars": [PATIENT] });
    let serving =
        Serving::with(&scene, &parameters, &json!({ "openMetadataVersion": VERSION })).await;
    serving.post("deploy", &deployable(&scene, "nightly", &json!({}))).await.is(200);
    let trigger = json!({ "dag_id": "nightly" });
    let first = serving.post("trigger", &trigger).await.is(200).json();
    let second = serving.post("trigger", &trigger).await.is(200).json();
    eventually("the first to start", || async {
        let listed = queued(&serving).await;
        let ids: Vec<&Value> = listed.as_array().unwrap().iter().map(|run| &run["runId"]).collect();
        if ids == [&second["runId"]] { Ok(()) } else { Err(format!("{listed}, first {first}")) }
    })
    .await;
    // Whoever asks for more than what waits gets the run that goes on too, newest first.
    let all = [("dag_id", "nightly"), ("only_queued", "false")];
    let all = serving.get("status", &all).await.is(200).json();
    let states: Vec<&Value> =
        all.as_array().unwrap().iter().map(|run| &run["pipelineState"]).collect();
    assert_eq!(states, ["queued", "running"], "{all}");
    let killed = serving.post("kill", &trigger).await.is(200).json();
    for run in [&first, &second] {
        let id = run["runId"].as_str().unwrap();
        assert!(killed["message"].as_str().unwrap().contains(id), "{killed}");
    }
    eventually("an end of all", || async {
        let left = scene.ours::<Job>().await.len();
        if left == 0 { Ok(()) } else { Err(left.to_string()) }
    })
    .await;
    scene.end().await;
}

#[tokio::test]
async fn a_run_that_cannot_start_is_listed_with_its_reason() {
    let scene = shop("queue-why").await;
    let parameters = json!({ "ingestionImage": "ompipe.local/none:1", "imagePullPolicy": "Never" });
    let serving =
        Serving::with(&scene, &parameters, &json!({ "openMetadataVersion": VERSION })).await;
    serving.post("deploy", &deployable(&scene, "nightly", &json!({}))).await.is(200);
    serving.post("trigger", &json!({ "dag_id": "nightly" })).await.is(200);
    eventually("the reason in the list of what waits", || async {
        let listed = queued(&serving).await;
        let failure = &listed[0]["status"][0]["failures"][0];
        let error = failure["error"].as_str().unwrap_or_default();
        if error.starts_with("ImagePull: ") { Ok(()) } else { Err(listed.to_string()) }
    })
    .await;
    scene.end().await;
}

#[rstest]
#[case::job(false)]
#[case::operator(true)]
#[tokio::test]
async fn of_many_triggers_at_once_no_more_than_allowed_start(#[case] operator: bool) {
    const CALLS: usize = 8;
    let scene = shop("queue-crowd").await;
    install_crds(&scene.client).await;
    let parameters = json!({ "extraEnvVars": [PATIENT], "useOMJobOperator": operator });
    let serving =
        Serving::with(&scene, &parameters, &json!({ "openMetadataVersion": VERSION })).await;
    let two = json!({ "airflowConfig": { "maxActiveRuns": 2 } });
    serving.post("deploy", &deployable(&scene, "nightly", &two)).await.is(200);
    let body = json!({ "dag_id": "nightly" });
    let calls = (0..CALLS).map(|_| serving.post("trigger", &body));
    let answers = futures::future::join_all(calls).await;
    // Of calls that met each other again and again some may be told to come later.
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(answers.iter().all(|answer| [200, 503].contains(&answer.status)), "{answers:?}");
    let (active, waiting) = eventually("two runs under way", || async {
        let all: Vec<bool> = if operator {
            let found = scene.ours::<ompipe_api::OMJob>().await;
            found.into_values().map(|run| run.spec.suspend.unwrap_or(false)).collect()
        } else {
            let found = scene.ours::<Job>().await;
            found.into_values().map(|run| run.spec.unwrap().suspend.unwrap_or(false)).collect()
        };
        let waiting = all.iter().filter(|suspended| **suspended).count();
        let seen = (all.len() - waiting, waiting);
        if seen.0 + seen.1 == done && seen.0 >= done.min(2) {
            Ok(seen)
        } else {
            Err(format!("{seen:?} of {done}"))
        }
    })
    .await;
    assert_eq!(active, done.min(2), "{waiting} wait");
    scene.end().await;
}
