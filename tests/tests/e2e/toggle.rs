//! `toggle` and the two modes: the schedule is as it was asked to be, and there is one.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt;
use kube::api::ObjectMeta;
use ompipe_api::{CronOMJob, OMJob};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Scene, install_crds};

fn scheduled() -> Value {
    json!({ "airflowConfig": { "scheduleInterval": "0 2 * * 0" } })
}

async fn deploy(scene: &Scene, config: &str, pipeline: &str) {
    let service = scene.service();
    let deploy = ["deploy", "-c", config, "-f", pipeline, "--service", &service];
    scene.ompipe(&deploy).await.good();
}

/// Kinds of the schedules of a scene, and whether each is suspended. The garbage collector takes a
/// moment to let go of what was deleted, and half a minute to hear of a new kind.
async fn schedules(scene: &Scene) -> Vec<(&'static str, bool)> {
    let stays = |metadata: &ObjectMeta| metadata.deletion_timestamp.is_none();
    let cron_jobs = scene.ours::<CronJob>().await.into_values().filter(|c| stays(&c.metadata));
    let cron_jobs = cron_jobs.map(|c| ("CronJob", c.spec.unwrap().suspend == Some(true)));
    let cron_om_jobs = scene.ours::<CronOMJob>().await.into_values();
    let cron_om_jobs = cron_om_jobs.filter(|c| stays(&c.metadata));
    cron_jobs.chain(cron_om_jobs.map(|c| ("CronOMJob", c.spec.suspend == Some(true)))).collect()
}

#[rstest]
#[case::job(false, "CronJob")]
#[case::operator(true, "CronOMJob")]
#[tokio::test]
async fn the_schedule_is_as_asked_for_however_often(#[case] operator: bool, #[case] kind: &str) {
    let scene = Scene::new("toggle").await;
    install_crds(&scene.client).await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let config = scene.config(&json!({ "useOMJobOperator": operator }));
    deploy(&scene, &config, &pipeline).await;
    for (flag, word, suspended, change) in [
        ("--disable", "disabled", true, "configured"),
        ("--disable", "disabled", true, "unchanged"),
        ("--enable", "enabled", false, "configured"),
        ("--enable", "enabled", false, "unchanged"),
    ] {
        let toggled = scene.ompipe(&["toggle", "-c", &config, "nightly", flag]).await.good().stdout;
        assert!(toggled.contains(&format!("is {word}")) && toggled.contains(change), "{toggled}");
        assert_eq!(schedules(&scene).await, [(kind, suspended)]);
    }
    scene.ompipe(&["toggle", "-c", &config, "nightly", "--disable"]).await.good();
    deploy(&scene, &config, &pipeline).await;
    assert_eq!(
        schedules(&scene).await,
        [(kind, true)],
        "a file that does not say it changes nothing"
    );
    let mut enabled = scheduled();
    enabled["enabled"] = true.into();
    let pipeline = scene.pipeline("nightly", &enabled);
    deploy(&scene, &config, &pipeline).await;
    assert_eq!(schedules(&scene).await, [(kind, false)], "a file that says it decides");
    scene.end().await;
}

#[tokio::test]
async fn what_has_no_schedule_says_so_and_what_is_not_deployed_is_an_error() {
    let scene = Scene::new("toggle").await;
    let pipeline = scene.pipeline("nightly", &json!({}));
    let config = scene.config(&json!({}));
    let toggle = ["toggle", "-c", &config, "-f", &pipeline, "--disable"];
    let refused = scene.ompipe(&toggle).await.ended_with(2);
    assert!(refused.stderr.contains("no deployed pipeline is called"), "{}", refused.stderr);
    deploy(&scene, &config, &pipeline).await;
    let toggled = scene.ompipe(&toggle).await.good().stdout;
    assert_eq!(toggled, "pipeline shop.nightly has no schedule: it runs on demand only\n");
    scene.end().await;
}

#[tokio::test]
async fn a_change_of_mode_leaves_one_schedule_and_its_runs() {
    let scene = Scene::new("modes").await;
    install_crds(&scene.client).await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let service = scene.service();
    for (operator, kind) in [(false, "CronJob"), (true, "CronOMJob"), (false, "CronJob")] {
        let config = scene.config(&json!({
            "useOMJobOperator": operator, "concurrencyPolicy": "Allow",
            "extraEnvVars": ["WORKER_MAIN:sleep 600"],
        }));
        deploy(&scene, &config, &pipeline).await;
        assert_eq!(schedules(&scene).await, [(kind, false)]);
        let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service];
        scene.ompipe(&run).await.good();
    }
    assert_eq!((scene.ours::<Job>().await.len(), scene.ours::<OMJob>().await.len()), (2, 1));
    let config = scene.config(&json!({ "useOMJobOperator": true }));
    let status = scene.ompipe(&["status", "-c", &config, "nightly", "-o", "json"]).await.good();
    let status = status.json();
    let mut kinds: Vec<&str> =
        status.as_array().unwrap().iter().map(|run| run["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["Job", "Job", "OMJob"], "the runs of both modes are seen");
    scene.ompipe(&["delete", "-c", &config, "nightly"]).await.good();
    let job_names = scene.ours::<Job>().await;
    assert!(job_names.values().all(|job| job.metadata.deletion_timestamp.is_some()));
    assert!(scene.ours::<OMJob>().await.is_empty());
    scene.end().await;
}

#[tokio::test]
async fn a_refused_change_of_mode_leaves_the_former_schedule() {
    use crate::access::limited_kubeconfig;
    let scene = Scene::new("modes").await;
    install_crds(&scene.client).await;
    let pipeline = scene.pipeline("nightly", &scheduled());
    let config = scene.config(&json!({}));
    deploy(&scene, &config, &pipeline).await;
    let before = scene.ours::<CronJob>().await.into_values().next().unwrap();
    let everything = ["get", "list", "create", "update", "patch", "delete"];
    let rules = json!([
        { "apiGroups": [""], "resources": ["secrets", "configmaps", "pods"], "verbs": everything },
        { "apiGroups": ["batch"], "resources": ["cronjobs", "jobs"], "verbs": everything },
        { "apiGroups": ["pipelines.openmetadata.org"], "resources": ["cronomjobs", "omjobs"], "verbs": ["get", "list"] },
    ]);
    let kubeconfig = limited_kubeconfig(&scene, "deployer", &rules).await;
    let config = scene.config(&json!({ "useOMJobOperator": true }));
    let service = scene.service();
    let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service];
    let refused = scene.ompipe_with(&deploy, &[("KUBECONFIG", &kubeconfig)]).await.ended_with(3);
    assert!(refused.stderr.contains("cannot patch resource \"cronomjobs\""), "{}", refused.stderr);
    let after = scene.ours::<CronJob>().await.into_values().next().unwrap();
    assert_eq!((after.name_any(), after.spec), (before.name_any(), before.spec));
    assert_eq!(schedules(&scene).await, [("CronJob", false)]);
    scene.end().await;
}
