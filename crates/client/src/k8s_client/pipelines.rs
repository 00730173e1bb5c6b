//! `list`: the deployed pipelines, and finding one by what people call it.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt;
use kube::api::{ListParams, PartialObjectMeta};
use ompipe_api::{CronOMJob, OMJob};
use ompipe_core::labels::{self, PIPELINE_ID, PIPELINE_TYPE};
use ompipe_core::{IngestionPipeline, PipelineIdentity, Run, Schedule, Service, Workload};

use super::K8sPipelineClient;
use crate::clock;
use crate::error::{Error, KubernetesError, Result};
use crate::objects::{read_pipeline, revision_of};
use crate::transaction::Object;

/// A pipeline that is deployed.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployedPipeline {
    /// Which pipeline it is.
    #[serde(flatten)]
    pub identity: PipelineIdentity,
    /// What it ingests, in lower case as on its label.
    pub pipeline_type: String,
    /// Its schedule and zone; none when it runs on demand only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The same, to ask when it fires.
    #[serde(skip)]
    pub timetable: Option<Schedule>,
    /// Whether the schedule is switched off.
    pub suspended: bool,
    /// When it fires next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Timestamp>,
    /// Its latest run that the cluster still knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<Run>,
}

impl K8sPipelineClient {
    /// Every deployed pipeline, by name.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn pipelines(&self) -> Result<Vec<DeployedPipeline>> {
        let mut pipelines = self.described(&labels::selector_of_all()).await?;
        pipelines
            .sort_by(|a, b| a.identity.fully_qualified_name.cmp(&b.identity.fully_qualified_name));
        Ok(pipelines)
    }

    /// One deployed pipeline.
    ///
    /// # Errors
    /// It is not deployed, or Kubernetes refuses.
    pub async fn pipeline(&self, pipeline: &PipelineIdentity) -> Result<DeployedPipeline> {
        let found = self.described(&labels::selector(pipeline)).await?.pop();
        found.ok_or_else(|| self.not_deployed(pipeline))
    }

    async fn described(&self, selector: &str) -> Result<Vec<DeployedPipeline>> {
        let (config_maps, cron_jobs, cron_om_jobs, jobs, om_jobs, pods) = tokio::try_join!(
            self.list::<ConfigMap>(selector),
            self.list::<CronJob>(selector),
            self.list_custom::<CronOMJob>(selector),
            self.list::<Job>(selector),
            self.list_custom::<OMJob>(selector),
            self.list::<Pod>(selector),
        )?;
        let jobs = jobs.iter().filter_map(Workload::of_job);
        let workloads: Vec<Workload> =
            jobs.chain(om_jobs.iter().filter_map(OMJob::workload)).collect();
        let schedules: Vec<Planned> = cron_jobs
            .iter()
            .map(Planned::of_cron_job)
            .chain(cron_om_jobs.iter().map(Planned::of_cron_om_job))
            .collect();
        let now = clock::now();
        let described = config_maps
            .iter()
            .filter_map(|config_map| describe(config_map, &schedules, &workloads, &pods, now));
        Ok(described.collect())
    }

    /// The deployed pipeline with a name or fully qualified name.
    ///
    /// # Errors
    /// There is none, or several have the name.
    pub async fn find(&self, name: &str) -> Result<PipelineIdentity> {
        let named = self.named(name).await?;
        let all = if named.is_empty() {
            self.identities(&labels::selector_of_all()).await?
        } else {
            named
        };
        pick(all, name, self.config.namespace.as_str())
    }

    /// The deployed pipelines with a name; more than one where services have it twice.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn named(&self, name: &str) -> Result<Vec<PipelineIdentity>> {
        let all = self.identities(&labels::selector_of_name(name)).await?;
        Ok(all.into_iter().filter(|identity| identity.name == name).collect())
    }

    /// Whose the selected `ConfigMaps` are, read without what is in them.
    async fn identities(&self, selector: &str) -> Result<Vec<PipelineIdentity>> {
        let params = ListParams::default().labels(selector);
        let listed = self.api::<ConfigMap>().list_metadata(&params).await;
        let doing = || format!("listing configmaps in namespace {}", self.config.namespace);
        let listed = listed.map_err(|error| KubernetesError::new(doing(), error))?;
        let identity = |found: &PartialObjectMeta<ConfigMap>| {
            labels::identity_of(found.labels(), found.annotations())
        };
        Ok(listed.items.iter().filter_map(identity).collect())
    }

    /// A deployed pipeline and its service, as the last deploy stored them.
    ///
    /// # Errors
    /// It is not deployed, or what is stored cannot be read.
    pub async fn load(
        &self,
        pipeline: &PipelineIdentity,
    ) -> Result<(IngestionPipeline, Option<Service>)> {
        let secrets: Vec<Secret> = self.owned(pipeline).await?;
        let stored = secrets.iter().find(|secret| revision_of(secret.labels()).is_none());
        stored.and_then(read_pipeline).ok_or_else(|| self.not_deployed(pipeline))
    }

    fn not_deployed(&self, pipeline: &PipelineIdentity) -> Error {
        Error::NotDeployed {
            name: pipeline.fully_qualified_name.clone(),
            namespace: self.config.namespace.to_string(),
        }
    }
}

fn identity<K: Object>(object: &K) -> Option<PipelineIdentity> {
    labels::identity_of(object.labels(), object.annotations())
}

/// A schedule of either kind.
struct Planned {
    pipeline_id: Option<String>,
    schedule: Option<Schedule>,
    suspended: bool,
}

impl Planned {
    fn of_cron_job(cron_job: &CronJob) -> Self {
        let spec = cron_job.spec.clone().unwrap_or_default();
        Self::new(cron_job, &spec.schedule, spec.time_zone.as_deref(), spec.suspend)
    }

    fn of_cron_om_job(cron_om_job: &CronOMJob) -> Self {
        let spec = &cron_om_job.spec;
        Self::new(cron_om_job, &spec.schedule, spec.time_zone.as_deref(), spec.suspend)
    }

    fn new<K: Object>(object: &K, cron: &str, zone: Option<&str>, suspend: Option<bool>) -> Self {
        let zone = zone.unwrap_or("UTC").parse().ok();
        Self {
            pipeline_id: object.labels().get(PIPELINE_ID).cloned(),
            schedule: zone.and_then(|zone| Schedule::new(cron, zone).ok()),
            suspended: suspend.unwrap_or(false),
        }
    }
}

fn describe(
    config_map: &ConfigMap,
    schedules: &[Planned],
    workloads: &[Workload],
    pods: &[Pod],
    now: Timestamp,
) -> Option<DeployedPipeline> {
    let id = config_map.labels().get(PIPELINE_ID);
    let planned = schedules.iter().find(|planned| planned.pipeline_id.as_ref() == id);
    let suspended = planned.is_some_and(|planned| planned.suspended);
    let schedule = planned.and_then(|planned| planned.schedule.as_ref());
    let own = workloads.iter().filter(|workload| workload.labels.get(PIPELINE_ID) == id);
    let latest = own.max_by_key(|workload| workload.order());
    Some(DeployedPipeline {
        identity: identity(config_map)?,
        pipeline_type: config_map.labels().get(PIPELINE_TYPE).cloned().unwrap_or_default(),
        schedule: schedule.map(|s| format!("{} {}", s.as_cron(), s.zone())),
        timetable: schedule.cloned(),
        suspended,
        next_run: schedule.filter(|_| !suspended).and_then(|schedule| schedule.next_after(now)),
        last_run: latest.map(|workload| Run::observe(workload, pods)),
    })
}

/// A fully qualified name is meant exactly; a plain name must be the only one.
fn pick(
    identities: Vec<PipelineIdentity>,
    name: &str,
    namespace: &str,
) -> Result<PipelineIdentity> {
    let exact = identities.iter().find(|identity| identity.fully_qualified_name == name);
    if let Some(exact) = exact {
        return Ok(exact.clone());
    }
    let mut named: Vec<_> =
        identities.into_iter().filter(|identity| identity.name == name).collect();
    match (named.pop(), named.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            named.push(last);
            let fqns = named.into_iter().map(|identity| identity.fully_qualified_name).collect();
            Err(Error::Ambiguous { name: name.to_owned(), fqns })
        }
        (None, _) => {
            Err(Error::NotDeployed { name: name.to_owned(), namespace: namespace.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use ompipe_core::PipelineIdentity;

    use super::*;

    fn identity(fqn: &str, name: &str) -> PipelineIdentity {
        let fully_qualified_name = fqn.to_owned();
        let id = "11111111-2222-3333-4444-555555555555".parse().unwrap();
        PipelineIdentity { id, name: name.to_owned(), fully_qualified_name }
    }

    #[test]
    fn a_name_must_be_the_only_one_and_an_fqn_decides() {
        let all = || vec![identity("a.p", "p"), identity("b.p", "p"), identity("b.q", "q")];
        assert_eq!(pick(all(), "q", "ns").unwrap().fully_qualified_name, "b.q");
        assert_eq!(pick(all(), "a.p", "ns").unwrap().fully_qualified_name, "a.p");
        assert!(
            matches!(pick(all(), "p", "ns"), Err(Error::Ambiguous { fqns, .. }) if fqns.len() == 2)
        );
        assert!(matches!(pick(all(), "z", "ns"), Err(Error::NotDeployed { .. })));
    }
}
