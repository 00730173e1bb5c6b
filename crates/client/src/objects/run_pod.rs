//! The pods of a run: the worker, and in operator mode its exit handler.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use ompipe_core::config::ConfigDelivery;
use ompipe_core::labels::{self, Pairs};

use super::environment::{self, Trigger};
use super::pod::{self, Blueprint, Role};
use super::{Objects, launch, secret, supervisor};

/// The worker's program (docs/contracts/upstream-java-client.md#job-template).
const MAIN_COMMAND: [&str; 2] = ["python", "main.py"];
/// The exit handler of `exitHandlerImage`.
const NATIVE_EXIT_HANDLER: [&str; 2] = [supervisor::PROGRAM, "report"];

pub(super) fn worker(objects: &Objects<'_>, trigger: Trigger<'_>, role: Role) -> PodTemplateSpec {
    let mut blueprint = Blueprint {
        command: &MAIN_COMMAND,
        resources: &objects.config.resources,
        ..blueprint(objects, trigger, role)
    };
    if role == Role::Worker {
        // Kueue knows no OMJobs, but their pods. The exit handler's waits for nobody.
        blueprint.labels.extend(objects.queue_labels());
    }
    template(objects, blueprint)
}

/// Labels of a Job, which Kueue knows itself.
pub(super) fn job_labels(objects: &Objects<'_>, trigger: Trigger<'_>) -> Pairs {
    let mut labels = run_labels(objects, trigger);
    labels.extend(objects.queue_labels());
    labels
}

pub(super) fn exit_handler(objects: &Objects<'_>, trigger: Trigger<'_>) -> PodTemplateSpec {
    let blueprint = blueprint(objects, trigger, Role::ExitHandler);
    template(
        objects,
        match &objects.config.exit_handler_image {
            Some(image) => Blueprint { image, command: &NATIVE_EXIT_HANDLER, ..blueprint },
            None => blueprint,
        },
    )
}

/// Labels of a run's object and pods.
pub(super) fn run_labels(objects: &Objects<'_>, trigger: Trigger<'_>) -> Pairs {
    objects.with_revision(match trigger {
        Trigger::OnDemand { run, .. } => labels::of_run(objects.pipeline(), run),
        Trigger::CronJob | Trigger::CronOMJob => labels::of_pipeline(objects.pipeline()),
    })
}

fn blueprint<'o>(objects: &'o Objects<'_>, trigger: Trigger<'_>, role: Role) -> Blueprint<'o> {
    let secret = || objects.slug.revision_secret(objects.revision());
    let is_file = objects.config.config_delivery == ConfigDelivery::File;
    Blueprint {
        labels: run_labels(objects, trigger),
        annotations: labels::annotations_of(&objects.pipeline().identity),
        image: &objects.config.ingestion_image,
        command: &pod::EXIT_HANDLER_COMMAND,
        env: environment::of_run(objects, trigger),
        resources: &objects.config.exit_handler_resources,
        role,
        config_file: is_file.then(secret),
        authority: secret::mounted_authority(objects.pipeline()).map(|_| secret()),
    }
}

fn template(objects: &Objects<'_>, blueprint: Blueprint<'_>) -> PodTemplateSpec {
    let pipeline = objects.pipeline();
    let service = pipeline.service.as_ref().map(|service| service.name.as_str());
    let fqn = &pipeline.identity.fully_qualified_name;
    launch::template(objects.config, objects.config.pod_templates.of(service, fqn), blueprint)
}
