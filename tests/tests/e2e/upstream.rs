//! What upstream's Java client left in the cluster
//! (docs/contracts/upstream-java-client.md#object-names): it is seen, stopped and deleted as the
//! pipeline's own, and a deploy takes its place.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};
use ompipe_api::{CronOMJob, OMJob};
use serde_json::{Value, json};

use crate::support::{Breakable, Scene, bed, eventually, from, install_crds};

const RUN: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

/// The labels of upstream's objects.
pub(crate) fn labels(base: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "openmetadata", "app.kubernetes.io/component": "ingestion",
        "app.kubernetes.io/managed-by": "openmetadata", "app.kubernetes.io/pipeline": base,
        "app.kubernetes.io/pipeline-type": "metadata",
    })
}

/// The pod of upstream's Jobs and `CronJobs`.
fn pod(base: &str, fqn: &str) -> Value {
    json!({
        "metadata": { "labels": labels(base) },
        "spec": { "restartPolicy": "Never", "containers": [{
            "name": "main", "image": bed().worker_image, "imagePullPolicy": "IfNotPresent",
            "command": ["python", "main.py"],
            "env": [
                { "name": "pipelineType", "value": "metadata" },
                { "name": "ingestionPipelineFQN", "value": fqn },
                { "name": "WORKER_MAIN", "value": "echo from upstream; trap 'exit 1' TERM; sleep 600 & wait" },
                { "name": "config", "valueFrom": { "configMapKeyRef": { "name": format!("om-config-{base}"), "key": "config" } } },
            ],
        }]},
    })
}

/// The schedule of a pipeline in mode job.
pub(crate) fn cron_job(base: &str, fqn: &str) -> CronJob {
    from(json!({
        "metadata": { "name": format!("om-cronjob-{base}"), "labels": labels(base) },
        "spec": { "schedule": "0 2 * * 0", "concurrencyPolicy": "Forbid",
            "jobTemplate": { "spec": { "template": pod(base, fqn) } } },
    }))
}

/// Everything that upstream's client makes of a scheduled pipeline in both modes, and a run.
async fn of_upstream(scene: &Scene, base: &str, fqn: &str) {
    let post = PostParams::default();
    let (config_map, secret) = config(base, fqn);
    scene.api().create(&post, &config_map).await.unwrap();
    scene.api().create(&post, &secret).await.unwrap();
    scene.api().create(&post, &cron_job(base, fqn)).await.unwrap();
    let stage = json!({ "image": "i", "env": [{ "name": "ingestionPipelineFQN", "value": fqn }] });
    let cron_om_job: CronOMJob = from(json!({
        "metadata": { "name": format!("om-cronomjob-{base}"), "labels": labels(base) },
        "spec": { "schedule": "0 2 * * 0", "omJobSpec": { "mainPodSpec": stage } },
    }));
    scene.api().create(&post, &cron_om_job).await.unwrap();
    run_of_upstream(scene, base, fqn).await;
}

/// The config of a pipeline, and its credentials.
pub(crate) fn config(base: &str, fqn: &str) -> (ConfigMap, Secret) {
    let config = format!("ingestionPipelineFQN: {fqn}\nworkflowConfig: {{}}\n");
    let metadata = |name: String| json!({ "name": name, "labels": labels(base) });
    let config_map =
        json!({ "metadata": metadata(format!("om-config-{base}")), "data": { "config": config } });
    let secret = json!({
        "metadata": metadata(format!("om-secret-{base}")), "stringData": { "securityConfig": "{}" },
    });
    (from(config_map), from(secret))
}

/// A run that goes on until it is stopped.
pub(crate) fn run(base: &str, fqn: &str) -> Job {
    let mut labels = labels(base);
    labels["app.kubernetes.io/run-id"] = RUN.into();
    from(json!({
        "metadata": { "name": format!("om-job-{base}-a1b2c3d4"), "labels": labels },
        "spec": { "backoffLimit": 0, "template": pod(base, fqn) },
    }))
}

async fn run_of_upstream(scene: &Scene, base: &str, fqn: &str) {
    scene.api().create(&PostParams::default(), &run(base, fqn)).await.unwrap();
}

/// Names of the schedules of a scene, whoever made them.
async fn schedules(scene: &Scene) -> Vec<String> {
    let all = ListParams::default();
    let cron_jobs = scene.api::<CronJob>().list(&all).await.unwrap();
    let cron_om_jobs = scene.api::<CronOMJob>().list(&all).await.unwrap();
    let names = cron_jobs.iter().map(ResourceExt::name_any);
    names.chain(cron_om_jobs.iter().map(ResourceExt::name_any)).collect()
}

/// Its objects are deleted without their dependents, so the garbage collector releases them in its own time. What is
/// applied under their names before that would disappear with them, and the pipeline would have no Secret.
#[tokio::test]
async fn a_deploy_waits_until_the_garbage_collector_has_released_its_objects() {
    let cluster = Breakable::take().await;
    let scene = cluster.scene("slow-gc").await;
    let post = PostParams::default();
    let (config_map, secret) = config("nightly", "shop.nightly");
    scene.api().create(&post, &config_map).await.unwrap();
    scene.api().create(&post, &secret).await.unwrap();
    let (file, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let path = scene.config(&json!({}));
    cluster.stop("kcm").await;
    let released = async {
        eventually("a Secret that waits for its release", || async {
            let secret = scene.api::<Secret>().get("om-secret-nightly").await.unwrap();
            secret.metadata.deletion_timestamp.map(drop).ok_or_else(|| "not yet".to_owned())
        })
        .await;
        cluster.start("kcm").await;
    };
    let deploy = ["deploy", "-c", &path, "-f", &file, "--service", &service];
    let (deployed, ()) = tokio::join!(scene.ompipe(&deploy), released);
    deployed.good();
    eventually("the release of the former objects", || async {
        let maps = scene.api::<ConfigMap>().list(&ListParams::default()).await.unwrap().items;
        let left = maps.iter().filter(|map| map.metadata.deletion_timestamp.is_some()).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} ConfigMaps")) }
    })
    .await;
    assert!(scene.ours::<Secret>().await.contains_key("om-secret-nightly"));
    assert!(scene.ours::<ConfigMap>().await.contains_key("om-config-nightly"));
    scene.ompipe(&["list", "-c", &path, "-o", "name"]).await.good();
    scene.end().await;
}

#[tokio::test]
async fn its_runs_are_seen_read_and_stopped() {
    let scene = Scene::new("upstream").await;
    install_crds(&scene.client).await;
    of_upstream(&scene, "my-job", "shop.my_job").await;
    run_of_upstream(&scene, "other", "shop.other").await;
    let (pipeline, config) = (scene.pipeline("my_job", &json!({})), scene.config(&json!({})));
    let status = ["status", "-c", &config, "-f", &pipeline, "-o", "json"];
    let run = eventually("upstream's run", || async {
        let seen = scene.ompipe(&status).await.good().json();
        if seen[0]["state"] == "running" { Ok(seen) } else { Err(seen.to_string()) }
    })
    .await;
    assert_eq!((run.as_array().unwrap().len(), &run[0]["runId"]), (1, &json!(RUN)));
    let logs = eventually("its log", || async {
        let logs = scene.ompipe(&["logs", "-c", &config, "--file", &pipeline]).await;
        if logs.stdout.is_empty() { Err(logs.stderr) } else { Ok(logs.stdout) }
    })
    .await;
    assert_eq!(logs, "from upstream\n");
    let killed = scene.ompipe(&["kill", "-c", &config, "-f", &pipeline]).await.good();
    assert!(killed.stdout.starts_with("stopping 1 run"), "{killed:?}");
    eventually("the end of the run", || async {
        match scene.api::<Job>().get_opt("om-job-my-job-a1b2c3d4").await.unwrap() {
            Some(job) => Err(format!("{:?}", job.status)),
            None => Ok(()),
        }
    })
    .await;
    let other = scene.api::<Job>().get("om-job-other-a1b2c3d4").await.unwrap();
    assert_eq!(other.metadata.deletion_timestamp, None);
    scene.end().await;
}

#[tokio::test]
async fn a_deploy_takes_its_place_with_one_schedule() {
    let scene = Scene::new("upstream").await;
    install_crds(&scene.client).await;
    let scheduled = json!({ "airflowConfig": { "scheduleInterval": "0 3 * * 0" } });
    let (service, config) = (scene.service(), scene.config(&json!({})));
    // One name is the same with both clients, the other is not.
    for (name, base) in [("nightly", "nightly"), ("my_job", "my-job")] {
        of_upstream(&scene, base, &format!("shop.{name}")).await;
        let pipeline = scene.pipeline(name, &scheduled);
        let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service];
        scene.ompipe(&deploy).await.good();
        scene.ompipe(&deploy).await.good();
    }
    let names = schedules(&scene).await;
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "om-cronjob-nightly").count(), 1, "{names:?}");
    let schedule = scene.api::<CronJob>().get("om-cronjob-nightly").await.unwrap();
    assert_eq!(schedule.labels()["app.kubernetes.io/managed-by"], "ompipe");
    assert_eq!(schedule.spec.unwrap().schedule, "0 3 * * 0");
    let running = scene.api::<Job>().get("om-job-nightly-a1b2c3d4").await.unwrap();
    assert_eq!(running.metadata.deletion_timestamp, None, "its run goes on");
    scene.end().await;
}

#[tokio::test]
async fn a_schedule_of_another_service_is_not_touched() {
    let scene = Scene::new("upstream").await;
    install_crds(&scene.client).await;
    of_upstream(&scene, "nightly", "other.nightly").await;
    let scheduled = json!({ "airflowConfig": { "scheduleInterval": "0 3 * * 0" } });
    let (pipeline, service) = (scene.pipeline("nightly", &scheduled), scene.service());
    let config = scene.config(&json!({}));
    let source = ["-c", &config, "-f", &pipeline];
    let deploy = [&["deploy", "--service", &service][..], &source].concat();
    scene.ompipe(&deploy).await.good();
    let theirs = scene.api::<CronJob>().get("om-cronjob-nightly").await.unwrap();
    assert_eq!(theirs.labels()["app.kubernetes.io/managed-by"], "openmetadata");
    assert_eq!(schedules(&scene).await.len(), 3);
    let status = [&["status", "-o", "json"][..], &source].concat();
    assert_eq!(scene.ompipe(&status).await.good().json(), json!([]), "their run is not ours");
    scene.ompipe(&[&["delete"][..], &source].concat()).await.good();
    assert_eq!(schedules(&scene).await, ["om-cronjob-nightly", "om-cronomjob-nightly"]);
    scene.end().await;
}

#[tokio::test]
async fn a_delete_takes_everything_of_it() {
    let scene = Scene::new("upstream").await;
    install_crds(&scene.client).await;
    of_upstream(&scene, "nightly", "shop.nightly").await;
    let (pipeline, config) = (scene.pipeline("nightly", &json!({})), scene.config(&json!({})));
    scene.ompipe(&["delete", "-c", &config, "-f", &pipeline]).await.good();
    assert_eq!(schedules(&scene).await, [""; 0]);
    eventually("a namespace without leftovers", || async {
        let theirs = ListParams::default().labels("app.kubernetes.io/pipeline=nightly");
        let jobs = scene.api::<Job>().list(&theirs).await.unwrap().items.len();
        let om_jobs = scene.api::<OMJob>().list(&theirs).await.unwrap().items.len();
        let config_maps = scene.api::<ConfigMap>().list(&theirs).await.unwrap().items.len();
        let secrets = scene.api::<Secret>().list(&theirs).await.unwrap().items.len();
        let left = [jobs, om_jobs, config_maps, secrets];
        if left == [0; 4] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    scene.end().await;
}
