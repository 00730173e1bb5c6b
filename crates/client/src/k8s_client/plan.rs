//! What a deploy makes of the schedule that is there: whether it stays suspended, and what to tell
//! the user about the change.

use k8s_openapi::api::batch::v1::CronJob;
use ompipe_api::CronOMJob;
use ompipe_core::IngestionPipeline;

/// What a deploy does about the schedule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whether the schedule is off afterwards.
    pub(super) suspended: bool,
    /// What changes about the former schedule, in one sentence.
    pub(super) change: Option<String>,
}

/// A schedule as it is in the cluster.
struct Former {
    text: String,
    suspended: bool,
}

impl Plan {
    /// The schedule of `pipeline` in place of the one that is there, of either kind.
    pub(super) fn new(
        pipeline: &IngestionPipeline,
        cron_job: Option<&CronJob>,
        cron_om_job: Option<&CronOMJob>,
    ) -> Self {
        let former =
            cron_job.and_then(Former::of_job).or_else(|| cron_om_job.map(Former::of_om_job));
        let kept = former.as_ref().filter(|_| pipeline.keeps_suspension);
        let suspended = kept.map_or(!pipeline.enabled, |former| former.suspended);
        let wanted = pipeline.schedule.as_ref().map(|s| text(s.as_cron(), &s.zone().to_string()));
        let change = former.and_then(|former| former.change_to(wanted, suspended));
        Self { suspended, change }
    }
}

impl Former {
    fn of_job(job: &CronJob) -> Option<Self> {
        let spec = job.spec.as_ref()?;
        Some(Self {
            text: text(&spec.schedule, spec.time_zone.as_deref().unwrap_or("UTC")),
            suspended: spec.suspend.unwrap_or(false),
        })
    }

    fn of_om_job(job: &CronOMJob) -> Self {
        Self {
            text: text(&job.spec.schedule, job.spec.time_zone.as_deref().unwrap_or("UTC")),
            suspended: job.spec.suspend.unwrap_or(false),
        }
    }

    fn change_to(&self, wanted: Option<String>, suspended: bool) -> Option<String> {
        let Some(wanted) = wanted else {
            return Some(format!(
                "the schedule {} is removed; the pipeline runs on demand only",
                self.text
            ));
        };
        let timing = (wanted != self.text)
            .then(|| format!("the schedule changes from {} to {wanted}", self.text));
        let switch = match (self.suspended, suspended) {
            (true, false) => Some("the schedule was paused and is resumed".to_owned()),
            (false, true) => Some("the schedule is paused".to_owned()),
            (true, true) => Some("the schedule stays paused".to_owned()),
            (false, false) => None,
        };
        let said: Vec<String> = timing.into_iter().chain(switch).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

fn text(cron: &str, zone: &str) -> String {
    format!("{cron} {zone}")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::CronJobSpec;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn document(written: &Value) -> Value {
        let mut document = json!({
            "name": "p", "pipelineType": "metadata",
            "sourceConfig": { "config": { "type": "DatabaseMetadata" } },
            "service": { "type": "databaseService", "name": "s" },
        });
        for (key, value) in written.as_object().unwrap() {
            document[key.as_str()] = value.clone();
        }
        document
    }

    fn there(suspended: bool) -> CronJob {
        let spec = CronJobSpec {
            schedule: "0 3 * * *".to_owned(),
            time_zone: Some("UTC".to_owned()),
            suspend: Some(suspended),
            ..CronJobSpec::default()
        };
        CronJob { spec: Some(spec), ..CronJob::default() }
    }

    fn nightly(mut written: Value) -> Value {
        written["airflowConfig"] = json!({ "scheduleInterval": "0 3 * * *" });
        written
    }

    #[test]
    fn a_file_that_says_nothing_leaves_a_paused_schedule_paused() {
        let pipeline = IngestionPipeline::read_file(&document(&nightly(json!({})))).unwrap();
        let plan = Plan::new(&pipeline, Some(&there(true)), None);
        assert!(plan.suspended);
        assert_eq!(plan.change.as_deref(), Some("the schedule stays paused"));
        assert!(!Plan::new(&pipeline, Some(&there(false)), None).suspended);
        assert!(!Plan::new(&pipeline, None, None).suspended);
    }

    #[test]
    fn what_a_server_sent_decides_and_a_resumed_schedule_is_told() {
        let pipeline = IngestionPipeline::read(&document(&nightly(json!({})))).unwrap();
        let plan = Plan::new(&pipeline, Some(&there(true)), None);
        assert!(!plan.suspended);
        assert_eq!(plan.change.as_deref(), Some("the schedule was paused and is resumed"));
    }

    #[rstest]
    #[case(json!({}), Some("the schedule 0 3 * * * UTC is removed"))]
    #[case(json!({ "airflowConfig": { "scheduleInterval": "0 4 * * *" } }),
        Some("the schedule changes from 0 3 * * * UTC to 0 4 * * * UTC"))]
    #[case(json!({ "airflowConfig": { "scheduleInterval": "0 3 * * *" } }), None)]
    fn a_change_is_told(#[case] written: Value, #[case] told: Option<&str>) {
        let pipeline = IngestionPipeline::read_file(&document(&written)).unwrap();
        let change = Plan::new(&pipeline, Some(&there(false)), None).change;
        match told {
            Some(told) => assert!(change.unwrap().starts_with(told)),
            None => assert_eq!(change, None),
        }
    }
}
