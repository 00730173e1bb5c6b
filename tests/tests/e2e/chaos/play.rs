//! A plan on a real cluster: its runs, two operators behind a proxy, and what came of them.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use ompipe_api::OMJob;
use ompipe_core::RunId;
use ompipe_core::job::{JobEnd, REPORTED};
use ompipe_tests::api_proxy::ApiProxy;
use ompipe_tests::chaos::{Account, Kind, Plan, Touch, Worker};
use ompipe_tests::standin::PipelineState;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::operator::Operator;
use crate::support::{Bed, Scene, eventually, install_crds};

const FQN: &str = "shop.nightly";
/// Runs that are started at the same time.
const AT_ONCE: usize = 6;
/// What an `OMJob` has after its end before it goes.
const TTL_SECONDS: u32 = 20;
/// The same for Jobs: longer than a round. A TTL of Kubernetes' own does not ask whether an operator
/// has seen a Job, and of one that comes and goes while none leads nobody can tell the end. So the
/// test removes what an operator is done with.
const TTL_SECONDS_OF_JOBS: u32 = 3600;

/// A plan that is being played.
pub(super) struct Play<'p> {
    pub(super) plan: &'p Plan,
    pub(super) scene: Scene,
    pub(super) ids: Vec<RunId>,
    pub(super) proxy: ApiProxy,
    pub(super) operators: tokio::sync::Mutex<Vec<Operator>>,
    pub(super) touched: Mutex<Vec<BTreeSet<Touch>>>,
    pub(super) began: Instant,
    variables: Vec<(String, String)>,
    pipeline: String,
    service: String,
}

impl<'p> Play<'p> {
    /// Two operators with these variables, and all runs.
    pub(super) async fn begin(plan: &'p Plan, variables: &[(&str, &str)]) -> Self {
        let scene = Scene::new("chaos").await;
        install_crds(&scene.client).await;
        scene.add_nightly();
        let proxy = ApiProxy::start(scene.client.clone()).await.unwrap();
        let kubeconfig = scene.file("proxy.kubeconfig", &proxy.kubeconfig());
        let own = [("KUBECONFIG", kubeconfig.as_str()), ("LEASE_DURATION_SECONDS", "6")];
        let all = own.into_iter().chain(variables.iter().copied());
        let variables = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let ids = plan.runs.iter().map(|_| RunId::random()).collect();
        let touched = Mutex::new(vec![BTreeSet::new(); plan.runs.len()]);
        let (operators, began) = (tokio::sync::Mutex::default(), Instant::now());
        let (pipeline, service) = (scene.pipeline("nightly", &json!({})), scene.service());
        let mut play = Self {
            plan,
            scene,
            ids,
            proxy,
            operators,
            touched,
            began,
            variables,
            pipeline,
            service,
        };
        for _ in 0..2 {
            let operator = play.new_operator();
            play.operators.lock().await.push(operator);
        }
        play.start_runs().await;
        play.began = Instant::now();
        play
    }

    pub(super) fn new_operator(&self) -> Operator {
        let variables = self.variables.iter();
        let variables: Vec<_> =
            variables.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Operator::start(&self.scene, &variables)
    }

    async fn start_runs(&self) {
        let numbers = stream::iter(0..self.ids.len());
        numbers.for_each_concurrent(AT_ONCE, |number| self.start_run(number)).await;
    }

    async fn start_run(&self, number: usize) {
        let (run, id) = (&self.plan.runs[number], self.ids[number]);
        self.scene.write_row(id, &run.says.to_string()).await;
        let ends = match run.worker {
            Worker::Succeeds => "exit 0",
            Worker::Fails => "exit 3",
            Worker::Dies => "sh -c 'kill -9 $$'; exit $?",
        };
        let works = run.works.as_millis();
        let script = format!(
            "trap 'exit 143' TERM; sleep {}.{:03} & wait $!; {ends}",
            works / 1000,
            works % 1000
        );
        let block = json!({
            "metadataApiEndpoint": self.scene.standin.url(),
            "parameters": self.parameters(run.kind, &script),
        });
        let block = json!({ "pipelineServiceClientConfiguration": block });
        let config = self.scene.file(&format!("config-{number}.yaml"), &block);
        let (pipeline, service, id) = (&self.pipeline, &self.service, id.to_string());
        let run = ["run", "-c", &config, "-f", pipeline, "--service", service, "--run-id", &id];
        self.scene.ompipe(&run).await.good();
    }

    fn parameters(&self, kind: Kind, script: &str) -> Value {
        let mut parameters = json!({
            "namespace": self.scene.namespace,
            "ingestionImage": crate::support::bed().worker_image,
            "concurrencyPolicy": "Allow",
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": TTL_SECONDS_OF_JOBS,
            "activeDeadlineSeconds": 600,
            "resources": {
                "requests": { "cpu": "5m", "memory": "16Mi" }, "limits": { "memory": "64Mi" },
            },
            "extraEnvVars": [{ "name": "WORKER_MAIN", "value": script }],
            // Not every pod that is stopped should hold the round up.
            "podTemplate": { "spec": { "terminationGracePeriodSeconds": 10 } },
        });
        if kind != Kind::Job {
            parameters["exitHandlerImage"] = Bed::exit_handler_image().into();
        }
        if kind == Kind::OmJob {
            parameters["useOMJobOperator"] = true.into();
            parameters["ttlSecondsAfterFinished"] = TTL_SECONDS.into();
        }
        parameters
    }

    /// Notes that something reached a run.
    pub(super) fn touch(&self, number: usize, touch: Touch) {
        self.touched.lock().unwrap()[number].insert(touch);
    }

    /// Heals everything, waits until nothing moves any more, and tells what came of each run.
    pub(super) async fn end(self) -> Vec<Account> {
        self.scene.standin.clear_faults();
        self.proxy.heal();
        self.until_gone().await;
        let left = self.left().await;
        let touched = self.touched.lock().unwrap().clone();
        let accounts = self.plan.runs.iter().zip(&self.ids).zip(touched);
        let accounts = accounts.map(|((run, id), touched)| Account {
            run: *run,
            touched,
            written: self.written(*id),
            reason: self.reason(*id),
            left: left
                .iter()
                .filter(|(run, _)| run == &id.to_string())
                .map(|(_, n)| n.clone())
                .collect(),
        });
        let accounts = accounts.collect();
        for operator in self.operators.into_inner() {
            operator.terminate().await;
        }
        self.scene.end().await;
        accounts
    }

    fn written(&self, id: RunId) -> Vec<PipelineState> {
        self.scene.standin.states(FQN, id.into())
    }

    /// What the row tells of the end.
    fn reason(&self, id: RunId) -> String {
        let row = self.scene.standin.row(FQN, id.into());
        row.map(|row| row["status"].to_string()).unwrap_or_default()
    }

    /// Run and name of everything that is there.
    async fn left(&self) -> Vec<(String, String)> {
        let (jobs, omjobs, pods) = tokio::join!(
            self.scene.ours::<Job>(),
            self.scene.ours::<OMJob>(),
            self.scene.ours::<Pod>(),
        );
        let run = |labels: &std::collections::BTreeMap<String, String>| {
            labels.get("app.kubernetes.io/run-id").cloned().unwrap_or_default()
        };
        let jobs = jobs.values().map(|job| (run(job.labels()), job.name_any()));
        let omjobs = omjobs.values().map(|job| (run(job.labels()), job.name_any()));
        let pods = pods.values().map(|pod| (run(pod.labels()), pod.name_any()));
        jobs.chain(omjobs).chain(pods).collect()
    }

    async fn until_gone(&self) {
        eventually("the end of all runs", || async {
            self.remove_settled().await;
            let left = self.left().await;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }

    /// Removes the Jobs of which no operator has anything more to tell.
    async fn remove_settled(&self) {
        let reports = !self.variables.iter().any(|(name, _)| name == "REPORT_JOBS");
        let is_settled = |job: &Job| {
            if reports {
                job.annotations().contains_key(REPORTED)
            } else {
                JobEnd::of(job).is_some()
            }
        };
        let jobs = self.scene.ours::<Job>().await.into_values();
        for job in jobs.filter(is_settled).filter(|job| job.metadata.deletion_timestamp.is_none()) {
            let removed = self.scene.api::<Job>();
            drop(removed.delete(&job.name_any(), &DeleteParams::background()).await.unwrap());
        }
    }

    /// Waits until that time of the plan.
    pub(super) async fn until(&self, at: Duration) {
        tokio::time::sleep_until(self.began + at).await;
    }
}
