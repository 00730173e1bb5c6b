//! What starts the worker in a pod: its own command, the supervisor, or a shell around it.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use ompipe_core::config::K8sPipelineClientConfig;

use super::pod::{self, Blueprint, Role};
use super::{supervisor, wrapper};

/// Builds a pod, lays `templates` over it, the most general first, and puts in front of its worker what
/// reports the end.
pub(super) fn template<'t>(
    config: &K8sPipelineClientConfig,
    templates: impl Iterator<Item = &'t PodTemplateSpec>,
    blueprint: Blueprint<'_>,
) -> PodTemplateSpec {
    let role = blueprint.role;
    let mut template = pod::template(config, templates, blueprint);
    match config.exit_handler_image.as_ref() {
        Some(image) if role.works() => {
            supervisor::supervise(&mut template, config, image, role);
        }
        None if role == Role::SelfReporting && config.supervise_main => {
            wrapper::wrap(&mut template);
        }
        Some(_) | None => {}
    }
    template
}
