//! The pages that say how to take the place of something else, and how to go back: each is executed with
//! objects of the shape that the other software leaves, and what is true between its steps is looked at.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};
use ompipe_api::{CronOMJob, OMJob, Phase};
use serde_json::{Value, json};

use super::reader::Reader;
use super::{Desk, HOME, PIPELINES, SERVER, free_port, with_images};
use crate::operator::{Stage, upstreams_run};
use crate::support::{Scene, bed, eventually, from, install_crds};
use crate::upstream;

/// The commands of Airflow that the page calls, over a file for each DAG that says whether it is paused.
const AIRFLOW: &str = r#"#!/usr/bin/env bash
set -euo pipefail
[[ $1 == dags && -e ~/dags/$3 ]] || { echo "airflow: no such command or DAG: $*" >&2; exit 1; }
case $2 in
  pause) echo True > ~/dags/"$3" ;;
  unpause) echo False > ~/dags/"$3" ;;
  *) exit 1 ;;
esac
"#;

/// A service that is started by hand, asked what OpenMetadata asks, and ended.
pub(super) async fn http_service() {
    const PAGE: &str = "docs/adopt-http-service.md";
    let desk = Desk::new().await;
    desk.add_pipelines(&[json!({ "name": "nightly" })]);
    let own = || format!("127.0.0.1:{}", free_port());
    let reader = desk.reader(PAGE);
    let reader = reader.having(PAGE, "127.0.0.1:8080", own()).having(PAGE, "127.0.0.1:8081", own());
    reader.reads_until(PAGE, "Go back").await;
    reader.does("ompipe deploy --fqn shop.nightly").await;
    reader.reads_from(PAGE, "Go back").await;
    reader.does("[[ -z $(ompipe list -o name) ]]").await;
    desk.end().await;
}

/// Names of the pipelines' schedules that fire.
async fn firing(desk: &Desk) -> Vec<String> {
    let all = desk.cron_jobs().await.into_iter();
    let fires = |one: &CronJob| one.spec.as_ref().unwrap().suspend != Some(true);
    let named = |one: CronJob| one.annotations()["pipelines.openmetadata.org/pipeline-fqn"].clone();
    let mut names: Vec<String> = all.filter(fires).map(named).collect();
    names.sort();
    names
}

pub(super) async fn from_airflow() {
    const PAGE: &str = "docs/migrate-from-airflow.md";
    let desk = Desk::new().await;
    let at = |cron: &str| json!({ "scheduleInterval": cron, "pipelineTimezone": "Europe/Paris" });
    desk.add_pipelines(&[
        json!({ "name": "shop_metadata", "airflowConfig": at("0 3 * * *") }),
        json!({ "name": "weekly usage", "airflowConfig": at("30 4 * * 0") }),
        json!({ "name": "by_hand" }),
        json!({ "name": "retired", "enabled": false, "airflowConfig": at("0 1 * * *") }),
    ]);
    let config = json!({ "pipelineServiceClientConfiguration": {
        "metadataApiEndpoint": desk.scene.standin.url(),
        "parameters": { "namespace": PIPELINES, "ingestionImage": bed().worker_image },
    }});
    let reader = Reader::new(desk.scene.standin.token())
        .having(PAGE, SERVER, desk.server())
        .with_program("airflow", AIRFLOW);
    // What the chart leaves in the cluster, and the DAGs of OpenMetadata in Airflow.
    let before = format!(
        "ompipe rbac | kubectl apply -f -\n\
         kubectl create namespace openmetadata\n\
         kubectl -n openmetadata create secret generic ompipe-config --from-literal=config.yaml='{config}'\n\
         mkdir dags; for dag in shop_metadata weekly_usage by_hand; do echo False > dags/$dag; done\n\
         echo True > dags/retired"
    );
    reader.does(&before).await;
    reader.reads_until(PAGE, "5. Switch").await;
    assert_eq!(firing(&desk).await, [""; 0], "Airflow still runs them");
    assert_eq!(desk.cron_jobs().await.len(), 3);
    assert_eq!(reader.file("dags/shop_metadata"), "False\n");

    reader.reads_below(PAGE, "5. Switch").await;
    assert_eq!(firing(&desk).await, ["shop.shop_metadata", "shop.weekly usage"]);
    let dags = ["shop_metadata", "weekly_usage", "by_hand", "retired"];
    for dag in dags {
        assert_eq!(reader.file(&format!("dags/{dag}")), "True\n", "{dag}");
    }

    reader.reads_from(PAGE, "Go back").await;
    assert!(desk.cron_jobs().await.is_empty());
    for (dag, paused) in dags.into_iter().zip(["False\n", "False\n", "False\n", "True\n"]) {
        assert_eq!(reader.file(&format!("dags/{dag}")), paused, "{dag}");
    }
    desk.end().await;
}

/// What OpenMetadata's own client has made of a scheduled pipeline, with a run that goes on.
async fn deploy_as_upstream(desk: &Desk) {
    let post = PostParams::default();
    let schedule = upstream::cron_job("nightly", "shop.nightly");
    desk.api(PIPELINES).create(&post, &schedule).await.unwrap();
    let run = upstream::run("nightly", "shop.nightly");
    desk.api(PIPELINES).create(&post, &run).await.unwrap();
    let (config_map, secret) = upstream::config("nightly", "shop.nightly");
    desk.api::<ConfigMap>(PIPELINES).create(&post, &config_map).await.unwrap();
    desk.api::<Secret>(PIPELINES).create(&post, &secret).await.unwrap();
}

/// Name and manager of every schedule.
async fn managers(desk: &Desk) -> Vec<(String, String)> {
    let manager = |one: &CronJob| one.labels()["app.kubernetes.io/managed-by"].clone();
    desk.cron_jobs().await.iter().map(|one| (one.name_any(), manager(one))).collect()
}

pub(super) async fn from_the_kubernetes_client() {
    const PAGE: &str = "docs/migrate-from-kubernetes-client.md";
    let desk = Desk::new().await;
    let schedule = json!({ "scheduleInterval": "0 2 * * 0" });
    desk.add_pipelines(&[json!({ "name": "nightly", "airflowConfig": schedule })]);
    let reader = desk.reader(PAGE);
    reader.does("ompipe rbac | kubectl apply -f -").await;
    deploy_as_upstream(&desk).await;
    let theirs = ("om-cronjob-nightly".to_owned(), "openmetadata".to_owned());

    reader.reads_until(PAGE, "3. Switch").await;
    assert_eq!(
        managers(&desk).await,
        std::slice::from_ref(&theirs),
        "the trial has changed nothing here"
    );
    reader.reads_below(PAGE, "3. Switch").await;
    let ours = ("om-cronjob-nightly".to_owned(), "ompipe".to_owned());
    assert_eq!(managers(&desk).await, [ours]);
    let run = desk.api::<Job>(PIPELINES).get("om-job-nightly-a1b2c3d4").await.unwrap();
    assert_eq!(run.metadata.deletion_timestamp, None, "their run goes on");

    reader.reads_from(PAGE, "Go back").await;
    eventually("a namespace without anything of ours", || async {
        let left = desk.api::<Job>(PIPELINES).list(&ListParams::default()).await.unwrap().items;
        let left = (managers(&desk).await, left.len());
        if left == (Vec::new(), 0) { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    // OpenMetadata deploys it with its own client again.
    deploy_as_upstream(&desk).await;
    assert_eq!(managers(&desk).await, [theirs]);
    desk.end().await;
}

/// A schedule as OpenMetadata's server makes it.
fn schedule_of_upstream() -> CronOMJob {
    from(json!({
        "metadata": { "name": "om-cronomjob-nightly", "labels": upstream::labels("nightly") },
        "spec": { "schedule": "0 2 * * 0", "startingDeadlineSeconds": 60, "omJobSpec": {
            "mainPodSpec": Stage::shell("true"), "exitHandlerSpec": Stage::shell("true"),
            "ttlSecondsAfterFinished": 604_800,
        }},
    }))
}

async fn spec_of_schedule(desk: &Desk) -> Value {
    let found = desk.api::<CronOMJob>(PIPELINES).get("om-cronomjob-nightly").await.unwrap();
    serde_json::to_value(found.spec).unwrap()
}

async fn replicas_of_their_operator(desk: &Desk) -> Option<i32> {
    let found = desk.api::<Deployment>(HOME).get("openmetadata-omjob-operator").await.unwrap();
    found.spec.unwrap().replicas
}

pub(super) async fn from_openmetadatas_operator() {
    const PAGE: &str = "docs/adopt-operator.md";
    let desk = Desk::new().await;
    install_crds(&desk.scene.client).await;
    let reader = with_images(Reader::new(desk.scene.standin.token()), PAGE);
    let before = format!(
        "kubectl create namespace openmetadata\nompipe rbac | kubectl apply -f -\n\
         kubectl -n openmetadata create deployment openmetadata-omjob-operator --image {} -- sleep infinity",
        bed().worker_image
    );
    reader.does(&before).await;
    // Theirs has started a run, and knows a schedule.
    let stage = Stage { scene: Scene::within(PIPELINES).await };
    upstreams_run(&stage).await;
    desk.api(PIPELINES).create(&PostParams::default(), &schedule_of_upstream()).await.unwrap();
    let (main, schedule) = (stage.uid("run-main").await, spec_of_schedule(&desk).await);

    reader.reads_until(PAGE, "Go back").await;
    assert_eq!(replicas_of_their_operator(&desk).await, Some(0));
    stage.tell("run-main").await;
    let run: OMJob = stage.over("run").await;
    assert_eq!(run.status.as_ref().and_then(|status| status.phase), Some(Phase::Succeeded));
    assert_eq!(stage.uid("run-main").await, main, "there was a second main pod");
    assert_eq!(stage.told("run-exit").await.trim(), "told: Succeeded");

    reader.reads_from(PAGE, "Go back").await;
    assert_eq!(replicas_of_their_operator(&desk).await, Some(1));
    assert_eq!(spec_of_schedule(&desk).await, schedule);
    let pods = desk.api::<Pod>(PIPELINES).list(&ListParams::default()).await.unwrap();
    let held: Vec<String> = pods.iter().flat_map(|pod| pod.finalizers().to_vec()).collect();
    assert!(held.is_empty() && run.finalizers().is_empty(), "{held:?}");
    desk.end().await;
}
