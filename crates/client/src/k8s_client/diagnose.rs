//! `doctor`: checks everything that a run needs, and one run.

use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Event, ServiceAccount};
use kube::api::{ListParams, ObjectMeta, PostParams};
use ompipe_core::config::Mode;
use ompipe_core::diagnosis::{self, Finding, Subject};
use ompipe_core::version;
use ompipe_core::{PipelineIdentity, PipelineState, RunId, ServerConnection};
use ompipe_openmetadata::OpenMetadata;

use super::K8sPipelineClient;
use super::hooks::FAILED_HOOKS;
use super::runs::RunObjects;
use crate::clock;
use crate::error::{Error, Result};
use crate::health::Right;

/// What an exit handler reads to describe a pod that failed.
const RIGHTS_OF_RUNS: [Right; 3] = [
    Right { group: "", resource: "pods", verb: "list" },
    Right { group: "", resource: "pods/log", verb: "get" },
    Right { group: "", resource: "events", verb: "list" },
];
/// What that of a plain Job reads too: whether another attempt follows, and why it was stopped.
const RIGHT_OF_JOBS: Right = Right { group: "batch", resource: "jobs", verb: "get" };

/// The rights that the account of the runs needs.
pub(super) fn rights_of_runs(mode: Mode) -> impl Iterator<Item = Right> {
    let of_mode = (mode == Mode::Job).then_some(RIGHT_OF_JOBS);
    RIGHTS_OF_RUNS.into_iter().chain(of_mode)
}

impl K8sPipelineClient {
    /// Examines the way to the cluster and to OpenMetadata, and a run of a pipeline when one is
    /// named: the given one, or the latest.
    pub async fn diagnose(
        &self,
        pipeline: Option<&PipelineIdentity>,
        run: Option<RunId>,
    ) -> Vec<Finding> {
        let status = self.service_status().await;
        let mut findings = vec![if status.healthy {
            Finding::good("cluster", status.reason)
        } else {
            let remedy = "`ompipe rbac` prints the namespace and the rights for kubectl apply";
            Finding::bad("cluster", status.reason, remedy)
        }];
        let answers = status.version.is_some();
        if answers {
            findings.extend(self.service_account().await);
            findings.extend(self.kueue().await);
        }
        let connection = self.connection_of(pipeline).await;
        findings.push(self.openmetadata(connection.as_ref()).await);
        if answers {
            findings.extend(self.orphan_findings(pipeline).await);
        }
        if let Some(pipeline) = pipeline.filter(|_| answers) {
            findings.extend(self.pipeline_and_run(pipeline, run, connection.as_ref()).await);
        }
        findings
    }

    /// The service account of the runs, and what it may do.
    async fn service_account(&self) -> Vec<Finding> {
        const CHECK: &str = "service account";
        let name = self.config().service_account_name.to_string();
        match self.get::<ServiceAccount>(&name).await {
            Ok(None) => {
                let remedy = "create it, as `ompipe rbac` prints it, or correct serviceAccountName";
                vec![Finding::bad(CHECK, format!("there is no service account {name}"), remedy)]
            }
            Ok(Some(_)) => vec![Finding::good(CHECK, name.clone()), self.rights_of(&name).await],
            Err(error) => {
                let remedy = "grant get on serviceaccounts, so that doctor can check it";
                vec![Finding::warning(CHECK, error.to_string(), remedy)]
            }
        }
    }

    /// Whether Kueue is there, where runs wait for it.
    async fn kueue(&self) -> Option<Finding> {
        const CHECK: &str = "Kueue";
        const GROUP: &str = "kueue.x-k8s.io";
        self.config().kueue.is_used().then_some(())?;
        Some(match self.cluster().calls.list_api_groups().await {
            Ok(groups) if groups.groups.iter().any(|group| group.name == GROUP) => Finding::good(
                CHECK,
                "the cluster has it, for the runs that queueName puts into a queue",
            ),
            Ok(_) => Finding::bad(
                CHECK,
                "queueName is set, and the cluster has no Kueue",
                "install Kueue, or remove queueName, serviceQueueNames and pipelineQueueNames",
            ),
            Err(error) => {
                let remedy = "grant what the ClusterRole system:discovery has";
                Finding::warning(CHECK, format!("the API groups cannot be listed: {error}"), remedy)
            }
        })
    }

    async fn rights_of(&self, account: &str) -> Finding {
        const CHECK: &str = "rights of runs";
        let mut missing = Vec::new();
        for right in rights_of_runs(self.config().mode) {
            match self.account_has(account, right).await {
                Ok(true) => {}
                Ok(false) => missing.push(right.to_string()),
                Err(error) => {
                    let remedy =
                        "grant create on localsubjectaccessreviews, so that doctor can check them";
                    return Finding::warning(CHECK, error.to_string(), remedy);
                }
            }
        }
        if missing.is_empty() {
            return Finding::good(CHECK, "the exit handler may describe a pod that failed");
        }
        let detail = format!("{account} may not: {}", missing.join(", "));
        Finding::bad(
            CHECK,
            detail,
            "bind the Role openmetadata-ingestion to it that `ompipe rbac` prints",
        )
    }

    async fn account_has(&self, account: &str, right: Right) -> Result<bool> {
        let namespace = self.config().namespace.to_string();
        let review = LocalSubjectAccessReview {
            metadata: ObjectMeta { namespace: Some(namespace.clone()), ..ObjectMeta::default() },
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{namespace}:{account}")),
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(namespace),
                    ..right.attributes()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..LocalSubjectAccessReview::default()
        };
        let answer = self.api().create(&PostParams::default(), &review).await;
        let doing = "asking for the rights of a service account";
        let answer: LocalSubjectAccessReview =
            answer.map_err(|error| crate::KubernetesError::new(doing, error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// How OpenMetadata is reached: as the deployed pipeline says, else as configured.
    async fn connection_of(&self, pipeline: Option<&PipelineIdentity>) -> Option<ServerConnection> {
        let stored = match pipeline {
            Some(pipeline) => self.load(pipeline).await.ok(),
            None => None,
        };
        let of_pipeline = stored.and_then(|(pipeline, _)| pipeline.server_connection);
        of_pipeline.or_else(|| self.preparation.connection())
    }

    /// Whether OpenMetadata answers, and works with the ingestion image.
    async fn openmetadata(&self, connection: Option<&ServerConnection>) -> Finding {
        const CHECK: &str = "OpenMetadata";
        let without_token = self.preparation.connection_without_token();
        let Some(known) = connection.or(without_token.as_ref()) else {
            let remedy = "set metadataApiEndpoint, or name a deployed pipeline";
            return Finding::warning(CHECK, "metadataApiEndpoint is not set", remedy);
        };
        if known.token_is_elsewhere() {
            return Finding::warning(
                CHECK,
                "the bot's token is in a secrets manager, which ompipe does not read: runs that crash \
                 are not reported",
                "give ompipe the token by OPENMETADATA_JWT_TOKEN or --token-file, and deploy again",
            );
        }
        let server = match connection.map(OpenMetadata::new) {
            Some(Ok(server)) => server.version().await,
            Some(Err(error)) => Err(error),
            // The server tells its version without a login.
            None => OpenMetadata::version_of(known).await,
        };
        let image = &self.config().ingestion_image;
        let tag = image.tag().unwrap_or(image.as_str());
        match server {
            Err(error) => Finding::bad(
                CHECK,
                error.to_string(),
                "is the endpoint right, and the token valid?",
            ),
            Ok(server) => match version::are_compatible(tag, &server) {
                Ok(true) => Finding::good(CHECK, format!("version {server}, image {tag}")),
                Ok(false) => Finding::bad(
                    CHECK,
                    format!("the server has version {server}, the ingestion image {tag}"),
                    "set ingestionImage to a tag of the server's release",
                ),
                Err(_) => Finding::warning(
                    CHECK,
                    format!("version {server}; the image's tag {tag:?} names none"),
                    "name the server's release in ingestionImage, so that both stay together",
                ),
            },
        }
    }

    async fn pipeline_and_run(
        &self,
        pipeline: &PipelineIdentity,
        run: Option<RunId>,
        connection: Option<&ServerConnection>,
    ) -> Vec<Finding> {
        let mut findings = vec![self.schedule(pipeline).await];
        match self.run_objects(pipeline, run).await {
            Ok(objects) => findings.extend(self.of_run(pipeline, &objects, connection).await),
            Err(Error::NoRuns(_)) => findings.push(Finding::good("run", "it never ran")),
            Err(error) => {
                findings.push(Finding::bad("run", error.to_string(), "see ompipe status"));
            }
        }
        findings
    }

    async fn schedule(&self, pipeline: &PipelineIdentity) -> Finding {
        const CHECK: &str = "schedule";
        let present = match self.present(pipeline).await {
            Ok(present) => present,
            Err(error) => return Finding::bad(CHECK, error.to_string(), "see ompipe list"),
        };
        let suspended = match (&present.cron_job, &present.cron_om_job) {
            (Some(cron_job), _) => cron_job.spec.as_ref().and_then(|spec| spec.suspend),
            (None, Some(cron_om_job)) => cron_om_job.spec.suspend,
            (None, None) => return Finding::good(CHECK, "none: it runs on demand only"),
        };
        if suspended == Some(true) {
            return Finding::warning(CHECK, "it is disabled", "ompipe resume PIPELINE");
        }
        Finding::good(CHECK, "it is enabled")
    }

    async fn of_run(
        &self,
        pipeline: &PipelineIdentity,
        objects: &RunObjects,
        connection: Option<&ServerConnection>,
    ) -> Vec<Finding> {
        let row = row_of(connection, &pipeline.fully_qualified_name, objects.run.run_id).await;
        let events = self.events_of(objects).await;
        diagnosis::of_run(&Subject {
            workload: &objects.workload,
            run: &objects.run,
            pods: &objects.pods,
            events: &events,
            row,
            now: clock::now(),
        })
    }

    /// What Kubernetes says of a run's object, and of hooks that failed in its pods, which may be
    /// gone. Who may not read events sees none.
    async fn events_of(&self, objects: &RunObjects) -> Vec<Event> {
        let of_object = format!("involvedObject.uid={}", objects.workload.uid);
        let pod_names = format!("{}-", objects.workload.name);
        let (mut events, hooks) = tokio::join!(self.events(&of_object), self.events(FAILED_HOOKS));
        let is_own = |event: &Event| {
            let pod = event.involved_object.name.as_deref();
            pod.is_some_and(|name| name.starts_with(&pod_names))
        };
        events.extend(hooks.into_iter().filter(is_own));
        events
    }

    async fn events(&self, selector: &str) -> Vec<Event> {
        let params = ListParams::default().fields(selector);
        self.api::<Event>().list(&params).await.into_iter().flatten().collect()
    }
}

/// What OpenMetadata has of a run; `None` when it was not asked or did not answer.
async fn row_of(
    connection: Option<&ServerConnection>,
    fqn: &str,
    run: RunId,
) -> Option<Option<PipelineState>> {
    let server = OpenMetadata::new(connection?).ok()?;
    let row = server.status(fqn, run).await.ok()?;
    Some(row.map(|row| row.pipeline_state))
}
