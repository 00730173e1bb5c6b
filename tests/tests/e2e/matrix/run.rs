//! A run of one cell: started as users do, disturbed by the test, and held to its one true end.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{LogParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use ompipe_api::{CronOMJob, OMJob};
use ompipe_core::RunId;
use ompipe_tests::matrix::{Found, Mode, Row};
use ompipe_tests::standin::{Fault, PipelineState};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::witness::{Witness, now_ms};
use crate::access::limited_kubeconfig;
use crate::operator::{Operator, documented_rules};
use crate::support::{Bed, Breakable, Scene, bed, eventually, install_crds, release};

const FQN: &str = "shop.nightly";
/// Label with the id of a run.
const RUN_ID: &str = "app.kubernetes.io/run-id";
/// What is promised, for ends that need no timeout; the rest is for a machine that does other work.
const PROMISE_SECONDS: f64 = 5.0;
const NOISE: f64 = 4.0;
/// How long the operator waits for an exit handler that something keeps from starting, or that fails
/// three times, before it reports itself.
const LAST_RESORT_SECONDS: f64 = 40.0;
/// A worker that runs until it is stopped, and stops then.
pub(super) const WAITS: &str = "trap 'exit 143' TERM; echo up; sleep 600 & wait";

/// What has to stand at last.
#[derive(Clone, Copy, Debug)]
pub(super) enum Truth {
    /// What stood before: nobody writes anything.
    Stands,
    /// This state, for a reason that begins so; none where the state says all.
    Is(PipelineState, &'static str),
}

/// How a run is made.
#[derive(Clone, Debug)]
pub(super) struct Plan<'p> {
    pub(super) row: &'p str,
    pub(super) mode: Mode,
    /// What the worker does, in shell.
    pub(super) worker: &'p str,
    /// What it has reported, or OpenMetadata for it, before the end.
    pub(super) says: &'p str,
    /// Parameters that override the cell's.
    pub(super) parameters: Value,
}

impl<'p> Plan<'p> {
    pub(super) fn new(row: &'p str, mode: Mode, worker: &'p str) -> Self {
        Self { row, mode, worker, says: "running", parameters: json!({}) }
    }

    pub(super) fn says(self, says: &'p str) -> Self {
        Self { says, ..self }
    }

    pub(super) fn with(mut self, parameters: &Value) -> Self {
        let own = self.parameters.as_object_mut().unwrap();
        own.extend(parameters.as_object().unwrap().clone());
        self
    }

    fn all_parameters(&self) -> Value {
        let mut all = json!({
            "ttlSecondsAfterFinished": 5, "activeDeadlineSeconds": 600,
            "extraEnvVars": [{ "name": "WORKER_MAIN", "value": self.worker }],
            "resources": {
                "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "64Mi" },
            },
        });
        let of_mode = match self.mode {
            Mode::Operator => {
                json!({ "useOMJobOperator": true, "exitHandlerImage": Bed::exit_handler_image() })
            }
            Mode::JobAndOperator => json!({}),
            Mode::Supervised => json!({ "exitHandlerImage": Bed::exit_handler_image() }),
            // The hook of the real image gives up on what takes long, so it gets a share of the
            // processor that other tests cannot take.
            Mode::Hook => json!({
                "ingestionImage": bed().ingestion_image,
                "resources": {
                    "requests": { "cpu": "500m", "memory": "256Mi" }, "limits": { "memory": "1Gi" },
                },
                "podTemplate": { "spec": { "containers": [
                    { "name": "main", "command": ["sh", "-c", self.worker] },
                ]}},
            }),
        };
        for parameters in [&of_mode, &self.parameters] {
            all.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        }
        all
    }

    /// Prepares everything but the run itself; an operator if the mode has one.
    pub(super) async fn prepare(self) -> Run {
        let scene = Scene::new("matrix").await;
        install_crds(&scene.client).await;
        self.prepare_in(scene).await
    }

    /// The same on a cluster that the test breaks.
    pub(super) async fn prepare_on(self, cluster: &Breakable) -> Run {
        self.prepare_in(cluster.scene("matrix").await).await
    }

    async fn prepare_in(self, scene: Scene) -> Run {
        let rights = limited_kubeconfig(&scene, "operator", &documented_rules()).await;
        let mut run = Run::new(scene, &self, rights);
        if self.mode.has_operator() {
            run.start_operator().await;
        }
        run
    }

    /// Prepares everything, and starts the run.
    pub(super) async fn begin(self) -> Run {
        let run = self.prepare().await;
        run.start().await;
        run
    }
}

/// A run and what is around it.
pub(super) struct Run {
    pub(super) scene: Scene,
    pub(super) mode: Mode,
    pub(super) operators: Vec<Operator>,
    row: String,
    id: RunId,
    says: PipelineState,
    config: String,
    pipeline: String,
    service: String,
    /// The operator's access.
    kubeconfig: String,
    witness: Witness,
    /// When an outage was over, in milliseconds since 1970.
    healed: Option<i64>,
}

impl Run {
    fn new(scene: Scene, plan: &Plan<'_>, kubeconfig: String) -> Self {
        let pipeline = scene.scheduled_nightly();
        let (config, service) = (scene.config(&plan.all_parameters()), scene.service());
        let says = serde_json::from_value(json!(plan.says)).unwrap();
        let witness = Witness::of(&scene);
        let (row, id, mode) = (plan.row.to_owned(), RunId::random(), plan.mode);
        assert!(Row::named(&row).is_some_and(|row| row.untried(mode).is_none()), "no cell {row}");
        Self {
            scene,
            mode,
            operators: Vec::new(),
            row,
            id,
            says,
            config,
            pipeline,
            service,
            kubeconfig,
            witness,
            healed: None,
        }
    }

    /// Calls the program about the pipeline.
    pub(super) async fn ompipe(&self, args: &[&str]) {
        let source = ["-c", &self.config, "-f", &self.pipeline];
        self.scene.ompipe(&[args, &source].concat()).await.good();
    }

    pub(super) async fn deploy(&self) {
        self.ompipe(&["deploy", "--service", &self.service]).await;
    }

    /// Starts it, with the row that somebody has written before.
    pub(super) async fn start(&self) {
        self.write_row().await;
        let id = self.id.to_string();
        self.ompipe(&["run", "--service", &self.service, "--run-id", &id]).await;
    }

    async fn write_row(&self) {
        self.scene.write_row(self.id, &self.says.to_string()).await;
    }

    /// Changes the pipeline's file.
    pub(super) fn edit_pipeline(&self, edit: impl FnOnce(&mut Value)) {
        let text = std::fs::read_to_string(&self.pipeline).unwrap();
        let mut document = serde_json::from_str(&text).unwrap();
        edit(&mut document);
        std::fs::write(&self.pipeline, document.to_string()).unwrap();
    }

    /// Deploys it with a schedule, of which this is a run.
    pub(super) async fn start_by_schedule(&mut self) {
        self.deploy().await;
        let id = match self.mode {
            Mode::Operator => self.trigger().await,
            Mode::JobAndOperator | Mode::Supervised | Mode::Hook => {
                let schedule: CronJob = self.scene.api().get("om-cronjob-nightly").await.unwrap();
                let job = crate::deploy::run_of(&schedule);
                let job = self.scene.api::<Job>().create(&PostParams::default(), &job).await;
                job.unwrap().uid().unwrap()
            }
        };
        self.id = id.parse().unwrap();
        self.write_row().await;
    }

    /// Deploys it with a schedule that is due once, soon, while the killed leader's lease still holds
    /// off the operator that is to take over: this is the run of that slot.
    pub(super) async fn start_by_slot_without_leader(&mut self) {
        let slot = Timestamp::from_second((now_ms() / 1000 + 25) / 60 * 60 + 60).unwrap();
        let time = slot.to_zoned(TimeZone::UTC);
        let cron = format!("{} {} * * *", time.minute(), time.hour());
        self.edit_pipeline(|pipeline| {
            pipeline["airflowConfig"]["scheduleInterval"] = cron.as_str().into();
        });
        self.deploy().await;
        let before = slot.as_millisecond() - 2_000 - now_ms();
        sleep(Duration::from_millis(u64::try_from(before).unwrap())).await;
        self.kill_operators().await;
        let other = self.another_operator();
        self.operators.push(other);
        self.id = self.of_schedule().await.parse().unwrap();
        self.write_row().await;
    }

    /// Has the operator make a run of the schedule.
    async fn trigger(&self) -> String {
        let schedules: Api<CronOMJob> = self.scene.api();
        let trigger = json!({ "pipelines.openmetadata.org/trigger": "now" });
        let patch = Patch::Merge(json!({ "metadata": { "annotations": trigger } }));
        schedules.patch("om-cronomjob-nightly", &PatchParams::default(), &patch).await.unwrap();
        self.of_schedule().await
    }

    /// Id of the first run that a schedule made.
    async fn of_schedule(&self) -> String {
        eventually("a run of the schedule", || async {
            let jobs = self.scene.api::<OMJob>().list(&kube::api::ListParams::default()).await;
            let job = jobs.unwrap().items.into_iter().next();
            job.map(|job| job.labels()[RUN_ID].clone()).ok_or_else(|| "none".to_owned())
        })
        .await
    }
}

/// What tests do to it.
impl Run {
    pub(super) async fn start_operator(&mut self) {
        let operator = self.another_operator();
        operator.ready("leader").await;
        self.operators.push(operator);
    }

    /// An operator that may have to wait for the lease.
    pub(super) fn another_operator(&self) -> Operator {
        Operator::start(&self.scene, &[("KUBECONFIG", &self.kubeconfig)])
    }

    /// Ends all operators as crashes do.
    pub(super) async fn kill_operators(&mut self) {
        for operator in self.operators.drain(..) {
            operator.kill().await;
        }
    }

    /// Waits until a worker is up that is none of `others`; its pod's name.
    pub(super) async fn up_beside(&self, others: &[String]) -> String {
        let pods: Api<Pod> = self.scene.api();
        eventually("a worker that is up", || async {
            let all = pods.list(&kube::api::ListParams::default()).await;
            let all = all.map_err(|error| error.to_string())?;
            let is_new = |pod: &&Pod| !others.contains(&pod.name_any());
            let pod = all.items.iter().find(is_new).ok_or("no pod")?;
            let held = pod.finalizers().iter().any(|one| one.contains("openmetadata"));
            if self.mode.has_operator() && !held {
                return Err("not tracked yet".to_owned());
            }
            let log = LogParams { container: Some("main".to_owned()), ..LogParams::default() };
            let log = pods.logs(&pod.name_any(), &log).await.map_err(|error| error.to_string())?;
            if log.contains("up\n") { Ok(pod.name_any()) } else { Err(log) }
        })
        .await
    }

    pub(super) async fn up(&self) -> String {
        self.up_beside(&[]).await
    }

    /// Waits until the operator holds the run, where there is one.
    pub(super) async fn held(&self) {
        if !self.mode.has_operator() {
            return;
        }
        eventually("a run that is held", || async {
            let held = match self.mode {
                Mode::Operator => self.only::<OMJob>().await?.metadata.finalizers,
                _ => self.only::<Job>().await?.metadata.finalizers,
            };
            let held = held.unwrap_or_default();
            if held.is_empty() { Err("not yet".to_owned()) } else { Ok(()) }
        })
        .await;
    }

    /// The run's object.
    pub(super) async fn only<K>(&self) -> Result<K, String>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        self.scene.ours::<K>().await.into_values().next().ok_or_else(|| "none".to_owned())
    }

    /// Lets a worker that waits at the barrier go on.
    pub(super) async fn tell(&self, pod: &str) {
        release(&self.scene.api(), pod).await;
    }

    /// Waits until the API has shown the end.
    pub(super) async fn ended(&self) {
        eventually("the end", || async {
            let seen = self.witness.seen();
            seen.ended().map(drop).ok_or_else(|| format!("{seen:?}"))
        })
        .await;
    }

    /// OpenMetadata fails from now on, for that long.
    pub(super) fn openmetadata_fails(&mut self, fault: Fault, time: Duration) {
        self.scene.standin.inject(fault.lasting(time));
        self.healed = Some(now_ms() + i64::try_from(time.as_millis()).unwrap());
    }

    /// An outage is over now: what it delayed counts from here.
    pub(super) fn healed(&mut self) {
        self.healed = Some(now_ms());
    }
}

/// What comes of it.
impl Run {
    /// Asserts the one true end, keeps it for the page, and clears up.
    pub(super) async fn ends(self, truth: Truth) {
        self.ends_within(truth, PROMISE_SECONDS * NOISE).await;
    }

    /// The same where the exit handler cannot report, and of the modes only `Operator` has one.
    pub(super) async fn ends_without_exit_handler(self, truth: Truth) {
        let wait = if self.mode == Mode::Operator { LAST_RESORT_SECONDS } else { 0.0 };
        self.ends_within(truth, wait + PROMISE_SECONDS * NOISE).await;
    }

    /// The same where Kubernetes itself takes so many seconds first.
    pub(super) async fn ends_after(self, truth: Truth, seconds: f64) {
        self.ends_within(truth, seconds + PROMISE_SECONDS * NOISE).await;
    }

    async fn ends_within(self, truth: Truth, limit: f64) {
        let expected = match truth {
            Truth::Stands => vec![self.says],
            Truth::Is(state, _) => vec![self.says, state],
        };
        self.until_written(&expected).await;
        self.until_gone().await;
        let seconds = self.seconds().filter(|_| expected.len() > 1);
        assert_eq!(self.states(), expected, "{}: something was written after the end", self.row);
        let reason = self.reason();
        if let Truth::Is(_, wanted) = truth {
            let found = reason.clone().unwrap_or_default();
            assert!(found.starts_with(wanted), "{}: {found:?} instead of {wanted:?}", self.row);
            assert!(!wanted.is_empty() || self.mode == Mode::Hook || found.is_empty(), "{found}");
        }
        assert!(seconds.is_none_or(|seconds| seconds <= limit), "{}: {seconds:?} s", self.row);
        self.keep(expected.last().copied(), reason, seconds);
        for operator in self.operators {
            operator.terminate().await;
        }
        self.scene.end().await;
    }

    fn states(&self) -> Vec<PipelineState> {
        self.scene.standin.states(FQN, self.id.into())
    }

    async fn until_written(&self, expected: &[PipelineState]) {
        eventually(&format!("the row of {:?} in {:?}", self.row, self.mode), || async {
            let states = self.states();
            assert!(states.len() <= expected.len(), "{}: {states:?} was written", self.row);
            if states == expected { Ok(()) } else { Err(format!("{states:?}")) }
        })
        .await;
        let id = json!(self.id.to_string());
        let rows = self.scene.standin.rows(FQN);
        assert_eq!(rows.iter().filter(|row| row["runId"] == id).count(), 1, "{rows:?}");
    }

    /// Waits until the TTL, or the deletion, has taken everything.
    async fn until_gone(&self) {
        eventually(
            &format!("the end of all runs of {:?} in {:?}", self.row, self.mode),
            || async {
                let (jobs, omjobs, pods) = tokio::join!(
                    self.scene.ours::<Job>(),
                    self.scene.ours::<OMJob>(),
                    self.scene.ours::<Pod>(),
                );
                let pods: Vec<_> = pods.values().map(|pod| (&pod.metadata, &pod.status)).collect();
                let left = (jobs.len(), omjobs.len(), pods.len());
                if left == (0, 0, 0) { Ok(()) } else { Err(format!("{left:?} {pods:?}")) }
            },
        )
        .await;
    }

    /// From the end that the API showed, or the end of the outage, to the last write.
    fn seconds(&self) -> Option<f64> {
        let written = self.scene.standin.status_history(FQN, self.id.into()).last()?.at_ms;
        let ended = self.witness.seen().ended();
        let since = match (self.mode, self.healed) {
            // A supervisor keeps its pod until it has reported: there the outage's end counts.
            (Mode::Supervised, Some(healed)) => healed,
            _ => ended.max(self.healed)?,
        };
        Some(f64::from(i32::try_from(written - since).unwrap()) / 1000.0)
    }

    /// The words of the row's last failure.
    fn reason(&self) -> Option<String> {
        let row = self.scene.standin.row(FQN, self.id.into())?;
        let step = row["status"].as_array()?.last()?;
        step["failures"][0]["error"].as_str().map(str::to_owned)
    }

    fn keep(&self, stands: Option<PipelineState>, reason: Option<String>, seconds: Option<f64>) {
        let is_end = |state: &PipelineState| {
            !matches!(state, PipelineState::Queued | PipelineState::Running)
        };
        let writer = match self.mode {
            Mode::Operator => self.witness.seen().by().map(str::to_owned),
            // Its worker and its hook report nothing.
            Mode::JobAndOperator => Some("operator".to_owned()),
            Mode::Supervised => Some("supervisor".to_owned()),
            Mode::Hook => Some("hook".to_owned()),
        };
        let found = Found {
            row: self.row.clone(),
            mode: self.mode,
            test: test_name(),
            state: stands.filter(is_end),
            reason: reason.and_then(|text| Some(text.split_once(": ")?.0.to_owned())),
            by: writer.filter(|_| seconds.is_some()),
            seconds,
        };
        found.keep(&Found::directory()).unwrap();
    }
}

/// The function of the test, without its cases.
fn test_name() -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    name.split("::").take(3).collect::<Vec<_>>().join("::")
}
