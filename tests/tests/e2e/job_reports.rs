//! Runs that are plain Jobs, whose workers report nothing: the operator tells OpenMetadata their one
//! true end, with the documented rights, and lets go of them.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use ompipe_tests::standin::{Fault, PipelineState};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::limited_kubeconfig;
use crate::operator::{Operator, documented_rules};
use crate::support::{BARRIER, Scene, end_now, eventually, late_job, release};

const FQN: &str = "shop.nightly";
const REPORTED: &str = "pipelines.openmetadata.org/reported";
/// A worker that says when it is up and ends at once when it is told to.
const WAITS: &str = "trap 'exit 143' TERM; echo up; sleep 600 & wait";

/// A pipeline that the stand-in knows, and a configuration for its runs.
struct Play {
    scene: Scene,
    config: String,
    /// The pipeline's file.
    pipeline: String,
    kubeconfig: String,
}

impl Play {
    /// `worker` is what a run does; `parameters` override.
    async fn new(name: &str, worker: &str, parameters: Value) -> Self {
        let scene = Scene::new(name).await;
        let mut all = json!({
            "extraEnvVars": [format!("WORKER_MAIN:{worker}")], "activeDeadlineSeconds": 600,
        });
        all.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        let config = scene.config(&all);
        let pipeline = scene.scheduled_nightly();
        let kubeconfig = limited_kubeconfig(&scene, "operator", &documented_rules()).await;
        Self { scene, config, pipeline, kubeconfig }
    }

    /// An operator with the documented rights.
    fn operator(&self) -> Operator {
        Operator::start(&self.scene, &[("KUBECONFIG", &self.kubeconfig)])
    }

    async fn ompipe(&self, args: &[&str]) -> String {
        let source = ["-c", &self.config, "-f", &self.pipeline];
        self.scene.ompipe(&[args, &source].concat()).await.good().stdout
    }

    /// Starts a run.
    async fn run(&self) -> Uuid {
        let id = Uuid::new_v4();
        self.ompipe(&["run", "--run-id", &id.to_string()]).await;
        id
    }

    /// The Jobs as they are now.
    async fn jobs(&self) -> Vec<Job> {
        self.scene.ours::<Job>().await.into_values().collect()
    }

    /// Waits until the only Job passes.
    async fn job(&self, what: &str, passes: impl Fn(&Job) -> bool) -> Job {
        eventually(what, || async {
            let jobs = self.jobs().await;
            let job = jobs.into_iter().next().ok_or("no Job")?;
            if passes(&job) { Ok(job) } else { Err(format!("{:?} {:?}", job.metadata, job.status)) }
        })
        .await
    }

    async fn held(&self) -> Job {
        self.job("a Job that is held", |job| !job.finalizers().is_empty()).await
    }

    async fn over(&self) -> Job {
        let is_over = |job: &Job| {
            let conditions = job.status.iter().flat_map(|status| &status.conditions).flatten();
            conditions.into_iter().any(|c| ["Complete", "Failed"].contains(&c.type_.as_str()))
        };
        self.job("a Job that is over", is_over).await
    }

    /// Waits until the run is settled and let go, its pods too; who reported, and what.
    async fn settled(&self) -> Value {
        let settled = |job: &Job| job.annotations().contains_key(REPORTED);
        let job = self.job("a settled Job", settled).await;
        assert!(job.finalizers().is_empty(), "{:?}", job.metadata);
        for pod in self.scene.ours::<Pod>().await.values() {
            assert!(!pod.finalizers().iter().any(|one| one.contains("openmetadata")), "{pod:?}");
        }
        serde_json::from_str(&job.annotations()[REPORTED]).unwrap()
    }

    /// Waits for a pod whose worker is up and that is tracked.
    async fn up(&self) -> Pod {
        self.up_beside(None).await
    }

    /// The same for a pod that is not that of a former attempt.
    async fn up_beside(&self, former: Option<&str>) -> Pod {
        eventually("a worker that is up", || async {
            let pods = self.scene.ours::<Pod>().await;
            let mut pods = pods.into_values();
            let pod = pods.find(|pod| Some(pod.name_any().as_str()) != former).ok_or("no pod")?;
            let tracked = pod.finalizers().iter().any(|one| one.contains("tracking"));
            let status = pod.status.clone().unwrap_or_default();
            let ready = status
                .conditions
                .iter()
                .flatten()
                .any(|c| c.type_ == "Ready" && c.status == "True");
            if tracked && ready { Ok(pod) } else { Err(format!("{:?} {status:?}", pod.metadata)) }
        })
        .await
    }

    /// Lets the worker end, once it is up and tracked.
    async fn end_worker(&self) {
        release(&self.scene.api(), &self.up().await.name_any()).await;
    }

    /// Waits until nothing is left of the runs.
    async fn gone(&self) {
        eventually("the end of all Jobs and pods", || async {
            let (jobs, pods) = (self.jobs().await, self.scene.ours::<Pod>().await);
            if jobs.is_empty() && pods.is_empty() {
                return Ok(());
            }
            let held = jobs.iter().map(|job| &job.metadata).collect::<Vec<_>>();
            Err(format!("{held:?} {:?}", pods.values().map(|p| &p.metadata).collect::<Vec<_>>()))
        })
        .await;
    }

    /// The only row of the run, which was written once and says this.
    fn row(&self, id: Uuid, state: PipelineState) -> Value {
        let written = self.scene.standin.status_history(FQN, id);
        let states: Vec<_> = written.iter().map(|write| write.state).collect();
        assert_eq!(states, [state]);
        let rows = self.scene.standin.rows(FQN);
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.into_iter().next().unwrap()
    }
}

/// Seconds from the end that the API shows to the report, in whole seconds of the API.
fn delay(job: &Job, reported: &Value) -> i64 {
    let conditions = job.status.as_ref().unwrap().conditions.as_ref().unwrap();
    let end = conditions.iter().filter_map(|c| c.last_transition_time.as_ref()).map(|t| t.0).min();
    let at: Timestamp = reported["at"].as_str().unwrap().parse().unwrap();
    at.duration_since(end.unwrap()).as_secs()
}

#[rstest]
#[case::success("exit 0", PipelineState::Success, "")]
#[case::failure("echo last words; exit 3", PipelineState::Failed, "Error: ended with exit code 3")]
#[case::memory("tail /dev/zero", PipelineState::Failed, "OOMKilled: ")]
#[case::signal("sh -c 'kill -KILL $$'; exit $?", PipelineState::Failed, "Signal: ")]
#[case::never_reported("sleep 600", PipelineState::Failed, "DeadlineExceeded: ")]
#[tokio::test]
async fn an_end_that_nobody_reported(
    #[case] worker: &str,
    #[case] state: PipelineState,
    #[case] reason: &str,
) {
    let memory = if worker.starts_with("tail") { "32Mi" } else { "1Gi" };
    let play = Play::new("jobend", worker, json!({
        "resources": { "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": memory } },
        "podTemplate": { "spec": { "terminationGracePeriodSeconds": 2 } },
    }))
    .await;
    let operator = play.operator();
    let id = play.run().await;
    if reason.starts_with("DeadlineExceeded") {
        play.up().await;
        let job = play.held().await.name_any();
        end_now(&play.scene.api::<Job>(), &job).await;
    }
    let reported = play.settled().await;
    assert_eq!(reported["by"], "operator");
    assert_eq!(reported["state"], state.to_string());
    // The promise is five seconds; the rest is for a machine that does other work.
    assert!(delay(&play.over().await, &reported) < 10, "{reported}");
    let row = play.row(id, state);
    if !reason.is_empty() {
        let step = &row["status"][0]["failures"][0];
        assert!(step["error"].as_str().unwrap().starts_with(reason), "{row}");
        let details = step["stackTrace"].as_str().unwrap();
        assert!(details.contains("Pod Description:") && details.contains("Events:"), "{details}");
        assert!(
            !worker.contains("words") || details.trim_end().ends_with("last words"),
            "{details}"
        );
    }
    operator.terminate().await;
    play.scene.end().await;
}

#[tokio::test]
async fn a_run_without_an_image_says_so_at_the_deadline() {
    let parameters = json!({ "ingestionImage": "ompipe.local/no-such:1" });
    let play = Play::new("jobimage", "true", parameters).await;
    let _operator = play.operator();
    let id = play.run().await;
    late_job(&play.scene, "ImagePull", true).await;
    play.settled().await;
    let row = play.row(id, PipelineState::Failed);
    assert!(row.to_string().contains("ImagePull: "), "{row}");
    play.scene.end().await;
}

#[tokio::test]
async fn a_run_that_no_quota_allows_says_so_at_the_deadline() {
    let play = Play::new("jobquota", "true", json!({})).await;
    let quota: k8s_openapi::api::core::v1::ResourceQuota = crate::support::from(json!({
        "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } },
    }));
    play.scene.api().create(&PostParams::default(), &quota).await.unwrap();
    let _operator = play.operator();
    let id = play.run().await;
    late_job(&play.scene, "Quota", true).await;
    play.settled().await;
    let row = play.row(id, PipelineState::Failed);
    assert!(row.to_string().contains("Quota: "), "{row}");
    play.scene.end().await;
}

/// How a running pod is taken away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Deleted,
    ForceDeleted,
    /// By force, and no operator looks.
    Unwatched,
}

#[rstest]
#[case::deleted(Away::Deleted)]
#[case::force_deleted(Away::ForceDeleted)]
#[case::while_no_operator_runs(Away::Unwatched)]
#[tokio::test]
async fn a_pod_that_is_taken_away(#[case] how: Away) {
    let play = Play::new("jobpod", WAITS, json!({})).await;
    let mut operator = Some(play.operator());
    let id = play.run().await;
    let pod = play.up().await;
    if matches!(how, Away::Unwatched) {
        operator.take().unwrap().kill().await;
    }
    let params = match how {
        Away::Deleted => DeleteParams::default(),
        Away::ForceDeleted | Away::Unwatched => DeleteParams::default().grace_period(0),
    };
    play.scene.api::<Pod>().delete(&pod.name_any(), &params).await.unwrap();
    play.over().await;
    let operator = operator.unwrap_or_else(|| play.operator());
    play.settled().await;
    let row = play.row(id, PipelineState::Failed);
    assert!(row.to_string().contains("Deleted: its pod was deleted"), "{row}");
    operator.terminate().await;
    play.scene.end().await;
}

/// How a Job is stopped while it runs.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// `ompipe kill`, with the Job in the foreground.
    Kill,
    /// As kubectl does it.
    Background,
    /// As upstream's server does it.
    Orphan,
    /// `ompipe delete`, with everything that the run was made of.
    Pipeline,
}

#[rstest]
#[case::kill(Stop::Kill)]
#[case::background(Stop::Background)]
#[case::orphan(Stop::Orphan)]
#[case::pipeline(Stop::Pipeline)]
#[tokio::test]
async fn a_job_that_is_stopped(#[case] how: Stop) {
    let play = Play::new("jobstop", WAITS, json!({})).await;
    let operator = play.operator();
    play.ompipe(&["deploy"]).await;
    let id = play.run().await;
    play.up().await;
    let name = play.held().await.name_any();
    let jobs = play.scene.api::<Job>();
    match how {
        Stop::Kill => drop(play.ompipe(&["kill"]).await),
        Stop::Pipeline => drop(play.ompipe(&["delete"]).await),
        Stop::Background => drop(jobs.delete(&name, &DeleteParams::background()).await.unwrap()),
        Stop::Orphan => drop(jobs.delete(&name, &DeleteParams::orphan()).await.unwrap()),
    }
    play.gone().await;
    play.row(id, PipelineState::Stopped);
    let left = play.scene.ours::<Secret>().await;
    assert!(left.is_empty() || !matches!(how, Stop::Pipeline), "{:?}", left.keys());
    operator.terminate().await;
    play.scene.end().await;
}

#[tokio::test]
async fn nothing_is_said_between_two_tries() {
    let worker = format!("{BARRIER}; exit 1");
    let play = Play::new("jobretry", &worker, json!({ "backoffLimit": 1 })).await;
    let _operator = play.operator();
    let id = play.run().await;
    let first = play.up().await.name_any();
    release(&play.scene.api(), &first).await;
    let failed = |job: &Job| job.status.as_ref().and_then(|status| status.failed) == Some(1);
    play.job("a first failure", failed).await;
    let second = play.up_beside(Some(&first)).await.name_any();
    assert!(play.scene.standin.status_history(FQN, id).is_empty());
    release(&play.scene.api(), &second).await;
    play.settled().await;
    play.row(id, PipelineState::Failed);
    play.scene.end().await;
}

#[tokio::test]
async fn a_scheduled_run_goes_by_the_uid_of_its_job_and_its_ttl_takes_it() {
    let play = Play::new("jobcron", "exit 0", json!({ "ttlSecondsAfterFinished": 5 })).await;
    let operator = play.operator();
    play.ompipe(&["deploy"]).await;
    let schedule = play.scene.api::<CronJob>().get("om-cronjob-nightly").await.unwrap();
    let job = crate::deploy::run_of(&schedule);
    let job = play.scene.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
    play.gone().await;
    play.row(job.uid().unwrap().parse().unwrap(), PipelineState::Success);
    operator.terminate().await;
    play.scene.end().await;
}

#[tokio::test]
async fn a_run_that_no_operator_saw() {
    let play = Play::new("joblate", "exit 4", json!({})).await;
    let id = play.run().await;
    play.over().await;
    let _operator = play.operator();
    play.settled().await;
    let row = play.row(id, PipelineState::Failed);
    assert!(row.to_string().contains("Error: ended with exit code 4"), "{row}");
    play.scene.end().await;
}

#[tokio::test]
async fn through_an_outage_of_openmetadata_a_crash_of_the_operator_and_a_ttl() {
    let play = Play::new("joboutage", "exit 0", json!({ "ttlSecondsAfterFinished": 1 })).await;
    let outage = Duration::from_secs(20);
    play.scene.standin.inject(Fault::status(503).on("PUT", "*/pipelineStatus").lasting(outage));
    let operator = play.operator();
    let id = play.run().await;
    play.over().await;
    eventually("a try to report", || async {
        let of_jobs =
            operator.metric(r#"ompipe_operator_reports_total{result="unavailable"}"#).await;
        if of_jobs > 0.0 { Ok(()) } else { Err(of_jobs.to_string()) }
    })
    .await;
    let oldest = "ompipe_operator_oldest_unreported_end_age_seconds";
    assert!(operator.metric(oldest).await > 0.0);
    let name = play.held().await.name_any();
    let about = ListParams::default().fields(&format!("involvedObject.name={name}"));
    let events = play.scene.api::<Event>().list(&about).await.unwrap();
    let mut reasons = events.items.iter().filter_map(|event| event.reason.as_deref());
    assert!(reasons.any(|reason| reason == "ReportOutstanding"), "{events:?}");
    operator.kill().await;
    let _operator = play.operator();
    play.gone().await;
    play.row(id, PipelineState::Success);
    play.scene.end().await;
}

#[tokio::test]
async fn with_the_token_of_a_later_deployment() {
    let play = Play::new("jobtoken", &format!("{BARRIER}; exit 5"), json!({})).await;
    let _operator = play.operator();
    let text = std::fs::read_to_string(&play.pipeline).unwrap();
    let good: Value = serde_json::from_str(&text).unwrap();
    let mut old = good.clone();
    old["openMetadataServerConnection"]["securityConfig"]["jwtToken"] = "a.former.token".into();
    std::fs::write(&play.pipeline, old.to_string()).unwrap();
    let id = Uuid::new_v4();
    let service = play.scene.service();
    play.ompipe(&["run", "--run-id", &id.to_string(), "--service", &service]).await;
    std::fs::write(&play.pipeline, good.to_string()).unwrap();
    play.ompipe(&["deploy"]).await;
    play.end_worker().await;
    play.settled().await;
    play.row(id, PipelineState::Failed);
    play.scene.end().await;
}

#[tokio::test]
async fn what_the_run_reported_itself_stands() {
    let play = Play::new("jobself", BARRIER, json!({})).await;
    let _operator = play.operator();
    let id = play.run().await;
    let url =
        format!("{}/v1/services/ingestionPipelines/{FQN}/pipelineStatus", play.scene.standin.url());
    let row = json!({
        "runId": id, "pipelineState": "partialSuccess", "startDate": 1, "timestamp": 1, "endDate": 2,
    });
    let put = reqwest::Client::new().put(url).bearer_auth(play.scene.standin.token()).json(&row);
    assert!(put.send().await.unwrap().status().is_success());
    play.end_worker().await;
    let reported = play.settled().await;
    assert_eq!((&reported["by"], &reported["state"]), (&json!("run"), &json!("partialSuccess")));
    play.row(id, PipelineState::PartialSuccess);
    let status: Value =
        serde_json::from_str(&play.ompipe(&["status", "-o", "json"]).await).unwrap();
    assert_eq!(status[0]["reported"], reported);
    let table = play.ompipe(&["status", "-o", "wide"]).await;
    assert!(
        table.contains("REPORTED") && table.contains("run ") && table.contains(" ago"),
        "{table}"
    );
    play.scene.end().await;
}

/// It takes a minute: several operators start and drain, one after the other.
#[tokio::test]
async fn a_drain_lets_go_and_a_reporter_that_is_off_holds_nothing() {
    let play = Play::new("jobdrain", WAITS, json!({})).await;
    crate::support::install_crds(&play.scene.client).await;
    let operator = play.operator();
    play.run().await;
    play.up().await;
    operator.kill().await;
    Operator::drain(&play.scene).await;
    let job = play.jobs().await.remove(0);
    assert!(job.finalizers().is_empty(), "{:?}", job.metadata);
    let off = Operator::start(&play.scene, &[("REPORT_JOBS", "false")]);
    off.ready("leader").await;
    play.ompipe(&["kill"]).await;
    play.gone().await;
    off.terminate().await;
    play.scene.end().await;
}

#[tokio::test]
async fn without_the_rights_for_jobs_the_rest_works() {
    let play = Play::new("jobrights", "exit 0", json!({})).await;
    crate::support::install_crds(&play.scene.client).await;
    let mut rules = documented_rules();
    rules.as_array_mut().unwrap().retain(|rule| rule["apiGroups"] != json!(["batch"]));
    let kubeconfig = limited_kubeconfig(&play.scene, "other", &rules).await;
    let operator = Operator::start(&play.scene, &[("KUBECONFIG", &kubeconfig)]);
    operator.ready("leader").await;
    play.run().await;
    assert!(play.over().await.finalizers().is_empty());
    operator.terminate().await;
    play.scene.end().await;
}

#[tokio::test]
async fn a_drain_without_the_rights_for_jobs_says_so() {
    let play = Play::new("jobdrain", "exit 0", json!({})).await;
    crate::support::install_crds(&play.scene.client).await;
    let mut rules = documented_rules();
    rules.as_array_mut().unwrap().retain(|rule| rule["apiGroups"] != json!(["batch"]));
    let kubeconfig = limited_kubeconfig(&play.scene, "other", &rules).await;
    let limited = ("KUBECONFIG", kubeconfig.as_str());
    let refused = Operator::try_to_drain(&play.scene, &[limited]).await.ended_with(3);
    assert!(refused.stderr.contains("cannot release Jobs: "), "{refused:?}");
    assert!(refused.stderr.contains("REPORT_JOBS=false"), "{refused:?}");
    let without = [limited, ("REPORT_JOBS", "false")];
    Operator::try_to_drain(&play.scene, &without).await.good();
    play.scene.end().await;
}
