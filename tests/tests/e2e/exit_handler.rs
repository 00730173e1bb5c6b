//! The native exit handler in real pods: what it writes about ends of every kind, and that it needs
//! neither rights beyond those that upstream documents nor anything of its pod but 32 MiB.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use ompipe_core::RunId;
use ompipe_core::omjob::{End, Reason};
use ompipe_core::report::{self, HOPELESS, variables};
use ompipe_tests::standin::{Fault, PipelineState};
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{Bed, Scene, bed, end_now, eventually, from};

const FQN: &str = "shop.nightly";
const JOB: &str = "om-job-nightly";
const MINUTES: Duration = Duration::from_mins(3);

/// A run of which the test plays everything but the exit handler.
struct Stage {
    scene: Scene,
    id: RunId,
}

/// How an exit handler's pod ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    message: Option<String>,
    log: String,
}

impl Stage {
    /// A namespace that takes restricted pods only, a pipeline, and a config that the framework
    /// would refuse.
    async fn new(name: &str) -> Self {
        let stage = Self { scene: Scene::new(name).await, id: RunId::random() };
        stage.scene.restrict().await;
        stage.scene.add_nightly();
        let secret: Secret = from(json!({
            "metadata": { "name": "config" },
            "stringData": { "config": stage.config().to_string() },
        }));
        stage.scene.api().create(&PostParams::default(), &secret).await.unwrap();
        stage
    }

    fn config(&self) -> Value {
        json!({
            "ingestionPipelineFQN": FQN,
            "source": { "nonsense": [1] },
            "workflowConfig": { "openMetadataServerConfig": self.scene.standin.server_connection() },
        })
    }

    /// What the worker would have written.
    async fn write_row(&self, state: &str) {
        self.scene.write_row(self.id, state).await;
    }

    /// Starts a Job whose worker runs `script`; `changes` are merged into its pod's specification.
    async fn start_worker(&self, image: &str, script: &str, changes: &Value) {
        let mut container = json!({
            "name": "main", "image": image, "command": ["sh", "-c", script],
            "env": self.environment(&[]),
            "resources": { "limits": { "memory": "64Mi" } },
            "securityContext": restricted(),
        });
        merge(&mut container, &changes["container"]);
        let mut spec = pod_spec(&container);
        merge(&mut spec, &changes["pod"]);
        let labels = json!({ "app.kubernetes.io/run-id": self.id.to_string() });
        let job: Job = from(json!({
            "metadata": { "name": JOB, "labels": labels },
            "spec": { "backoffLimit": 0, "template": { "metadata": { "labels": labels }, "spec": spec } },
        }));
        self.scene.api().create(&PostParams::default(), &job).await.unwrap();
    }

    /// The same, and waits for its end.
    async fn play_worker(&self, script: &str) {
        self.start_worker(&bed().worker_image, script, &json!({})).await;
        self.until_worker("an ended worker", |pod| phase(pod) == "Failed").await;
    }

    async fn until_worker(&self, what: &str, holds: impl Fn(&Pod) -> bool) -> Pod {
        let ours = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={JOB}"));
        eventually(what, || async {
            let pods = self.scene.api::<Pod>().list(&ours).await.unwrap();
            let pod = pods.items.into_iter().next().ok_or("no pod")?;
            if holds(&pod) { Ok(pod) } else { Err(format!("{:?}", pod.status)) }
        })
        .await
    }

    /// The seed's variables; `changes` set, add, or with an empty value unset.
    fn environment(&self, changes: &[(&str, &str)]) -> Vec<Value> {
        let id = self.id.to_string();
        let seed = [
            ("pipelineRunId", id.as_str()),
            ("pipelineStatus", "Failed"),
            ("jobName", JOB),
            ("namespace", &self.scene.namespace),
        ];
        let kept = seed.into_iter().filter(|(name, _)| changes.iter().all(|(new, _)| new != name));
        let literals = kept.chain(changes.iter().copied());
        let config = json!({ "name": "config", "valueFrom": {
            "secretKeyRef": { "name": "config", "key": "config" },
        }});
        let literals = literals.map(|(name, value)| json!({ "name": name, "value": value }));
        std::iter::once(config).chain(literals).collect()
    }

    /// Runs the exit handler in a pod as small and locked up as can be.
    async fn run_exit_handler(&self, changes: &[(&str, &str)]) -> Ended {
        let mut security = restricted();
        security["readOnlyRootFilesystem"] = true.into();
        let pod: Pod = from(json!({
            "metadata": { "name": "exit" },
            "spec": pod_spec(&json!({
                "name": "main", "image": Bed::exit_handler_image(),
                "command": ["/ompipe-exit", "report"], "env": self.environment(changes),
                "resources": { "requests": { "cpu": "20m" }, "limits": { "memory": "32Mi" } },
                "securityContext": security,
            })),
        }));
        let pods = self.scene.api::<Pod>();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let pod = eventually("an ended exit handler", || async {
            let pod = pods.get("exit").await.unwrap();
            if matches!(phase(&pod), "Succeeded" | "Failed") {
                Ok(pod)
            } else {
                Err(phase(&pod).to_owned())
            }
        })
        .await;
        let log = pods.logs("exit", &LogParams::default()).await.unwrap();
        let statuses = pod.status.unwrap().container_statuses.unwrap();
        let end = statuses[0].state.as_ref().unwrap().terminated.as_ref().unwrap();
        Ended { code: end.exit_code, message: end.message.clone(), log }
    }

    /// The row as it stands, after the handler wrote it once and kept what the worker had written.
    fn corrected_row(&self, states: &[PipelineState]) -> Value {
        let standin = &self.scene.standin;
        assert_eq!(standin.states(FQN, self.id.into()), states);
        let row = standin.rows(FQN).remove(0);
        assert_eq!((&row["startDate"], &row["status"][0]["records"]), (&json!(1), &json!(9)));
        row
    }
}

/// What happened, and what the cluster knows, in the step that the handler added.
fn told(row: &Value) -> (String, String) {
    let failure = &row["status"][1]["failures"][0];
    let text = |key: &str| failure[key].as_str().unwrap_or_default().to_owned();
    (text("error"), text("stackTrace"))
}

fn restricted() -> Value {
    json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } })
}

fn pod_spec(container: &Value) -> Value {
    json!({
        "serviceAccountName": "openmetadata-ingestion",
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [container],
    })
}

fn merge(into: &mut Value, changes: &Value) {
    let (into, changes) = (into.as_object_mut().unwrap(), changes.as_object());
    into.extend(changes.cloned().unwrap_or_default());
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn borrowed<'v>(variables: &'v [(&'static str, String)]) -> Vec<(&'static str, &'v str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn a_worker_that_failed_is_reported_with_what_the_cluster_knows() {
    let stage = Stage::new("exit-failed").await;
    stage.write_row("running").await;
    let token = stage.scene.standin.token().to_owned();
    stage.play_worker(&format!("echo begin; echo token {token}; echo end; exit 3")).await;
    let ended = stage.run_exit_handler(&[]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let row = stage.corrected_row(&[PipelineState::Running, PipelineState::Failed]);
    let (error, text) = told(&row);
    assert_eq!(error, "Error: ended with exit code 3");
    for known in [
        "Phase: Failed",
        "Node: ",
        "Container main: terminated: Error, exit code 3, ran from",
        "Normal Started: ",
        "begin\ntoken <from-secret>\nend\n",
    ] {
        assert!(text.contains(known), "{known:?} in\n{text}");
    }
    assert!(!row.to_string().contains(&token) && !ended.log.contains(&token), "{row}");
    stage.scene.end().await;
}

#[tokio::test]
async fn a_worker_that_used_too_much_memory_is_reported_with_the_limit() {
    let stage = Stage::new("exit-oom").await;
    stage.write_row("running").await;
    stage.play_worker("tail /dev/zero").await;
    assert_eq!(stage.run_exit_handler(&[]).await.code, 0);
    let row = stage.corrected_row(&[PipelineState::Running, PipelineState::Failed]);
    let (error, text) = told(&row);
    assert!(error.starts_with("OOMKilled: used more memory"), "{error}");
    assert!(text.contains("OOMKilled, exit code 137, signal 9, memory limit 64Mi"), "{text}");
    stage.scene.end().await;
}

/// The end that the operator tells decides, and stands when it is told again.
#[rstest]
#[case::evicted("success", Reason::Evicted, Some(PipelineState::PartialSuccess))]
#[case::failed("success", Reason::Error, Some(PipelineState::Failed))]
#[case::image("queued", Reason::ImagePull, Some(PipelineState::Failed))]
#[case::killed("running", Reason::Killed, Some(PipelineState::Stopped))]
#[case::reported("partialSuccess", Reason::Error, None)]
#[tokio::test]
async fn the_end_that_the_operator_tells_decides(
    #[case] row: &str,
    #[case] reason: Reason,
    #[case] expected: Option<PipelineState>,
) {
    let stage = Stage::new("exit-told").await;
    stage.write_row(row).await;
    let variables = variables(&End::without_code(reason, "as it was seen"));
    for _ in 0..2 {
        assert_eq!(stage.run_exit_handler(&borrowed(&variables)).await.code, 0);
        delete_exit_handler(&stage).await;
    }
    let first = serde_json::from_value(json!(row)).unwrap();
    let states: Vec<_> = std::iter::once(first).chain(expected).collect();
    let row = stage.corrected_row(&states);
    if matches!(expected, Some(PipelineState::Failed | PipelineState::PartialSuccess)) {
        let (error, text) = told(&row);
        assert!(error.starts_with(&format!("{reason}: as it was seen")), "{error}");
        assert!(
            text.ends_with("Nothing is known about the pod: no pod of the run is left."),
            "{text}"
        );
    }
    stage.scene.end().await;
}

async fn delete_exit_handler(stage: &Stage) {
    let pods = stage.scene.api::<Pod>();
    pods.delete("exit", &DeleteParams::default().grace_period(0)).await.unwrap();
    eventually("no exit handler", || async {
        match pods.get_opt("exit").await.unwrap() {
            None => Ok(()),
            Some(pod) => Err(format!("{:?}", pod.status)),
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_never_started_is_reported_with_what_it_waits_for() {
    let stage = Stage::new("exit-image").await;
    stage.start_worker("ompipe.local/no-such:image", "true", &json!({})).await;
    let waits = |pod: &Pod| {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.clone());
        let state = statuses.and_then(|statuses| statuses.into_iter().next()?.state);
        let reason = state.and_then(|state| state.waiting?.reason).unwrap_or_default();
        reason == "ErrImagePull" || reason == "ImagePullBackOff"
    };
    stage.until_worker("a pod without its image", waits).await;
    let variables = variables(&End::without_code(Reason::ImagePull, "no such image"));
    assert_eq!(stage.run_exit_handler(&borrowed(&variables)).await.code, 0);
    // Nobody had written a row, so it is whole.
    let row = stage.scene.standin.rows(FQN).remove(0);
    assert_eq!(row["pipelineState"], "failed");
    assert!(row["startDate"].as_i64().unwrap() <= row["endDate"].as_i64().unwrap(), "{row}");
    let failure = &row["status"][0]["failures"][0];
    assert_eq!(failure["error"], "ImagePull: no such image (the worker never started)");
    let text = failure["stackTrace"].as_str().unwrap();
    assert!(text.contains("Container main: waiting: ") && text.contains("no-such"), "{text}");
    assert!(text.contains("Pod Logs:\n(cannot be read: "), "{text}");
    stage.scene.end().await;
}

#[tokio::test]
async fn an_outage_is_ridden_out() {
    let stage = Stage::new("exit-outage").await;
    stage.write_row("running").await;
    // More than the client repeats by itself.
    stage.scene.standin.inject(Fault::status(503).on("PUT", "*/pipelineStatus").times(6));
    stage.scene.standin.inject(Fault::reset().on("GET", "*/pipelineStatus/*").times(3));
    let variables = variables(&End::without_code(Reason::Error, "ended with exit code 1"));
    assert_eq!(stage.run_exit_handler(&borrowed(&variables)).await.code, 0);
    stage.corrected_row(&[PipelineState::Running, PipelineState::Failed]);
    stage.scene.end().await;
}

#[rstest]
#[case::down(Fault::status(503), 3, "not reported within 3 s: OpenMetadata answers 503")]
#[case::hanging(Fault::hang(), 3, "not reported within 3 s: OpenMetadata does not answer")]
#[case::refused(
    Fault::status(400).on("PUT", "*"),
    HOPELESS.into(),
    "OpenMetadata answers 400 Bad Request to http"
)]
#[case::unknown(
    Fault::status(401),
    HOPELESS.into(),
    "OpenMetadata refuses the bot's token (401 Unauthorized)"
)]
#[tokio::test]
async fn what_is_not_reported_is_said_on_one_line(
    #[case] fault: Fault,
    #[case] code: i32,
    #[case] expected: &str,
) {
    let stage = Stage::new("exit-down").await;
    stage.write_row("running").await;
    stage.scene.standin.inject(fault);
    let variables = variables(&End::without_code(Reason::Error, "ended with exit code 1"));
    let mut changes = borrowed(&variables);
    changes.push((report::DEADLINE_ENV, "3"));
    let ended = stage.run_exit_handler(&changes).await;
    assert_eq!(ended.code, code, "{ended:?}");
    let message = ended.message.unwrap();
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(ended.log, format!("{message}\n"));
    assert!(!message.contains(stage.scene.standin.token()), "{message}");
    stage.corrected_row(&[PipelineState::Running]);
    stage.scene.end().await;
}

#[rstest]
#[case::no_uuid(&[("pipelineRunId", "test-run")], "pipelineRunId = \"test-run\": must be a UUID")]
#[case::no_end(&[("pipelineStatus", "")], "nobody says how the run ended")]
#[tokio::test]
async fn input_that_cannot_be_used_is_said_on_one_line(
    #[case] changes: &[(&str, &str)],
    #[case] expected: &str,
) {
    let stage = Stage::new("exit-input").await;
    let ended = stage.run_exit_handler(changes).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.message.as_ref().unwrap().starts_with(expected), "{ended:?}");
    assert_eq!(ended.log, format!("{}\n", ended.message.unwrap()));
    assert!(stage.scene.standin.rows(FQN).is_empty());
    stage.scene.end().await;
}

#[tokio::test]
async fn the_whole_program_does_the_same() {
    let stage = Stage::new("exit-whole").await;
    stage.write_row("running").await;
    let mut environment = vec![("pipelineRunId", stage.id.to_string())];
    environment.extend(variables(&End::without_code(Reason::OomKilled, "used too much memory")));
    let file = stage.scene.text_file("exit.json", &stage.config().to_string());
    environment.push(("configFile", file));
    let ended = stage.scene.ompipe_with(&["exit-handler"], &borrowed(&environment)).await.good();
    assert!(ended.stderr.ends_with("of shop.nightly reported as failed\n"), "{ended:?}");
    stage.corrected_row(&[PipelineState::Running, PipelineState::Failed]);
    stage.scene.ompipe(&["exit-handler"]).await.ended_with(2);
    stage.scene.standin.inject(Fault::status(401));
    let refused = stage.scene.ompipe_with(&["exit-handler"], &borrowed(&environment)).await;
    refused.ended_with(4);
    stage.scene.end().await;
}

/// How a pod with a hook is stopped.
#[derive(Clone, Copy, Debug)]
enum Stop {
    DeletePod,
    DeleteJob,
    Deadline,
}

impl Stop {
    async fn pod(self, stage: &Stage, pod: &str) {
        let jobs = stage.scene.api::<Job>();
        match self {
            Self::DeletePod => {
                stage.scene.api::<Pod>().delete(pod, &DeleteParams::default()).await.unwrap();
            }
            Self::DeleteJob => {
                jobs.delete(JOB, &DeleteParams::foreground()).await.unwrap();
            }
            Self::Deadline => {
                end_now(&jobs, JOB).await;
            }
        }
    }
}

/// The program put into the worker's pod by an init container, as its preStop hook.
#[rstest]
#[case::pod(Stop::DeletePod, "running", Some((PipelineState::Failed, "Deleted: its pod is being deleted")))]
#[case::job(Stop::DeleteJob, "running", Some((PipelineState::Stopped, "")))]
#[case::deadline(Stop::Deadline, "running", Some((PipelineState::Failed, "DeadlineExceeded: ")))]
#[case::success_may_be_true(Stop::DeletePod, "success", None)]
#[tokio::test]
async fn as_a_hook_it_reports_what_stops_the_worker(
    #[case] stop: Stop,
    #[case] row: &str,
    #[case] expected: Option<(PipelineState, &str)>,
) {
    let stage = Stage::new("exit-hook").await;
    stage.write_row(row).await;
    let image = &bed().worker_image;
    stage.start_worker(image, "trap 'exit 0' TERM; sleep 600 & wait", &with_hook()).await;
    let pod = stage.until_worker("a running worker", |pod| phase(pod) == "Running").await;
    stop.pod(&stage, &pod.name_any()).await;
    let pods = stage.scene.api::<Pod>();
    eventually("the pod's end", || async {
        match pods.get_opt(&pod.name_any()).await.unwrap() {
            Some(pod) if !matches!(phase(&pod), "Succeeded" | "Failed") => {
                Err(format!("{:?}", pod.status))
            }
            Some(_) | None => Ok(()),
        }
    })
    .await;
    let first = serde_json::from_value(json!(row)).unwrap();
    let states: Vec<_> = std::iter::once(first).chain(expected.map(|(state, _)| state)).collect();
    let row = stage.corrected_row(&states);
    let (error, _) = told(&row);
    assert!(error.starts_with(expected.map_or("", |(_, error)| error)), "{error}");
    stage.scene.end().await;
}

fn with_hook() -> Value {
    let mount = json!([{ "name": "ompipe", "mountPath": "/ompipe" }]);
    let hook = json!({ "exec": { "command": ["/ompipe/ompipe-exit", "report"] } });
    json!({
        "container": { "volumeMounts": mount, "lifecycle": { "preStop": hook } },
        "pod": {
            "terminationGracePeriodSeconds": 60,
            "volumes": [{ "name": "ompipe", "emptyDir": {} }],
            "initContainers": [{
                "name": "exit-handler", "image": Bed::exit_handler_image(),
                "command": ["/ompipe-exit", "install", "/ompipe"],
                "volumeMounts": mount, "securityContext": restricted(),
            }],
        },
    })
}

#[tokio::test]
async fn an_automation_whose_worker_died_fails_with_why() {
    let stage = Stage::new("exit-automation").await;
    let standin = &stage.scene.standin;
    let workflow = json!({
        "name": "test-1", "workflowType": "TEST_CONNECTION", "request": {}, "status": "Running",
    });
    let url = format!("{}/v1/automations/workflows", standin.url());
    let posted = reqwest::Client::new().post(url).bearer_auth(standin.token()).json(&workflow);
    let mut stored: Value =
        posted.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    stored["openMetadataServerConnection"] = standin.server_connection();
    let patch = Patch::Merge(json!({ "stringData": { "config": stored.to_string() } }));
    let secrets = stage.scene.api::<Secret>();
    secrets.patch("config", &PatchParams::default(), &patch).await.unwrap();
    let variables = variables(&End::without_code(Reason::OomKilled, "used too much memory"));
    assert_eq!(stage.run_exit_handler(&borrowed(&variables)).await.code, 0);
    let failed = |world: &ompipe_tests::standin::World| {
        let workflow = world.entity("automations/workflows", "test-1")?;
        (workflow["status"] == "Failed").then_some(workflow)
    };
    let workflow = standin.until("a failed automation", MINUTES, failed).await.unwrap();
    let step = &workflow["response"]["steps"][0];
    assert_eq!(step["message"], "OOMKilled: used too much memory");
    stage.scene.end().await;
}
