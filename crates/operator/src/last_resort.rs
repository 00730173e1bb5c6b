//! The last resort: the operator itself reports how a run ended, when no other part did.
//!
//! ```text
//! OMJob ─┐            ┌─► variable config ─► Secret or ConfigMap ─► server, pipeline ─┐
//!        ├─► Run, pod ┤                                                               ├─► report
//! Job ───┘            └─► run id ─────────────────────────────────────────────────────┘
//! ```
//! Only the server and the pipeline's name are taken from the config: one that broke the ingestion
//! must not break the report.

use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, EnvVar, Pod, PodSpec, Secret};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use ompipe_api::{OMJob, RUN_ID_PLACEHOLDER};
use ompipe_core::archive::{RunFolder, pipeline_key};
use ompipe_core::job::{self, Reporter};
use ompipe_core::labels::Pairs;
use ompipe_core::omjob::{End, Report};
use ompipe_core::report::{Ending, Recipient, Subject, TOKEN_ENV, Unusable};
use ompipe_core::run::{self, ConfigSource, literal, variables};
use ompipe_core::{CA_KEY, IngestionPipeline, RunId, ServerConnection, labels};
use ompipe_openmetadata::{EndedRun, OpenMetadata, Reported};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::context::Context;
use crate::diagnosis;
use crate::error::code;
use crate::servers::{Busy, RunOf};
use crate::settings::origin;

/// Variable with the run's id.
const RUN_ID_ENV: &str = "pipelineRunId";
/// Key of a pipeline's Secret with the entity that was deployed last.
const DEPLOYED_PIPELINE: &str = "pipeline";

/// Why a run could not be reported. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the run has no id: pipelineRunId is no UUID, and there is no label with one")]
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
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error(
        "the run's config names {0}, which is neither in ALLOWED_SERVERS (the chart's \
         omjobOperator.reporting.allowedServers) nor the server of its deployed pipeline"
    )]
    NotAllowed(String),
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
            // An administrator can put the setting right.
            Self::Kubernetes(_) | Self::Busy(_) | Self::NotAllowed(_) => false,
            Self::OpenMetadata(error) => error.is_final(),
        }
    }

    /// What objects in the cluster say of it. Who made the run chose the server, and must not learn
    /// from ompipe what answers there; the log has it.
    fn brief(&self, run: &Run) -> String {
        match self {
            Self::OpenMetadata(error) => {
                tracing::info!(namespace = run.namespace, uid = run.uid, %error, "a report failed");
                error.brief()
            }
            other => other.to_string(),
        }
    }
}

/// Whether to give up after this error. A refusal of OpenMetadata itself counts only once it has been
/// repeated for minutes: a server that starts, or a replica that is behind, refuses for a moment.
fn ends_reporting(context: &Context, run: &Run, error: &Error) -> bool {
    match error {
        Error::OpenMetadata(error) if error.is_refusal() => {
            context.servers.refuses_for_good(&run.uid)
        }
        error => error.is_final(),
    }
}

/// Reports how the run of an `OMJob` ended, unless OpenMetadata has it already.
pub(crate) async fn report(context: &Context, omjob: &OMJob, end: &End, now: Timestamp) -> Report {
    let run = Run::of_omjob(omjob, now);
    match tell(context, &run, end, now).await {
        Ok(_) => Report::Done,
        Err(error) if ends_reporting(context, &run, &error) => {
            Report::Impossible(error.brief(&run))
        }
        Err(error) => Report::Unavailable(error.brief(&run)),
    }
}

/// Reports how a run of a Job ended, unless OpenMetadata has it already.
pub(crate) async fn report_job(
    context: &Context,
    run: &Run,
    end: &End,
    now: Timestamp,
) -> job::Report {
    match tell(context, run, end, now).await {
        Ok(Told { by, state }) => job::Report::Done { by, state },
        Err(error) if ends_reporting(context, run, &error) => {
            job::Report::Impossible(error.brief(run))
        }
        Err(error) => job::Report::Unavailable(error.brief(run)),
    }
}

/// A run that is over, whatever its object is.
#[derive(Debug)]
pub(crate) struct Run {
    /// UID of its object.
    uid: String,
    namespace: String,
    labels: Pairs,
    /// What its pods are made of.
    pod: PodSpec,
    /// The last of them, where that is known.
    last_pod: Option<Pod>,
    id: Option<RunId>,
    created: Option<Timestamp>,
    began: Timestamp,
}

impl Run {
    pub(crate) fn of_omjob(omjob: &OMJob, now: Timestamp) -> Self {
        let pod = omjob.spec.main_pod_spec.to_template().spec.unwrap_or_default();
        let started = omjob.status.as_ref().and_then(|status| status.start_time.clone());
        let began = started.or_else(|| omjob.creation_timestamp());
        Self::new(omjob, pod, began.map_or(now, |time| time.0), None)
    }

    /// The run of a Job, with its last pod, or with that one's UID.
    pub(crate) fn of_job(
        job: &Job,
        last_pod: Option<&Pod>,
        pod_uid: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.clone()).unwrap_or_default();
        let started = job.status.as_ref().and_then(|status| status.start_time.clone());
        let began = started.or_else(|| job.creation_timestamp());
        let uid = last_pod.and_then(|pod| pod.metadata.uid.as_deref()).or(pod_uid);
        let run = Self::new(job, pod, began.map_or(now, |time| time.0), uid);
        Self { last_pod: last_pod.cloned(), ..run }
    }

    fn new(
        object: &impl ResourceExt,
        pod: PodSpec,
        began: Timestamp,
        pod_uid: Option<&str>,
    ) -> Self {
        let uid = object.uid().unwrap_or_default();
        let id = run_id(object.labels(), &uid, variables(&pod), pod_uid);
        let namespace = object.namespace().unwrap_or_default();
        let labels = object.labels().clone();
        let created = object.creation_timestamp().map(|time| time.0);
        Self { uid, namespace, labels, pod, last_pod: None, id, created, began }
    }

    fn variables(&self) -> &[EnvVar] {
        variables(&self.pod)
    }
}

/// Whose secrets may be in the log of a run; `None` where its config cannot be read.
pub(crate) async fn secrets(
    context: &Context,
    run: &Run,
) -> Result<Option<Recipient>, kube::Error> {
    match recipient(context, run).await {
        Ok(addressed) => Ok(Some(addressed.recipient)),
        Err(Error::Kubernetes(error)) if !matches!(code(&error), 403 | 404) => Err(error),
        Err(error) => {
            tracing::debug!(%error, "cannot read the secrets of a run");
            Ok(None)
        }
    }
}

/// Who wrote the row of a run's end that OpenMetadata has, and what it says.
struct Told {
    by: Reporter,
    state: Option<ompipe_core::PipelineState>,
}

async fn tell(context: &Context, run: &Run, end: &End, now: Timestamp) -> Result<Told, Error> {
    let Addressed { recipient, pipeline_id } = recipient(context, run).await?;
    let named = || labels::fqn_in(run.variables()).map(Subject::Pipeline);
    let subject = recipient.subject.clone().or_else(named).ok_or(Error::NoPipeline)?;
    let ended = Ended { run, recipient: &recipient, subject, end, now };
    let endpoint = &recipient.connection.host_port;
    if !context.allowed_servers.allow(endpoint) {
        let deployed = ended.deployed(context).await?;
        deployed.ok_or_else(|| Error::NotAllowed(origin(endpoint).unwrap_or_default()))?;
    }
    match ended.send(context, &recipient.connection).await {
        Err(Error::OpenMetadata(refused @ ompipe_openmetadata::Error::Unauthorized(_))) => {
            // A config that somebody wrote by hand must not make use of the pipeline's token.
            let is_deployed = pipeline_id.is_some()
                && pipeline_id.as_ref() == run.labels.get(labels::PIPELINE_ID);
            let newer = if is_deployed { ended.deployed(context).await? } else { None };
            ended.send(context, &newer.ok_or(refused)?).await
        }
        outcome => outcome,
    }
}

/// A run or automation that is over, and how.
struct Ended<'e> {
    run: &'e Run,
    recipient: &'e Recipient,
    subject: Subject,
    end: &'e End,
    now: Timestamp,
}

impl Ended<'_> {
    /// The connection of the pipeline as it is deployed now, if this is a run of that very pipeline
    /// and goes to the same server: when OpenMetadata gave its bot another token and deployed anew,
    /// the run's own config still has the former one.
    async fn deployed(&self, context: &Context) -> Result<Option<ServerConnection>, Error> {
        let (Subject::Pipeline(fqn), Some(id)) =
            (&self.subject, self.run.labels.get(labels::PIPELINE_ID))
        else {
            return Ok(None);
        };
        let deployed = deployed_pipelines(context, &self.run.namespace, id).await?;
        let server = origin(&self.recipient.connection.host_port);
        let is_same = |pipeline: &Deployed| {
            pipeline.fqn == *fqn && origin(&pipeline.connection.host_port) == server
        };
        Ok(deployed.into_iter().find(is_same).map(|pipeline| pipeline.connection))
    }

    /// Tells the server, in its turn.
    async fn send(&self, context: &Context, connection: &ServerConnection) -> Result<Told, Error> {
        let server = OpenMetadata::new(connection)?;
        // A missing id is no fault of the server's.
        let id = self.run.id.ok_or(Error::NoRunId)?;
        let run = RunOf { uid: &self.run.uid, namespace: &self.run.namespace };
        let turn = context.servers.turn(run, &server_of(connection)).await?;
        let outcome = turn.call(self.call(context, &server, id)).await?;
        Ok(match outcome? {
            Some(Reported::Stands(state)) => Told { by: Reporter::Run, state },
            Some(Reported::Written(state)) => Told { by: Reporter::Operator, state: Some(state) },
            None => Told { by: Reporter::Operator, state: None },
        })
    }

    async fn call(
        &self,
        context: &Context,
        server: &OpenMetadata,
        id: RunId,
    ) -> Result<Option<Reported>, ompipe_openmetadata::Error> {
        let Self { run: Run { began, .. }, end, now, .. } = *self;
        match &self.subject {
            Subject::Automation(fqn) => server.fail_automation(fqn, end, now).await.map(|()| None),
            Subject::Pipeline(pipeline_fqn) => {
                let (began, ending) = (*began, Ending::of(end.reason));
                let service = self.recipient.service.as_deref();
                let run = EndedRun { pipeline_fqn, id, service, began, ending, end, now };
                // Boxed, for the compiler cannot follow the lifetimes into the closure.
                let diagnosis = self.diagnose(context).boxed();
                server.report(&run, async move || diagnosis.await).await.map(Some)
            }
        }
    }

    /// What the cluster knows of the last pod, without the secrets of the config.
    async fn diagnose(&self, context: &Context) -> Option<String> {
        let text = diagnosis::of_pod(&context.writes, self.run.last_pod.as_ref()?).await;
        let place = self.log_place(context).unwrap_or_default();
        Some(format!("{place}{}", self.recipient.scrub(&text)))
    }

    /// Where the whole log is, where logs are archived.
    fn log_place(&self, context: &Context) -> Option<String> {
        let Run { namespace, labels, id, created, .. } = self.run;
        let (pipeline, run) = (pipeline_key(labels)?, RunFolder::new((*created)?, (*id)?));
        let place = context.archiver.as_ref()?.log_place(namespace, &pipeline, run);
        let Subject::Pipeline(fqn) = &self.subject else { return None };
        Some(format!("Log: {place}\nRead it: ompipe logs '{fqn}' --run {}\n\n", run.run))
    }
}

/// The run id that the worker got. The placeholder of scheduled `OMJob`s means the object's own id; a
/// scheduled Job's worker reads it off its pod: ours the Job's UID, upstream's that of the pod.
fn run_id(labels: &Pairs, uid: &str, variables: &[EnvVar], pod_uid: Option<&str>) -> Option<RunId> {
    let told = literal(variables, RUN_ID_ENV).filter(|value| value != RUN_ID_PLACEHOLDER);
    let told = told.and_then(|value| value.parse().ok());
    let of_pod = || pod_uid.filter(|_| is_uid_of_pod(variables))?.parse().ok();
    told.or_else(of_pod).or_else(|| run::run_id(labels, Some(uid)))
}

fn is_uid_of_pod(variables: &[EnvVar]) -> bool {
    let variable = variables.iter().find(|variable| variable.name == RUN_ID_ENV);
    let source = variable.and_then(|variable| variable.value_from.as_ref()?.field_ref.as_ref());
    source.is_some_and(|field| field.field_path == "metadata.uid")
}

/// Where a run's config says that its end is to be reported.
struct Addressed {
    recipient: Recipient,
    /// The pipeline that the config was deployed for, if it was not written by hand.
    pipeline_id: Option<String>,
}

async fn recipient(context: &Context, run: &Run) -> Result<Addressed, Error> {
    match ConfigSource::of(&run.pod).ok_or(Error::NoConfig)? {
        ConfigSource::Literal(text) => {
            Ok(Addressed { recipient: Recipient::read(&text)?, pipeline_id: None })
        }
        ConfigSource::Secret { name, key } => of_secret(context, run, name, key).await,
        ConfigSource::ConfigMap { name, key } => of_map(context, run, name, key).await,
    }
}

fn pipeline_of(object: &impl ResourceExt) -> Option<String> {
    object.labels().get(labels::PIPELINE_ID).cloned()
}

/// What a server is known by, whatever the path: every path of it is as slow as the others.
fn server_of(connection: &ServerConnection) -> String {
    origin(&connection.host_port).unwrap_or_else(|| connection.host_port.clone())
}

/// A pipeline as it is deployed now.
struct Deployed {
    fqn: String,
    connection: ServerConnection,
}

impl Deployed {
    fn read(secret: &Secret) -> Option<Self> {
        let entity = str::from_utf8(&secret.data.as_ref()?.get(DEPLOYED_PIPELINE)?.0).ok()?;
        let document: Value = serde_json::from_str(entity).ok()?;
        let told = document.get("fullyQualifiedName").and_then(Value::as_str).map(str::to_owned);
        // A pipeline from a file may leave it to be made of its service and name.
        let made = || Some(IngestionPipeline::read(&document).ok()?.identity.fully_qualified_name);
        let fqn = told.or_else(made)?;
        Some(Self { fqn, connection: Recipient::read(entity).ok()?.connection })
    }
}

/// The pipelines of an id, of which there is one.
async fn deployed_pipelines(
    context: &Context,
    namespace: &str,
    id: &str,
) -> Result<Vec<Deployed>, Error> {
    let secrets: Api<Secret> = context.writes.read(namespace);
    let ours = ListParams::default().labels(&format!("{}={id}", labels::PIPELINE_ID));
    let listed = secrets.list(&ours).await?;
    Ok(listed.items.iter().filter_map(Deployed::read).collect())
}

/// A Secret of ours may also have a token, where the worker's is in a secrets manager, and the
/// authority of the server's certificate.
async fn of_secret(
    context: &Context,
    run: &Run,
    name: String,
    key: String,
) -> Result<Addressed, Error> {
    let api: Api<Secret> = context.writes.read(&run.namespace);
    let secret = api.get_opt(&name).await?.unwrap_or_default();
    let pipeline_id = pipeline_of(&secret);
    let data = secret.data.unwrap_or_default();
    let value = |key: &str| str::from_utf8(&data.get(key)?.0).ok();
    let Some(text) = value(&key) else {
        return Err(Error::NoKey { kind: "Secret", name, key });
    };
    let token = value(TOKEN_ENV).map(SecretString::from);
    let mut recipient = Recipient::read_with(text, token.as_ref())?;
    if let Some(pem) = value(CA_KEY) {
        recipient.connection = recipient.connection.trusting(pem);
    }
    Ok(Addressed { recipient, pipeline_id })
}

async fn of_map(
    context: &Context,
    run: &Run,
    name: String,
    key: String,
) -> Result<Addressed, Error> {
    let api: Api<ConfigMap> = context.writes.read(&run.namespace);
    let map = api.get_opt(&name).await?.unwrap_or_default();
    let pipeline_id = pipeline_of(&map);
    let value = map.data.and_then(|mut data| data.remove(&key)).map(SecretString::from);
    let text = value.ok_or(Error::NoKey { kind: "ConfigMap", name, key })?;
    Ok(Addressed { recipient: Recipient::read(text.expose_secret())?, pipeline_id })
}

/// The literal value of a variable. Kubernetes reads `$$` as `$`.
#[cfg(test)]
mod tests {
    use ompipe_core::run::MAIN_CONTAINER;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const UID: &str = "0b9e5f1c-3d5f-4d0e-9a58-7d1f0e6f2c11";
    const POD: &str = "5d0e9a58-3d5f-4d0e-9a58-7d1f0e6f2c11";
    const RUN: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

    fn job(main: &Value) -> OMJob {
        serde_json::from_value(json!({
            "apiVersion": "pipelines.openmetadata.org/v1", "kind": "OMJob",
            "metadata": { "name": "om-job-p-a1b2c3d4", "namespace": "n", "uid": UID },
            "spec": { "mainPodSpec": main },
        }))
        .unwrap()
    }

    fn main_pod(job: &OMJob) -> PodSpec {
        Run::of_omjob(job, Timestamp::UNIX_EPOCH).pod
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
    #[case::literal(json!({ "value": "a: $$b" }), Some(ConfigSource::Literal("a: $b".to_owned())))]
    #[case::empty_source(json!({ "value": "a: b", "valueFrom": {} }), Some(ConfigSource::Literal("a: b".to_owned())))]
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
        let run = Run::of_omjob(&job, Timestamp::UNIX_EPOCH);
        assert_eq!(run.id.unwrap().to_string(), expected);
    }

    #[rstest]
    #[case::on_demand(json!({ "value": RUN }), RUN)]
    #[case::ours_scheduled("metadata.labels['batch.kubernetes.io/controller-uid']", UID)]
    #[case::upstreams_scheduled("metadata.uid", POD)]
    fn a_job_is_the_run_that_its_worker_reports_as(
        #[case] source: impl Into<Value>,
        #[case] expected: &str,
    ) {
        let mut variable: Value = match source.into() {
            Value::String(path) => json!({ "valueFrom": { "fieldRef": { "fieldPath": path } } }),
            other => other,
        };
        variable["name"] = RUN_ID_ENV.into();
        let job: Job = serde_json::from_value(json!({
            "metadata": { "name": "j", "uid": UID },
            "spec": { "template": { "spec": { "containers": [
                { "name": MAIN_CONTAINER, "env": [variable] },
            ]}}},
        }))
        .unwrap();
        let run = Run::of_job(&job, None, Some(POD), Timestamp::UNIX_EPOCH);
        assert_eq!(run.id.unwrap().to_string(), expected);
    }
}
