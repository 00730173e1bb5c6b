//! The pod of a run: one builder for manual and scheduled runs alike (design §2.6).

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, ExecAction, Lifecycle, LifecycleHandler,
    LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec,
    SeccompProfile as KubernetesSeccomp, SecretKeySelector, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ompipe_core::RunId;
use ompipe_core::config::{PodSecurity, SeccompProfile};
use ompipe_core::labels::{self, Pairs};
use ompipe_core::run::MAIN_CONTAINER;
use ompipe_core::workflow::CONFIG_ENV;

use super::{Objects, secret};

/// Time for the exit handler and the worker to end (seed *PreStop Hook Validation*).
const TERMINATION_GRACE_SECONDS: i64 = 60;
/// The worker's program (seed *Job Template*).
const MAIN_COMMAND: [&str; 2] = ["python", "main.py"];
/// The exit handler of the ingestion image (seed *PreStop Lifecycle Hooks*).
const EXIT_HANDLER_COMMAND: [&str; 2] = ["python", "exit_handler.py"];

/// What starts a run, which decides where its id comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trigger<'a> {
    /// A user or OpenMetadata: id and Job name are known.
    OnDemand { run: RunId, job: &'a str },
    /// The schedule: the Job's UID is the id, the same for every attempt.
    Schedule,
}

pub(super) fn template(objects: &Objects<'_>, trigger: Trigger<'_>) -> PodTemplateSpec {
    let mut annotations = labels::annotations_of(&objects.pipeline().identity);
    annotations.extend(objects.config.pod_annotations.clone());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(run_labels(objects, trigger)),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(objects, trigger)),
    }
}

/// Labels of a run's Job and pods.
pub(super) fn run_labels(objects: &Objects<'_>, trigger: Trigger<'_>) -> Pairs {
    objects.with_revision(match trigger {
        Trigger::OnDemand { run, .. } => labels::of_run(objects.pipeline(), run),
        Trigger::Schedule => labels::of_pipeline(objects.pipeline()),
    })
}

fn spec(objects: &Objects<'_>, trigger: Trigger<'_>) -> PodSpec {
    let config = objects.config;
    let pull_secrets = config
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.to_string() });
    PodSpec {
        service_account_name: Some(config.service_account_name.to_string()),
        restart_policy: Some("Never".to_owned()),
        termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
        security_context: Some(pod_security(&config.security)),
        image_pull_secrets: some_unless_empty(pull_secrets.collect()),
        node_selector: Some(config.node_selector.clone()).filter(|selector| !selector.is_empty()),
        tolerations: some_unless_empty(config.tolerations.clone()),
        containers: vec![main_container(objects, trigger)],
        ..PodSpec::default()
    }
}

fn main_container(objects: &Objects<'_>, trigger: Trigger<'_>) -> Container {
    let config = objects.config;
    Container {
        name: MAIN_CONTAINER.to_owned(),
        image: Some(config.ingestion_image.to_string()),
        image_pull_policy: Some(config.image_pull_policy.as_str().to_owned()),
        command: Some(words(&MAIN_COMMAND)),
        lifecycle: Some(pre_stop()),
        resources: Some(config.resources.clone()),
        security_context: Some(container_security(&config.security)),
        env: Some(environment(objects, trigger)),
        ..Container::default()
    }
}

fn pre_stop() -> Lifecycle {
    let exec = ExecAction { command: Some(words(&EXIT_HANDLER_COMMAND)) };
    let handler = LifecycleHandler { exec: Some(exec), ..LifecycleHandler::default() };
    Lifecycle { pre_stop: Some(handler), ..Lifecycle::default() }
}

/// The seven variables of the seed, then the user's.
fn environment(objects: &Objects<'_>, trigger: Trigger<'_>) -> Vec<EnvVar> {
    let pipeline = objects.pipeline();
    let (run_id, job_name) = match trigger {
        Trigger::OnDemand { run, job } => {
            (literal("pipelineRunId", &run.to_string()), literal("jobName", job))
        }
        Trigger::Schedule => {
            (from_label("pipelineRunId", labels::JOB_UID), from_label("jobName", labels::JOB_NAME))
        }
    };
    let own = [
        from_revision(objects, CONFIG_ENV, CONFIG_ENV),
        literal("pipelineType", pipeline.pipeline_type.as_str()),
        run_id,
        literal("ingestionPipelineFQN", &pipeline.identity.fully_qualified_name),
        job_name,
        literal("namespace", objects.config.namespace.as_str()),
        // What the exit handler reports when the container is stopped from outside.
        literal("pipelineStatus", "Failed"),
    ];
    own.into_iter().chain(extra_variables(objects)).collect()
}

fn extra_variables(objects: &Objects<'_>) -> Vec<EnvVar> {
    let variables = &objects.config.extra_env_vars;
    let plain = variables.plain().map(|variable| match &variable.value {
        Some(value) => literal(&variable.name, value),
        None => variable.clone(),
    });
    let secret = variables
        .secret()
        .map(|(name, _)| from_revision(objects, name, &secret::variable_key(name)));
    plain.chain(secret).collect()
}

/// A variable with a fixed value. Kubernetes expands `$(NAME)` in values and reads `$$` as `$`,
/// so a dollar is doubled to reach the process as it is.
fn literal(name: &str, value: &str) -> EnvVar {
    let value = Some(value.replace('$', "$$"));
    EnvVar { name: name.to_owned(), value, value_from: None }
}

/// A variable from a key of the revision's Secret; nothing expands it.
fn from_revision(objects: &Objects<'_>, name: &str, key: &str) -> EnvVar {
    let selector = SecretKeySelector {
        name: objects.slug.revision_secret(objects.revision()),
        key: key.to_owned(),
        optional: None,
    };
    let source = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

/// A variable from a label of the pod.
fn from_label(name: &str, label: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector {
        api_version: Some("v1".to_owned()),
        field_path: format!("metadata.labels['{label}']"),
    };
    let source = EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

fn pod_security(security: &PodSecurity) -> PodSecurityContext {
    PodSecurityContext {
        run_as_user: security.run_as_user,
        run_as_group: security.run_as_group,
        fs_group: security.fs_group,
        run_as_non_root: Some(security.run_as_non_root),
        seccomp_profile: security.seccomp.as_ref().map(seccomp),
        ..PodSecurityContext::default()
    }
}

fn container_security(security: &PodSecurity) -> SecurityContext {
    SecurityContext {
        run_as_non_root: Some(security.run_as_non_root),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        seccomp_profile: security.seccomp.as_ref().map(seccomp),
        ..SecurityContext::default()
    }
}

fn seccomp(profile: &SeccompProfile) -> KubernetesSeccomp {
    let (type_, localhost_profile) = match profile {
        SeccompProfile::RuntimeDefault => ("RuntimeDefault", None),
        SeccompProfile::Unconfined => ("Unconfined", None),
        SeccompProfile::Localhost(file) => ("Localhost", Some(file.clone())),
    };
    KubernetesSeccomp { type_: type_.to_owned(), localhost_profile }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn some_unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
