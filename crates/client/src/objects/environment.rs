//! Environment variables of the pods
//! (docs/contracts/upstream-java-client.md#environment-variables).

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, SecretKeySelector};
use ompipe_api::{NAME_PLACEHOLDER, RUN_ID_PLACEHOLDER};
use ompipe_core::RunId;
use ompipe_core::config::{CONFIG_FILE_ENV, ConfigDelivery, ExtraVariables};
use ompipe_core::labels;
use ompipe_core::report::TOKEN_ENV;
use ompipe_core::workflow::CONFIG_ENV;

use super::{Objects, pod, secret};

/// What starts a run, which decides where its id comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trigger<'a> {
    /// A user or OpenMetadata: id and name of the object are known.
    OnDemand { run: RunId, name: &'a str },
    /// A `CronJob`: the Job's UID is the id, the same for every attempt.
    CronJob,
    /// A `CronOMJob`: its operator puts both in.
    CronOMJob,
}

/// The seven variables of upstream's published description, then the user's.
pub(super) fn of_run(objects: &Objects<'_>, trigger: Trigger<'_>) -> Vec<EnvVar> {
    let pipeline = objects.pipeline();
    let revision = objects.slug.revision_secret(objects.revision());
    let (run_id, job_name) = of_trigger(trigger);
    let own = [
        config(objects.config.config_delivery, &revision),
        literal("pipelineType", pipeline.pipeline_type.as_str()),
        run_id,
        literal("ingestionPipelineFQN", &pipeline.identity.fully_qualified_name),
        job_name,
        literal("namespace", objects.config.namespace.as_str()),
        // What the exit handler reports when the container is stopped from outside.
        literal("pipelineStatus", "Failed"),
    ];
    let report_token =
        secret::report_token(pipeline).map(|_| from_secret(TOKEN_ENV, &revision, TOKEN_ENV));
    let extra = extra(&objects.config.extra_env_vars, &revision);
    own.into_iter().chain(report_token).chain(extra).collect()
}

/// The config of an automation or application, the token of a report from the pod, then the user's
/// variables.
pub(super) fn of_task(variables: &ExtraVariables, secret: &str, has_token: bool) -> Vec<EnvVar> {
    let config = from_secret(CONFIG_ENV, secret, CONFIG_ENV);
    let token = has_token.then(|| from_secret(TOKEN_ENV, secret, TOKEN_ENV));
    std::iter::once(config).chain(token).chain(extra(variables, secret)).collect()
}

fn of_trigger(trigger: Trigger<'_>) -> (EnvVar, EnvVar) {
    const RUN_ID: &str = "pipelineRunId";
    const JOB_NAME: &str = "jobName";
    match trigger {
        Trigger::OnDemand { run, name } => {
            (literal(RUN_ID, &run.to_string()), literal(JOB_NAME, name))
        }
        Trigger::CronJob => {
            (from_label(RUN_ID, labels::JOB_UID), from_label(JOB_NAME, labels::JOB_NAME))
        }
        Trigger::CronOMJob => {
            (literal(RUN_ID, RUN_ID_PLACEHOLDER), literal(JOB_NAME, NAME_PLACEHOLDER))
        }
    }
}

fn config(delivery: ConfigDelivery, revision: &str) -> EnvVar {
    match delivery {
        ConfigDelivery::Env => from_secret(CONFIG_ENV, revision, CONFIG_ENV),
        ConfigDelivery::File => literal(CONFIG_FILE_ENV, pod::CONFIG_FILE),
    }
}

/// The user's variables: those that may be a credential from the Secret.
fn extra(variables: &ExtraVariables, secret: &str) -> impl Iterator<Item = EnvVar> {
    let plain = variables.plain().map(|variable| match &variable.value {
        Some(value) => literal(&variable.name, value),
        None => variable.clone(),
    });
    let hidden = variables
        .secret()
        .map(move |(name, _)| from_secret(name, secret, &secret::variable_key(name)));
    plain.chain(hidden)
}

/// A variable with a fixed value. Kubernetes expands `$(NAME)` in values and reads `$$` as `$`,
/// so a dollar is doubled to reach the process as it is.
fn literal(name: &str, value: &str) -> EnvVar {
    let value = Some(value.replace('$', "$$"));
    EnvVar { name: name.to_owned(), value, value_from: None }
}

/// A variable from a key of a Secret; nothing expands it.
fn from_secret(name: &str, secret: &str, key: &str) -> EnvVar {
    let selector =
        SecretKeySelector { name: secret.to_owned(), key: key.to_owned(), optional: None };
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
