//! `OMJob` and `CronOMJob`: the same runs, carried out by an operator in two stages
//! (docs/contracts/upstream-java-client.md#omjob-resource).

use ompipe_api::{CronOMJob, CronOMJobSpec, MemoryRetry, OMJob, OMJobSpec, StagePodSpec};
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::{RunId, labels};

use super::environment::Trigger;
use super::pod::Role;
use super::{Objects, cron_job, run_pod};

pub(super) fn on_demand(objects: &Objects<'_>, run: RunId) -> OMJob {
    let name = objects.slug.om_job(run);
    let trigger = Trigger::OnDemand { run, name: &name };
    OMJob {
        metadata: objects.metadata(name.clone(), run_pod::run_labels(objects, trigger)),
        spec: spec(objects, trigger),
        status: None,
    }
}

pub(super) fn schedule(objects: &Objects<'_>) -> Option<CronOMJob> {
    let schedule = objects.pipeline().schedule.as_ref()?;
    let config = objects.config;
    let labels = objects.with_revision(labels::of_pipeline(objects.pipeline()));
    Some(CronOMJob {
        metadata: objects.metadata_of_schedule(objects.slug.cron_om_job(), labels),
        spec: CronOMJobSpec {
            schedule: schedule.as_cron().to_owned(),
            time_zone: Some(schedule.zone().to_string()),
            suspend: Some(objects.suspended),
            concurrency_policy: Some(config.concurrency_policy),
            starting_deadline_seconds: Some(cron_job::starting_deadline(config, schedule)),
            successful_jobs_history_limit: Some(config.successful_jobs_history_limit),
            failed_jobs_history_limit: Some(config.failed_jobs_history_limit),
            om_job_spec: spec(objects, Trigger::CronOMJob),
        },
        status: None,
    })
}

fn spec(objects: &Objects<'_>, trigger: Trigger<'_>) -> OMJobSpec {
    let config = objects.config;
    let exit_handler = run_pod::exit_handler(objects, trigger);
    OMJobSpec {
        main_pod_spec: StagePodSpec::of_template(run_pod::worker(objects, trigger, Role::Worker)),
        exit_handler_spec: Some(StagePodSpec::of_template(exit_handler)),
        ttl_seconds_after_finished: Some(config.ttl_seconds_after_finished.into()),
        active_deadline_seconds: Some(objects.active_deadline_seconds()),
        backoff_limit: Some(objects.backoff_limit()),
        retry_with_more_memory: memory_retry(config),
        ..OMJobSpec::default()
    }
}

fn memory_retry(config: &K8sPipelineClientConfig) -> Option<MemoryRetry> {
    let given = config.memory_retry.as_ref()?;
    let factor = i32::try_from(given.factor).ok();
    Some(MemoryRetry { factor, limit: given.limit.to_kubernetes() })
}
