//! A `CronOMJob` as the schedule that it is.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use ompipe_core::config::ConcurrencyPolicy;
use ompipe_core::cron::{Child, ObservedSchedule, Outcome, ScheduleStatus};
use ompipe_core::{Problem, Schedule, Zone};

use crate::{CronOMJob, CronOMJobSpec, CronOMJobStatus, OMJob, OMJobReference};

/// Annotation of a `CronOMJob` that asks for a run now, also while it is suspended. Its value is
/// any text; every new value makes one run: `kubectl annotate comj NAME --overwrite
/// pipelines.openmetadata.org/trigger="$(date)"`.
pub const TRIGGER: &str = "pipelines.openmetadata.org/trigger";

/// Finished runs of each kind that are kept where no limit says (Kubernetes: 3 and 1; upstream: 3).
const KEPT: usize = 3;

impl CronOMJob {
    /// What the pure core decides on: this object, and the runs that it owns.
    ///
    /// # Errors
    /// A schedule or time zone that cannot be read.
    pub fn observed<'o>(
        &self,
        children: impl IntoIterator<Item = &'o OMJob>,
    ) -> Result<ObservedSchedule, Problem> {
        let spec = &self.spec;
        let seconds = spec.starting_deadline_seconds.filter(|seconds| *seconds >= 0);
        Ok(ObservedSchedule {
            name: self.name_any(),
            created: self.creation_timestamp().map_or(Timestamp::MIN, |time| time.0),
            schedule: spec.schedule()?,
            suspend: spec.suspend.unwrap_or_default(),
            starting_deadline: seconds.map(SignedDuration::from_secs),
            policy: spec.concurrency_policy.unwrap_or(ConcurrencyPolicy::Forbid),
            keep_succeeded: kept(spec.successful_jobs_history_limit),
            keep_failed: kept(spec.failed_jobs_history_limit),
            trigger: self.annotations().get(TRIGGER).cloned(),
            status: self.status.as_ref().map(CronOMJobStatus::recorded).unwrap_or_default(),
            children: children.into_iter().map(OMJob::as_child).collect(),
        })
    }
}

impl CronOMJobSpec {
    /// `schedule` in `timeZone`.
    ///
    /// # Errors
    /// The field that cannot be read, with what is allowed.
    pub fn schedule(&self) -> Result<Schedule, Problem> {
        let zone = match &self.time_zone {
            Some(name) => name.parse().map_err(|remedy: &str| {
                Problem::new("spec.timeZone", &name.as_str().into(), remedy)
            })?,
            None => Zone::UTC,
        };
        Schedule::new(&self.schedule, zone)
            .map_err(|remedy| Problem::new("spec.schedule", &self.schedule.as_str().into(), remedy))
    }
}

impl CronOMJobStatus {
    /// What was recorded of the schedule.
    #[must_use]
    pub fn recorded(&self) -> ScheduleStatus {
        ScheduleStatus {
            last_slot: self.last_schedule_time.as_ref().map(|time| time.0),
            suspended: self.suspended,
            trigger: self.last_trigger.clone(),
        }
    }

    /// The status of `schedule` that says `record`, from what it said before and the runs in view.
    /// The writer adds `message`, which is the former until then.
    #[must_use]
    pub fn of<'o>(
        record: &ScheduleStatus,
        schedule: &CronOMJob,
        children: impl IntoIterator<Item = &'o OMJob>,
    ) -> Self {
        let previous = schedule.status.clone().unwrap_or_default();
        let children: Vec<&OMJob> = children.into_iter().collect();
        let newest = children.iter().max_by_key(|run| (run.creation_timestamp(), run.name_any()));
        Self {
            last_schedule_time: record.last_slot.map(Time),
            last_successful_time: last_success(&children).max(previous.last_successful_time),
            suspended: record.suspended,
            last_trigger: record.trigger.clone(),
            last_om_job_name: newest.map(|run| run.name_any()).or(previous.last_om_job_name),
            active: children.iter().filter_map(|run| run.as_active()).collect(),
            message: previous.message,
            observed_generation: schedule.metadata.generation,
        }
    }
}

impl OMJob {
    /// This run as one of its schedule's.
    fn as_child(&self) -> Child {
        let end = self.status.as_ref().and_then(crate::OMJobStatus::end);
        Child {
            name: self.name_any(),
            created: self.creation_timestamp().map_or(Timestamp::MIN, |time| time.0),
            deleted: self.metadata.deletion_timestamp.is_some(),
            outcome: end.map(|end| match end.failure {
                None => Outcome::Succeeded,
                Some(_) => Outcome::Failed,
            }),
        }
    }

    fn as_active(&self) -> Option<OMJobReference> {
        let goes_on = self.as_child().outcome.is_none();
        goes_on
            .then(|| OMJobReference { name: self.name_any(), uid: self.uid().unwrap_or_default() })
    }
}

fn last_success(children: &[&OMJob]) -> Option<Time> {
    let succeeded =
        children.iter().filter(|run| run.as_child().outcome == Some(Outcome::Succeeded));
    succeeded.filter_map(|run| run.status.as_ref()?.completion_time.clone()).max()
}

fn kept(limit: Option<i32>) -> usize {
    limit.map_or(KEPT, |limit| usize::try_from(limit).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn schedule(spec: Value, status: &Value) -> CronOMJob {
        let mut spec = spec;
        spec["omJobSpec"] = json!({ "mainPodSpec": { "image": "i" } });
        serde_json::from_value(json!({
            "apiVersion": "pipelines.openmetadata.org/v1", "kind": "CronOMJob",
            "metadata": {
                "name": "nightly", "generation": 4, "creationTimestamp": "2026-03-01T00:00:00Z",
                "annotations": { "pipelines.openmetadata.org/trigger": "now" },
            },
            "spec": spec, "status": status,
        }))
        .unwrap()
    }

    fn run(name: &str, minute: u32, status: &Value) -> OMJob {
        serde_json::from_value(json!({
            "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob",
            "metadata": {
                "name": name, "uid": format!("uid-of-{name}"),
                "creationTimestamp": format!("2026-03-01T00:{minute:02}:00Z"),
            },
            "spec": { "mainPodSpec": { "image": "i" } }, "status": status,
        }))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        let observed =
            schedule(json!({ "schedule": "0 0 * * *" }), &json!({})).observed([]).unwrap();
        let expected = ObservedSchedule {
            name: "nightly".to_owned(),
            created: at("2026-03-01T00:00:00Z"),
            schedule: Schedule::new("0 0 * * *", Zone::UTC).unwrap(),
            suspend: false,
            starting_deadline: None,
            policy: ConcurrencyPolicy::Forbid,
            keep_succeeded: 3,
            keep_failed: 3,
            trigger: Some("now".to_owned()),
            status: ScheduleStatus::default(),
            children: Vec::new(),
        };
        assert_eq!(observed, expected);
    }

    #[test]
    fn every_field_counts() {
        let spec = json!({
            "schedule": "*/5 * * * *", "timeZone": "Europe/Berlin", "suspend": true,
            "concurrencyPolicy": "Replace", "startingDeadlineSeconds": 0,
            "successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": -1,
        });
        let observed = schedule(spec, &json!({})).observed([]).unwrap();
        assert_eq!(observed.schedule.zone().to_string(), "Europe/Berlin");
        assert_eq!((observed.suspend, observed.policy), (true, ConcurrencyPolicy::Replace));
        assert_eq!(observed.starting_deadline, Some(SignedDuration::ZERO));
        assert_eq!((observed.keep_succeeded, observed.keep_failed), (0, 0));
    }

    #[rstest]
    #[case(json!({ "schedule": "* * * *" }), r#"spec.schedule = "* * * *": has 4 fields"#)]
    #[case(json!({ "schedule": "* * * * *", "timeZone": "Mars" }), r#"spec.timeZone = "Mars": must be a time zone"#)]
    fn what_cannot_be_read_is_named(#[case] spec: Value, #[case] expected: &str) {
        let problem = schedule(spec, &json!({})).observed([]).unwrap_err().to_string();
        assert!(problem.starts_with(expected), "{problem}");
    }

    #[rstest]
    #[case::new(json!({}), None)]
    #[case::runs(json!({ "phase": "Running" }), None)]
    #[case::succeeded(json!({ "phase": "Succeeded", "mainPodExitCode": 0 }), Some(Outcome::Succeeded))]
    #[case::failed(json!({ "phase": "Failed" }), Some(Outcome::Failed))]
    fn runs_are_its_children(#[case] status: Value, #[case] outcome: Option<Outcome>) {
        let schedule = schedule(json!({ "schedule": "0 0 * * *" }), &json!({}));
        let child = Child {
            name: "a".to_owned(),
            created: at("2026-03-01T00:07:00Z"),
            deleted: false,
            outcome,
        };
        assert_eq!(schedule.observed([&run("a", 7, &status)]).unwrap().children, [child]);
    }

    #[test]
    fn the_status_tells_the_runs_in_view() {
        let schedule =
            schedule(json!({ "schedule": "0 0 * * *" }), &json!({ "message": "said before" }));
        let good = |name, minute, time| {
            let status = json!({ "phase": "Succeeded", "completionTime": time });
            run(name, minute, &status)
        };
        let runs = [
            good("old", 1, "2026-03-01T00:02:00Z"),
            run("runs", 9, &json!({ "phase": "Running" })),
            good("new", 3, "2026-03-01T00:04:00Z"),
            run("bad", 5, &json!({ "phase": "Failed", "completionTime": "2026-03-01T00:06:00Z" })),
        ];
        let status = CronOMJobStatus::of(&ScheduleStatus::default(), &schedule, &runs);
        let expected = CronOMJobStatus {
            last_successful_time: Some(Time(at("2026-03-01T00:04:00Z"))),
            last_om_job_name: Some("runs".to_owned()),
            active: vec![OMJobReference { name: "runs".to_owned(), uid: "uid-of-runs".to_owned() }],
            message: Some("said before".to_owned()),
            observed_generation: Some(4),
            ..CronOMJobStatus::default()
        };
        assert_eq!(status, expected);
    }

    #[test]
    fn what_the_runs_told_stays_when_they_are_gone() {
        let told = json!({ "lastOMJobName": "a", "lastSuccessfulTime": "2026-03-01T00:04:00Z" });
        let schedule = schedule(json!({ "schedule": "0 0 * * *" }), &told);
        let status = CronOMJobStatus::of(&ScheduleStatus::default(), &schedule, []);
        let previous = schedule.status.unwrap();
        assert_eq!(status.last_om_job_name, previous.last_om_job_name);
        assert_eq!(status.last_successful_time, previous.last_successful_time);
    }

    proptest! {
        #[test]
        fn a_record_is_read_back(
            slot in proptest::option::of(0..4_000_000_000i64), suspended in any::<bool>(),
            trigger in proptest::option::of(".{0,40}"),
        ) {
            let last_slot = slot.map(|second| Timestamp::from_second(second).unwrap());
            let record = ScheduleStatus { last_slot, suspended, trigger };
            let schedule = schedule(json!({ "schedule": "0 0 * * *" }), &json!({}));
            let status = CronOMJobStatus::of(&record, &schedule, []);
            let text = serde_json::to_string(&status).unwrap();
            let read: CronOMJobStatus = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.recorded(), record);
        }
    }
}
