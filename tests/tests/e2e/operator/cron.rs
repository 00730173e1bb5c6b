//! Schedules: side by side with the real CronJob controller, and what a `CronOMJob` promises.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use ompipe_api::{CronOMJob, OMJob, Phase};
use serde_json::{Value, json};

use super::endings::OBEDIENT;
use super::{Operator, Stage};
use crate::support::{eventually, from};

impl Stage {
    fn schedules(&self) -> Api<CronOMJob> {
        self.scene.api()
    }

    pub(super) async fn schedule(&self, name: &str, main: &str, fields: Value) -> CronOMJob {
        let mut spec = json!({
            "schedule": "0 0 1 1 *",
            "omJobSpec": {
                "mainPodSpec": Self::shell(main), "exitHandlerSpec": Self::shell("true"),
            },
        });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let schedule = from(json!({
            "apiVersion": "pipelines.openmetadata.org/v1", "kind": "CronOMJob",
            "metadata": { "name": name, "labels": { "app.kubernetes.io/pipeline": "shop" } },
            "spec": spec,
        }));
        self.schedules().create(&PostParams::default(), &schedule).await.unwrap()
    }

    pub(super) async fn trigger(&self, name: &str, value: &str) {
        let patch = json!({ "metadata": { "annotations": { ompipe_api::TRIGGER: value } } });
        let params = PatchParams::default();
        self.schedules().patch(name, &params, &Patch::Merge(patch)).await.unwrap();
    }

    /// Runs of a schedule, oldest first, once there are as many.
    pub(super) async fn children(&self, schedule: &str, count: usize) -> Vec<OMJob> {
        let jobs = self.jobs();
        eventually(&format!("{count} runs of {schedule}"), || async {
            let all = jobs.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let of_it = |job: &OMJob| job.owner_references().iter().any(|o| o.name == schedule);
            let mut runs: Vec<_> = all.items.into_iter().filter(of_it).collect();
            runs.sort_by_key(|job| (job.creation_timestamp(), job.name_any()));
            if runs.len() == count { Ok(runs) } else { Err(format!("{} runs", runs.len())) }
        })
        .await
    }
}

/// The time in a child's name, in minutes, as both controllers can say it.
fn slots<'n>(names: impl Iterator<Item = &'n str>, unit: i64) -> BTreeSet<i64> {
    let last = names.filter_map(|name| name.rsplit_once('-')?.1.parse::<i64>().ok());
    last.map(|number| number / unit).collect()
}

#[tokio::test]
async fn every_minute_the_same_slots_as_the_real_controller() {
    let stage = Stage::new("cron").await;
    let operator = Operator::start(&stage.scene, &[]);
    let minutely = json!({ "schedule": "* * * * *", "successfulJobsHistoryLimit": 10 });
    stage.schedule("ours", "true", minutely).await;
    let real: CronJob = from(json!({
        "metadata": { "name": "real" },
        "spec": {
            "schedule": "* * * * *", "successfulJobsHistoryLimit": 10,
            "jobTemplate": { "spec": { "template": { "spec": {
                "restartPolicy": "Never", "containers": [Stage::container("true")],
            }}}},
        },
    }));
    stage.scene.api().create(&PostParams::default(), &real).await.unwrap();
    stage.children("ours", 1).await;
    // A restart between two slots loses none and doubles none.
    operator.kill().await;
    let _operator = Operator::start(&stage.scene, &[]);
    let ours = stage.children("ours", 3).await;
    let jobs = stage.scene.api::<Job>();
    let real = eventually("the real one's runs", || async {
        let jobs = jobs.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        if jobs.items.len() >= 3 { Ok(jobs.items) } else { Err(format!("{}", jobs.items.len())) }
    })
    .await;
    let names: Vec<_> = real.iter().map(ResourceExt::name_any).collect();
    let real = slots(names.iter().map(String::as_str), 1);
    let names: Vec<_> = ours.iter().map(ResourceExt::name_any).collect();
    let ours = slots(names.iter().map(String::as_str), 60);
    assert_eq!(ours, real.into_iter().take(3).collect());
    stage.scene.end().await;
}

#[tokio::test]
async fn nothing_fires_at_creation_or_resume_for_what_is_past() {
    let stage = Stage::new("past").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let suspended = json!({ "suspend": true, "schedule": "0 0 * * *" });
    stage.schedule("past", "true", suspended).await;
    let schedules = stage.schedules();
    let message = |text: &'static str| {
        let schedules = schedules.clone();
        eventually(text, move || {
            let schedules = schedules.clone();
            async move {
                let schedule = schedules.get("past").await.map_err(|error| error.to_string())?;
                let status = schedule.status.clone().unwrap_or_default();
                let passes = match text {
                    "a suspension" => status.suspended,
                    _ => !status.suspended && status.last_schedule_time.is_some(),
                };
                if passes { Ok(()) } else { Err(format!("{status:?}")) }
            }
        })
    };
    message("a suspension").await;
    let resume = Patch::Merge(json!({ "spec": { "suspend": false } }));
    schedules.patch("past", &PatchParams::default(), &resume).await.unwrap();
    message("a resume").await;
    assert_eq!(stage.children("past", 0).await.len(), 0);
    stage.scene.end().await;
}

#[tokio::test]
async fn a_trigger_makes_one_run_whatever_the_schedule_says() {
    let stage = Stage::new("trigger").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage
        .schedule(
            "manual",
            "echo run: $pipelineRunId of $jobName",
            json!({
                "suspend": true,
                "omJobSpec": {
                    "mainPodSpec": {
                        "image": Stage::shell("")["image"], "imagePullPolicy": "IfNotPresent",
                        "command": ["sh", "-c", "echo $pipelineRunId of $jobName"],
                        "env": [
                            { "name": "pipelineRunId", "value": "{{ omjob.uid }}" },
                            { "name": "jobName", "value": "{{ omjob.name }}" },
                        ],
                    },
                    "exitHandlerSpec": Stage::shell("true"),
                },
            }),
        )
        .await;
    stage.trigger("manual", "first").await;
    let first = stage.children("manual", 1).await.remove(0);
    let name = first.name_any();
    stage.over(&name).await;
    let log = stage.told(&format!("{name}-main")).await;
    let run_id = &first.labels()["app.kubernetes.io/run-id"];
    assert_eq!(log.trim(), format!("{run_id} of {name}"));
    stage.trigger("manual", "second").await;
    let runs = stage.children("manual", 2).await;
    assert_ne!(
        runs[0].labels()["app.kubernetes.io/run-id"],
        runs[1].labels()["app.kubernetes.io/run-id"]
    );
    let schedule = stage.schedules().get("manual").await.unwrap();
    assert!(schedule.status.unwrap().last_successful_time.is_some());
    stage.scene.end().await;
}

#[tokio::test]
async fn history_is_limited_and_a_deleted_schedule_takes_its_runs_along() {
    let stage = Stage::new("history").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let limits = json!({ "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0 });
    stage.schedule("kept", "true", limits).await;
    for value in ["a", "b", "c"] {
        stage.trigger("kept", value).await;
        let status = eventually("a followed trigger", || async {
            let schedule = stage.schedules().get("kept").await.map_err(|e| e.to_string())?;
            let status = schedule.status.unwrap_or_default();
            let followed = status.last_trigger.as_deref() == Some(value);
            if followed && status.active.is_empty() {
                Ok(status)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
        assert!(status.last_om_job_name.is_some());
    }
    let left = stage.children("kept", 1).await.remove(0);
    stage.over(&left.name_any()).await;
    stage.schedules().delete("kept", &DeleteParams::background()).await.unwrap();
    stage.gone(&left.name_any()).await;
    stage.scene.end().await;
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_says_so() {
    let stage = Stage::new("badcron").await;
    let _operator = Operator::start(&stage.scene, &[]);
    stage.schedule("bad", "true", json!({ "schedule": "61 * * * *" })).await;
    stage.schedule("zone", "true", json!({ "timeZone": "Mars/Olympus" })).await;
    for (name, field) in [("bad", "spec.schedule"), ("zone", "spec.timeZone")] {
        eventually("a message", || async {
            let schedule = stage.schedules().get(name).await.map_err(|error| error.to_string())?;
            let message = schedule.status.and_then(|status| status.message).unwrap_or_default();
            if message.contains(field) { Ok(()) } else { Err(message) }
        })
        .await;
    }
    stage.scene.end().await;
}

#[tokio::test]
async fn forbidden_runs_wait_and_replaced_ones_stop() {
    let stage = Stage::new("policy").await;
    let _operator = Operator::start(&stage.scene, &[]);
    let minutely = |policy: &str| json!({ "schedule": "* * * * *", "concurrencyPolicy": policy });
    stage.schedule("forbid", OBEDIENT, minutely("Forbid")).await;
    stage.schedule("replace", OBEDIENT, minutely("Replace")).await;
    let first = stage.children("replace", 1).await.remove(0);
    let forbidden = stage.children("forbid", 1).await.remove(0);
    // The second slot of both is over when the replaced run is gone.
    stage.gone(&first.name_any()).await;
    let second = stage.children("replace", 1).await.remove(0);
    assert_ne!(first.name_any(), second.name_any());
    assert_eq!(stage.children("forbid", 1).await[0].name_any(), forbidden.name_any());
    stage.phase(&forbidden.name_any(), Phase::Running).await;
    stage.scene.end().await;
}
