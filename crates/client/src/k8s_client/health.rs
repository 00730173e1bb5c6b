//! Checks whether what operations need is there: rights, the namespace, the custom resources.

use futures::future;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use ompipe_api::{CronOMJob, OMJob};
use ompipe_core::config::Mode;

use super::K8sPipelineClient;
use crate::error::{KubernetesError, Result};
use crate::health::{HEALTH_LIMIT, Right, ServiceStatus, rights_needed};

/// Name of this kind of client (docs/contracts/upstream-java-client.md#interface).
const PLATFORM: &str = "Kubernetes";
/// What a client that is switched off calls itself and its version.
const DISABLED: &str = "disabled";

impl K8sPipelineClient {
    pub(crate) async fn service_status(&self) -> ServiceStatus {
        if !self.config().host.enabled {
            return ServiceStatus {
                healthy: true,
                platform: DISABLED.to_owned(),
                version: Some(DISABLED.to_owned()),
                reason: "the client is switched off in the configuration".to_owned(),
                missing: Vec::new(),
            };
        }
        match tokio::time::timeout(HEALTH_LIMIT, self.examine()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => unhealthy(None, error.to_string(), Vec::new()),
            Err(_) => {
                let reason = "the Kubernetes API does not answer in time".to_owned();
                unhealthy(None, reason, Vec::new())
            }
        }
    }

    /// The version of the Kubernetes API server, as `v1.34.4`.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn kubernetes_version(&self) -> Result<String> {
        let version = self.cluster().calls.apiserver_version().await;
        let version = version
            .map_err(|error| KubernetesError::new("asking the cluster for its version", error))?;
        Ok(version.git_version)
    }

    /// Names of the namespaces of the cluster.
    ///
    /// # Errors
    /// Kubernetes refuses: only few may list them.
    pub async fn namespaces(&self) -> Result<Vec<String>> {
        let api: Api<Namespace> = Api::all(self.cluster().calls.clone());
        let listed = api.list_metadata(&ListParams::default()).await;
        let listed = listed.map_err(|e| KubernetesError::new("listing namespaces", e))?;
        Ok(listed.items.iter().map(ResourceExt::name_any).collect())
    }

    async fn examine(&self) -> Result<ServiceStatus> {
        let version = self.cluster().calls.apiserver_version().await;
        let version = version.map_err(|e| KubernetesError::new("asking for the version", e))?;
        let version = Some(version.git_version);
        let missing = self.missing_rights().await?;
        if !missing.is_empty() {
            let named: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let reason = format!(
                "in namespace {} these rights are missing: {}. Grant them in a Role \
                 (`ompipe rbac` prints one that suffices)",
                self.config().namespace,
                named.join(", ")
            );
            return Ok(unhealthy(version, reason, missing));
        }
        match self.what_is_not_installed().await? {
            Some(reason) => Ok(unhealthy(version, reason, missing)),
            None => Ok(ServiceStatus {
                healthy: true,
                platform: PLATFORM.to_owned(),
                version,
                reason: format!("Kubernetes is available, namespace {}", self.config().namespace),
                missing,
            }),
        }
    }

    async fn missing_rights(&self) -> Result<Vec<Right>> {
        let rights = rights_needed(self.config().mode);
        let asked = rights.map(async |right| self.has(right).await.map(|has| (right, has)));
        let answers = future::try_join_all(asked).await?;
        Ok(answers.into_iter().filter(|(_, has)| !has).map(|(right, _)| right).collect())
    }

    /// Asks whether the caller has a right; everybody may ask that.
    async fn has(&self, right: Right) -> Result<bool> {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.config().namespace.to_string()),
                    ..right.attributes()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.cluster().calls.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|e| KubernetesError::new("asking for rights", e))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Rights in a namespace say nothing of whether it exists, nor those on a kind of whether it
    /// is installed. Lists do not say either: of a namespace that is not there they are empty.
    async fn what_is_not_installed(&self) -> Result<Option<String>> {
        let namespace = &self.config().namespace;
        if !self.namespace_exists().await? {
            return Ok(Some(format!("there is no namespace {namespace}: create it")));
        }
        let one = ListParams::default().limit(1);
        if self.config().mode == Mode::Operator {
            let om_jobs = self.api::<OMJob>().list(&one).await.map(drop);
            let cron_om_jobs = self.api::<CronOMJob>().list(&one).await.map(drop);
            if om_jobs.is_err() || cron_om_jobs.is_err() {
                let remedy = "OMJob or CronOMJob is not installed: \
                              ompipe crds | kubectl apply --server-side -f -";
                return Ok(Some(remedy.to_owned()));
            }
        }
        Ok(None)
    }

    /// Only a write tells without rights on namespaces themselves: here one that is not carried
    /// out.
    async fn namespace_exists(&self) -> Result<bool> {
        let probe = ConfigMap {
            metadata: kube::api::ObjectMeta {
                generate_name: Some("om-probe-".to_owned()),
                ..kube::api::ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        match self.api::<ConfigMap>().create(&dry_run, &probe).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
            Err(error) => Err(KubernetesError::new("looking for the namespace", error).into()),
        }
    }
}

fn unhealthy(version: Option<String>, reason: String, missing: Vec<Right>) -> ServiceStatus {
    ServiceStatus { healthy: false, platform: PLATFORM.to_owned(), version, reason, missing }
}
