//! `om-job-{slug}-{run8}`: one run, and the same spec for the runs of a schedule.

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use ompipe_core::RunId;
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::run::{FINAL_EXIT_CODES, MAIN_CONTAINER};

use super::environment::Trigger;
use super::pod::Role;
use super::{Objects, run_pod};

pub(super) fn on_demand(objects: &Objects<'_>, run: RunId) -> Job {
    let name = objects.slug.job(run);
    let trigger = Trigger::OnDemand { run, name: &name };
    Job {
        metadata: objects.metadata(name.clone(), run_pod::job_labels(objects, trigger)),
        spec: Some(spec(objects, trigger)),
        status: None,
    }
}

pub(super) fn spec(objects: &Objects<'_>, trigger: Trigger<'_>) -> JobSpec {
    JobSpec {
        backoff_limit: Some(objects.backoff_limit()),
        active_deadline_seconds: Some(objects.active_deadline_seconds()),
        ..of_pod(objects.config, run_pod::worker(objects, trigger, Role::SelfReporting))
    }
}

/// A Job that runs a pod with the limits of the configuration.
pub(super) fn of_pod(config: &K8sPipelineClientConfig, template: PodTemplateSpec) -> JobSpec {
    JobSpec {
        backoff_limit: Some(config.backoff_limit),
        active_deadline_seconds: Some(config.active_deadline_seconds),
        ttl_seconds_after_finished: Some(config.ttl_seconds_after_finished),
        pod_failure_policy: Some(PodFailurePolicy { rules: vec![disrupted(), misconfigured()] }),
        template,
        ..JobSpec::default()
    }
}

/// A pod that the cluster took away is replaced without using up `backoffLimit`.
fn disrupted() -> PodFailurePolicyRule {
    let disruption = PodFailurePolicyOnPodConditionsPattern {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
    };
    PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_pod_conditions: Some(vec![disruption]),
        on_exit_codes: None,
    }
}

/// What cannot start now cannot start later.
fn misconfigured() -> PodFailurePolicyRule {
    let codes = PodFailurePolicyOnExitCodesRequirement {
        container_name: Some(MAIN_CONTAINER.to_owned()),
        operator: "In".to_owned(),
        values: FINAL_EXIT_CODES.to_vec(),
    };
    PodFailurePolicyRule {
        action: "FailJob".to_owned(),
        on_pod_conditions: None,
        on_exit_codes: Some(codes),
    }
}
