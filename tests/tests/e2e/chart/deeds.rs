//! What a server does, deed by deed, over HTTP alone. What a deed needs is made before by somebody who
//! may do everything, so that it shows what the server itself is allowed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Event, Pod, ResourceQuota, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use ompipe_api::{CronOMJob, OMJob};
use ompipe_client::{K8sPipelineClient, PipelineServiceClient, RunRequest};
use ompipe_core::config::Mode;
use ompipe_core::job::FINALIZER;
use ompipe_core::labels::RUN_ID;
use ompipe_core::{IngestionPipeline, RunId, WorkloadKind};
use ompipe_tests::api_proxy::{ApiFault, ApiProxy, Failure};
use ompipe_tests::rights::Right;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::access::library_with;
use crate::serve::{PATIENT, deployable};
use crate::serve_api::{RUNS, token};
use crate::support::{Answer, Scene, Serving, answer, eventually, from, no_pods_allowed};

/// One thing that a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Tells whether all is well.
    Health,
    /// Deploys a pipeline that it does not know.
    DeployNew,
    /// Deploys another config over one.
    Redeploy,
    /// Deploys so many of them that the oldest go.
    Revisions,
    /// Deploys over one, is refused the schedule, and takes everything back.
    TakeBack,
    /// Deploys without a schedule over one that has one.
    Unschedule,
    /// Switches a schedule off.
    Disable,
    /// Tells the pipelines.
    Pipelines,
    /// Tells the runs of one.
    Runs,
    /// Examines one run.
    Examine,
    /// Starts a run.
    Trigger,
    /// Starts one although the answer to its creation is lost.
    LostTrigger,
    /// Lets a run start whose turn has come.
    Turn,
    /// Tells why a run does not start.
    Waiting,
    /// Follows a run to its end, with what Kubernetes warns of.
    Follow,
    /// Reads a log.
    Logs,
    /// Stops a run.
    Kill,
    /// Deletes a pipeline.
    Delete,
    /// Deletes one whose run an operator holds.
    DeleteHeld,
    /// Tests a connection.
    Automation,
    /// The same although the answer to its creation is lost.
    LostAutomation,
    /// Runs an application.
    Application,
    /// Asks Kubernetes who calls.
    Token,
}

/// A server whose calls of the API server are recorded.
pub(super) struct Doer {
    pub(super) scene: Scene,
    pub(super) proxy: ApiProxy,
    pub(super) serving: Serving,
    /// Makes what deeds need, in the mode that it was made for.
    maker: K8sPipelineClient,
    mode: Mode,
    numbers: AtomicUsize,
}

/// `Ok` when a deed went as it should; else what went wrong.
type Done = Result<(), String>;

fn expect(condition: bool, wrong: impl Into<String>) -> Done {
    if condition { Ok(()) } else { Err(wrong.into()) }
}

/// An answer that says 200 or 202; else its text, with quotes as they were before JSON.
fn good(answer: &Answer) -> Done {
    expect([200, 202].contains(&answer.status), plain(&answer.text))
}

fn plain(json: &str) -> String {
    json.replace('\\', "")
}

impl Doer {
    /// `mode` is the server's; pipelines and runs are made in the mode `made`.
    pub(super) async fn new(
        scene: Scene,
        proxy: ApiProxy,
        serving: Serving,
        [mode, made]: [Mode; 2],
    ) -> Self {
        let maker = library_with(&scene, &parameters(made)).await;
        Self { scene, proxy, serving, maker, mode, numbers: AtomicUsize::new(0) }
    }

    /// From now on everything is made in that mode.
    pub(super) async fn make_in(self, made: Mode) -> Self {
        let maker = library_with(&self.scene, &parameters(made)).await;
        Self { maker, ..self }
    }

    fn made(&self) -> Mode {
        self.maker.config().mode
    }

    /// Does it, and tidies up. Boxed, since all of them side by side would be too much for a stack.
    pub(super) fn does(&self, deed: Deed) -> LocalBoxFuture<'_, Done> {
        match deed {
            Deed::Health => self.health().boxed_local(),
            Deed::DeployNew => self.deploy_new().boxed_local(),
            Deed::Redeploy => self.redeploy().boxed_local(),
            Deed::Revisions => self.revisions().boxed_local(),
            Deed::TakeBack => self.take_back().boxed_local(),
            Deed::Unschedule => self.unschedule().boxed_local(),
            Deed::Disable => self.disable().boxed_local(),
            Deed::Pipelines => self.pipelines().boxed_local(),
            Deed::Runs | Deed::Examine => self.look_at_run(deed).boxed_local(),
            Deed::Trigger => self.trigger().boxed_local(),
            Deed::LostTrigger => self.lost(self.mode, self.trigger().boxed_local()).boxed_local(),
            Deed::Turn => self.turn().boxed_local(),
            Deed::Waiting => self.waiting().boxed_local(),
            Deed::Follow => self.follow().boxed_local(),
            Deed::Logs => self.logs().boxed_local(),
            Deed::Kill => self.kill().boxed_local(),
            Deed::Delete => self.delete().boxed_local(),
            Deed::DeleteHeld => self.delete_held().boxed_local(),
            Deed::Automation => self.automation().boxed_local(),
            Deed::LostAutomation => {
                self.lost(Mode::Job, self.automation().boxed_local()).boxed_local()
            }
            Deed::Application => self.application().boxed_local(),
            Deed::Token => self.token().boxed_local(),
        }
    }

    async fn health(&self) -> Done {
        good(&self.serving.get("health-auth", &[]).await)
    }

    /// A number that was not used before.
    fn number(&self) -> usize {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// What a server sends to deploy `shop.nightly` with a config that it never had.
    fn nightly(&self, schedule: Option<&str>) -> Value {
        let includes = [format!("schema{}", self.number())];
        let config =
            json!({ "type": "DatabaseMetadata", "schemaFilterPattern": { "includes": includes } });
        let airflow = json!({ "maxActiveRuns": 1, "scheduleInterval": schedule });
        let fields = json!({ "sourceConfig": { "config": config }, "airflowConfig": airflow });
        deployable(&self.scene, "nightly", &fields)
    }

    fn scheduled(&self) -> Value {
        self.nightly(Some("0 2 * * 0"))
    }

    /// Lets `shop.nightly` be deployed and scheduled, and no run of it be under way.
    async fn made_anew(&self) -> IngestionPipeline {
        let pipeline = IngestionPipeline::read(&self.scheduled()).unwrap();
        self.maker.kill_ingestion(&pipeline.identity).await.unwrap();
        self.maker.deploy_pipeline(pipeline.clone(), None).await.unwrap();
        pipeline
    }

    /// The same with a run, or one more, which waits when there is one.
    async fn made_to_run(&self, pipeline: &IngestionPipeline) -> RunId {
        let request = RunRequest::queued(RunId::random());
        let started = self.maker.run_pipeline(pipeline.clone(), None, request).await.unwrap();
        started.run_id
    }

    /// Stops every run of `shop.nightly`.
    async fn tidy(&self) {
        let pipeline = IngestionPipeline::read(&self.scheduled()).unwrap();
        self.maker.kill_ingestion(&pipeline.identity).await.unwrap();
    }

    async fn deploy(&self, body: &Value) -> Done {
        good(&self.serving.post("deploy", body).await)
    }

    async fn deploy_new(&self) -> Done {
        let airflow = json!({ "maxActiveRuns": 1, "scheduleInterval": "0 2 * * 0" });
        let name = format!("new{}", self.number());
        self.deploy(&deployable(&self.scene, &name, &json!({ "airflowConfig": airflow }))).await
    }

    async fn redeploy(&self) -> Done {
        self.made_anew().await;
        self.deploy(&self.scheduled()).await
    }

    async fn revisions(&self) -> Done {
        for _ in 0..5 {
            self.deploy(&self.scheduled()).await?;
        }
        let secrets = self.scene.ours::<Secret>().await;
        let left = secrets.keys().filter(|name| name.starts_with("om-secret-nightly-")).count();
        expect(left == 3, format!("{left} configs of it are kept"))
    }

    /// The schedule goes last, so everything before it was changed when it is refused.
    async fn take_back(&self) -> Done {
        self.made_anew().await;
        let schedule = match self.mode {
            Mode::Job => "/om-cronjob-nightly",
            Mode::Operator => "/om-cronomjob-nightly",
        };
        let fault = ApiFault::new(Failure::Status(403)).on(Method::PATCH, schedule);
        self.proxy.inject(fault);
        let refused = plain(&self.serving.post("deploy", &self.scheduled()).await.text);
        self.proxy.heal();
        expect(refused.contains("the proxy says 403") && !refused.contains("undone"), refused)
    }

    async fn unschedule(&self) -> Done {
        self.made_anew().await;
        self.deploy(&self.nightly(None)).await
    }

    async fn disable(&self) -> Done {
        self.made_anew().await;
        good(&self.serving.post("disable", &json!({ "dag_id": "nightly" })).await)?;
        let is_off = match self.made() {
            Mode::Job => {
                let schedule = self.scene.ours::<CronJob>().await.remove("om-cronjob-nightly");
                schedule.unwrap().spec.unwrap().suspend
            }
            Mode::Operator => {
                let schedule = self.scene.ours::<CronOMJob>().await.remove("om-cronomjob-nightly");
                schedule.unwrap().spec.suspend
            }
        };
        expect(is_off == Some(true), "the schedule goes on")
    }

    async fn api(&self, path: &str) -> Answer {
        answer(self.serving.request(Method::GET, &format!("/api/v1{path}"))).await
    }

    async fn pipelines(&self) -> Done {
        self.made_anew().await;
        let told = self.api("/pipelines/shop.nightly").await;
        good(&told)?;
        expect(told.json()["schedule"].is_object(), "no schedule is told")
    }

    async fn look_at_run(&self, deed: Deed) -> Done {
        let pipeline = self.made_anew().await;
        let run = self.made_to_run(&pipeline).await.to_string();
        let told = match deed {
            Deed::Runs => self.api(RUNS).await,
            _ => self.api(&format!("{RUNS}/{run}")).await,
        };
        self.tidy().await;
        good(&told)?;
        // What doctor has no right to look at, it names with the right that is missing.
        let is_blind = told.text.contains("grant get on serviceaccounts")
            || told.text.contains("grant create on localsubjectaccessreviews");
        expect(!is_blind, "the account of the runs is not checked")?;
        expect(told.text.contains(&run), "the run is not told")
    }

    async fn trigger(&self) -> Done {
        self.made_anew().await;
        let started = self.serving.post("trigger", &json!({ "dag_id": "nightly" })).await;
        self.tidy().await;
        good(&started)
    }

    /// Does something while the answer to the creation of its Job or `OMJob` gets lost.
    async fn lost(&self, mode: Mode, deed: LocalBoxFuture<'_, Done>) -> Done {
        let created = if mode == Mode::Job { "/jobs" } else { "/omjobs" };
        self.proxy.inject(ApiFault::new(Failure::LostAnswer).on(Method::POST, created).times(1));
        deed.await
    }

    /// Whether a run is suspended.
    async fn is_suspended(&self, run: RunId) -> bool {
        let id = run.to_string();
        let is_of_run = |labels: &BTreeMap<String, String>| labels.get(RUN_ID) == Some(&id);
        let suspended = match self.made() {
            Mode::Job => {
                let jobs = self.scene.ours::<Job>().await;
                let job = jobs.into_values().find(|job| is_of_run(job.labels()));
                job.and_then(|job| job.spec?.suspend)
            }
            Mode::Operator => {
                let jobs = self.scene.ours::<OMJob>().await;
                jobs.into_values()
                    .find(|job| is_of_run(job.labels()))
                    .and_then(|job| job.spec.suspend)
            }
        };
        suspended == Some(true)
    }

    async fn turn(&self) -> Done {
        let pipeline = self.made_anew().await;
        let first = self.made_to_run(&pipeline).await;
        let second = self.made_to_run(&pipeline).await;
        assert!(self.is_suspended(second).await, "it has to wait for the first");
        let logged = self.serving.log().len();
        self.maker.kill_ingestion_run(&pipeline.identity, first).await.unwrap();
        let done = eventually("the turn of a run", || async {
            if !self.is_suspended(second).await {
                return Ok(Ok(()));
            }
            let log = self.serving.log().split_off(logged);
            let refused = log.lines().find(|line| line.contains("cannot be looked after"));
            refused.map(|line| Err(plain(line))).ok_or_else(|| log.clone())
        })
        .await;
        self.tidy().await;
        done
    }

    /// A quota that allows no pod is what a run waits for.
    async fn waiting(&self) -> Done {
        let pipeline = self.made_anew().await;
        no_pods_allowed(&self.scene).await;
        let run = self.made_to_run(&pipeline).await;
        let name = name_of(self.scene.ours::<Job>().await.into_values(), run);
        eventually("a warning of Kubernetes", || async {
            let of_run = format!("reason=FailedCreate,involvedObject.name={name}");
            let warnings = ListParams::default().fields(&of_run);
            let warnings = self.scene.api::<Event>().list(&warnings).await.unwrap();
            if warnings.items.is_empty() { Err("none yet") } else { Ok(()) }.map_err(str::to_owned)
        })
        .await;
        let told = self.api(RUNS).await;
        self.scene.api::<ResourceQuota>().delete("q", &DeleteParams::default()).await.unwrap();
        self.tidy().await;
        good(&told)?;
        expect(told.text.contains("exceeded quota"), "why it waits is not told")
    }

    /// A run that waits for another has no log, which would be told before anything else.
    async fn follow(&self) -> Done {
        let pipeline = self.made_anew().await;
        self.made_to_run(&pipeline).await;
        let run = self.made_to_run(&pipeline).await;
        let before = self.proxy.answers().len();
        let path = format!("/api/v1{RUNS}/{run}/logs/follow");
        let followed = self.serving.request(Method::GET, &path).send().await.unwrap();
        let done = self.followed(followed, run, before).await;
        self.tidy().await;
        done
    }

    async fn followed(&self, mut told: Response, run: RunId, before: usize) -> Done {
        let kind = if self.made() == Mode::Job { "jobs" } else { "omjobs" };
        let [object, pods, events] = eventually("three watches, or an end", || async {
            let [object, pods, events] = [kind, "pods", "events"].map(|k| self.watched(k, before));
            let is_over = [object, pods].contains(&Some(403));
            let watches = [object, pods, events];
            let all = watches.iter().all(Option::is_some);
            if is_over || all { Ok(watches) } else { Err(format!("{watches:?}")) }
        })
        .await;
        let mut text = String::new();
        if object == Some(200) && pods == Some(200) {
            self.warn_of(run).await;
            // Nothing to wait for where it may not be heard.
            while events == Some(200) && !text.contains("planted") {
                let Some(piece) = told.chunk().await.unwrap() else { break };
                text.push_str(&String::from_utf8_lossy(&piece));
            }
            self.tidy().await;
        }
        text.push_str(&told.text().await.unwrap());
        expect(text.contains("planted"), plain(&text))
    }

    /// How the API server has answered a watch of one run's.
    fn watched(&self, kind: &str, since: usize) -> Option<u16> {
        let answers = self.proxy.answers().split_off(since);
        let is_of_run = |query: &str| {
            ["metadata.name", "involvedObject", "name%3Dom-"].iter().any(|of| query.contains(of))
        };
        let mut watches = answers.iter().filter(|(call, _)| {
            let right = Right::of_call(call);
            right.is_some_and(|right| right.verb == "watch" && right.resource == kind)
                && is_of_run(&call.query)
        });
        watches.next().map(|(_, code)| *code)
    }

    /// Lets Kubernetes warn of a run's object.
    async fn warn_of(&self, run: RunId) {
        let kind = if self.made() == Mode::Job { WorkloadKind::Job } else { WorkloadKind::OmJob };
        let name = match self.made() {
            Mode::Job => name_of(self.scene.ours::<Job>().await.into_values(), run),
            Mode::Operator => name_of(self.scene.ours::<OMJob>().await.into_values(), run),
        };
        let event: Event = from(json!({
            "metadata": { "generateName": "planted-" }, "type": "Warning", "reason": "Planted",
            "message": "planted",
            "involvedObject": { "kind": kind.as_str(), "name": name, "namespace": self.scene.namespace },
        }));
        self.scene.api().create(&PostParams::default(), &event).await.unwrap();
    }

    async fn logs(&self) -> Done {
        let pipeline = self.made_anew().await;
        self.made_to_run(&pipeline).await;
        let query = [("dag_id", "nightly"), ("task_id", "ingestion_task")];
        let done = eventually("a log", || async {
            let told = self.serving.get("last_dag_logs", &query).await;
            match good(&told) {
                Ok(()) if told.text.contains("working") => Ok(Ok(())),
                Ok(()) => Err(told.text),
                Err(refused) => Ok(Err(refused)),
            }
        })
        .await;
        self.tidy().await;
        done
    }

    async fn kill(&self) -> Done {
        let pipeline = self.made_anew().await;
        self.made_to_run(&pipeline).await;
        let killed = self.serving.post("kill", &json!({ "dag_id": "nightly" })).await;
        self.tidy().await;
        good(&killed)
    }

    async fn delete(&self) -> Done {
        self.made_anew().await;
        good(&self.serving.delete("nightly").await)
    }

    /// Its pods have to go at once, its Job when the operator has reported it.
    async fn delete_held(&self) -> Done {
        let pipeline = self.made_anew().await;
        let run = self.made_to_run(&pipeline).await;
        let name = name_of(self.scene.ours::<Job>().await.into_values(), run);
        eventually("a pod", || async {
            let pods =
                ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
            let pods = self.scene.api::<Pod>().list(&pods).await.unwrap();
            if pods.items.is_empty() { Err("none".to_owned()) } else { Ok(()) }
        })
        .await;
        let hold = |finalizers: Value| {
            let patch = json!({ "metadata": { "finalizers": finalizers } });
            let (jobs, name) = (self.scene.api::<Job>(), name.clone());
            async move {
                jobs.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
            }
        };
        hold(json!([FINALIZER])).await;
        let deleted = self.serving.delete("nightly").await;
        hold(json!([])).await;
        good(&deleted)
    }

    async fn automation(&self) -> Done {
        let automation = json!({
            "name": format!("test{}", self.number()), "workflowType": "TEST_CONNECTION",
            "request": { "connectionType": "Mysql" },
            "openMetadataServerConnection": self.scene.standin.server_connection(),
        });
        good(&self.serving.post("run_automation", &automation).await)
    }

    async fn application(&self) -> Done {
        let application = json!({
            "id": "5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb04", "name": "MyApp", "className": "x.Y",
            "sourcePythonClass": "x.Y",
            "openMetadataServerConnection": self.scene.standin.server_connection(),
        });
        good(&self.serving.post("run_application", &application).await)
    }

    async fn token(&self) -> Done {
        let reader = token(&self.scene, &format!("reader{}", self.number()), &["get"]).await;
        let url = format!("http://{}/api/v1/pipelines", self.serving.address);
        good(&answer(Client::new().get(url).bearer_auth(reader)).await)
    }
}

/// What the server, and who makes things for it, are configured with.
pub(super) fn parameters(mode: Mode) -> Value {
    json!({ "extraEnvVars": [PATIENT], "useOMJobOperator": mode == Mode::Operator })
}

/// The name of a run's object.
fn name_of<K: ResourceExt>(mut objects: impl Iterator<Item = K>, run: RunId) -> String {
    let id = run.to_string();
    let found = objects.find(|object| object.labels().get(RUN_ID) == Some(&id));
    found.unwrap().name_any()
}
