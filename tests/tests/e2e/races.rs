//! Operations on one pipeline at the same time, over HTTP with two replicas and by the command line:
//! afterwards the pipeline is there whole, or nothing of it is.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use ompipe_tests::chaos::Dice;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::serve::{deployable, shop};
use crate::support::{Answer, Scene, Serving, VERSION, eventually, from};

/// Where the generated interleavings begin; a failure names the round.
const SEED: u64 = 17;
/// Rounds of each pair.
const ROUNDS: u64 = 3;
/// Rounds that are played at the same time, each with a pipeline of its own.
const AT_ONCE: usize = 4;
/// Longest time by which one operation starts later than the other: a deploy takes about as long.
const LONGEST_DELAY_MS: u64 = 90;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Deploy,
    Delete,
    Trigger,
    Toggle,
    Kill,
    /// The controller of CronJobs creates a Job of a schedule that it has read before.
    Slot,
}

use Operation::{Delete, Deploy, Kill, Slot, Toggle, Trigger};

const OPERATIONS: [Operation; 6] = [Deploy, Delete, Trigger, Toggle, Kill, Slot];

/// Who is asked for an operation.
#[derive(Clone, Copy, Debug)]
enum Way {
    Replica(usize),
    CommandLine,
}

const WAYS: [Way; 3] = [Way::Replica(0), Way::Replica(1), Way::CommandLine];

/// One operation of a round.
#[derive(Clone, Copy, Debug)]
struct Step {
    operation: Operation,
    way: Way,
    delay: Duration,
}

/// Two operations on a pipeline of their own.
#[derive(Clone, Debug)]
struct Round {
    name: String,
    steps: [Step; 2],
}

fn rounds() -> Vec<Round> {
    let mut dice = Dice::new(SEED);
    let mut rounds = Vec::new();
    for (at, first) in OPERATIONS.into_iter().enumerate() {
        for second in &OPERATIONS[at..] {
            for _ in 0..ROUNDS {
                let mut step = |operation| Step {
                    operation,
                    way: dice.pick(&WAYS).unwrap(),
                    delay: Duration::from_millis(dice.below(LONGEST_DELAY_MS)),
                };
                let steps = [step(first), step(*second)];
                rounds.push(Round { name: format!("race-{}", rounds.len()), steps });
            }
        }
    }
    rounds
}

/// Two replicas, and the command line with the same configuration.
struct Stage {
    scene: Scene,
    replicas: [Serving; 2],
    config: String,
    service: String,
}

impl Stage {
    async fn new(name: &str) -> Self {
        let scene = shop(name).await;
        // No node fits: what is tested are objects, and pods that never start go at once.
        let parameters = json!({ "nodeSelector": { "test.ompipe/none": "true" } });
        let version = json!({ "openMetadataVersion": VERSION });
        let start = || Serving::with(&scene, &parameters, &version);
        let replicas = [start().await, start().await];
        let (config, service) = (scene.config(&parameters), scene.service());
        Self { scene, replicas, config, service }
    }

    async fn play(&self, round: &Round) -> Result<(), String> {
        let body = self.body(&round.name, "0 3 * * *");
        self.replicas[0].post("deploy", &body).await.is(200);
        let schedule = self.scene.api::<CronJob>().get(&format!("om-cronjob-{}", round.name)).await;
        let (body, schedule) = (changed(&body), schedule.unwrap());
        let steps = round.steps.map(|step| self.step(step, round, &body, &schedule));
        join_all(steps).await;
        self.judge(round).await?;
        self.replicas[1].delete(&round.name).await.is(200);
        eventually("nothing of it", || async { self.nothing_of(&round.name).await }).await;
        Ok(())
    }

    fn body(&self, name: &str, cron: &str) -> Value {
        let schedule = json!({ "scheduleInterval": cron, "maxActiveRuns": 1 });
        let id = Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()).to_string();
        deployable(&self.scene, name, &json!({ "id": id, "airflowConfig": schedule }))
    }

    async fn step(&self, step: Step, round: &Round, body: &Value, schedule: &CronJob) {
        sleep(step.delay).await;
        match (step.operation, step.way) {
            (Slot, _) => self.fire(schedule).await,
            (operation, Way::Replica(at)) => {
                let answer = over_http(&self.replicas[at], operation, &round.name, body).await;
                assert!(may_answer(operation, answer.status), "{round:?}: {}", answer.text);
            }
            (operation, Way::CommandLine) => {
                let file = self.scene.file(&format!("{}.json", round.name), &as_file(body));
                let args = command_line(operation, &round.name, &file, &self.service);
                let outcome = self.scene.ompipe(&[&args[..], &["-c", &self.config]].concat()).await;
                let is_fine = outcome.code == Some(0) || operation != Deploy && operation != Delete
                    // A command finds the pipeline by its name before it does anything.
                    || operation == Delete && outcome.stderr.contains("no deployed pipeline");
                assert!(is_fine, "{round:?}: {outcome:?}");
            }
        }
    }

    /// Creates a Job as the controller of CronJobs does, from the schedule as it was once read.
    async fn fire(&self, schedule: &CronJob) {
        let owner = json!({
            "apiVersion": "batch/v1", "kind": "CronJob", "name": schedule.name_any(),
            "uid": schedule.uid(), "controller": true, "blockOwnerDeletion": true,
        });
        let template = schedule.spec.clone().unwrap().job_template;
        let metadata = template.metadata.unwrap_or_default();
        let job: Job = from(json!({
            "metadata": {
                "name": format!("{}-29400000", schedule.name_any()), "ownerReferences": [owner],
                "labels": metadata.labels, "annotations": metadata.annotations,
            },
            "spec": template.spec,
        }));
        match self.scene.api().create(&PostParams::default(), &job).await {
            Ok(_) => {}
            // A second controller at the same slot finds the Job of the first, as Kubernetes' does.
            Err(kube::Error::Api(refusal)) if refusal.is_already_exists() => {}
            Err(error) => panic!("a slot's Job: {error}"),
        }
    }

    async fn judge(&self, round: &Round) -> Result<(), String> {
        let does = |operation| round.steps.iter().any(|step| step.operation == operation);
        eventually("a pipeline that is whole or gone", || async {
            let (whole, gone) = (self.whole(&round.name).await, self.nothing_of(&round.name).await);
            let seen = match (&whole, &gone) {
                (Ok(()), _) if !does(Delete) || does(Deploy) => return Ok(()),
                (_, Ok(())) if does(Delete) => return Ok(()),
                _ => format!("{round:?}: {whole:?}, {gone:?}"),
            };
            Err(seen)
        })
        .await;
        Ok(())
    }

    /// Whether everything is there that a deploy makes, and belongs together.
    async fn whole(&self, name: &str) -> Result<(), String> {
        let secrets = self.of::<Secret>(name).await;
        let anchor = secrets.get(&format!("om-secret-{name}")).ok_or("no Secret")?;
        if anchor.annotations().contains_key("pipelines.openmetadata.org/deleting") {
            return Err("it is being deleted".to_owned());
        }
        let owner =
            |references: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]| {
                references.iter().any(|reference| Some(&reference.uid) == anchor.uid().as_ref())
            };
        let schedules = self.of::<CronJob>(name).await;
        let schedule = schedules.values().next().ok_or("no CronJob")?;
        let revision = &schedule.labels()["pipelines.openmetadata.org/config-revision"];
        let config = secrets.get(&format!("om-secret-{name}-{revision}")).ok_or("no config")?;
        let config_maps = self.of::<ConfigMap>(name).await;
        let config_map = config_maps.values().next().ok_or("no ConfigMap")?;
        let owned =
            [config.owner_references(), schedule.owner_references(), config_map.owner_references()];
        if schedules.len() + config_maps.len() == 2 && owned.into_iter().all(owner) {
            Ok(())
        } else {
            Err(format!(
                "{} CronJobs, {} ConfigMaps, {owned:?}",
                schedules.len(),
                config_maps.len()
            ))
        }
    }

    async fn nothing_of(&self, name: &str) -> Result<(), String> {
        let mut left: Vec<String> = Vec::new();
        left.extend(self.of::<CronJob>(name).await.into_keys());
        left.extend(self.of::<ConfigMap>(name).await.into_keys());
        left.extend(self.of::<Secret>(name).await.into_keys());
        left.extend(self.of::<Job>(name).await.into_keys());
        left.extend(self.of::<Pod>(name).await.into_keys());
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    }

    async fn of<K>(&self, name: &str) -> BTreeMap<String, K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let label = ListParams::default().labels(&format!("app.kubernetes.io/pipeline={name}"));
        let listed = self.scene.api::<K>().list(&label).await.unwrap();
        listed.items.into_iter().map(|object| (object.name_any(), object)).collect()
    }
}

/// The same pipeline with another config, and a schedule that differs.
fn changed(body: &Value) -> Value {
    let mut changed = body.clone();
    changed["airflowConfig"]["scheduleInterval"] = "30 4 * * *".into();
    changed["sourceConfig"]["config"]["includeTables"] = false.into();
    changed
}

/// The same as a user's file, which may only hold keys that are known.
fn as_file(body: &Value) -> Value {
    let mut file = body.clone();
    file.as_object_mut().unwrap().remove("fieldOfTheFuture");
    file
}

async fn over_http(serving: &Serving, operation: Operation, name: &str, body: &Value) -> Answer {
    let named = json!({ "dag_id": name });
    match operation {
        Deploy => serving.post("deploy", body).await,
        Delete => serving.delete(name).await,
        Trigger => {
            let conf = json!({ "pipelineRunId": Uuid::new_v4().to_string() });
            serving.post("trigger", &json!({ "dag_id": name, "conf": conf })).await
        }
        Toggle => serving.post("disable", &named).await,
        Kill | Slot => serving.post("kill", &named).await,
    }
}

/// Of a pipeline that is being deleted, some operations find nothing; none of them breaks.
const fn may_answer(operation: Operation, status: u16) -> bool {
    match operation {
        Deploy | Delete | Kill | Slot => status == 200,
        Trigger | Toggle => matches!(status, 200 | 404 | 409 | 503),
    }
}

fn command_line<'a>(
    operation: Operation,
    name: &'a str,
    file: &'a str,
    service: &'a str,
) -> Vec<&'a str> {
    match operation {
        Deploy => vec!["deploy", "-f", file, "--service", service],
        Delete => vec!["delete", name],
        Trigger => vec!["run", name],
        Toggle => vec!["toggle", name, "--disable"],
        Kill | Slot => vec!["kill", name],
    }
}

#[tokio::test]
async fn every_pair_of_operations_leaves_a_pipeline_whole_or_gone() {
    let stage = Stage::new("races").await;
    for together in rounds().chunks(AT_ONCE) {
        join_all(together.iter().map(|round| stage.play(round)))
            .await
            .into_iter()
            .collect::<Result<Vec<()>, String>>()
            .unwrap();
    }
    let orphans = stage.scene.ompipe(&["orphans", "-c", &stage.config, "-o", "json"]).await.good();
    assert_eq!(orphans.json()["orphans"], json!([]));
    stage.scene.end().await;
}

/// A client that repeats a request whose answer was lost gets the same state, and one run.
#[tokio::test]
async fn repeated_requests_do_what_one_does() {
    let stage = Stage::new("repeats").await;
    let (body, named) = (stage.body("nightly", "0 3 * * *"), json!({ "dag_id": "nightly" }));
    let run = json!({ "pipelineRunId": Uuid::new_v4().to_string() });
    for _ in 0..4 {
        stage.replicas[0].post("deploy", &body).await.is(200);
    }
    stage.whole("nightly").await.unwrap();
    for at in [0, 1, 0, 1] {
        let trigger = json!({ "dag_id": "nightly", "conf": run });
        let answer = stage.replicas[at].post("trigger", &trigger).await.is(200).json();
        assert_eq!(answer["runId"], run["pipelineRunId"]);
    }
    assert_eq!(stage.of::<Job>("nightly").await.len(), 1);
    for at in [0, 1, 0, 1] {
        stage.replicas[at].post("kill", &named).await.is(200);
        stage.replicas[at].post("disable", &named).await.is(200);
    }
    for at in [0, 1, 0, 1] {
        stage.replicas[at].delete("nightly").await.is(200);
    }
    eventually("nothing of it", || async { stage.nothing_of("nightly").await }).await;
    stage.scene.end().await;
}

#[tokio::test]
async fn a_pipeline_that_was_made_anew_leaves_nothing_of_its_former_ids() {
    let stage = Stage::new("former-ids").await;
    for number in 0..6 {
        let mut body = stage.body("nightly", "0 3 * * *");
        body["id"] = Uuid::new_v4().to_string().into();
        body["sourceConfig"]["config"]["schemaFilterPattern"] =
            json!({ "includes": [number.to_string()] });
        stage.replicas[0].post("deploy", &body).await.is(200);
    }
    // What stands for the pipeline, and the revisions that are kept.
    assert!(stage.of::<Secret>("nightly").await.len() <= 4);
    stage.whole("nightly").await.unwrap();
    stage.replicas[1].delete("nightly").await.is(200);
    eventually("nothing of it", || async { stage.nothing_of("nightly").await }).await;
    stage.scene.end().await;
}

#[tokio::test]
async fn what_older_versions_and_crashes_left_is_found_and_deleted() {
    let stage = Stage::new("remains").await;
    for name in ["lone", "begun"] {
        stage.replicas[0].post("deploy", &stage.body(name, "0 3 * * *")).await.is(200);
    }
    // A schedule whose Secret is gone, as versions without owners left it.
    let secrets = stage.scene.api::<Secret>();
    let schedules = stage.scene.api::<CronJob>();
    let no_owner = Patch::Merge(json!({ "metadata": { "ownerReferences": null } }));
    schedules.patch("om-cronjob-lone", &PatchParams::default(), &no_owner).await.unwrap();
    secrets.delete("om-secret-lone", &kube::api::DeleteParams::default()).await.unwrap();
    eventually("the schedule alone", || async {
        let left =
            stage.of::<Secret>("lone").await.len() + stage.of::<ConfigMap>("lone").await.len();
        if left == 0 { Ok(()) } else { Err(left.to_string()) }
    })
    .await;
    eventually("a word of the doctor", || async {
        let told = stage.scene.ompipe(&["doctor", "-c", &stage.config]).await.ended_with(1).stdout;
        if told.contains("shop.lone: its objects have no Secret") { Ok(()) } else { Err(told) }
    })
    .await;
    stage.scene.ompipe(&["delete", "-c", &stage.config, "lone"]).await.good();
    stage.nothing_of("lone").await.unwrap();
    // A deletion that somebody died in: the next deploy finishes it and deploys whole.
    let mark = json!({ "pipelines.openmetadata.org/deleting": "2026-01-01T00:00:00Z" });
    let mark = Patch::Merge(json!({ "metadata": { "annotations": mark } }));
    let marked = secrets.patch("om-secret-begun", &PatchParams::default(), &mark).await.unwrap();
    let trigger = json!({ "dag_id": "begun" });
    stage.replicas[0].post("trigger", &trigger).await.is(404);
    stage.replicas[1].post("deploy", &stage.body("begun", "0 4 * * *")).await.is(200);
    stage.whole("begun").await.unwrap();
    assert_ne!(secrets.get("om-secret-begun").await.unwrap().uid(), marked.uid());
    stage.scene.end().await;
}

/// Adds a pipeline to a service of the stand-in; what the server sends to deploy it.
fn known_pipeline(scene: &Scene, service: &str) -> Value {
    let service = scene.standin.add_service("databaseService", service, "Postgres", &json!({}));
    let fields = json!({
        "name": "nightly", "pipelineType": "metadata",
        "airflowConfig": { "scheduleInterval": "0 3 * * *" },
        "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
    });
    let entity = scene.standin.add_pipeline("databaseService", &service.unwrap(), &fields);
    scene.standin.deployable(&entity.unwrap())
}

/// Deletes an entity in OpenMetadata, which tells nobody here.
async fn forget(scene: &Scene, pipeline: &Value) {
    let id = pipeline["id"].as_str().unwrap();
    let url =
        format!("{}/v1/services/ingestionPipelines/{id}?hardDelete=true", scene.standin.url());
    let delete = reqwest::Client::new().delete(url).bearer_auth(scene.standin.token());
    delete.send().await.unwrap().error_for_status().unwrap();
}

async fn schedules(scene: &Scene) -> Vec<String> {
    let fqn = |o: &CronJob| o.annotations()["pipelines.openmetadata.org/pipeline-fqn"].clone();
    scene.ours::<CronJob>().await.values().map(fqn).collect()
}

#[tokio::test]
async fn a_namesake_that_openmetadata_no_longer_has_goes_and_blocks_nobody() {
    let stage = Stage::new("namesakes").await;
    let [one, two] = ["shop", "other"].map(|service| known_pipeline(&stage.scene, service));
    let (serving, named) = (&stage.replicas[0], json!({ "dag_id": "nightly" }));
    for body in [&one, &two] {
        serving.post("deploy", body).await.is(200);
    }
    // While OpenMetadata has both, it is not clear which is meant.
    serving.post("disable", &named).await.is(409);
    serving.delete("nightly").await.is(409);
    assert_eq!(schedules(&stage.scene).await.len(), 2);
    // A server may send the request before the deletion can be seen: it is made up for.
    forget(&stage.scene, &two).await;
    for operation in ["disable", "enable", "trigger", "kill"] {
        serving.post(operation, &named).await.is(200);
    }
    eventually("the schedule of the pipeline that is left", || async {
        let left = schedules(&stage.scene).await;
        if left == ["shop.nightly"] { Ok(()) } else { Err(format!("{left:?}\n{}", serving.log())) }
    })
    .await;
    // A server whose deletion can be seen is done at once.
    let two = known_pipeline(&stage.scene, "other");
    serving.post("deploy", &two).await.is(200);
    forget(&stage.scene, &one).await;
    serving.delete("nightly").await.is(200);
    assert_eq!(schedules(&stage.scene).await, ["other.nightly"]);
    stage.scene.end().await;
}

#[tokio::test]
async fn a_pipeline_that_openmetadata_deleted_meanwhile_is_found_and_removed_on_request() {
    let scene = shop("unknown").await;
    let body = known_pipeline(&scene, "shop");
    let mut serving = Serving::start(&scene).await;
    serving.post("deploy", &body).await.is(200);
    serving.kill().await;
    forget(&scene, &body).await;
    let serving = Serving::start(&scene).await;
    eventually("a line about it", || async {
        let log = serving.log();
        let told = log.contains("ompipe orphans --delete") && log.contains("shop.nightly");
        if told { Ok(()) } else { Err(log) }
    })
    .await;
    let metrics = serving.probe("/metrics").await.text;
    assert!(metrics.contains("ompipe_server_orphaned_pipelines 1"), "{metrics}");
    let config = scene.config(&json!({}));
    for doctor in [vec!["doctor", "-c", &config], vec!["doctor", "-c", &config, "nightly"]] {
        // On a busy machine the cluster may not answer in the doctor's time.
        eventually("a word of the doctor", || async {
            let told = scene.ompipe(&doctor).await.ended_with(1).stdout;
            let is_told = told.contains("shop.nightly: OpenMetadata has no such pipeline");
            if is_told { Ok(()) } else { Err(told) }
        })
        .await;
    }
    let orphans = scene.ompipe(&["orphans", "-c", &config]).await.good().stdout;
    assert_eq!(orphans, "shop.nightly: OpenMetadata has no such pipeline\n");
    assert_eq!(schedules(&scene).await, ["shop.nightly"], "it is removed on request only");
    scene.ompipe(&["orphans", "-c", &config, "--delete"]).await.good();
    assert_eq!(schedules(&scene).await.len() + scene.ours::<Secret>().await.len(), 0);
    scene.end().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_makes_no_orphans() {
    let scene = shop("unclear").await;
    let body = known_pipeline(&scene, "shop");
    let serving = Serving::start(&scene).await;
    serving.post("deploy", &body).await.is(200);
    forget(&scene, &body).await;
    // A proxy whose server is away says 404 to everything.
    scene.standin.inject(ompipe_tests::standin::Fault::status(404).on("get", "*").times(u32::MAX));
    let config = scene.config(&json!({}));
    let census = scene.ompipe(&["orphans", "-c", &config, "-o", "json"]).await.good().json();
    assert_eq!((&census["orphans"], census["unclear"].as_array().unwrap().len()), (&json!([]), 1));
    scene.end().await;
}
