//! `om-job-{slug}-{run8}`: one run, and the same spec for the runs of a schedule.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use ompipe_core::RunId;

use super::Objects;
use super::pod::{self, Trigger};

pub(super) fn on_demand(objects: &Objects<'_>, run: RunId) -> Job {
    let name = objects.slug.job(run);
    let trigger = Trigger::OnDemand { run, job: &name };
    Job {
        metadata: objects.metadata(name.clone(), pod::run_labels(objects, trigger)),
        spec: Some(spec(objects, trigger)),
        status: None,
    }
}

pub(super) fn spec(objects: &Objects<'_>, trigger: Trigger<'_>) -> JobSpec {
    let config = objects.config;
    JobSpec {
        backoff_limit: Some(config.backoff_limit),
        active_deadline_seconds: Some(config.active_deadline_seconds),
        ttl_seconds_after_finished: Some(config.ttl_seconds_after_finished),
        template: pod::template(objects, trigger),
        ..JobSpec::default()
    }
}
