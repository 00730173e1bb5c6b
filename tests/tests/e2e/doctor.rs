//! `doctor`: what works is good, and what does not is named with its remedy.

use k8s_openapi::api::core::v1::{LimitRange, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::Role;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use ompipe_tests::api_proxy::{ApiFault, ApiProxy, Failure};
use serde_json::{Value, json};

use crate::access::{documented_rules, limited_kubeconfig};
use crate::support::{Scene, VERSION, eventually, install_crds};

/// What the doctor finds about a pipeline, or without one.
async fn findings(scene: &Scene, config: &str, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let outcome = scene.ompipe(&[&["doctor", "-c", config, "-o", "json"], more].concat()).await;
    let findings = outcome.json().as_array().unwrap().clone();
    (outcome.code, findings)
}

/// The checks that did not come out good, with their details.
fn troubles(findings: &[Value]) -> Vec<(String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let troubled = findings.iter().filter(|finding| finding["verdict"] != "good");
    troubled
        .map(|finding| {
            assert!(!text(finding, "remedy").is_empty(), "{finding}");
            (text(finding, "check"), text(finding, "detail"))
        })
        .collect()
}

/// What a check found: verdict and detail.
#[track_caller]
fn of_check(findings: &[Value], check: &str) -> (String, String) {
    let found = findings.iter().find(|finding| finding["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no check {check}: {findings:?}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("detail"))
}

async fn deployed(scene: &Scene, parameters: &Value) -> (String, String) {
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let config = scene.config(parameters);
    scene.ompipe(&["deploy", "-c", &config, "-f", &pipeline, "--service", &service]).await.good();
    (config, pipeline)
}

#[tokio::test]
async fn a_good_run_is_good() {
    let scene = Scene::new("doctor").await;
    scene.add_nightly();
    let (config, _) = deployed(&scene, &json!({})).await;
    let (code, found) = findings(&scene, &config, &["nightly"]).await;
    // The worker's image has no version to compare, and that is all.
    let checks: Vec<String> = troubles(&found).into_iter().map(|(check, _)| check).collect();
    assert_eq!((code, checks), (Some(0), vec!["OpenMetadata".to_owned()]), "{found:?}");
    scene.ompipe(&["run", "-c", &config, "nightly", "--follow"]).await.good();
    let (_, found) = findings(&scene, &config, &["nightly"]).await;
    let checks: Vec<&str> =
        found.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    for check in [
        "cluster",
        "service account",
        "rights of runs",
        "preStop hook",
        "grace period",
        "variables",
        "job name",
    ] {
        assert!(checks.contains(&check), "{check} is not among {checks:?}");
    }
    assert_eq!(troubles(&found).len(), 1, "{found:?}");
    let table = scene.ompipe(&["doctor", "-c", &config, "nightly"]).await.good().stdout;
    assert!(table.contains("ok     preStop hook: python exit_handler.py"), "{table}");
    scene.end().await;
}

/// With the Role of docs/rbac.yaml, every check has an answer.
#[tokio::test]
async fn the_documented_rights_suffice_for_every_check() {
    let scene = Scene::new("doctor").await;
    scene.add_nightly();
    let (config, _) = deployed(&scene, &json!({})).await;
    let (_, unlimited) = findings(&scene, &config, &["nightly"]).await;
    let kubeconfig = limited_kubeconfig(&scene, "caller", &documented_rules()).await;
    let doctor = ["doctor", "-c", &config, "-o", "json", "nightly"];
    let limited = scene.ompipe_with(&doctor, &[("KUBECONFIG", kubeconfig.as_str())]).await.json();
    assert_eq!(limited.as_array().unwrap(), &unlimited);
    scene.end().await;
}

#[tokio::test]
async fn what_runs_need_and_have_not_is_named() {
    let scene = Scene::new("doctor").await;
    let account: ServiceAccount = crate::support::from(json!({ "metadata": { "name": "bare" } }));
    scene.api().create(&PostParams::default(), &account).await.unwrap();
    for (parameters, check, words) in [
        (
            json!({ "serviceAccountName": "absent" }),
            "service account",
            "there is no service account absent",
        ),
        (
            json!({ "serviceAccountName": "bare" }),
            "rights of runs",
            "bare may not: list pods, get pods/log",
        ),
        (json!({ "namespace": "no-such-namespace" }), "cluster", "there is no namespace"),
    ] {
        let config = scene.config(&parameters);
        let (code, found) = findings(&scene, &config, &[]).await;
        let troubles = troubles(&found);
        let is_told = troubles.iter().any(|(at, detail)| at == check && detail.contains(words));
        assert!(code == Some(1) && is_told, "{found:?}");
    }
    scene.end().await;
}

#[tokio::test]
async fn a_run_that_cannot_start_says_what_to_do() {
    let scene = Scene::new("doctor").await;
    let absent = json!({ "ingestionImage": "ompipe.local/none:1", "imagePullPolicy": "Never" });
    let (config, _) = deployed(&scene, &absent).await;
    scene.ompipe(&["run", "-c", &config, "nightly"]).await.good();
    let detail = eventually("the image that is missing", || async {
        let (code, found) = findings(&scene, &config, &["nightly"]).await;
        let run = troubles(&found).into_iter().find(|(check, _)| check == "run");
        run.filter(|_| code == Some(1)).ok_or_else(|| format!("{found:?}"))
    })
    .await;
    assert!(detail.1.contains("(ImagePull)"), "{detail:?}");
    scene.end().await;
}

#[tokio::test]
async fn a_limit_range_that_refuses_the_pod_is_named_with_what_to_change() {
    let scene = Scene::new("doctor").await;
    let floor: LimitRange = crate::support::from(json!({
        "metadata": { "name": "floor" },
        "spec": { "limits": [{ "type": "Container", "min": { "memory": "1Gi" } }] },
    }));
    scene.api().create(&PostParams::default(), &floor).await.unwrap();
    let (config, _) = deployed(&scene, &json!({})).await;
    scene.ompipe(&["run", "-c", &config, "nightly"]).await.good();
    let run = eventually("the refusal", || async {
        let (_, found) = findings(&scene, &config, &["nightly"]).await;
        let run =
            found.iter().find(|finding| finding["check"] == "run" && finding["verdict"] != "good");
        run.cloned().ok_or_else(|| format!("{found:?}"))
    })
    .await;
    let (detail, remedy) = (run["detail"].as_str().unwrap(), run["remedy"].as_str().unwrap());
    assert!(detail.contains("minimum memory usage per Container is 1Gi"), "{detail}");
    assert!(remedy.contains("exitHandlerResources"), "{remedy}");
    scene.end().await;
}

#[tokio::test]
async fn a_hook_that_fails_is_found() {
    let scene = Scene::new("doctor").await;
    let (config, pipeline) = deployed(&scene, &json!({ "extraEnvVars": [
        "WORKER_MAIN:trap 'exit 1' TERM; echo up; sleep 600 & wait", "WORKER_EXIT_HANDLER:exit 7",
    ]}))
    .await;
    scene.ompipe(&["run", "-c", &config, "nightly"]).await.good();
    let pod = eventually("a worker that is up", || async {
        let logs = scene.ompipe(&["logs", "-c", &config, "--file", &pipeline]).await;
        if logs.stdout != "up\n" {
            return Err(logs.stderr);
        }
        scene.ours::<Pod>().await.into_keys().next().ok_or_else(|| "no pod".to_owned())
    })
    .await;
    scene.api::<Pod>().delete(&pod, &DeleteParams::default()).await.unwrap();
    eventually("the failed hook", || async {
        let (_, found) = findings(&scene, &config, &["nightly"]).await;
        let told = troubles(&found)
            .into_iter()
            .any(|(check, detail)| check == "hook events" && detail.contains("FailedPreStopHook"));
        if told { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    scene.end().await;
}

#[tokio::test]
async fn a_right_of_the_caller_that_is_missing_is_named() {
    let mut scene = Scene::new("doctor").await;
    let mut rules = documented_rules();
    rules.as_array_mut().unwrap().retain(|rule| rule["resources"] != json!(["cronjobs"]));
    scene.kubeconfig = limited_kubeconfig(&scene, "caller", &rules).await;
    let config = scene.config(&json!({}));
    let (code, found) = findings(&scene, &config, &[]).await;
    let (verdict, detail) = of_check(&found, "cluster");
    assert_eq!((code, verdict.as_str()), (Some(1), "bad"), "{found:?}");
    assert!(detail.contains("create cronjobs.batch"), "{detail}");
    scene.end().await;
}

/// Other tests need the custom resources, so a proxy says that the cluster does not have them.
#[tokio::test]
async fn custom_resources_that_operator_mode_needs_are_missed() {
    let mut scene = Scene::new("doctor").await;
    install_crds(&scene.client).await;
    let config = scene.config(&json!({ "useOMJobOperator": true }));
    let (_, found) = findings(&scene, &config, &[]).await;
    assert_eq!(of_check(&found, "cluster").0, "good", "{found:?}");
    let proxy = ApiProxy::start(scene.client.clone()).await.unwrap();
    proxy.inject(ApiFault::new(Failure::Status(404)).on_path("/omjobs"));
    scene.kubeconfig = scene.file("proxy.kubeconfig", &proxy.kubeconfig());
    let (code, found) = findings(&scene, &config, &[]).await;
    let (verdict, detail) = of_check(&found, "cluster");
    assert_eq!((code, verdict.as_str()), (Some(1), "bad"), "{found:?}");
    assert!(detail.contains("is not installed"), "{detail}");
    scene.end().await;
}

#[tokio::test]
async fn openmetadata_and_its_release_are_checked_without_a_token_too() {
    let scene = Scene::new("doctor").await;
    let of_tag = |tag: &str| json!({ "ingestionImage": format!("registry.example.com/i:{tag}") });
    scene.standin.play(VERSION);
    for (tag, verdict, words) in [
        (VERSION, "good", "version "),
        ("1.1.0", "bad", "the server has version "),
        ("test", "warning", "names none"),
    ] {
        let config = scene.config(&of_tag(tag));
        let (_, found) = findings(&scene, &config, &[]).await;
        let (is, detail) = of_check(&found, "OpenMetadata");
        assert!(is == verdict && detail.contains(words), "{tag}: {found:?}");
    }
    let mut document = scene.config_document(&of_tag(VERSION));
    document["pipelineServiceClientConfiguration"]["metadataApiEndpoint"] =
        "http://127.0.0.1:1/api".into();
    let config = scene.file("elsewhere.json", &document);
    let (code, found) = findings(&scene, &config, &[]).await;
    assert_eq!((code, of_check(&found, "OpenMetadata").0.as_str()), (Some(1), "bad"), "{found:?}");
    scene.end().await;
}

#[tokio::test]
async fn a_paused_schedule_and_a_pod_template_that_breaks_the_hook_are_found() {
    let scene = Scene::new("doctor").await;
    let template = json!({ "spec": { "terminationGracePeriodSeconds": 5, "containers": [
        { "name": "main", "lifecycle": { "preStop": { "exec": { "command": ["true"] } } } },
    ]}});
    let config = scene.config(&json!({ "podTemplate": template }));
    let pipeline = scene.scheduled_nightly();
    scene.ompipe(&["deploy", "-c", &config, "-f", &pipeline]).await.good();
    let (_, found) = findings(&scene, &config, &["nightly"]).await;
    assert_eq!(of_check(&found, "schedule"), ("good".to_owned(), "it is enabled".to_owned()));
    scene.ompipe(&["pause", "-c", &config, "nightly"]).await.good();
    scene.ompipe(&["run", "-c", &config, "nightly"]).await.good();
    scene.ompipe(&["wait", "-c", &config, "nightly", "--timeout", "5m"]).await.good();
    let (code, found) = findings(&scene, &config, &["nightly"]).await;
    let is = |check: &str| of_check(&found, check).0;
    assert_eq!(
        (code, is("schedule").as_str(), is("preStop hook").as_str(), is("grace period").as_str()),
        (Some(1), "warning", "bad", "bad"),
        "{found:?}"
    );
    scene.end().await;
}

#[tokio::test]
async fn fix_creates_the_account_of_the_runs_and_changes_none_that_exists() {
    let scene = Scene::new("doctor").await;
    let own = scene.api::<Role>().get("openmetadata-ingestion").await.unwrap();
    let config = scene.config(&json!({}));
    let untouched = scene.ompipe(&["doctor", "-c", &config, "--fix"]).await;
    assert!(!untouched.stderr.contains("created"), "{}", untouched.stderr);
    let after = scene.api::<Role>().get("openmetadata-ingestion").await.unwrap();
    assert_eq!(after.resource_version(), own.resource_version());

    let config = scene.config(&json!({ "serviceAccountName": "absent" }));
    let (_, found) = findings(&scene, &config, &[]).await;
    assert_eq!(of_check(&found, "service account").0, "bad");
    let fixed = scene.ompipe(&["doctor", "-c", &config, "--fix"]).await;
    for kind in ["ServiceAccount", "Role", "RoleBinding"] {
        let line = format!("{kind:<9} absent created");
        assert!(fixed.stderr.contains(&line), "{line}: {}", fixed.stderr);
    }
    // The authorizer of a busy API server learns of a new binding a moment later.
    eventually("rights of the account", || async {
        let (_, found) = findings(&scene, &config, &[]).await;
        let both = [of_check(&found, "service account").0, of_check(&found, "rights of runs").0];
        if both == ["good", "good"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    scene.end().await;
}

#[tokio::test]
async fn fix_reports_an_end_that_openmetadata_does_not_have() {
    let scene = Scene::new("doctor").await;
    scene.add_nightly();
    let (config, _) = deployed(&scene, &json!({})).await;
    scene.ompipe(&["run", "-c", &config, "nightly"]).await.good();
    scene.ompipe(&["wait", "-c", &config, "nightly", "--timeout", "5m"]).await.good();
    let (code, found) = findings(&scene, &config, &["nightly"]).await;
    let (verdict, detail) = of_check(&found, "status in OpenMetadata");
    assert_eq!((code, verdict.as_str()), (Some(1), "bad"), "{found:?}");
    assert!(detail.contains("no row of the run"), "{detail}");
    let fixed = scene.ompipe(&["doctor", "-c", &config, "nightly", "--fix"]).await.good();
    assert!(fixed.stderr.contains("reported to OpenMetadata: success"), "{}", fixed.stderr);
    let again = scene.ompipe(&["doctor", "-c", &config, "nightly", "--fix"]).await.good();
    assert!(!again.stderr.contains("reported"), "{}", again.stderr);
    assert_eq!(scene.standin.rows("shop.nightly").len(), 1);
    scene.end().await;
}
