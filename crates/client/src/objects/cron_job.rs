//! `om-cronjob-{slug}`: when a pipeline runs by itself
//! (docs/contracts/upstream-java-client.md#cronjob-template).

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::{Schedule, cron, labels};

use super::environment::Trigger;
use super::{Objects, job, run_pod};

pub(super) fn build(objects: &Objects<'_>) -> Option<CronJob> {
    let schedule = objects.pipeline().schedule.as_ref()?;
    let labels = objects.with_revision(labels::of_pipeline(objects.pipeline()));
    Some(CronJob {
        metadata: objects.metadata_of_schedule(objects.slug.cron_job(), labels),
        spec: Some(spec(objects, schedule)),
        status: None,
    })
}

/// `startingDeadlineSeconds` of a schedule's object, in both modes.
pub(super) fn starting_deadline(config: &K8sPipelineClientConfig, schedule: &Schedule) -> i64 {
    let configured = SignedDuration::from_secs(config.starting_deadline_seconds);
    cron::starting_deadline(schedule, configured).as_secs()
}

fn spec(objects: &Objects<'_>, schedule: &Schedule) -> CronJobSpec {
    let config = objects.config;
    CronJobSpec {
        schedule: schedule.as_cron().to_owned(),
        time_zone: Some(schedule.zone().to_string()),
        concurrency_policy: Some(config.concurrency_policy.as_str().to_owned()),
        starting_deadline_seconds: Some(starting_deadline(objects.config, schedule)),
        successful_jobs_history_limit: Some(config.successful_jobs_history_limit),
        failed_jobs_history_limit: Some(config.failed_jobs_history_limit),
        suspend: Some(objects.suspended),
        job_template: JobTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(run_pod::job_labels(objects, Trigger::CronJob)),
                annotations: Some(labels::annotations_of(&objects.pipeline().identity)),
                ..ObjectMeta::default()
            }),
            spec: Some(job::spec(objects, Trigger::CronJob)),
        },
    }
}
