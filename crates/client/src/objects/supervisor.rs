//! The supervisor in a worker's pod (docs/adr/0024-supervisor-replaces-hook.md): an init container
//! copies the program into a volume, and the worker's container starts it in front of its own
//! command.
//!
//! There is no preStop hook then: the supervisor gets the kubelet's SIGTERM itself, passes it on,
//! and reports. A hook before that would only say what is about to come.

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, PodSpec, PodTemplateSpec, Volume, VolumeMount,
};
use ompipe_core::config::K8sPipelineClientConfig;
use ompipe_core::kubernetes::Image;
use ompipe_core::run::MAIN_CONTAINER;

use super::pod::{self, Role, TERMINATION_GRACE_SECONDS};

/// The program in its own image.
pub(super) const PROGRAM: &str = "/ompipe-exit";
/// Its path in the worker's container.
const DIRECTORY: &str = "/ompipe";
/// Name of the volume that holds it.
const VOLUME: &str = "ompipe-exit";
/// Name of the container that puts it there.
const INSTALLER: &str = "install-exit-handler";

/// Lets the supervisor start the worker of a pod, whatever its command is by now.
pub(super) fn supervise(
    template: &mut PodTemplateSpec,
    config: &K8sPipelineClientConfig,
    image: &Image,
    role: Role,
) {
    let Some(spec) = &mut template.spec else { return };
    let order = order(spec, role);
    let mains = spec.containers.iter_mut().filter(|container| container.name == MAIN_CONTAINER);
    for main in mains {
        main.command.get_or_insert_default().splice(0..0, order.iter().cloned());
        main.volume_mounts.get_or_insert_default().push(mount(true));
    }
    spec.init_containers.get_or_insert_default().insert(0, installer(config, image));
    spec.volumes.get_or_insert_default().push(volume());
}

/// The supervisor and its arguments, up to the command that it starts.
fn order(spec: &PodSpec, role: Role) -> Vec<String> {
    let grace = spec.termination_grace_period_seconds.unwrap_or(TERMINATION_GRACE_SECONDS);
    let words = [format!("{DIRECTORY}{PROGRAM}"), "supervise".to_owned()];
    let grace = ["--grace-seconds".to_owned(), grace.max(0).to_string()];
    let silent = (!role.reports()).then(|| "--no-report".to_owned());
    words.into_iter().chain(grace).chain(silent).chain(["--".to_owned()]).collect()
}

fn installer(config: &K8sPipelineClientConfig, image: &Image) -> Container {
    let mut security = pod::container_security(&config.security);
    security.read_only_root_filesystem = Some(true);
    Container {
        name: INSTALLER.to_owned(),
        image: Some(image.to_string()),
        image_pull_policy: Some(config.image_pull_policy.as_str().to_owned()),
        command: Some(pod::words(&[PROGRAM, "install", DIRECTORY])),
        resources: Some(config.exit_handler_resources.clone()),
        security_context: Some(security),
        volume_mounts: Some(vec![mount(false)]),
        ..Container::default()
    }
}

fn mount(read_only: bool) -> VolumeMount {
    VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: DIRECTORY.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn volume() -> Volume {
    Volume {
        name: VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}
