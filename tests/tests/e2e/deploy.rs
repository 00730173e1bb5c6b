//! `deploy`: what it leaves in the cluster, also when it is refused half-way.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota, Secret};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use ompipe_core::{RunId, yaml};
use serde_json::{Value, json};

use crate::access::limited_kubeconfig;
use crate::support::{Scene, eventually, from};

/// A scene in which a call names configuration and service.
async fn scene(name: &str) -> (Scene, String, String) {
    let scene = Scene::new(name).await;
    let (config, service) = (scene.config(&json!({})), scene.service());
    (scene, config, service)
}

fn scheduled() -> Value {
    json!({ "airflowConfig": { "scheduleInterval": "0 2 * * 0", "pipelineTimezone": "Europe/Berlin" } })
}

/// Kind and name of everything that ompipe has in a scene.
async fn names(scene: &Scene) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    names.extend(
        scene.ours::<ConfigMap>().await.into_keys().map(|name| format!("ConfigMap/{name}")),
    );
    names.extend(scene.ours::<CronJob>().await.into_keys().map(|name| format!("CronJob/{name}")));
    names.extend(scene.ours::<Job>().await.into_keys().map(|name| format!("Job/{name}")));
    names.extend(scene.ours::<Secret>().await.into_keys().map(|name| format!("Secret/{name}")));
    names
}

/// Versions of everything that ompipe has in a scene: they move with any change.
async fn versions(scene: &Scene) -> BTreeMap<String, Option<String>> {
    let mut versions = BTreeMap::new();
    for (name, object) in scene.ours::<ConfigMap>().await {
        versions.insert(format!("ConfigMap/{name}"), object.resource_version());
    }
    for (name, object) in scene.ours::<CronJob>().await {
        versions.insert(format!("CronJob/{name}"), object.resource_version());
    }
    for (name, object) in scene.ours::<Secret>().await {
        versions.insert(format!("Secret/{name}"), object.resource_version());
    }
    versions
}

#[tokio::test]
async fn twice_is_no_change() {
    let (scene, config, service) = scene("twice").await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service, "-o", "json"];
    let first = scene.ompipe(&deploy).await.good().json();
    assert!(
        first["objects"].as_array().unwrap().iter().all(|object| object["change"] == "created")
    );
    let before = versions(&scene).await;
    assert_eq!(before.len(), 4, "{before:?}");
    let second = scene.ompipe(&deploy).await.good().json();
    assert!(
        second["objects"].as_array().unwrap().iter().all(|object| object["change"] == "unchanged"),
        "{second}"
    );
    assert_eq!(versions(&scene).await, before);
    scene.end().await;
}

/// Everything of `wanted` is in `actual`, which may have more: defaults, and what the server adds.
fn is_within(wanted: &Value, actual: &Value) -> bool {
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => wanted
            .iter()
            .all(|(key, value)| actual.get(key).is_some_and(|actual| is_within(value, actual))),
        (Value::Array(wanted), Value::Array(actual)) => {
            wanted.len() == actual.len()
                && wanted.iter().zip(actual).all(|(wanted, actual)| is_within(wanted, actual))
        }
        (wanted, actual) => wanted == actual,
    }
}

#[tokio::test]
async fn applies_what_render_shows() {
    let (scene, config, service) = scene("render").await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let source = ["-c", &config, "-f", &pipeline, "--service", &service];
    let render = [&["render", "--show-secrets"][..], &source].concat();
    let rendered = scene.ompipe(&render).await.good().stdout;
    scene.ompipe(&[&["deploy"][..], &source].concat()).await.good();
    let mut live: BTreeMap<String, Value> = BTreeMap::new();
    for (name, object) in scene.ours::<ConfigMap>().await {
        live.insert(name, serde_json::to_value(object).unwrap());
    }
    for (name, object) in scene.ours::<CronJob>().await {
        live.insert(name, serde_json::to_value(object).unwrap());
    }
    for (name, object) in scene.ours::<Secret>().await {
        live.insert(name, with_string_data(&object));
    }
    let documents: Vec<&str> = rendered.split("---\n").filter(|text| !text.is_empty()).collect();
    assert_eq!(documents.len(), live.len());
    for document in documents {
        let wanted = yaml::parse(document).unwrap();
        let actual = &live[wanted["metadata"]["name"].as_str().unwrap()];
        assert!(is_within(&wanted, actual), "wanted {wanted}\nis {actual}");
    }
    scene.end().await;
}

fn with_string_data(secret: &Secret) -> Value {
    let data = secret.data.iter().flatten();
    let texts: BTreeMap<_, _> =
        data.map(|(key, bytes)| (key, String::from_utf8(bytes.0.clone()).unwrap())).collect();
    let mut value = serde_json::to_value(secret).unwrap();
    value["stringData"] = json!(texts);
    value
}

#[tokio::test]
async fn other_peoples_labels_stay_and_removed_settings_go() {
    let (scene, _, service) = scene("foreign").await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let config = scene.config(&json!({ "nodeSelector": "a=b" }));
    let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service];
    scene.ompipe(&deploy).await.good();
    let label = json!({ "metadata": { "labels": { "team": "data" } } });
    let schedules = scene.api::<CronJob>();
    schedules
        .patch("om-cronjob-nightly", &PatchParams::default(), &Patch::Merge(label))
        .await
        .unwrap();
    scene.config(&json!({}));
    scene.ompipe(&deploy).await.good();
    let schedule = schedules.get("om-cronjob-nightly").await.unwrap();
    assert_eq!(schedule.labels()["team"], "data");
    let pod = schedule.spec.unwrap().job_template.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.node_selector, None);
    scene.end().await;
}

#[tokio::test]
async fn refused_by_a_quota_leaves_nothing_behind() {
    let (scene, config, service) = scene("quota").await;
    let quota: ResourceQuota = from(json!({
        "metadata": { "name": "no-schedules" }, "spec": { "hard": { "count/cronjobs.batch": "0" } },
    }));
    scene.api().create(&PostParams::default(), &quota).await.unwrap();
    let pipeline = scene.pipeline("nightly", &scheduled());
    let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service];
    // The quota counts from the moment that the controller has seen it.
    let refused = eventually("a refusal by the quota", || async {
        let outcome = scene.ompipe(&deploy).await;
        if outcome.code == Some(3) && outcome.stderr.contains("exceeded quota") {
            return Ok(outcome);
        }
        Err(outcome.stderr)
    })
    .await;
    assert!(refused.stderr.contains("applying CronJob om-cronjob-nightly"), "{}", refused.stderr);
    assert!(refused.stderr.contains("ResourceQuota"), "{}", refused.stderr);
    assert_eq!(names(&scene).await, [""; 0]);
    scene.end().await;
}

/// The rights that a deploy needs, without those on schedules.
fn without_schedules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["secrets", "configmaps"],
          "verbs": ["get", "list", "create", "update", "patch", "delete"] },
        { "apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["get", "list"] },
        { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list"] },
    ])
}

#[tokio::test]
async fn refused_for_want_of_rights_leaves_nothing_behind() {
    let (scene, config, service) = scene("rights").await;
    let kubeconfig = limited_kubeconfig(&scene, "deployer", &without_schedules()).await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service];
    let refused = scene.ompipe_with(&deploy, &[("KUBECONFIG", &kubeconfig)]).await.ended_with(3);
    assert!(refused.stderr.contains("cannot patch resource \"cronjobs\""), "{}", refused.stderr);
    assert!(refused.stderr.contains("(403)"), "{}", refused.stderr);
    assert_eq!(names(&scene).await, [""; 0]);
    scene.end().await;
}

#[tokio::test]
async fn a_refused_change_leaves_the_former_deployment() {
    let (scene, config, service) = scene("restore").await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service];
    scene.ompipe(&deploy).await.good();
    let contents = async || {
        let secrets =
            scene.ours::<Secret>().await.into_iter().map(|(name, secret)| (name, secret.data));
        let texts = scene.ours::<ConfigMap>().await.into_iter().map(|(name, map)| (name, map.data));
        (secrets.collect::<BTreeMap<_, _>>(), texts.collect::<BTreeMap<_, _>>())
    };
    let before = contents().await;
    let kubeconfig = limited_kubeconfig(&scene, "deployer", &without_schedules()).await;
    let changed =
        json!({ "loggerLevel": "DEBUG", "airflowConfig": { "scheduleInterval": "@hourly" } });
    scene.pipeline("nightly", &changed);
    scene.ompipe_with(&deploy, &[("KUBECONFIG", &kubeconfig)]).await.ended_with(3);
    assert_eq!(contents().await, before);
    scene.end().await;
}

#[tokio::test]
async fn of_deploys_at_once_one_stands_whole() {
    const DEPLOYS: usize = 6;
    let (scene, config, service) = scene("at-once").await;
    let text = |hour: usize| {
        let fields = json!({
            "displayName": format!("version {hour}"),
            "sourceConfig": { "config": { "type": "DatabaseMetadata", "databaseFilterPattern": { "includes": [format!("v{hour}")] } } },
            "airflowConfig": { "scheduleInterval": format!("0 {hour} * * *") },
        });
        std::fs::read_to_string(scene.pipeline("nightly", &fields)).unwrap()
    };
    let files: Vec<String> =
        (0..DEPLOYS).map(|hour| scene.text_file(&format!("{hour}.json"), &text(hour))).collect();
    let deploys = files.iter().map(async |file| {
        scene.ompipe(&["deploy", "-c", &config, "-f", file, "--service", &service]).await
    });
    for outcome in futures::future::join_all(deploys).await {
        outcome.good();
    }
    let schedule = scene.ours::<CronJob>().await.into_values().next().unwrap();
    let revision = |labels: &BTreeMap<String, String>| {
        labels["pipelines.openmetadata.org/config-revision"].clone()
    };
    let wanted = revision(schedule.labels());
    let config_map = scene.ours::<ConfigMap>().await.into_values().next().unwrap();
    assert_eq!(revision(config_map.labels()), wanted);
    let secrets = scene.ours::<Secret>().await;
    let digest =
        &secrets["om-secret-nightly"].annotations()["pipelines.openmetadata.org/config-sha256"];
    assert!(digest.starts_with(&wanted));
    let stored = &secrets["om-secret-nightly"].data.as_ref().unwrap()["pipeline"].0;
    let stored: Value = serde_json::from_slice(stored).unwrap();
    let cron = stored["airflowConfig"]["scheduleInterval"].as_str().unwrap();
    assert_eq!(schedule.spec.unwrap().schedule, cron, "schedule and config are of one deploy");
    assert!(secrets.contains_key(&format!("om-secret-nightly-{wanted}")));
    scene.end().await;
}

#[tokio::test]
async fn a_missing_namespace_is_named_with_the_remedy() {
    let (scene, config, service) = scene("missing").await;
    let pipeline = scene.pipeline("nightly", &json!({}));
    let deploy = [
        "deploy",
        "-c",
        &config,
        "-f",
        &pipeline,
        "--service",
        &service,
        "-n",
        "no-such-namespace",
    ];
    let refused = scene.ompipe(&deploy).await.ended_with(3);
    assert!(
        refused.stderr.contains("namespaces \"no-such-namespace\" not found"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("Create the namespace"), "{}", refused.stderr);
    scene.end().await;
}

#[tokio::test]
async fn equal_names_of_two_services_are_two_pipelines() {
    let (scene, config, _) = scene("equal").await;
    let mut files = Vec::new();
    for service in ["one", "two"] {
        let fields = json!({ "service": { "type": "databaseService", "name": service } });
        let pipeline = std::fs::read_to_string(scene.pipeline("nightly", &fields)).unwrap();
        let entity = json!({ "name": service, "serviceType": "Postgres" });
        let pipeline = scene.text_file(&format!("{service}.json"), &pipeline);
        let entity = scene.file(&format!("{service}-entity.json"), &entity);
        scene
            .ompipe(&["deploy", "-c", &config, "-f", &pipeline, "--service", &entity])
            .await
            .good();
        files.push(pipeline);
    }
    let listed = scene.ompipe(&["list", "-c", &config, "-o", "json"]).await.good().json();
    let fqns: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["fullyQualifiedName"].as_str().unwrap())
        .collect();
    assert_eq!(fqns, ["one.nightly", "two.nightly"]);
    assert_eq!(scene.ours::<ConfigMap>().await.len(), 2);
    let ambiguous = scene.ompipe(&["status", "-c", &config, "nightly"]).await.ended_with(2);
    assert!(ambiguous.stderr.contains("one.nightly, two.nightly"), "{}", ambiguous.stderr);
    scene.ompipe(&["status", "-c", &config, "two.nightly"]).await.good();
    scene.end().await;
}

#[tokio::test]
async fn a_schedule_that_is_gone_takes_no_run_with_it() {
    let (scene, _, service) = scene("unschedule").await;
    let config = scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:sleep 600"] }));
    let pipeline = scene.pipeline("nightly", &scheduled());
    let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service, "-o", "json"];
    scene.ompipe(&deploy).await.good();
    let schedules = scene.api::<CronJob>();
    let schedule = schedules.get("om-cronjob-nightly").await.unwrap();
    let run = run_of(&schedule);
    scene.api::<Job>().create(&PostParams::default(), &run).await.unwrap();
    scene.pipeline("nightly", &json!({}));
    let redeployed = scene.ompipe(&deploy).await.good().json();
    assert!(redeployed["objects"].as_array().unwrap().iter().any(|o| o["change"] == "deleted"));
    // The garbage collector releases the run first; no schedule fires meanwhile.
    eventually("the end of the schedule", || async {
        match schedules.get_opt("om-cronjob-nightly").await.unwrap() {
            Some(left) => Err(format!("{:?}", left.metadata)),
            None => Ok(()),
        }
    })
    .await;
    let orphan = eventually("the run without its schedule", || async {
        let job = scene.api::<Job>().get(&run.name_any()).await.map_err(|e| e.to_string())?;
        if job.owner_references().is_empty() { Ok(job) } else { Err("it is owned".to_owned()) }
    })
    .await;
    assert_eq!(orphan.metadata.deletion_timestamp, None);
    scene.end().await;
}

/// A run as the `CronJob` controller makes it.
pub(crate) fn run_of(schedule: &CronJob) -> Job {
    let template = schedule.spec.clone().unwrap().job_template;
    let mut metadata = template.metadata.unwrap();
    metadata.name = Some(format!("{}-29000000", schedule.name_any()));
    metadata.owner_references =
        Some(vec![kube::Resource::controller_owner_ref(schedule, &()).unwrap()]);
    Job { metadata, spec: template.spec, status: None }
}

#[tokio::test]
async fn old_revisions_go_and_three_stay() {
    let (scene, config, service) = scene("revisions").await;
    let mut deployed = String::new();
    for level in ["DEBUG", "INFO", "WARN", "ERROR", "DEBUG"] {
        let pipeline = scene.pipeline("nightly", &json!({ "loggerLevel": level }));
        scene
            .ompipe(&["deploy", "-c", &config, "-f", &pipeline, "--service", &service])
            .await
            .good();
        deployed = scene.ours::<ConfigMap>().await["om-config-nightly"]
            .labels()["pipelines.openmetadata.org/config-revision"]
            .clone();
    }
    let secrets = scene.ours::<Secret>().await;
    let revisions: Vec<&String> =
        secrets.keys().filter(|name| *name != "om-secret-nightly").collect();
    assert_eq!(revisions.len(), 3, "{revisions:?}");
    assert!(secrets.contains_key(&format!("om-secret-nightly-{deployed}")));
    assert!(
        secrets.values().all(|s| s.name_any() == "om-secret-nightly" || s.immutable == Some(true))
    );
    scene.end().await;
}

#[tokio::test]
async fn a_started_run_keeps_the_config_that_it_started_with() {
    let (scene, _, service) = scene("snapshot").await;
    let zone = RunId::random().short();
    // The run waits for a node that does not exist yet, while the pipeline changes under it.
    let config = scene.config(&json!({
        "nodeSelector": { "ompipe-test": zone }, "extraEnvVars": ["WORKER_MAIN:echo \"$config\""],
    }));
    let pipeline = scene.pipeline("nightly", &json!({ "loggerLevel": "WARN" }));
    let source = ["-c", &config, "-f", &pipeline];
    let deploy = [&["deploy", "--service", &service][..], &source].concat();
    scene.ompipe(&deploy).await.good();
    let run = [&["run", "--service", &service, "-o", "json"][..], &source].concat();
    let started = scene.ompipe(&run).await.good().json();
    let run_id = started["runId"].as_str().unwrap();
    let status = ["status", "-c", &config, "nightly", "--run", run_id, "-o", "json"];
    eventually("an unschedulable run", || async {
        let seen = scene.ompipe(&status).await.good().json();
        let waits = seen[0]["state"] == "queued" && seen[0]["reason"] == "Unschedulable";
        if waits { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    scene.pipeline("nightly", &json!({ "loggerLevel": "ERROR" }));
    scene.ompipe(&deploy).await.good();
    label_a_node(&scene, &zone).await;
    let logs =
        scene.ompipe(&["logs", "-c", &config, "nightly", "--run", run_id, "--follow"]).await.good();
    assert!(logs.stdout.contains("loggerLevel: WARN"), "{}", logs.stdout);
    assert!(!logs.stdout.contains("loggerLevel: ERROR"), "{}", logs.stdout);
    scene.end().await;
}

async fn label_a_node(scene: &Scene, zone: &str) {
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(scene.client.clone());
    let node = nodes.list(&ListParams::default()).await.unwrap().items.swap_remove(0);
    let label = json!({ "metadata": { "labels": { "ompipe-test": zone } } });
    nodes.patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
}
