//! The way back to OpenMetadata's own operator, as `docs/adopt-operator.md` says, and there again. That
//! operator is not here; what it finds is: its own definitions over ours, and no finalizer that it does
//! not know.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use ompipe_api::{CronOMJob, OMJob, Phase};
use ompipe_tests::standin::PipelineState;
use ompipe_tests::upstream_crds;
use serde_json::{Value, json};

use super::stage::phase;
use super::{Operator, Stage};
use crate::support::{Bed, Breakable, Scene, UNTIL_TOLD, eventually};

/// Specifications by kind and name.
type Specs = BTreeMap<String, Value>;

/// Any object of a kind in the scene's namespace: fields that only one side knows are seen too.
fn any<K: Resource<DynamicType = ()>>(scene: &Scene) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<K>(&());
    Api::namespaced_with(scene.client.clone(), &scene.namespace, &resource)
}

/// Everything of both kinds, as the API server tells it now.
async fn all(scene: &Scene) -> Vec<DynamicObject> {
    let mut all = any::<OMJob>(scene).list(&ListParams::default()).await.unwrap().items;
    all.extend(any::<CronOMJob>(scene).list(&ListParams::default()).await.unwrap().items);
    all
}

async fn specs(scene: &Scene) -> Specs {
    let all = all(scene).await.into_iter();
    all.map(|object| (object.name_any(), object.data["spec"].clone())).collect()
}

async fn uids(scene: &Scene) -> BTreeSet<String> {
    all(scene).await.iter().map(|object| object.uid().unwrap()).collect()
}

/// Paths of the fields that are in `before` and not in `after`; of a list, whether it differs.
fn lost(path: &str, before: &Value, after: &Value, into: &mut BTreeSet<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                lost(&path, value, after.get(key).unwrap_or(&Value::Null), into);
            }
        }
        (before, after) if before != after => drop(into.insert(path.to_owned())),
        _ => {}
    }
}

/// Deploys and starts a pipeline of a scene; the name of the run's object.
async fn deployed_and_started(stage: &Stage, name: &str, parameters: Value) -> String {
    let scene = &stage.scene;
    let mut all = json!({
        "useOMJobOperator": true, "backoffLimit": 1,
        "extraEnvVars": [format!("WORKER_MAIN:{UNTIL_TOLD}"), "WORKER_EXIT_HANDLER:exit 0"],
    });
    all.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
    let config = scene.config(&all);
    let fields = json!({ "airflowConfig": { "scheduleInterval": "0 2 * * 0" } });
    let (pipeline, service) = (scene.pipeline(name, &fields), scene.service());
    for command in ["deploy", "run"] {
        let args = [command, "-c", &config, "-f", &pipeline, "--service", &service];
        scene.ompipe(&args).await.good();
    }
    let prefix = format!("om-job-{name}-");
    let names = scene.ours::<OMJob>().await.into_keys();
    let run = names.into_iter().find(|found| found.starts_with(&prefix)).unwrap();
    stage.running(&format!("{run}-main")).await;
    run
}

/// Finalizers of everything that an operator holds.
async fn finalizers(scene: &Scene) -> Vec<String> {
    async fn of<K>(scene: &Scene) -> Vec<String>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let all = scene.api::<K>().list(&ListParams::default()).await.unwrap();
        all.items.iter().flat_map(|object| object.finalizers().to_vec()).collect()
    }
    let mut all = of::<OMJob>(scene).await;
    all.extend(of::<CronOMJob>(scene).await);
    all.extend(of::<Job>(scene).await);
    all.extend(of::<Pod>(scene).await);
    all
}

impl Breakable {
    /// Applies definitions over those that are there, and waits until both are in force.
    async fn define(&self, scene: &Scene, definitions: &Value, are_ours: bool) {
        let file = scene.file("definitions.json", definitions);
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file]).await;
        eventually("the new definitions in force", || async {
            let know_ours = know_our_fields(scene).await;
            if know_ours == [are_ours; 2] { Ok(()) } else { Err(format!("{know_ours:?}")) }
        })
        .await;
    }
}

/// Whether the definitions keep a field of new objects that only ours have.
async fn know_our_fields(scene: &Scene) -> [bool; 2] {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let stage = json!({ "image": "i", "command": ["true"], "serviceAccountName": "a" });
    let run = json!({ "mainPodSpec": stage, "backoffLimit": 1 });
    let schedule =
        json!({ "schedule": "0 2 * * 0", "concurrencyPolicy": "Forbid", "omJobSpec": run });
    let probe = |resource: ApiResource, spec: Value| {
        let mut object = DynamicObject::new("probe", &resource);
        object.data = json!({ "spec": spec });
        object
    };
    let run = probe(ApiResource::erase::<OMJob>(&()), run);
    let schedule = probe(ApiResource::erase::<CronOMJob>(&()), schedule);
    let run = any::<OMJob>(scene).create(&dry_run, &run).await.unwrap();
    let schedule = any::<CronOMJob>(scene).create(&dry_run, &schedule).await.unwrap();
    let has = |object: &DynamicObject, field: &str| object.data["spec"].get(field).is_some();
    [has(&run, "backoffLimit"), has(&schedule, "concurrencyPolicy")]
}

/// What the Java operator does first with an object: it writes it as it read it, and a status.
async fn take_up(scene: &Scene) {
    let strict = PostParams { dry_run: true, ..PostParams::default() };
    for api in [any::<OMJob>(scene), any::<CronOMJob>(scene)] {
        for object in api.list(&ListParams::default()).await.unwrap() {
            let name = object.name_any();
            api.replace(&name, &strict, &object).await.unwrap();
        }
    }
    let api = any::<OMJob>(scene);
    let (params, status) = (PatchParams::default(), json!({ "status": { "message": "taken up" } }));
    for job in api.list(&ListParams::default()).await.unwrap() {
        api.patch_status(&job.name_any(), &params, &Patch::Merge(&status)).await.unwrap();
    }
}

/// What the Java operator does not know of a run, and of a schedule.
const IGNORED: [&str; 4] = [
    "activeDeadlineSeconds",
    "backoffLimit",
    "exitHandlerSpec.podTemplate",
    "mainPodSpec.podTemplate",
];
const IGNORED_OF_SCHEDULE: &str = "concurrencyPolicy";

fn ignored(name: &str) -> BTreeSet<String> {
    if !name.starts_with("om-cron") {
        return IGNORED.map(str::to_owned).into();
    }
    let of_runs = IGNORED.iter().map(|path| format!("omJobSpec.{path}"));
    of_runs.chain([IGNORED_OF_SCHEDULE.to_owned()]).collect()
}

#[tokio::test]
async fn back_to_upstreams_operator_and_there_again() {
    let cluster = Breakable::take().await;
    let stage = Stage::on(&cluster, "wayback").await;
    let scene = &stage.scene;
    let service = scene.standin.add_service("databaseService", "shop", "Postgres", &json!({}));
    let native = json!({ "name": "native", "pipelineType": "metadata", "airflowConfig": {} });
    scene.standin.add_pipeline("databaseService", &service.unwrap(), &native).unwrap();
    let operator = Operator::start(scene, &[]);
    let seeds = deployed_and_started(&stage, "seeds", json!({})).await;
    let image = json!({ "exitHandlerImage": Bed::exit_handler_image() });
    let native = deployed_and_started(&stage, "native", image).await;
    stage.tell(&format!("{seeds}-main")).await;
    stage.over(&seeds).await;
    operator.terminate().await;
    Operator::try_to_drain(scene, &[("DRAIN_TIMEOUT_SECONDS", "1")]).await.good();
    assert_eq!(finalizers(scene).await, Vec::<String>::new());

    let (before, known) = (specs(scene).await, uids(scene).await);
    assert_eq!(known.len(), 4, "two schedules and two runs: {before:?}");
    cluster.define(scene, &upstream_crds::definitions(), false).await;
    assert_eq!(uids(scene).await, known, "nothing is lost");
    for (name, spec) in specs(scene).await {
        let mut left_out = BTreeSet::new();
        lost("", &before[&name], &spec, &mut left_out);
        assert_eq!(left_out, ignored(&name), "{name}");
    }
    take_up(scene).await;

    let ours = json!({ "apiVersion": "v1", "kind": "List", "items": ompipe_api::crds() });
    cluster.define(scene, &ours, true).await;
    assert_eq!(uids(scene).await, known, "nothing is lost");
    let again = specs(scene).await;
    for schedule in ["om-cronomjob-seeds", "om-cronomjob-native"] {
        assert_eq!(again[schedule], before[schedule], "nobody has written it since");
    }
    let operator = Operator::start(scene, &[]);
    stage.tell(&format!("{native}-main")).await;
    let job = stage.over(&native).await;
    assert_eq!(phase(&job), Some(Phase::Succeeded), "{:?}", job.status);
    let rows = scene.standin.rows("shop.native");
    let states: Vec<Value> = rows.iter().map(|row| row["pipelineState"].clone()).collect();
    assert_eq!(states, [json!(PipelineState::Success)]);
    operator.terminate().await;
    cluster.well(scene).await;
    stage.scene.end().await;
}
