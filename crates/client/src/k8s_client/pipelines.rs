//! `list`: the deployed pipelines, and finding one by what people call it.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt;
use kube::api::{ListParams, PartialObjectMeta};
use ompipe_api::{CronOMJob, OMJob};
use ompipe_core::archive::RunRecord;
use ompipe_core::history::newest_first;
use ompipe_core::labels::{self, PIPELINE_ID, PIPELINE_TYPE};
use ompipe_core::{IngestionPipeline, PipelineIdentity, Run, Schedule, Service, Workload};

use super::anchor::is_marked;
use super::{K8sPipelineClient, Reach, none_of_no_kind};
use crate::clock;
use crate::error::{Error, KubernetesError, Result};
use crate::object::Object;
use crate::objects::{read_pipeline, revision_of};

/// A pipeline that is deployed.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployedPipeline {
    /// Which pipeline it is.
    #[serde(flatten)]
    pub identity: PipelineIdentity,
    /// Where it is deployed.
    pub namespace: String,
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

/// Which pipelines are meant.
#[derive(Clone, Debug, Default)]
pub struct PipelineFilter {
    /// Those of every namespace, instead of those of the configured one.
    pub all_namespaces: bool,
    /// Only those whose labels fit, in Kubernetes' syntax of selectors.
    pub selector: Option<String>,
}

impl PipelineFilter {
    pub(super) const fn reach(&self) -> Reach {
        if self.all_namespaces { Reach::Cluster } else { Reach::Namespace }
    }

    pub(super) fn selector(&self) -> String {
        let wanted = self.selector.iter().filter(|wanted| !wanted.trim().is_empty());
        let parts: Vec<String> =
            std::iter::once(labels::selector_of_all()).chain(wanted.cloned()).collect();
        parts.join(",")
    }
}

impl K8sPipelineClient {
    /// Every deployed pipeline, by name.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn pipelines(&self) -> Result<Vec<DeployedPipeline>> {
        self.pipelines_of(&PipelineFilter::default()).await
    }

    /// The deployed pipelines that are meant, by namespace and name.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn pipelines_of(&self, filter: &PipelineFilter) -> Result<Vec<DeployedPipeline>> {
        let all = labels::selector_of_all();
        let mut pipelines = self.described(filter.reach(), &filter.selector(), &all).await?;
        let order = |pipeline: &DeployedPipeline| {
            (pipeline.namespace.clone(), pipeline.identity.fully_qualified_name.clone())
        };
        pipelines.sort_by_cached_key(order);
        Ok(pipelines)
    }

    /// One deployed pipeline.
    ///
    /// # Errors
    /// It is not deployed, or Kubernetes refuses.
    pub async fn pipeline(&self, pipeline: &PipelineIdentity) -> Result<DeployedPipeline> {
        let selector = labels::selector(pipeline);
        let found = self.described(Reach::Namespace, &selector, &selector).await?.pop();
        found.ok_or_else(|| self.not_deployed(pipeline))
    }

    /// The pipelines whose `ConfigMap` is selected, with what is selected of their other objects.
    async fn described(
        &self,
        reach: Reach,
        selector: &str,
        of_others: &str,
    ) -> Result<Vec<DeployedPipeline>> {
        Ok(self.observed(reach, selector, of_others).await?.describe(clock::now()))
    }

    /// Every deployed pipeline by name, and every run that the cluster knows, newest first. Both are of
    /// one reading.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn pipelines_and_runs(&self) -> Result<(Vec<DeployedPipeline>, Vec<RunRecord>)> {
        let all = labels::selector_of_all();
        let observed = self.observed(Reach::Namespace, &all, &all).await?;
        let now = clock::now();
        let mut pipelines = observed.describe(now);
        pipelines.sort_by_cached_key(|one| one.identity.fully_qualified_name.clone());
        let mut runs = observed.records(self.config.namespace.as_str(), now);
        newest_first(&mut runs);
        Ok((pipelines, runs))
    }

    async fn observed(&self, reach: Reach, selector: &str, of_others: &str) -> Result<Observed> {
        let (config_maps, cron_jobs, cron_om_jobs, jobs, om_jobs, pods) = tokio::try_join!(
            self.list_in::<ConfigMap>(reach, selector),
            self.list_in::<CronJob>(reach, of_others),
            async { none_of_no_kind(self.list_in::<CronOMJob>(reach, of_others).await) },
            self.list_in::<Job>(reach, of_others),
            async { none_of_no_kind(self.list_in::<OMJob>(reach, of_others).await) },
            self.list_in::<Pod>(reach, of_others),
        )?;
        let jobs = jobs.iter().filter_map(Workload::of_job);
        let cron_jobs = cron_jobs.iter().map(Planned::of_cron_job);
        Ok(Observed {
            config_maps,
            schedules: cron_jobs.chain(cron_om_jobs.iter().map(Planned::of_cron_om_job)).collect(),
            workloads: jobs.chain(om_jobs.iter().filter_map(OMJob::workload)).collect(),
            pods: by_owner(pods),
        })
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
        let known: Vec<String> =
            all.iter().map(|identity| identity.fully_qualified_name.clone()).collect();
        match pick(all, name, self.config.namespace.as_str()) {
            // What is left of one that is not deployed whole can be looked at and deleted too.
            Err(Error::NotDeployed { .. }) => {
                let left = self.identities_left(name).await?;
                pick(left, name, self.config.namespace.as_str())
                    .map_err(|error| error.suggesting(&known))
            }
            found => found,
        }
    }

    /// Every deployed pipeline's identity, which is much less to read than what
    /// [`Self::pipelines`] does.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn deployed_identities(
        &self,
        filter: &PipelineFilter,
    ) -> Result<Vec<PipelineIdentity>> {
        let mut all = self.identities(&filter.selector()).await?;
        all.sort_by(|a, b| a.fully_qualified_name.cmp(&b.fully_qualified_name));
        Ok(all)
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
        let stored = stored.filter(|secret| !is_marked(secret));
        let (mut pipeline, service) =
            stored.and_then(read_pipeline).ok_or_else(|| self.not_deployed(pipeline))?;
        let connection = pipeline.server_connection.take();
        pipeline.server_connection = connection.map(|own| self.preparation.callable(own));
        Ok((pipeline, service))
    }

    pub(super) fn not_deployed(&self, pipeline: &PipelineIdentity) -> Error {
        Error::NotDeployed {
            name: pipeline.fully_qualified_name.clone(),
            namespace: self.config.namespace.to_string(),
            similar: None,
        }
    }
}

fn identity<K: Object>(object: &K) -> Option<PipelineIdentity> {
    labels::identity_of(object.labels(), object.annotations())
}

/// A schedule of either kind.
struct Planned {
    namespace: Option<String>,
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
        let schedule = zone.and_then(|zone| Schedule::new(cron, zone).ok());
        let unspread = object.annotations().get(labels::UNSPREAD).cloned();
        Self {
            namespace: object.namespace(),
            pipeline_id: object.labels().get(PIPELINE_ID).cloned(),
            schedule: schedule.map(|schedule| schedule.moved_from(unspread)),
            suspended: suspend.unwrap_or(false),
        }
    }
}

/// The objects of pipelines as they were listed.
struct Observed {
    config_maps: Vec<ConfigMap>,
    schedules: Vec<Planned>,
    workloads: Vec<Workload>,
    /// By the UID of their owner: a run is read with its own pods alone, since with all of them a list
    /// of thousands would take minutes.
    pods: HashMap<String, Vec<Pod>>,
}

/// Namespace and id of a pipeline.
type Key<'o> = (Option<&'o str>, Option<&'o str>);

impl Observed {
    fn describe(&self, now: Timestamp) -> Vec<DeployedPipeline> {
        let mut schedules: HashMap<Key<'_>, &Planned> = HashMap::new();
        for planned in &self.schedules {
            let key = (planned.namespace.as_deref(), planned.pipeline_id.as_deref());
            schedules.entry(key).or_insert(planned);
        }
        let mut latest: HashMap<Key<'_>, &Workload> = HashMap::new();
        for workload in &self.workloads {
            let id = workload.labels.get(PIPELINE_ID).map(String::as_str);
            let known = latest.entry((workload.namespace.as_deref(), id)).or_insert(workload);
            if workload.order() >= known.order() {
                *known = workload;
            }
        }
        let describe = |config_map: &ConfigMap| {
            let id = config_map.labels().get(PIPELINE_ID).map(String::as_str);
            let key = (config_map.metadata.namespace.as_deref(), id);
            let last_run = latest.get(&key).map(|workload| self.run(workload));
            describe(config_map, schedules.get(&key).copied(), last_run, now)
        };
        self.config_maps.iter().filter_map(describe).collect()
    }

    fn records(&self, namespace: &str, now: Timestamp) -> Vec<RunRecord> {
        let record =
            |workload| RunRecord::observe(workload, namespace, self.pods_of(workload), now);
        self.workloads.iter().map(record).collect()
    }

    fn run(&self, workload: &Workload) -> Run {
        Run::observe(workload, self.pods_of(workload))
    }

    fn pods_of(&self, workload: &Workload) -> &[Pod] {
        self.pods.get(&workload.uid).map(Vec::as_slice).unwrap_or_default()
    }
}

fn by_owner(pods: Vec<Pod>) -> HashMap<String, Vec<Pod>> {
    let mut owned: HashMap<String, Vec<Pod>> = HashMap::new();
    for pod in pods {
        let owner = pod.metadata.owner_references.iter().flatten().next();
        if let Some(uid) = owner.map(|owner| owner.uid.clone()) {
            owned.entry(uid).or_default().push(pod);
        }
    }
    owned
}

fn describe(
    config_map: &ConfigMap,
    planned: Option<&Planned>,
    last_run: Option<Run>,
    now: Timestamp,
) -> Option<DeployedPipeline> {
    let suspended = planned.is_some_and(|planned| planned.suspended);
    let schedule = planned.and_then(|planned| planned.schedule.as_ref());
    Some(DeployedPipeline {
        identity: identity(config_map)?,
        namespace: config_map.namespace().unwrap_or_default(),
        pipeline_type: config_map.labels().get(PIPELINE_TYPE).cloned().unwrap_or_default(),
        schedule: schedule.map(|s| format!("{} {}", s.as_cron(), s.zone())),
        timetable: schedule.cloned(),
        suspended,
        next_run: schedule.filter(|_| !suspended).and_then(|schedule| schedule.next_after(now)),
        last_run,
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
            let (name, namespace) = (name.to_owned(), namespace.to_owned());
            Err(Error::NotDeployed { name, namespace, similar: None })
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
