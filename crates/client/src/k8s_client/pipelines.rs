//! `list`: the deployed pipelines, and finding one by what people call it.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
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

/// How long after a slot its run may begin at least, whatever its deadline, before the slot counts as missed.
const LATE: SignedDuration = SignedDuration::from_mins(10);
/// The same after its deadline, for a controller that is busy.
const MARGIN: SignedDuration = SignedDuration::from_mins(1);
/// How long after its grace period a deleted pod counts as stuck.
const STUCK_AFTER: SignedDuration = SignedDuration::from_mins(5);

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
    /// The first time at which it should have run since it last did, or since its schedule was changed,
    /// once it is too late for that run to begin.
    #[serde(skip)]
    pub missed_slot: Option<Timestamp>,
    /// Its latest run that the cluster still knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<Run>,
}

/// Everything that is deployed and runs in the configured namespace, of one reading.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Every deployed pipeline, by name.
    pub pipelines: Vec<DeployedPipeline>,
    /// Every run that the cluster knows, newest first.
    pub runs: Vec<RunRecord>,
    /// Deleted pods of runs that are still there long after their grace period.
    pub stuck_pods: usize,
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

    /// Everything that is deployed and runs.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn inventory(&self) -> Result<Inventory> {
        let all = labels::selector_of_all();
        let observed = self.observed(Reach::Namespace, &all, &all).await?;
        let now = clock::now();
        let mut pipelines = observed.describe(now);
        pipelines.sort_by_cached_key(|one| one.identity.fully_qualified_name.clone());
        let mut runs = observed.records(self.config.namespace.as_str(), now);
        newest_first(&mut runs);
        Ok(Inventory { pipelines, runs, stuck_pods: observed.stuck_pods(now) })
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
    /// Which slot fired last.
    fired: Option<Timestamp>,
    /// When it was made, or changed by other than its controller.
    changed: Option<Timestamp>,
    /// How long after its slot a run may begin.
    deadline: SignedDuration,
}

impl Planned {
    fn of_cron_job(cron_job: &CronJob) -> Self {
        let spec = cron_job.spec.clone().unwrap_or_default();
        let status = cron_job.status.as_ref();
        Self {
            suspended: spec.suspend.unwrap_or(false),
            fired: status.and_then(|status| status.last_schedule_time.as_ref()).map(|time| time.0),
            deadline: SignedDuration::from_secs(spec.starting_deadline_seconds.unwrap_or_default()),
            ..Self::new(cron_job, &spec.schedule, spec.time_zone.as_deref())
        }
    }

    fn of_cron_om_job(cron_om_job: &CronOMJob) -> Self {
        let (spec, status) = (&cron_om_job.spec, cron_om_job.status.as_ref());
        Self {
            suspended: spec.suspend.unwrap_or(false),
            fired: status.and_then(|status| status.last_schedule_time.as_ref()).map(|time| time.0),
            deadline: SignedDuration::from_secs(spec.starting_deadline_seconds.unwrap_or_default()),
            ..Self::new(cron_om_job, &spec.schedule, spec.time_zone.as_deref())
        }
    }

    fn new<K: Object>(object: &K, cron: &str, zone: Option<&str>) -> Self {
        let zone = zone.unwrap_or("UTC").parse().ok();
        let schedule = zone.and_then(|zone| Schedule::new(cron, zone).ok());
        let unspread = object.annotations().get(labels::UNSPREAD).cloned();
        Self {
            namespace: object.namespace(),
            pipeline_id: object.labels().get(PIPELINE_ID).cloned(),
            schedule: schedule.map(|schedule| schedule.moved_from(unspread)),
            suspended: false,
            fired: None,
            changed: changed(object),
            deadline: SignedDuration::ZERO,
        }
    }

    fn missed_slot(&self, now: Timestamp) -> Option<Timestamp> {
        let schedule = self.schedule.as_ref().filter(|_| !self.suspended)?;
        let slot = schedule.next_after(self.fired.max(self.changed)?)?;
        let last_chance = self.deadline.saturating_add(MARGIN).max(LATE);
        (slot.checked_add(last_chance).ok()? < now).then_some(slot)
    }
}

/// When the object got its present specification, at the latest: a slot before that is not missed.
fn changed<K: Object>(object: &K) -> Option<Timestamp> {
    let written = object.managed_fields().iter().filter(|entry| entry.subresource.is_none());
    let times = written.filter_map(|entry| entry.time.clone());
    times.chain(object.creation_timestamp()).map(|time| time.0).max()
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

    fn stuck_pods(&self, now: Timestamp) -> usize {
        let is_stuck = |pod: &&Pod| {
            let due = pod.metadata.deletion_timestamp.as_ref();
            due.is_some_and(|due| now.duration_since(due.0) > STUCK_AFTER)
        };
        self.pods.values().flatten().filter(is_stuck).count()
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
        missed_slot: planned.and_then(|planned| planned.missed_slot(now)),
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
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn at(minute: &str) -> Timestamp {
        format!("2026-11-30T{minute}:00Z").parse().unwrap()
    }

    /// An hourly schedule that was made at eight, which its controller wrote to afterwards.
    fn hourly(spec: &Value, last: Option<&str>) -> Planned {
        let mut object = json!({
            "metadata": { "name": "c", "creationTimestamp": at("08:00"), "managedFields": [
                { "manager": "m", "operation": "Update", "subresource": "status", "time": at("12:30") },
            ]},
            "spec": { "schedule": "0 * * * *", "jobTemplate": {} },
            "status": { "lastScheduleTime": last.map(at) },
        });
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        Planned::of_cron_job(&serde_json::from_value(object).unwrap())
    }

    #[rstest]
    #[case(json!({}), None, "09:10", None)]
    #[case(json!({}), None, "09:11", Some("09:00"))]
    #[case(json!({}), Some("11:00"), "12:10", None)]
    #[case(json!({}), Some("09:00"), "12:20", Some("10:00"))]
    #[case(json!({ "startingDeadlineSeconds": 1800 }), None, "09:31", None)]
    #[case(json!({ "startingDeadlineSeconds": 1800 }), None, "09:32", Some("09:00"))]
    #[case(json!({ "suspend": true }), None, "12:20", None)]
    fn a_slot_is_missed_once_its_run_cannot_begin_any_more(
        #[case] spec: Value,
        #[case] last: Option<&str>,
        #[case] now: &str,
        #[case] missed: Option<&str>,
    ) {
        assert_eq!(hourly(&spec, last).missed_slot(at(now)), missed.map(at));
    }

    #[test]
    fn a_change_of_the_schedule_makes_no_earlier_slot_a_missed_one() {
        let mut resumed = hourly(&json!({}), Some("09:00"));
        resumed.changed = Some(at("11:30"));
        assert_eq!(resumed.missed_slot(at("12:05")), None);
        assert_eq!(resumed.missed_slot(at("12:11")), Some(at("12:00")));
    }

    #[test]
    fn a_pod_is_stuck_well_after_its_grace_period() {
        let pod = |deletion: Option<Timestamp>| {
            let deletion = json!({ "name": "p", "deletionTimestamp": deletion });
            serde_json::from_value(json!({ "metadata": deletion })).unwrap()
        };
        let pods = vec![pod(None), pod(Some(at("09:00"))), pod(Some(at("08:00")))];
        let pods = HashMap::from([("owner".to_owned(), pods)]);
        let (config_maps, schedules, workloads) = Default::default();
        let observed = Observed { config_maps, schedules, workloads, pods };
        assert_eq!(observed.stuck_pods(at("09:05")), 1);
    }

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
