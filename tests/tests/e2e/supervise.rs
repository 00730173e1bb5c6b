//! The supervisor in the pods of mode job, without any operator: every end of a worker but the loss
//! of its whole container is reported, once, from a restricted pod with a read-only root.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams, LogParams};
use ompipe_core::RunId;
use ompipe_core::report::DEADLINE_ENV;
use ompipe_tests::standin::{Fault, PipelineState};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::operator::Operator;
use crate::support::{Bed, Outcome, Scene, bed, end_now, eventually, install_crds};

const FQN: &str = "shop.nightly";

/// A run whose worker does as a script says.
struct Supervised {
    scene: Scene,
    id: RunId,
    config: String,
    pipeline: String,
    service: String,
}

impl Supervised {
    async fn new(script: &str, parameters: &Value) -> Self {
        let scene = Scene::new("supervise").await;
        scene.restrict().await;
        scene.add_nightly();
        let mut all = json!({
            "exitHandlerImage": Bed::exit_handler_image(),
            "extraEnvVars": [{ "name": "WORKER_MAIN", "value": script }],
            "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "64Mi" } },
            "podTemplate": { "spec": { "containers": [
                { "name": "main", "securityContext": { "readOnlyRootFilesystem": true } },
            ]}},
        });
        all.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        let config = scene.config(&all);
        let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
        Self { scene, id: RunId::random(), config, pipeline, service }
    }

    /// The same, of which OpenMetadata has a row.
    async fn with_row(script: &str, row: &str, parameters: &Value) -> Self {
        let run = Self::new(script, parameters).await;
        run.scene.write_row(run.id, row).await;
        run
    }

    async fn call(&self, verb: &str, more: &[&str]) -> Outcome {
        let args = [verb, "-c", &self.config, "--file", &self.pipeline];
        self.scene.ompipe(&[&args[..], more].concat()).await
    }

    async fn start(&self) {
        let id = self.id.to_string();
        self.call("run", &["--service", &self.service, "--run-id", &id]).await.good();
    }

    /// Runs to the end of the pod, and with it of the report.
    async fn to_end(&self) -> Outcome {
        let id = self.id.to_string();
        self.call("run", &["--service", &self.service, "--run-id", &id, "--follow"]).await
    }

    /// Starts it and waits for the worker's word; the pod's name.
    async fn until_up(&self) -> String {
        self.start().await;
        eventually("a worker that is up", || async {
            let logs = self.call("logs", &[]).await;
            if !logs.stdout.starts_with("up\n") {
                return Err(logs.stderr);
            }
            self.pods().await.into_iter().next().ok_or_else(|| "no pod".to_owned())
        })
        .await
    }

    async fn pods(&self) -> Vec<String> {
        self.scene.ours::<Pod>().await.into_keys().collect()
    }

    fn states(&self) -> Vec<PipelineState> {
        self.scene.standin.states(FQN, self.id.into())
    }

    async fn until_states(&self, expected: &[PipelineState]) {
        eventually("the row", || async {
            let states = self.states();
            if states == expected { Ok(()) } else { Err(format!("{states:?}")) }
        })
        .await;
    }

    /// What happened and what the cluster knows, in the last step of the row.
    fn told(&self) -> (String, String) {
        let row = self.scene.standin.rows(FQN).remove(0);
        let failure = &row["status"].as_array().unwrap().last().unwrap()["failures"][0];
        let text = |key: &str| failure[key].as_str().unwrap_or_default().to_owned();
        (text("error"), text("stackTrace"))
    }
}

fn state(name: &str) -> PipelineState {
    serde_json::from_value(json!(name)).unwrap()
}

/// On nodes with control groups of version 2 the kubelet lets the kernel kill the whole container
/// unless it is told `singleProcessOOMKill`, so that nobody is left to report a worker that used
/// too much memory.
#[rstest]
#[case::not_reported("exit 0", "running", 0, Some("success"), "")]
#[case::failed("echo sad; exit 1", "running", 1, Some("failed"), "Error: ended with exit code 1")]
#[case::killed_inside("kill -9 $$", "running", 137, Some("failed"), "Signal: ended by signal 9")]
#[case::out_of_memory(
    "tail /dev/zero",
    "running",
    137,
    Some("failed"),
    "OOMKilled: used more memory than resources.limits.memory allows: 64Mi"
)]
#[case::good("exit 0", "success", 0, None, "")]
#[case::failed_after_success(
    "exit 1",
    "success",
    1,
    Some("failed"),
    "Error: ended with exit code 1 (after the worker had reported success"
)]
#[case::killed_after_success("kill -9 $$", "success", 137, Some("partialSuccess"), "Signal: ")]
#[case::reported("exit 1", "partialSuccess", 1, None, "")]
#[tokio::test]
async fn the_end_is_reported_and_the_exit_code_kept(
    #[case] script: &str,
    #[case] row: &str,
    #[case] code: i32,
    #[case] expected: Option<&str>,
    #[case] error: &str,
) {
    let run = Supervised::with_row(script, row, &json!({})).await;
    run.to_end().await.ended_with(i32::from(code != 0));
    let states: Vec<_> = std::iter::once(row).chain(expected).map(state).collect();
    assert_eq!(run.states(), states);
    let (told, known) = run.told();
    assert!(told.starts_with(error), "{told}");
    let seen = run.call("status", &["-o", "json"]).await.good().json();
    assert!(code == 0 || seen[0]["exitCode"] == code, "{seen}");
    if script.starts_with("echo") {
        assert!(known.contains("Pod Logs:\nsad\n") && known.contains("Node: "), "{known}");
    }
    run.scene.end().await;
}

#[tokio::test]
async fn a_program_that_is_missing_is_told() {
    let template =
        json!({ "spec": { "containers": [{ "name": "main", "command": ["no-such"] }] } });
    let run = Supervised::new("", &json!({ "podTemplate": template, "backoffLimit": 3 })).await;
    run.to_end().await.ended_with(1);
    assert_eq!(run.states(), [PipelineState::Failed]);
    let (told, _) = run.told();
    assert!(told.starts_with("ContainerConfig: no-such cannot be started: "), "{told}");
    run.scene.end().await;
}

/// What stops the run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    DeletePod,
    Kill,
    Deadline,
    InsideTheContainer,
}

/// A worker that does not care for SIGTERM is killed in time for the report.
#[rstest]
#[case::pod(Stop::DeletePod, "exec sleep 600", "failed", "Deleted: its pod was deleted")]
#[case::kill(Stop::Kill, "exec sleep 600", "stopped", "")]
#[case::deadline(Stop::Deadline, "exec sleep 600", "failed", "DeadlineExceeded: ")]
#[case::inside(
    Stop::InsideTheContainer,
    "kill -TERM 1; exec sleep 600",
    "failed",
    "Signal: ended by signal 15"
)]
#[case::stubborn(Stop::DeletePod, "trap '' TERM; while :; do sleep 1; done", "failed", "Deleted: ")]
#[tokio::test]
async fn a_stop_ends_the_worker_and_is_reported(
    #[case] stop: Stop,
    #[case] script: &str,
    #[case] expected: &str,
    #[case] error: &str,
) {
    let run = Supervised::with_row(&format!("echo up; {script}"), "running", &json!({})).await;
    let pod = run.until_up().await;
    let start = Instant::now();
    match stop {
        Stop::DeletePod => {
            run.scene.api::<Pod>().delete(&pod, &DeleteParams::default()).await.unwrap();
        }
        Stop::Kill => drop(run.call("kill", &[]).await.good()),
        Stop::Deadline => {
            let job = run.scene.ours::<Job>().await.into_keys().next().unwrap();
            end_now(&run.scene.api::<Job>(), &job).await;
        }
        Stop::InsideTheContainer => {}
    }
    run.until_states(&[PipelineState::Running, state(expected)]).await;
    // The grace period is a minute.
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
    let (told, _) = run.told();
    assert!(told.starts_with(error), "{told}");
    run.scene.end().await;
}

/// Python installs no handler for SIGTERM, which a first process needs.
#[tokio::test]
async fn python_ends_at_once_when_it_is_stopped() {
    let sleeps = ["python", "-c", "import time; print('up', flush=True); time.sleep(600)"];
    let run = Supervised::with_row(
        "",
        "running",
        &json!({
            "ingestionImage": bed().ingestion_image,
            "podTemplate": { "spec": {
                "terminationGracePeriodSeconds": 240,
                "containers": [{ "name": "main", "command": sleeps }],
            }},
        }),
    )
    .await;
    let pod = run.until_up().await;
    let start = Instant::now();
    run.scene.api::<Pod>().delete(&pod, &DeleteParams::default()).await.unwrap();
    run.until_states(&[PipelineState::Running, PipelineState::Failed]).await;
    // One that ignored the signal would be killed after a quarter of the grace period.
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
    run.scene.end().await;
}

#[tokio::test]
async fn an_evicted_run_stays_open_for_its_next_attempt() {
    let run = Supervised::with_row("echo up; exec sleep 600", "running", &json!({})).await;
    let pod = run.until_up().await;
    run.scene.api::<Pod>().evict(&pod, &EvictParams::default()).await.unwrap();
    // The next attempt waits for the end of the first one, and so of its supervisor.
    eventually("another worker that is up", || async {
        let pods = run.pods().await;
        let next = pods.iter().find(|name| **name != pod).ok_or("no other pod")?;
        let log = run.scene.api::<Pod>().logs(next, &LogParams::default()).await;
        let log = log.map_err(|error| error.to_string())?;
        if log == "up\n" { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(run.states(), [PipelineState::Running]);
    run.call("kill", &[]).await.good();
    run.until_states(&[PipelineState::Running, PipelineState::Stopped]).await;
    run.scene.end().await;
}

#[tokio::test]
async fn of_several_attempts_the_last_one_is_reported() {
    let run = Supervised::with_row("exit 1", "running", &json!({ "backoffLimit": 1 })).await;
    run.to_end().await.ended_with(1);
    assert_eq!(run.states(), [PipelineState::Running, PipelineState::Failed]);
    let pods = run.scene.ours::<Pod>().await;
    assert_eq!(pods.len(), 2, "{:?}", pods.keys());
    let first = pods.values().min_by_key(|pod| pod.creation_timestamp()).unwrap().name_any();
    let log = run.scene.api::<Pod>().logs(&first, &LogParams::default()).await.unwrap();
    assert_eq!(log, "another attempt of the run follows, so its status stays open\n");
    run.scene.end().await;
}

/// Signals go to the worker, SIGINT as SIGTERM, and orphans leave no zombies.
#[tokio::test]
async fn it_is_a_first_process() {
    // It waits for each signal, then for the orphans, which hold the pipe open until they end, and then
    // until every zombie has been waited for.
    let script = "cat /proc/1/comm; trap 'echo got $(cat /proc/$$/comm) USR1; usr1=1' USR1; \
        trap 'echo got TERM; term=1' TERM; \
        kill -USR1 1; until [ \"$usr1\" ]; do sleep 0.1; done; \
        kill -INT 1; until [ \"$term\" ]; do sleep 0.1; done; \
        for i in 1 2 3; do sh -c 'sleep 0.3 & exec true'; done | cat; \
        while grep -q '^State:.Z' /proc/[0-9]*/status; do sleep 0.1; done; echo no zombies";
    let run = Supervised::with_row(script, "running", &json!({})).await;
    let outcome = run.to_end().await.good();
    // The shell says too what becomes of its children, which get the same signals.
    let told = ["ompipe-exit", "got sh USR1", "got TERM", "no zombies"];
    let lines: Vec<_> = outcome.stdout.lines().filter(|line| told.contains(line)).collect();
    assert_eq!(lines, told, "{outcome:?}");
    assert_eq!(run.states(), [PipelineState::Running, PipelineState::Success]);
    run.scene.end().await;
}

#[tokio::test]
async fn an_outage_at_the_end_is_ridden_out() {
    let run = Supervised::with_row("exit 1", "running", &json!({})).await;
    run.scene.standin.inject(Fault::status(503).on("PUT", "*/pipelineStatus").times(6));
    run.scene.standin.inject(Fault::reset().on("GET", "*/pipelineStatus/*").times(3));
    run.to_end().await.ended_with(1);
    assert_eq!(run.states(), [PipelineState::Running, PipelineState::Failed]);
    run.scene.end().await;
}

/// What was deployed with a token that is no longer good: the worker's exit code stays its own.
#[tokio::test]
async fn a_report_that_is_refused_does_not_change_the_exit_code() {
    let seconds = json!({ "extraEnvVars": { "WORKER_MAIN": "exit 0", DEADLINE_ENV: "5" } });
    let run = Supervised::with_row("", "running", &seconds).await;
    run.scene.standin.inject(Fault::status(401));
    let outcome = run.to_end().await.good();
    assert!(outcome.stdout.contains("401 Unauthorized"), "{outcome:?}");
    assert_eq!(run.states(), [PipelineState::Running]);
    run.scene.end().await;
}

/// With an operator the supervisor hands signals on, and the report is the exit handler's.
#[rstest]
#[case::failed("exit 1", false, "failed")]
#[case::failed_after_success("exit 1", true, "failed")]
#[case::killed("exec sleep 600", false, "stopped")]
#[tokio::test]
async fn in_mode_operator_the_exit_handlers_pod_reports(
    #[case] script: &str,
    #[case] success: bool,
    #[case] expected: &str,
) {
    let first = if success { "success" } else { "running" };
    let parameters = json!({ "useOMJobOperator": true });
    let run = Supervised::with_row(&format!("echo up; {script}"), first, &parameters).await;
    install_crds(&run.scene.client).await;
    let operator = Operator::start(&run.scene, &[]);
    if expected == "stopped" {
        run.until_up().await;
        let start = Instant::now();
        run.call("kill", &[]).await.good();
        run.until_states(&[state(first), state(expected)]).await;
        assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
    } else {
        run.start().await;
        run.until_states(&[state(first), state(expected)]).await;
        let (told, known) = run.told();
        assert!(told.starts_with("Error: ended with exit code 1"), "{told}");
        assert!(known.contains("Container main: terminated: Error, exit code 1"), "{known}");
    }
    operator.terminate().await;
    run.scene.end().await;
}
