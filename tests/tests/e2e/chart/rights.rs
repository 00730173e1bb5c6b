//! Least rights: each resource of the chart's Roles is taken away in turn, and something breaks. That
//! every single verb is used, and none beside them, is shown in `operator::rights` for the operator, and in
//! [`super::verbs`] for the server. The account of the runs has no resource with more than one verb.

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use ompipe_core::yaml;
use ompipe_tests::helm::{Release, documents};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::limited_kubeconfig;
use crate::operator::{Operator, Stage};
use crate::support::{Bed, Scene, UNTIL_TOLD, eventually};

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

/// What the cluster did with the pod is in the row; with all rights of the chart nothing is refused.
#[rstest]
#[case::with_it("", true)]
#[case::without_it("events", false)]
#[tokio::test]
async fn without_events_an_exit_handler_tells_none(#[case] without: &str, #[case] tells: bool) {
    let stage = Stage::new("less").await;
    let scene = &stage.scene;
    scene.add_nightly();
    limited_kubeconfig(scene, "runs", &rules_without(without, &["ingestion"])).await;
    let config = scene.config(&json!({
        "extraEnvVars": [format!("WORKER_MAIN:{UNTIL_TOLD}; exit 3")], "serviceAccountName": "runs",
        "exitHandlerImage": Bed::exit_handler_image(),
    }));
    let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
    let run = ["run", "-c", &config, "-f", &pipeline, "--service", &service];
    scene.ompipe(&run).await.good();
    let pod = eventually("a pod with events", || async {
        let pods = scene.ours::<Pod>().await.into_keys();
        let pod = pods.last().ok_or("no pod")?;
        if stage.events(&pod).await.is_empty() { Err("no event".to_owned()) } else { Ok(pod) }
    })
    .await;
    stage.running(&pod).await;
    stage.tell(&pod).await;
    let row = eventually("the end of the run", || async {
        let row = scene.standin.rows("shop.nightly").pop().ok_or("no row")?;
        if row["pipelineState"] == "failed" { Ok(row.to_string()) } else { Err(row.to_string()) }
    })
    .await;
    assert_eq!(row.contains("Events:"), tells, "{row}");
    assert!(!row.contains("403"), "{row}");
    stage.scene.end().await;
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
