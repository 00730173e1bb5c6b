//! The pods of an `OMJob`: what its specification says, and what makes an attempt of them.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, Pod, PodSecurityContext, PodSpec, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use ompipe_api::{OMJOB_NAME, OMJob, POD_TYPE, StagePodSpec, fill_placeholders};
use ompipe_core::kubernetes::LabelValue;
use ompipe_core::labels;
use ompipe_core::omjob::{End, Stage, TRACKING_FINALIZER, pod_name};
use ompipe_core::report;
use ompipe_core::run::MAIN_CONTAINER;

use super::memory;
use crate::view::JobView;

/// Value of `managed-by` on a pod whose specification does not say otherwise; upstream's.
const MANAGED_BY: &str = "omjob-operator";

/// One attempt of a stage. `end` is how main ended, which the exit handler is told.
pub(super) fn build(
    job: &JobView,
    (stage, attempt): (Stage, u32),
    stage_spec: &StagePodSpec,
    end: Option<&End>,
) -> Pod {
    let template = stage_spec.to_template();
    let wanted = template.metadata.unwrap_or_default();
    let mut spec = template.spec.unwrap_or_default();
    harden(&mut spec);
    bound(&mut spec, job, stage);
    for container in spec.containers.iter_mut().filter(|c| c.name == MAIN_CONTAINER) {
        fill_placeholders(container.env.as_mut(), &run_id(job), &job.name_any());
        match stage {
            Stage::Main => memory::raise(container, job.record.main.memory_limit),
            Stage::Exit => tell_end(container, end),
        }
    }
    let metadata = ObjectMeta {
        name: Some(pod_name(&job.name_any(), stage, attempt)),
        namespace: job.namespace(),
        labels: Some(labels_of(job, stage, wanted.labels.unwrap_or_default())),
        annotations: wanted.annotations,
        finalizers: Some(vec![TRACKING_FINALIZER.to_owned()]),
        owner_references: Some(vec![owner(job)]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: Some(spec), status: None }
}

/// Upstream's labels, over them those that the OpenMetadata server asks for, over them the two that
/// tell whose pod it is: nobody may change those.
fn labels_of(job: &JobView, stage: Stage, wanted: labels::Pairs) -> labels::Pairs {
    let own = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut all = BTreeMap::from([
        own(labels::NAME, labels::NAME_VALUE),
        own(labels::COMPONENT, labels::COMPONENT_VALUE),
        own(labels::MANAGED_BY, MANAGED_BY),
    ]);
    let copied = [labels::PIPELINE, labels::RUN_ID, labels::PIPELINE_ID];
    all.extend(copied.iter().filter_map(|key| Some(own(key, job.labels().get(*key)?))));
    all.extend(wanted);
    let name = LabelValue::sanitised(&job.name_any());
    all.extend([own(OMJOB_NAME, name.as_str()), own(POD_TYPE, stage.pod_type())]);
    all
}

fn owner(job: &JobView) -> OwnerReference {
    OwnerReference {
        api_version: OMJob::api_version(&()).into_owned(),
        kind: OMJob::kind(&()).into_owned(),
        name: job.name_any(),
        uid: job.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What every pod of ours has unless its template says otherwise.
fn harden(spec: &mut PodSpec) {
    // A namespace with thousands of Services would make the environment too long to start.
    spec.enable_service_links.get_or_insert(false);
    let pod = spec.security_context.clone().unwrap_or_default();
    for container in spec.containers.iter_mut().filter(|c| c.name == MAIN_CONTAINER) {
        container.security_context.get_or_insert_with(|| restricted(&pod));
        // Why it failed is then in its status, when its log is gone.
        container
            .termination_message_policy
            .get_or_insert_with(|| "FallbackToLogsOnError".to_owned());
    }
}

/// Upstream's security context of a container.
fn restricted(pod: &PodSecurityContext) -> SecurityContext {
    SecurityContext {
        run_as_non_root: pod.run_as_non_root,
        run_as_user: pod.run_as_user,
        run_as_group: pod.run_as_group,
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        ..SecurityContext::default()
    }
}

/// The stage's deadline, for the kubelet to keep when no operator is there. A little later: the
/// operator knows what kept a pod from starting, the kubelet says no more than that it is late.
fn bound(spec: &mut PodSpec, job: &JobView, stage: Stage) {
    const LATER: i64 = 30;
    /// What Kubernetes takes.
    const LONGEST: i64 = i32::MAX as i64;
    let limit = match stage {
        Stage::Main => job.limits.active_deadline,
        Stage::Exit => Some(job.limits.exit_deadline),
    };
    if spec.active_deadline_seconds.is_none() {
        let later = |limit: SignedDuration| limit.as_secs().saturating_add(LATER).min(LONGEST);
        spec.active_deadline_seconds = limit.map(later);
    }
}

fn run_id(job: &JobView) -> String {
    job.labels().get(labels::RUN_ID).cloned().unwrap_or_else(|| job.uid().to_owned())
}

/// How main ended: exactly, and in upstream's word, which wins over one that was given.
fn tell_end(container: &mut Container, end: Option<&End>) {
    let unknown = End::adopted(None);
    let told = report::variables(end.unwrap_or(&unknown));
    let variables = container.env.get_or_insert_default();
    variables.retain(|known| told.iter().all(|(name, _)| known.name != *name));
    variables.extend(told.into_iter().map(|(name, value)| variable(name, &value)));
}

fn variable(name: &str, value: &str) -> EnvVar {
    // Kubernetes reads `$$` as `$`.
    let value = Some(value.replace('$', "$$"));
    EnvVar { name: name.to_owned(), value, value_from: None }
}
