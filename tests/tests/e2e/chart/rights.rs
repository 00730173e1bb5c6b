//! Least rights: each resource of the chart's Roles is taken away in turn, and something breaks. That
//! every single verb is used, and none beside them, is shown in `operator::rights` for the operator.

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use ompipe_core::yaml;
use ompipe_tests::helm::{Release, documents};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::limited_kubeconfig;
use crate::operator::{Operator, Stage};
use crate::support::{Bed, Scene};

/// The rules of the chart's Roles whose names end so, without those on `resource`, if there is one.
fn rules_without(resource: &str, roles: &[&str]) -> Value {
    let values = json!({
        "server": { "credentials": { "username": "u", "password": "p" } },
        "pipelineServiceClientConfig": { "k8s": { "ingestionImage": "x:1" } },
    });
    let text = Release::rendered("release", "ns").template(&values, &[]).unwrap();
    let objects = documents(&text).map(|document| yaml::parse(document).unwrap());
    let is_meant = |o: &Value| {
        let name = o["metadata"]["name"].as_str().unwrap();
        o["kind"] == "Role" && roles.iter().any(|role| name == format!("release-ompipe-{role}"))
    };
    let mut rules: Vec<Value> = Vec::new();
    for mut role in objects.filter(is_meant) {
        rules.append(role["rules"].as_array_mut().unwrap());
    }
    let is_there = resource.is_empty() || rules.iter().any(|rule| has(rule, resource));
    assert!(is_there, "no Role has {resource}");
    for rule in &mut rules {
        rule["resources"].as_array_mut().unwrap().retain(|one| one != resource);
        // The Lease has another name here.
        rule.as_object_mut().unwrap().remove("resourceNames");
    }
    rules.retain(|rule| rule["resources"] != json!([]));
    Value::Array(rules)
}

fn has(rule: &Value, resource: &str) -> bool {
    rule["resources"].as_array().unwrap().iter().any(|one| one == resource)
}

/// What an operator cannot do without a right.
#[derive(Clone, Copy, Debug)]
enum Breaks {
    /// It never becomes ready.
    Start,
    /// A run gets no phase.
    Phase,
    /// Nobody learns of a run whose exit handler failed.
    Report,
    /// A plain Job is not reported, or not described.
    Jobs,
    /// There is no event.
    Events,
}

#[rstest]
#[case::omjobs("omjobs", "list", Breaks::Start)]
#[case::cronomjobs("cronomjobs", "list", Breaks::Start)]
#[case::pods("pods", "list", Breaks::Start)]
#[case::leases("leases", "get", Breaks::Start)]
#[case::status("omjobs/status", "patch", Breaks::Phase)]
#[case::secrets("secrets", "get", Breaks::Report)]
#[case::jobs("jobs", "list", Breaks::Jobs)]
#[case::logs("pods/log", "get", Breaks::Jobs)]
#[case::events("events", "create", Breaks::Events)]
#[tokio::test]
async fn without_a_right_the_operator(
    #[case] resource: &str,
    #[case] verb: &str,
    #[case] breaks: Breaks,
) {
    let stage = Stage::new("less").await;
    let rules = rules_without(resource, &["operator", "operator-lease"]);
    let kubeconfig = limited_kubeconfig(&stage.scene, "operator", &rules).await;
    let operator = Operator::start(&stage.scene, &[("KUBECONFIG", &kubeconfig)]);
    let id = Uuid::new_v4();
    if !matches!(breaks, Breaks::Start) {
        operator.ready("leader").await;
        stage.run_that_cannot_report(id).await;
    }
    if matches!(breaks, Breaks::Jobs) {
        stage.play_failing_job().await;
    }
    operator.refused(verb).await;
    match breaks {
        Breaks::Start => assert!(!operator.leads_and_is_ready().await, "{resource} is not needed"),
        Breaks::Phase => {
            let job = stage.jobs().get("run").await.unwrap();
            assert!(job.status.and_then(|status| status.phase).is_none());
        }
        Breaks::Report => assert_eq!(stage.scene.standin.states("shop.nightly", id), []),
        Breaks::Jobs => {}
        Breaks::Events => assert_eq!(stage.events("run").await, Vec::<String>::new()),
    }
    operator.kill().await;
    Operator::drain(&stage.scene).await;
    stage.scene.end().await;
}

/// Calls of the program as the server makes them, and what the API server says to one of them.
#[rstest]
#[case::secrets("secrets")]
#[case::configmaps("configmaps")]
#[case::cronjobs("cronjobs")]
#[case::jobs("jobs")]
#[case::pods("pods")]
#[case::logs("pods/log")]
#[tokio::test]
async fn without_a_right_a_call_of_the_servers_is_refused(#[case] resource: &str) {
    let scene = Scene::new("less").await;
    let kubeconfig =
        limited_kubeconfig(&scene, "server", &rules_without(resource, &["server"])).await;
    let access = [("KUBECONFIG", kubeconfig.as_str())];
    let config = scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:echo hello"] }));
    let fields = json!({ "airflowConfig": { "scheduleInterval": "@daily" } });
    let (pipeline, service) = (scene.pipeline("nightly", &fields), scene.service());
    // An administrator deploys what the limited caller could not, so that every call is tried.
    let deploy = ["deploy", "-c", &config, "-f", &pipeline, "--service", &service];
    let run = ["run", "-c", &config, "nightly", "--follow"];
    let mut said = scene.ompipe_with(&deploy, &access).await.stderr;
    scene.ompipe(&deploy).await.good();
    said += &scene.ompipe_with(&run, &access).await.stderr;
    // One that started all the same is enough for what follows.
    drop(scene.ompipe(&run).await);
    for call in ["status", "logs"] {
        said += &scene.ompipe_with(&[call, "-c", &config, "nightly"], &access).await.stderr;
    }
    assert!(said.contains(&format!(" resource \"{resource}\" in API group")), "{resource}: {said}");
    scene.end().await;
}

impl Stage {
    /// A plain Job of ours that fails without a word, with an exit handler that reports nothing.
    async fn play_failing_job(&self) {
        let config = self.scene.config(&json!({ "extraEnvVars": ["WORKER_MAIN:exit 3"] }));
        let (pipeline, service) =
            (self.scene.pipeline("nightly", &json!({})), self.scene.service());
        self.scene
            .ompipe(&["deploy", "-c", &config, "-f", &pipeline, "--service", &service])
            .await
            .good();
        self.scene.ompipe(&["run", "-c", &config, "nightly"]).await.good();
    }
}

/// What the row of a plain Job's run says, where the account of the run lacks a right.
#[rstest]
#[case::pods("pods", "Nothing is known about the pod: the API server answers 403")]
#[case::logs("pods/log", "(cannot be read: the API server answers 403")]
#[tokio::test]
async fn without_a_right_the_exit_handler_tells_less_and_the_end_all_the_same(
    #[case] resource: &str,
    #[case] words: &str,
) {
    let scene = Scene::new("less").await;
    scene.add_nightly();
    limited_kubeconfig(&scene, "runs", &rules_without(resource, &["ingestion"])).await;
    let config = scene.config(&json!({
        "extraEnvVars": ["WORKER_MAIN:exit 3"], "serviceAccountName": "runs",
        "exitHandlerImage": Bed::exit_handler_image(),
    }));
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--follow"];
    scene.ompipe(&run).await.ended_with(1);
    let row = scene.standin.rows("shop.nightly").remove(0);
    assert_eq!(row["pipelineState"], "failed", "{row}");
    assert!(row.to_string().contains(words), "{row}");
    scene.end().await;
}

/// Without the right to read its Job, the first attempt of two reports an end that is none yet.
#[rstest]
#[case::with_it("", true)]
#[case::without_it("jobs", false)]
#[tokio::test]
async fn without_its_job_an_exit_handler_cannot_tell_the_last_attempt(
    #[case] without: &str,
    #[case] waits: bool,
) {
    let scene = Scene::new("less").await;
    scene.add_nightly();
    limited_kubeconfig(&scene, "runs", &rules_without(without, &["ingestion"])).await;
    let config = scene.config(&json!({
        "extraEnvVars": ["WORKER_MAIN:exit 3"], "serviceAccountName": "runs", "backoffLimit": 1,
        "exitHandlerImage": Bed::exit_handler_image(),
    }));
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service, "--follow"];
    scene.ompipe(&run).await.ended_with(1);
    let mut said = String::new();
    for pod in scene.ours::<Pod>().await.into_keys() {
        said += &scene.api::<Pod>().logs(&pod, &LogParams::default()).await.unwrap();
    }
    assert_eq!(said.contains("another attempt of the run follows"), waits, "{said}");
    assert_eq!(scene.standin.rows("shop.nightly")[0]["pipelineState"], "failed");
    scene.end().await;
}
