//! A release from its installation to its end, with runs under way all the time.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use ompipe_api::{OMJob, Phase};
use serde_json::json;

use super::installed::{Home, helm};
use crate::operator::Stage;
use crate::support::{UNTIL_TOLD, eventually};

fn phase(job: &OMJob) -> Option<Phase> {
    job.status.as_ref().and_then(|status| status.phase)
}

impl Home {
    /// What is left of a release, of every kind that the chart makes.
    async fn left(&self, release: &str) -> Vec<String> {
        let mut left = Vec::new();
        macro_rules! look {
            ($($kind:ty),*) => {$(
                let ours = ListParams::default().labels(&format!("app.kubernetes.io/instance={release}"));
                for api in [self.api::<$kind>(), self.stage.scene.api()] {
                    let listed = api.list(&ours).await.unwrap();
                    left.extend(listed.iter().map(|o| format!("{} {}", stringify!($kind), o.name_any())));
                }
            )*};
        }
        look!(
            Pod,
            Deployment,
            Job,
            Lease,
            ConfigMap,
            Secret,
            Service,
            ServiceAccount,
            PodDisruptionBudget,
            Role,
            RoleBinding
        );
        left
    }

    /// Starts a run that ends when it is told to, and waits until it runs.
    async fn start(&self, name: &str) -> String {
        self.stage.run(name, UNTIL_TOLD, json!({})).await;
        self.stage.running(&format!("{name}-main")).await;
        self.stage.uid(&format!("{name}-main")).await
    }

    /// Lets a run end, and sees that it ended well, once, with its exit handler.
    async fn ends_well(&self, name: &str, main: &str) {
        let (main_pod, exit_pod) = (format!("{name}-main"), format!("{name}-exit"));
        self.stage.tell(&main_pod).await;
        let job = self.stage.over(name).await;
        assert_eq!(phase(&job), Some(Phase::Succeeded), "{:?}", job.status);
        assert_eq!(self.stage.uid(&main_pod).await, main, "there was a second main pod");
        assert_eq!(self.stage.told(&exit_pod).await.trim(), "told: Succeeded");
    }

    /// The pods of the operator, which are all ready.
    async fn operators(&self) -> Vec<String> {
        let ours = ListParams::default().labels("app.kubernetes.io/component=operator");
        let pods = self.api::<Pod>().list(&ours).await.unwrap();
        pods.into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(|pod| pod.name_any())
            .collect()
    }
}

/// It takes over a minute: Helm installs, upgrades, rolls back and uninstalls, and each step waits for
/// Deployments or a drain.
#[tokio::test]
async fn runs_outlive_upgrade_and_rollback_and_nothing_outlives_the_release() {
    let home = Home::new("chart").await;
    let release = home.release("blue");
    let (before, after) =
        (home.operator(&json!({})), home.operator(&json!({ "env": { "logLevel": "debug" } })));
    let notes = helm(&release, move |release| release.install(&before)).await;
    assert!(
        notes.contains(&format!("The operator works in: {}", home.stage.scene.namespace)),
        "{notes}"
    );
    let first = home.operators().await;
    assert_eq!(first.len(), 2, "{first:?}");

    let main = home.start("upgraded").await;
    helm(&release, move |release| release.upgrade(&after)).await;
    let second = home.operators().await;
    assert!(second.iter().all(|pod| !first.contains(pod)), "{first:?} are still there");
    home.ends_well("upgraded", &main).await;

    let main = home.start("rolled-back").await;
    helm(&release, ompipe_tests::helm::Release::roll_back).await;
    home.ends_well("rolled-back", &main).await;

    home.start("left").await;
    helm(&release, ompipe_tests::helm::Release::uninstall).await;
    eventually("nothing that is left", || async {
        let left = home.left("blue").await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    // The run goes on, and nothing but itself holds it.
    home.stage.running("left-main").await;
    let job = home.stage.jobs().get("left").await.unwrap();
    let pod = home.stage.pods().get("left-main").await.unwrap();
    assert_eq!((job.finalizers(), pod.finalizers()), (&[][..], &[][..]));
    home.stage.jobs().delete("left", &DeleteParams::background()).await.unwrap();
    home.stage.gone("left").await;
    home.end().await;
}

/// It takes a minute: Helm installs and uninstalls two releases, each with a drain.
#[tokio::test]
async fn two_releases_for_the_same_runs_in_one_namespace_get_on() {
    let home = Home::new("chartpair").await;
    let (blue, green) = (home.release("blue"), home.release("green"));
    let single = home.operator(&json!({ "replicas": 1 }));
    let other = single.clone();
    helm(&blue, move |release| release.install(&single)).await;
    helm(&green, move |release| release.install(&other)).await;
    let main = home.start("both").await;
    home.ends_well("both", &main).await;
    let main = home.start("left-to-one").await;
    helm(&blue, ompipe_tests::helm::Release::uninstall).await;
    home.ends_well("left-to-one", &main).await;
    helm(&green, ompipe_tests::helm::Release::uninstall).await;
    home.end().await;
}

/// What a drain leaves behind holds up nobody who comes after it.
/// It takes a minute: Helm installs twice and uninstalls once, with a drain.
#[tokio::test]
async fn a_release_installed_again_works_at_once() {
    let home = Home::new("chartagain").await;
    let release = home.release("blue");
    for name in ["first", "second"] {
        let values = home.operator(&json!({ "replicas": 1 }));
        helm(&release, move |release| release.install(&values)).await;
        home.stage.run(name, "true", json!({ "exitHandlerSpec": Stage::shell("true") })).await;
        let job = home.stage.over(name).await;
        assert_eq!(phase(&job), Some(Phase::Succeeded));
        helm(&release, ompipe_tests::helm::Release::uninstall).await;
    }
    home.end().await;
}

/// The chart of the first commit that landed with one. A shallow clone does not have it.
fn first_chart() -> tempfile::TempDir {
    const FIRST: &str = "5118d30992147c6bb850aa3675088bb02a9ecd44";
    let directory = tempfile::tempdir().unwrap();
    let archive = std::process::Command::new("git")
        .args(["-C", &ompipe_tests::helm::repository("."), "archive", "--format=tar"])
        .args(["-o", directory.path().join("chart.tar").to_str().unwrap(), FIRST, "charts/ompipe"])
        .status();
    assert!(archive.unwrap().success(), "commit {FIRST} is not here: fetch the whole history");
    let extracted = std::process::Command::new("tar")
        .args(["-x", "-f", "chart.tar"])
        .current_dir(directory.path())
        .status();
    assert!(extracted.unwrap().success());
    directory
}

/// A new release has its runs in a namespace of their own, which an upgrade makes of no former one.
/// It takes a minute: Helm installs and upgrades, and waits for Deployments.
#[tokio::test]
async fn an_upgrade_of_the_first_chart_leaves_runs_where_they_are() {
    let chart = first_chart();
    let home = Home::new("chartfirst").await;
    let release = home.release("blue");
    let mut values = home.operator(&json!({ "replicas": 1 }));
    values["pipelineServiceClientConfig"]["k8s"].as_object_mut().unwrap().remove("namespace");
    let path = chart.path().join("charts/ompipe").display().to_string();
    let (first, before) = (release.clone().of_chart(&path), values.clone());
    helm(&first, move |release| release.install(&before)).await;
    let after = values.clone();
    let notes = helm(&release, move |release| release.upgrade(&after)).await;
    let stays = format!("Runs live in namespace {}.", home.namespace);
    assert!(notes.contains(&stays), "{notes}");
    assert!(notes.contains(&format!("The operator works in: {}", home.namespace)), "{notes}");
    // The next upgrade knows it too.
    let again = values.clone();
    let notes = helm(&release, move |release| release.upgrade(&again)).await;
    assert!(notes.contains(&stays), "{notes}");
    let roles = home.api::<Role>().list(&ListParams::default()).await.unwrap();
    let roles: Vec<String> = roles.iter().map(ResourceExt::name_any).collect();
    assert!(roles.iter().any(|name| name == "blue-ompipe-operator"), "{roles:?}");
    let fresh = home.release("green");
    let notes = helm(&fresh, move |release| release.notes_of_cluster(&values)).await;
    assert!(notes.contains("Runs live in namespace openmetadata-pipelines."), "{notes}");
    helm(&release, ompipe_tests::helm::Release::uninstall).await;
    home.end().await;
}
