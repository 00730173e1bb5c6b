//! The pod of everything that runs: one builder for manual and scheduled runs, their exit
//! handlers, automations and applications (docs/adr/0012-one-pod-builder.md).

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, ExecAction, KeyToPath, Lifecycle, LifecycleHandler,
    LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, ResourceRequirements,
    SeccompProfile as KubernetesSeccomp, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ompipe_core::config::{K8sPipelineClientConfig, PodSecurity, SeccompProfile};
use ompipe_core::kubernetes::Image;
use ompipe_core::labels::Pairs;
use ompipe_core::run::MAIN_CONTAINER;
use ompipe_core::workflow::CONFIG_ENV;
use ompipe_core::{CA_FILE, CA_KEY};

/// Time for the exit handler and the worker to end
/// (docs/contracts/upstream-java-client.md#prestop-hook).
pub(super) const TERMINATION_GRACE_SECONDS: i64 = 60;
/// The exit handler of the ingestion image (docs/contracts/upstream-java-client.md#prestop-hook).
pub(super) const EXIT_HANDLER_COMMAND: [&str; 2] = ["python", "exit_handler.py"];
/// Path of a config that is delivered as a file.
pub(super) const CONFIG_FILE: &str = "/etc/ompipe/config.yaml";

/// What sets one kind of pod apart from the others.
pub(super) struct Blueprint<'a> {
    pub(super) labels: Pairs,
    pub(super) annotations: Pairs,
    pub(super) image: &'a Image,
    pub(super) command: &'a [&'a str],
    pub(super) env: Vec<EnvVar>,
    pub(super) resources: &'a ResourceRequirements,
    pub(super) role: Role,
    /// Secret to mount as the config's file.
    pub(super) config_file: Option<String>,
    /// Secret to mount as the file of the OpenMetadata server's certificate authority.
    pub(super) authority: Option<String>,
}

/// What a pod is for, which decides what it needs of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A worker whose end is reported from its own pod, by a supervisor or a hook, which asks the
    /// API about the pod.
    SelfReporting,
    /// A worker of an automation: a user who waits for the result should not wait for a dead one.
    Answering,
    /// A worker whose end somebody else reports.
    Worker,
    /// The exit handler, which asks the API about the worker's pod.
    ExitHandler,
    /// An exit handler that has nothing to do.
    Idle,
}

impl Role {
    /// Whether a supervisor reports the end.
    pub(super) const fn reports(self) -> bool {
        matches!(self, Self::SelfReporting | Self::Answering)
    }

    /// Whether the pod does the work of a run or an automation.
    pub(super) const fn works(self) -> bool {
        matches!(self, Self::SelfReporting | Self::Answering | Self::Worker)
    }
}

/// Builds a pod and lays `templates` over it, the most general first.
pub(super) fn template<'t>(
    config: &K8sPipelineClientConfig,
    templates: impl Iterator<Item = &'t PodTemplateSpec>,
    blueprint: Blueprint<'_>,
) -> PodTemplateSpec {
    let role = blueprint.role;
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(joined(&config.pod_labels, &blueprint.labels)),
            annotations: Some(joined(&config.pod_annotations, &blueprint.annotations)),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(config, blueprint)),
    };
    for change in templates {
        let change = for_role(change, role);
        clear_replaced(&mut template, &change);
        template.merge_from(change);
    }
    template
}

/// A variable has one source, but a merge would keep the former as well as the new one, which
/// Kubernetes refuses. What a template says of a variable is therefore the whole of it.
fn clear_replaced(template: &mut PodTemplateSpec, change: &PodTemplateSpec) {
    for container in template.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
        let changes = change.spec.iter().flat_map(|spec| &spec.containers);
        let named = changes.filter(|changed| changed.name == container.name);
        let variables: Vec<_> = named.flat_map(|changed| changed.env.iter().flatten()).collect();
        let env = container.env.iter_mut().flatten();
        for variable in env.filter(|own| variables.iter().any(|new| new.name == own.name)) {
            (variable.value, variable.value_from) = (None, None);
        }
    }
}

/// The user's pairs and ours; ours are never replaced.
fn joined(users: &Pairs, ours: &Pairs) -> Pairs {
    let mut pairs = users.clone();
    pairs.extend(ours.clone());
    pairs
}

/// A template says what the worker runs and uses, which is nothing for the exit handler.
fn for_role(template: &PodTemplateSpec, role: Role) -> PodTemplateSpec {
    let mut template = template.clone();
    if !role.works() {
        let containers = template.spec.iter_mut().flat_map(|spec| &mut spec.containers);
        for main in containers.filter(|container| container.name == MAIN_CONTAINER) {
            (main.image, main.command, main.args, main.resources) = (None, None, None, None);
        }
    }
    template
}

fn spec(config: &K8sPipelineClientConfig, blueprint: Blueprint<'_>) -> PodSpec {
    let pull_secrets = config
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.to_string() });
    PodSpec {
        service_account_name: Some(config.service_account_name.to_string()),
        automount_service_account_token: Some(blueprint.role != Role::Idle),
        // The variables of every Service of the namespace are of no use to a worker, and many.
        enable_service_links: Some(false),
        restart_policy: Some("Never".to_owned()),
        termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
        security_context: Some(pod_security(&config.security)),
        image_pull_secrets: some_unless_empty(pull_secrets.collect()),
        node_selector: Some(config.node_selector.clone()).filter(|selector| !selector.is_empty()),
        tolerations: some_unless_empty(config.tolerations.clone()),
        volumes: some_unless_empty(volumes(&blueprint)),
        containers: vec![main_container(config, blueprint)],
        ..PodSpec::default()
    }
}

fn main_container(config: &K8sPipelineClientConfig, blueprint: Blueprint<'_>) -> Container {
    let has_hook = blueprint.role == Role::SelfReporting && config.exit_handler_image.is_none();
    Container {
        name: MAIN_CONTAINER.to_owned(),
        image: Some(blueprint.image.to_string()),
        image_pull_policy: Some(config.image_pull_policy.as_str().to_owned()),
        command: Some(words(blueprint.command)),
        lifecycle: has_hook.then(pre_stop),
        resources: Some(blueprint.resources.clone()),
        security_context: Some(container_security(&config.security)),
        // What a worker that wrote no message says is the end of its log.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: some_unless_empty(mounts(&blueprint)),
        env: Some(blueprint.env),
        ..Container::default()
    }
}

fn pre_stop() -> Lifecycle {
    let exec = ExecAction { command: Some(words(&EXIT_HANDLER_COMMAND)) };
    let handler = LifecycleHandler { exec: Some(exec), ..LifecycleHandler::default() };
    Lifecycle { pre_stop: Some(handler), ..Lifecycle::default() }
}

/// Name of the volume with the certificate authority.
const AUTHORITY: &str = "ompipe-ca";

fn volumes(blueprint: &Blueprint<'_>) -> Vec<Volume> {
    let config = blueprint.config_file.as_ref();
    let config = config.map(|secret| secret_volume(CONFIG_ENV, secret, CONFIG_ENV, CONFIG_FILE));
    let authority = blueprint.authority.as_ref();
    let authority = authority.map(|secret| secret_volume(AUTHORITY, secret, CA_KEY, CA_FILE));
    config.into_iter().chain(authority).collect()
}

fn mounts(blueprint: &Blueprint<'_>) -> Vec<VolumeMount> {
    let config = blueprint.config_file.as_ref().map(|_| mount(CONFIG_ENV, CONFIG_FILE));
    let authority = blueprint.authority.as_ref().map(|_| mount(AUTHORITY, CA_FILE));
    config.into_iter().chain(authority).collect()
}

/// A volume with one key of a Secret as the file at `path`.
fn secret_volume(name: &str, secret: &str, key: &str, path: &str) -> Volume {
    let file = path.rsplit('/').next().unwrap_or_default().to_owned();
    let item = KeyToPath { key: key.to_owned(), path: file, mode: None };
    let source = SecretVolumeSource {
        secret_name: Some(secret.to_owned()),
        items: Some(vec![item]),
        ..SecretVolumeSource::default()
    };
    Volume { name: name.to_owned(), secret: Some(source), ..Volume::default() }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    let directory = path.rsplit_once('/').map(|(directory, _)| directory).unwrap_or_default();
    VolumeMount {
        name: name.to_owned(),
        mount_path: directory.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
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

pub(super) fn container_security(security: &PodSecurity) -> SecurityContext {
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

pub(super) fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|&word| word.to_owned()).collect()
}

fn some_unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
