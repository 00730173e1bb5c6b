//! The rows of the contract (docs/contracts/openmetadata-http.md#routes), each as a request and
//! what it changes in the cluster.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use ompipe_core::RunId;
use ompipe_tests::standin::Fault;
use rstest::rstest;
use serde_json::{Value, json};

use super::{PATIENT, deployable, shop};
use crate::support::{Scene, Serving, VERSION, eventually};

/// The one schedule of the scene.
async fn cron_job(scene: &Scene) -> CronJob {
    let found = scene.ours::<CronJob>().await;
    assert_eq!(found.len(), 1, "{:?}", found.keys());
    found.into_values().next().unwrap()
}

async fn is_suspended(scene: &Scene) -> bool {
    cron_job(scene).await.spec.unwrap().suspend.unwrap()
}

#[tokio::test]
async fn a_pipeline_is_deployed_switched_and_deleted_however_often_that_is_asked() {
    let scene = shop("http-life").await;
    let serving = Serving::start(&scene).await;
    let scheduled = json!({ "airflowConfig": { "scheduleInterval": "0 0 * * *" } });
    let body = deployable(&scene, "nightly", &scheduled);
    for _ in 0..2 {
        let answer = serving.post("deploy", &body).await.is(200);
        assert!(answer.json()["message"].as_str().unwrap().contains("0 0 * * *"), "{answer:?}");
        assert!(!is_suspended(&scene).await);
    }
    let named = json!({ "dag_id": "nightly" });
    for (operation, suspended) in
        [("disable", true), ("disable", true), ("enable", false), ("enable", false)]
    {
        serving.post(operation, &named).await.is(200);
        assert_eq!(is_suspended(&scene).await, suspended, "{operation}");
    }
    // A toggle of newer servers is followed by a deploy that says the same again
    // (docs/contracts/openmetadata-http.md#deploy).
    let mut off = body.clone();
    off["enabled"] = false.into();
    serving.post("deploy", &off).await.is(200);
    assert!(is_suspended(&scene).await, "a deploy of a disabled pipeline resumes nothing");
    for _ in 0..2 {
        serving.delete("nightly").await.is(200);
    }
    assert!(scene.ours::<CronJob>().await.is_empty());
    assert!(scene.ours::<Secret>().await.is_empty() && scene.ours::<ConfigMap>().await.is_empty());
    scene.end().await;
}

/// Kinds that came after most of this program, and one that no server has yet: a service is looked up in the collection
/// that is called after its kind.
#[tokio::test]
async fn a_pipeline_of_every_kind_of_service_is_deployed_and_run() {
    let scene = Scene::new("http-kinds").await;
    let serving = Serving::start(&scene).await;
    for kind in ["security", "llm", "mcp", "drive", "database"] {
        let (kind, name) = (format!("{kind}Service"), format!("{kind}-nightly"));
        scene.standin.add_service(&kind, "shop", "Custom", &json!({})).unwrap();
        let service = json!({ "service": { "type": kind, "name": "shop" } });
        serving.post("deploy", &deployable(&scene, &name, &service)).await.is(200);
        serving.post("trigger", &json!({ "dag_id": name })).await.is(200);
        let job = scene.ours::<Job>().await.into_values().find(|job| {
            job.labels().get("app.kubernetes.io/pipeline").is_some_and(|label| *label == name)
        });
        let asked = scene.standin.requests();
        let path = format!("/api/v1/services/{kind}s/name/shop");
        assert!(
            asked.iter().any(|one| one.path.starts_with(&path)),
            "{kind}: {path} is not asked for"
        );
        assert!(job.is_some(), "{kind}: no run");
    }
    scene.end().await;
}

#[tokio::test]
async fn what_is_not_deployed_is_told_apart_from_what_has_nothing_to_do() {
    let scene = shop("http-none").await;
    let serving = Serving::start(&scene).await;
    let named = json!({ "dag_id": "nightly" });
    for operation in ["trigger", "enable", "disable"] {
        let error = serving.post(operation, &named).await.is(404).error();
        assert!(error.contains("nightly"), "{error}");
    }
    serving.post("kill", &named).await.is(200);
    serving.delete("nightly").await.is(200);
    let status = [("dag_id", "nightly"), ("only_queued", "true")];
    assert_eq!(serving.get("status", &status).await.is(200).json(), json!([]));
    serving.get("last_dag_logs", &[("dag_id", "nightly")]).await.is(404);
    // Deployed, but never run: an empty log, since a server takes any other answer for a failure.
    serving.post("deploy", &deployable(&scene, "nightly", &json!({}))).await.is(200);
    let logs = [("dag_id", "nightly"), ("task_id", "dbt_task")];
    let empty = json!({ "dbt_task": "", "total": 1 });
    assert_eq!(serving.get("last_dag_logs", &logs).await.is(200).json(), empty);
    serving.post("kill", &named).await.is(200);
    scene.end().await;
}

#[rstest]
#[case::no_map(json!([]), "one map of fields")]
#[case::nothing(Value::Null, "one map of fields")]
#[case::unknown_type(json!({ "pipelineType": "metadat" }), "pipelineType")]
#[case::no_worker_for_it(json!({ "pipelineType": "dataInsight" }), "dataInsight")]
#[case::emptied(json!({ "sourceConfig": { "config": null } }), "sourceConfig")]
#[case::schedule(json!({ "airflowConfig": { "scheduleInterval": "61 * * * *" } }), "scheduleInterval")]
#[case::runs(json!({ "airflowConfig": { "maxActiveRuns": 0 } }), "maxActiveRuns")]
#[tokio::test]
async fn a_pipeline_that_cannot_run_is_refused_by_the_field(
    #[case] fields: Value,
    #[case] expected: &str,
) {
    let scene = shop("http-bad").await;
    let serving = Serving::start(&scene).await;
    let body = if fields.is_object() { deployable(&scene, "nightly", &fields) } else { fields };
    let error = serving.post("deploy", &body).await.is(400).error();
    assert!(error.contains(expected), "{error}");
    assert!(scene.ours::<Secret>().await.is_empty());
    scene.end().await;
}

#[tokio::test]
async fn a_server_that_does_not_tell_the_service_keeps_the_former_deployment() {
    let scene = shop("http-asks").await;
    let serving = Serving::start(&scene).await;
    let body = deployable(&scene, "nightly", &json!({}));
    serving.post("deploy", &body).await.is(200);
    let before = scene.ours::<Secret>().await;
    let services = "/api/v1/services/databaseServices/*";
    scene.standin.inject(Fault::status(500).on("GET", services));
    let changed = deployable(&scene, "nightly", &json!({ "loggerLevel": "DEBUG" }));
    let error = serving.post("deploy", &changed).await.is(502).error();
    assert!(error.contains("looking up the type of service \"shop\""), "{error}");
    assert_eq!(scene.ours::<Secret>().await, before);
    // A run does with what is known.
    serving.post("trigger", &json!({ "dag_id": "nightly" })).await.is(200);
    assert!(serving.log().contains("the service is taken as it was at the last deploy"));
    scene.end().await;
}

#[tokio::test]
async fn a_run_has_the_id_and_the_overrides_of_its_trigger() {
    let scene = shop("http-run").await;
    let serving = Serving::with(
        &scene,
        &json!({ "extraEnvVars": ["WORKER_MAIN:echo \"$config\"; sleep 600"] }),
        &json!({ "openMetadataVersion": VERSION }),
    )
    .await;
    serving.post("deploy", &deployable(&scene, "nightly", &json!({}))).await.is(200);
    let run = RunId::random().to_string();
    let overrides = json!({ "tableFilterPattern": { "includes": ["^a$"] } });
    let trigger = json!({ "dag_id": "nightly", "conf": {
        "pipelineRunId": run, "sourceConfigOverride": overrides, "unknown": 1,
        "appConfigOverride": { "ignored": true },
    } });
    for _ in 0..2 {
        let answer = serving.post("trigger", &trigger).await.is(200).json();
        assert_eq!(answer["runId"], run.as_str());
    }
    let jobs = scene.ours::<Job>().await;
    assert_eq!(jobs.len(), 1, "the same id twice is one run");
    let labels = jobs.into_values().next().unwrap().metadata.labels.unwrap();
    assert_eq!(labels["app.kubernetes.io/run-id"], run);
    let logs = [("dag_id", "nightly"), ("task_id", "ingestion_task")];
    let text = eventually("a log", || async {
        let answer = serving.get("last_dag_logs", &logs).await.is(200).json();
        let text = answer["ingestion_task"].as_str().unwrap().to_owned();
        if text.contains("sourceConfig") { Ok(text) } else { Err(text) }
    })
    .await;
    assert!(text.contains("^a$") && !text.contains("ignored"), "{text}");
    assert!(serving.log().contains("appConfigOverride is for applications"));
    scene.end().await;
}

#[tokio::test]
async fn pages_of_a_log_are_whole_and_end_with_the_last() {
    let scene = shop("http-pages").await;
    let worker = "WORKER_MAIN:i=0; while [ $i -lt 3 ]; do head -c 700000 /dev/zero | tr '\\\\0' $i; \
                  echo; i=$((i+1)); done; echo end";
    let parameters = json!({ "extraEnvVars": [worker] });
    let serving =
        Serving::with(&scene, &parameters, &json!({ "openMetadataVersion": VERSION })).await;
    serving.post("deploy", &deployable(&scene, "nightly", &json!({}))).await.is(200);
    serving.post("trigger", &json!({ "dag_id": "nightly" })).await.is(200);
    let page = async |after: &str| {
        let query = [("after", after), ("dag_id", "nightly"), ("task_id", "t")];
        serving.get("last_dag_logs", &query).await
    };
    let total = eventually("the whole log", || async {
        let answer = page("").await.is(200).json();
        if answer["total"] == 3 { Ok(answer) } else { Err(answer["total"].to_string()) }
    })
    .await;
    assert_eq!((&total["after"], total["t"].as_str().unwrap().len()), (&json!(1), 700_001));
    let last = eventually("the last page", || async {
        let answer = page("2").await.is(200).json();
        let text = answer["t"].as_str().unwrap();
        if text.ends_with("end\n") { Ok(answer) } else { Err(text.len().to_string()) }
    })
    .await;
    assert!(last.get("after").is_none(), "absent on the last page");
    // A server that asks behind the end waits for more of a log whose file was rotated.
    let behind = page("3").await.is(200).json();
    assert_eq!((&behind["t"], &behind["total"]), (&json!(""), &json!(3)));
    assert!(behind.get("after").is_none(), "{behind}");
    assert!(page("x").await.is(400).error().contains("must be a page number"));
    scene.end().await;
}

#[tokio::test]
async fn two_pipelines_of_one_name_are_both_deployed_and_never_mixed_up() {
    let scene = shop("http-namesakes").await;
    scene.standin.add_service("databaseService", "other", "Mysql", &json!({})).unwrap();
    let serving = Serving::start(&scene).await;
    let scheduled = json!({ "airflowConfig": { "scheduleInterval": "@daily" } });
    let mut other = deployable(&scene, "nightly", &scheduled);
    other["fullyQualifiedName"] = "other.nightly".into();
    other["service"]["name"] = "other".into();
    serving.post("deploy", &deployable(&scene, "nightly", &scheduled)).await.is(200);
    serving.post("deploy", &other).await.is(200);
    assert_eq!(scene.ours::<CronJob>().await.len(), 2);
    assert!(serving.log().contains("two pipelines have one name"), "{}", serving.log());
    let named = json!({ "dag_id": "nightly" });
    for operation in ["trigger", "kill", "disable"] {
        let error = serving.post(operation, &named).await.is(409).error();
        assert!(error.contains("shop.nightly") && error.contains("other.nightly"), "{error}");
    }
    serving.delete("nightly").await.is(409);
    assert_eq!(scene.ours::<CronJob>().await.len(), 2);
    scene.end().await;
}

#[tokio::test]
async fn automations_and_applications_are_started_and_not_waited_for() {
    let scene = shop("http-tasks").await;
    let parameters = json!({ "extraEnvVars": [PATIENT] });
    let serving =
        Serving::with(&scene, &parameters, &json!({ "openMetadataVersion": VERSION })).await;
    let connection = scene.standin.server_connection();
    let workflow = json!({
        "id": "5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb03", "name": "test-connection-1",
        "workflowType": "TEST_CONNECTION", "status": "Pending",
        "request": { "connectionType": "Mysql" }, "openMetadataServerConnection": connection,
    });
    serving.post("run_automation", &workflow).await.is(200);
    let application = json!({
        "id": "5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb04", "name": "MyApp", "className": "x.Y",
        "sourcePythonClass": "x.Y", "openMetadataServerConnection": connection,
    });
    serving.post("run_application", &application).await.is(200);
    let jobs = scene.ours::<Job>().await;
    let names: Vec<&str> = jobs.keys().map(|name| name.split('-').nth(1).unwrap()).collect();
    assert_eq!(names, ["app", "automation"]);
    for operation in ["run_automation", "run_application"] {
        let error = serving.post(operation, &json!({ "request": {} })).await.is(400).error();
        assert!(error.contains("name"), "{error}");
    }
    scene.end().await;
}

#[tokio::test]
async fn the_version_is_the_servers_whatever_else_is_told() {
    let scene = shop("http-version").await;
    let told = |section: Value, image: &'static str| {
        let (scene, parameters) = (&scene, json!({ "ingestionImage": image }));
        async move {
            let serving = Serving::with(scene, &parameters, &section).await;
            let answer = serving.get("health-auth", &[]).await;
            let metrics = serving.probe("/metrics").await.is(200).text;
            (answer, metrics)
        }
    };
    let (answer, metrics) = told(json!({ "openMetadataVersion": "1.9.1" }), "i:1.12.3").await;
    assert_eq!(answer.is(200).json(), json!({ "status": "healthy", "version": "1.9.1" }));
    assert!(metrics.contains("\nompipe_server_version_skew 1\n"), "{metrics}");
    let serving =
        Serving::with(&scene, &json!({}), &json!({ "openMetadataVersion": "1.0.3" })).await;
    let health = serving.get_anonymously("health").await;
    assert_eq!(health.is(200).json(), json!({ "status": "healthy", "version": "1.0.3" }));
    let asked = scene.standin.look(|world| world.requests().count());
    let (answer, _) = told(json!({}), "i:latest").await;
    let version = answer.is(200).json()["version"].as_str().unwrap().to_owned();
    assert_eq!(version.split('.').count(), 3, "{version}");
    assert!(scene.standin.look(|world| world.requests().count()) > asked, "the server was asked");
    scene.standin.inject(Fault::hang().on("GET", "/api/v1/system/version"));
    let (answer, metrics) = told(json!({}), "i:1.12.3").await;
    assert_eq!(answer.is(200).json()["version"], "1.12.3");
    assert!(metrics.contains("\nompipe_server_version_skew 0\n"), "{metrics}");
    let (answer, _) = told(json!({}), "i:latest").await;
    assert!(answer.is(503).error().contains("server.openMetadataVersion"));
    scene.end().await;
}

#[tokio::test]
async fn the_address_is_the_configured_one() {
    let scene = shop("http-ip").await;
    let serving = Serving::start(&scene).await;
    assert!(serving.get("ip", &[]).await.is(200).json()["ip"].is_string());
    assert_eq!(serving.get("csrf-token", &[]).await.is(200).json()["csrf_token"], "not-needed");
    scene.end().await;
}
