//! The last resort: the operator itself reports how a run ended, when the exit handler cannot.
//!
//! ```text
//! OMJob ─► variable config ─► Secret or ConfigMap ─► server, pipeline ─┐
//!     └──► run id ─────────────────────────────────────────────────────┴─► OpenMetadata::report
//! ```
//! Only the server and the pipeline's name are taken from the config: one that broke the ingestion
//! must not break the report.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, EnvVar, PodSpec, Secret};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use ompipe_api::{OMJob, RUN_ID_PLACEHOLDER};
use ompipe_core::config::CONFIG_FILE_ENV;
use ompipe_core::omjob::{End, Report};
use ompipe_core::report::{Ending, Recipient, Subject, Unusable};
use ompipe_core::run::{self, MAIN_CONTAINER};
use ompipe_core::workflow::CONFIG_ENV;
use ompipe_core::{RunId, ServerConnection, labels};
use ompipe_openmetadata::{EndedRun, OpenMetadata};
use secrecy::{ExposeSecret, SecretString};

/// Variable with the run's id.
const RUN_ID_ENV: &str = "pipelineRunId";
/// Key of a pipeline's Secret with the entity that was deployed last.
const DEPLOYED_PIPELINE: &str = "pipeline";

/// Why a run could not be reported. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the OMJob has no run id: pipelineRunId is no UUID, and there is no label with one")]
    NoRunId,
    #[error(
        "it is neither a run of a pipeline nor an automation: its config and ingestionPipelineFQN \
         name none"
    )]
    NoPipeline,
    #[error("the variable config of the main pod has no value that the operator can read")]
    NoConfig,
    #[error("{kind} {name:?}, which the main pod's config is read from, has no key {key:?}")]
    NoKey { kind: &'static str, name: String, key: String },
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error("the config of the run cannot be read: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error(transparent)]
    OpenMetadata(#[from] ompipe_openmetadata::Error),
}

impl Error {
    /// True when trying again later leads nowhere.
    fn is_final(&self) -> bool {
        match self {
            Self::NoRunId
            | Self::NoPipeline
            | Self::NoConfig
            | Self::NoKey { .. }
            | Self::Unusable(_) => true,
            Self::Kubernetes(_) => false,
            Self::OpenMetadata(error) => error.is_final(),
        }
    }
}

/// Reports how the run of `job` ended, unless OpenMetadata has it already.
pub async fn report(client: &Client, job: &OMJob, end: &End, now: Timestamp) -> Report {
    match try_report(client, job, end, now).await {
        Ok(()) => Report::Done,
        Err(error) if error.is_final() => Report::Impossible(error.to_string()),
        Err(error) => Report::Unavailable(error.to_string()),
    }
}

async fn try_report(client: &Client, job: &OMJob, end: &End, now: Timestamp) -> Result<(), Error> {
    let pod = main_pod(job);
    let variables = variables(&pod);
    let Recipient { connection, subject, .. } = recipient(client, job, &pod).await?;
    let named = || labels::fqn_in(variables).map(Subject::Pipeline);
    let subject = subject.or_else(named).ok_or(Error::NoPipeline)?;
    let ended = Ended { subject, id: run_id(job, variables), began: began(job, now), end, now };
    match ended.send(&connection).await {
        Err(Error::OpenMetadata(refused @ ompipe_openmetadata::Error::Unauthorized(_))) => {
            let newer = deployed_connection(client, job).await?;
            ended.send(&newer.ok_or(refused)?).await
        }
        outcome => outcome,
    }
}

/// A run or automation that is over.
struct Ended<'e> {
    subject: Subject,
    id: Option<RunId>,
    began: Timestamp,
    end: &'e End,
    now: Timestamp,
}

impl Ended<'_> {
    async fn send(&self, connection: &ServerConnection) -> Result<(), Error> {
        let server = OpenMetadata::new(connection)?;
        let Self { id, began, end, now, .. } = *self;
        match &self.subject {
            Subject::Automation(fqn) => server.fail_automation(fqn, end, now).await?,
            Subject::Pipeline(pipeline_fqn) => {
                let id = id.ok_or(Error::NoRunId)?;
                let ending = Ending::of(end.reason);
                let run = EndedRun { pipeline_fqn, id, began, ending, end, now };
                server.report(&run, async || None).await?;
            }
        }
        Ok(())
    }
}

fn began(job: &OMJob, now: Timestamp) -> Timestamp {
    let started = job.status.as_ref().and_then(|status| status.start_time.clone());
    started.or_else(|| job.creation_timestamp()).map_or(now, |time| time.0)
}

fn main_pod(job: &OMJob) -> PodSpec {
    job.spec.main_pod_spec.to_template().spec.unwrap_or_default()
}

fn variables(pod: &PodSpec) -> &[EnvVar] {
    let mut containers = pod.containers.iter();
    let main = containers.find(|container| container.name == MAIN_CONTAINER);
    main.and_then(|main| main.env.as_deref()).unwrap_or_default()
}

/// What the worker was told. The placeholder of scheduled runs means the object's own id.
fn run_id(job: &OMJob, variables: &[EnvVar]) -> Option<RunId> {
    let told = literal(variables, RUN_ID_ENV).filter(|value| value != RUN_ID_PLACEHOLDER);
    let told = told.and_then(|value| value.parse().ok());
    told.or_else(|| run::run_id(job.labels(), job.metadata.uid.as_deref()))
}

async fn recipient(client: &Client, job: &OMJob, pod: &PodSpec) -> Result<Recipient, Error> {
    let namespace = job.namespace().unwrap_or_default();
    let source = ConfigSource::of(pod).ok_or(Error::NoConfig)?;
    let text = match source {
        ConfigSource::Literal => literal(variables(pod), CONFIG_ENV).map(SecretString::from),
        ConfigSource::Secret { name, key } => Some(of_secret(client, &namespace, name, key).await?),
        ConfigSource::ConfigMap { name, key } => Some(of_map(client, &namespace, name, key).await?),
    };
    let text = text.ok_or(Error::NoConfig)?;
    Ok(Recipient::read(text.expose_secret())?)
}

/// The connection of the pipeline as it is deployed now: when OpenMetadata gave its bot another
/// token and deployed anew, the run's own config still has the former one.
async fn deployed_connection(
    client: &Client,
    job: &OMJob,
) -> Result<Option<ServerConnection>, Error> {
    let Some(pipeline) = job.labels().get(labels::PIPELINE_ID) else {
        return Ok(None);
    };
    let secrets: Api<Secret> =
        Api::namespaced(client.clone(), &job.namespace().unwrap_or_default());
    let ours = ListParams::default().labels(&format!("{}={pipeline}", labels::PIPELINE_ID));
    let listed = secrets.list(&ours).await?;
    let deployed = |secret: &Secret| {
        let entity = secret.data.as_ref()?.get(DEPLOYED_PIPELINE)?;
        Recipient::read(str::from_utf8(&entity.0).ok()?).ok()
    };
    Ok(listed.items.iter().find_map(deployed).map(|recipient| recipient.connection))
}

/// Where the worker's config comes from.
#[derive(Debug, PartialEq, Eq)]
enum ConfigSource {
    /// The pod's specification itself.
    Literal,
    Secret {
        name: String,
        key: String,
    },
    ConfigMap {
        name: String,
        key: String,
    },
}

impl ConfigSource {
    /// The variable `config`, or the Secret behind the file that `configFile` names.
    fn of(pod: &PodSpec) -> Option<Self> {
        let variables = variables(pod);
        if let Some(file) = literal(variables, CONFIG_FILE_ENV) {
            return Self::of_file(pod, &file);
        }
        let variable = variables.iter().find(|variable| variable.name == CONFIG_ENV)?;
        let Some(source) = &variable.value_from else {
            return variable.value.is_some().then_some(Self::Literal);
        };
        let secret = source.secret_key_ref.as_ref();
        let secret = secret.map(|at| Self::Secret { name: at.name.clone(), key: at.key.clone() });
        let map = source.config_map_key_ref.as_ref();
        secret.or_else(|| {
            map.map(|at| Self::ConfigMap { name: at.name.clone(), key: at.key.clone() })
        })
    }

    fn of_file(pod: &PodSpec, file: &str) -> Option<Self> {
        let (directory, path) = file.rsplit_once('/')?;
        let main = pod.containers.iter().find(|container| container.name == MAIN_CONTAINER)?;
        let mut mounts = main.volume_mounts.iter().flatten();
        let mount = mounts.find(|mount| mount.mount_path.trim_end_matches('/') == directory)?;
        let mut volumes = pod.volumes.iter().flatten();
        let secret = volumes.find(|volume| volume.name == mount.name)?.secret.as_ref()?;
        let mut items = secret.items.iter().flatten();
        let key = items.find(|item| item.path == path).map_or(path, |item| &item.key);
        Some(Self::Secret { name: secret.secret_name.clone()?, key: key.to_owned() })
    }
}

async fn of_secret(
    client: &Client,
    namespace: &str,
    name: String,
    key: String,
) -> Result<SecretString, Error> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let data = api.get_opt(&name).await?.and_then(|secret| secret.data);
    let value = data.as_ref().and_then(|data| str::from_utf8(&data.get(&key)?.0).ok());
    value.map(SecretString::from).ok_or(Error::NoKey { kind: "Secret", name, key })
}

async fn of_map(
    client: &Client,
    namespace: &str,
    name: String,
    key: String,
) -> Result<SecretString, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let data = api.get_opt(&name).await?.and_then(|map| map.data);
    let value = data.and_then(|mut data| data.remove(&key));
    value.map(SecretString::from).ok_or(Error::NoKey { kind: "ConfigMap", name, key })
}

/// The literal value of a variable. Kubernetes reads `$$` as `$`.
fn literal(variables: &[EnvVar], name: &str) -> Option<String> {
    let variable = variables.iter().find(|variable| variable.name == name)?;
    variable.value.as_ref().map(|value| value.replace("$$", "$"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const UID: &str = "0b9e5f1c-3d5f-4d0e-9a58-7d1f0e6f2c11";
    const RUN: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

    fn job(main: &Value) -> OMJob {
        serde_json::from_value(json!({
            "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob",
            "metadata": { "name": "om-job-p-a1b2c3d4", "namespace": "n", "uid": UID },
            "spec": { "mainPodSpec": main },
        }))
        .unwrap()
    }

    fn with_env(env: &Value) -> OMJob {
        job(&json!({ "image": "i", "env": env }))
    }

    fn secret() -> ConfigSource {
        ConfigSource::Secret { name: "s".to_owned(), key: "config".to_owned() }
    }

    #[rstest]
    #[case::ours(json!({ "valueFrom": { "secretKeyRef": { "name": "s", "key": "config" } } }), Some(secret()))]
    #[case::upstreams(
        json!({ "valueFrom": { "configMapKeyRef": { "name": "m", "key": "config" } } }),
        Some(ConfigSource::ConfigMap { name: "m".to_owned(), key: "config".to_owned() })
    )]
    #[case::literal(json!({ "value": "a: $$b" }), Some(ConfigSource::Literal))]
    #[case::empty_source(json!({ "value": "a: b", "valueFrom": {} }), Some(ConfigSource::Literal))]
    #[case::of_the_pod(json!({ "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }), None)]
    fn the_config_is_found_where_the_worker_gets_it(
        #[case] mut variable: Value,
        #[case] expected: Option<ConfigSource>,
    ) {
        variable["name"] = "config".into();
        assert_eq!(ConfigSource::of(&main_pod(&with_env(&json!([variable])))), expected);
    }

    #[test]
    fn a_config_in_a_file_is_found_in_the_secret_behind_it() {
        let template = json!({ "spec": {
            "containers": [{ "name": "main", "volumeMounts": [
                { "name": "config", "mountPath": "/etc/ompipe" },
            ]}],
            "volumes": [{ "name": "config", "secret": { "secretName": "s", "items": [
                { "key": "config", "path": "config.yaml" },
            ]}}],
        }});
        let job = job(&json!({
            "image": "i", "podTemplate": template,
            "env": [{ "name": "configFile", "value": "/etc/ompipe/config.yaml" }],
        }));
        assert_eq!(ConfigSource::of(&main_pod(&job)), Some(secret()));
    }

    #[rstest]
    #[case::told(json!([{ "name": "pipelineRunId", "value": RUN }]), json!({}), RUN)]
    #[case::told_and_labelled(json!([{ "name": "pipelineRunId", "value": RUN }]), json!({ labels::RUN_ID: UID }), RUN)]
    #[case::scheduled(json!([{ "name": "pipelineRunId", "value": RUN_ID_PLACEHOLDER }]), json!({}), UID)]
    #[case::labelled(json!([{ "name": "pipelineRunId", "value": RUN_ID_PLACEHOLDER }]), json!({ labels::RUN_ID: RUN }), RUN)]
    #[case::untold(json!([]), json!({}), UID)]
    fn the_run_is_the_one_that_the_worker_reports_as(
        #[case] env: Value,
        #[case] labels: Value,
        #[case] expected: &str,
    ) {
        let mut job = with_env(&env);
        job.metadata.labels = serde_json::from_value(labels).unwrap();
        let pod = main_pod(&job);
        assert_eq!(run_id(&job, variables(&pod)).unwrap().to_string(), expected);
    }
}
