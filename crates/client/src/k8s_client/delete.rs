//! `delete`: the schedule first, so that nothing starts any more, then the runs, then what they
//! were made of.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use ompipe_api::{CronOMJob, OMJob};
use ompipe_core::job::FINALIZER;
use ompipe_core::labels::{self, OMPIPE};
use ompipe_core::{PipelineIdentity, Workload, upstream};
use serde_json::json;

use super::K8sPipelineClient;
use super::slug::{Owned, Owner, is_upstreams};
use crate::deletion::{self, of_uid};
use crate::error::{Error, KubernetesError, Result};
use crate::objects::{owner, revision_of};
use crate::service_client::Deleted;
use crate::transaction::{Change, Object, Written};

/// What a pipeline has in the cluster, whoever made it.
struct Everything {
    cron_jobs: Vec<CronJob>,
    cron_om_jobs: Vec<CronOMJob>,
    jobs: Vec<Job>,
    /// Pods of runs.
    pods: Vec<Pod>,
    om_jobs: Vec<OMJob>,
    config_maps: Vec<ConfigMap>,
    secrets: Vec<Secret>,
}

/// What was deleted so far, and why it did not go on.
#[derive(Default)]
struct Progress {
    deleted: Vec<Written>,
    left: Vec<String>,
    refused: Option<Error>,
}

impl K8sPipelineClient {
    pub(super) async fn delete(&self, pipeline: &PipelineIdentity) -> Result<Deleted> {
        let mut found = self.everything(pipeline).await?;
        let mut progress = Progress::default();
        self.delete_all(&mut progress, &found.cron_jobs, DeleteParams::background()).await;
        self.delete_all(&mut progress, &found.cron_om_jobs, DeleteParams::background()).await;
        // A schedule may have started a run while it went.
        self.see_runs(pipeline, &mut found).await?;
        self.leave_to_reporters(&mut progress, &mut found).await;
        self.delete_jobs(&mut progress, &found.jobs, &found.pods).await;
        self.delete_all(&mut progress, &found.om_jobs, DeleteParams::background()).await;
        self.delete_all(&mut progress, &found.config_maps, DeleteParams::background()).await;
        self.delete_all(&mut progress, &found.secrets, DeleteParams::background()).await;
        progress.into_result(pipeline)
    }

    async fn everything(&self, pipeline: &PipelineIdentity) -> Result<Everything> {
        let selector = labels::selector(pipeline);
        let (cron_jobs, cron_om_jobs, config_maps, secrets) = tokio::try_join!(
            self.owned::<CronJob>(pipeline),
            self.list_custom::<CronOMJob>(&selector),
            self.owned::<ConfigMap>(pipeline),
            self.owned::<Secret>(pipeline),
        )?;
        let mut found = Everything {
            cron_jobs,
            cron_om_jobs,
            config_maps,
            secrets,
            jobs: Vec::new(),
            pods: Vec::new(),
            om_jobs: Vec::new(),
        };
        self.see_what_upstream_made(pipeline, &mut found).await?;
        Ok(found)
    }

    async fn see_what_upstream_made(
        &self,
        pipeline: &PipelineIdentity,
        found: &mut Everything,
    ) -> Result<()> {
        let (cron_job, cron_om_job) = self.schedules_of_upstream(pipeline).await?;
        found.cron_jobs.extend(cron_job);
        found.cron_om_jobs.extend(cron_om_job);
        let names = (upstream::config_map(&pipeline.name), upstream::secret(&pipeline.name));
        let (Some(config_map), Some(secret)) = names else { return Ok(()) };
        let config_map: Option<ConfigMap> = self.get(&config_map).await?;
        let Some(config_map) = config_map.filter(|c| c.owner(pipeline) == Owner::Upstream) else {
            return Ok(());
        };
        found.config_maps.push(config_map);
        // Its Secret does not say whose it is; the ConfigMap of that name does.
        let secret: Option<Secret> = self.get(&secret).await?;
        found.secrets.extend(secret.filter(is_upstreams));
        Ok(())
    }

    async fn see_runs(&self, pipeline: &PipelineIdentity, found: &mut Everything) -> Result<()> {
        let selector = labels::run_selector(pipeline);
        let (jobs, om_jobs, pods): (Vec<Job>, Vec<OMJob>, Vec<Pod>) = tokio::try_join!(
            self.list(&selector),
            self.list_custom(&selector),
            self.list(&selector)
        )?;
        found.pods = pods;
        let is_own = |workload: Option<Workload>| workload.is_some_and(|w| w.belongs_to(pipeline));
        found.jobs = jobs.into_iter().filter(|job| is_own(Workload::of_job(job))).collect();
        found.om_jobs = om_jobs.into_iter().filter(|job| is_own(job.workload())).collect();
        Ok(())
    }

    /// Who reports the end of a run begins after this and needs the config: its Secret is given to
    /// the `OMJobs` that have not ended and to the Jobs that an operator holds, and goes with the
    /// last of them.
    async fn leave_to_reporters(&self, progress: &mut Progress, found: &mut Everything) {
        let heirs = heirs_of(found);
        let needed: BTreeSet<&str> = heirs.iter().map(|heir| heir.revision.as_str()).collect();
        let is_needed =
            |secret: &Secret| revision_of(secret.labels()).is_some_and(|id| needed.contains(id));
        let (given, rest): (Vec<Secret>, Vec<Secret>) =
            std::mem::take(&mut found.secrets).into_iter().partition(is_needed);
        for secret in given {
            let id = revision_of(secret.labels());
            let owners = heirs.iter().filter(|heir| Some(heir.revision.as_str()) == id);
            let owners = owners.map(|heir| heir.object.clone()).collect();
            progress.note(&secret, self.give(&secret, owners).await);
        }
        found.secrets = rest;
    }

    /// Jobs in the foreground, so that they stay until their pods are gone. One that an operator
    /// holds stays anyway, and so has to keep what it owns: only its pods go at once.
    async fn delete_jobs(&self, progress: &mut Progress, jobs: &[Job], pods: &[Pod]) {
        let (held, others): (Vec<Job>, Vec<Job>) = jobs.iter().cloned().partition(is_held);
        self.delete_all(progress, &others, DeleteParams::foreground()).await;
        self.delete_all(progress, &held, DeleteParams::background()).await;
        let of_held = |pod: &&Pod| {
            let mut owners = pod.owner_references().iter();
            owners.any(|owner| held.iter().any(|job| job.uid().as_ref() == Some(&owner.uid)))
        };
        let pods: Vec<Pod> = pods.iter().filter(of_held).cloned().collect();
        self.delete_all(progress, &pods, DeleteParams::default()).await;
    }

    async fn give(&self, secret: &Secret, owners: Vec<OwnerReference>) -> Result<()> {
        let patch = json!({ "metadata": { "ownerReferences": owners } });
        let params =
            PatchParams { field_manager: Some(OMPIPE.to_owned()), ..PatchParams::default() };
        let name = secret.name_any();
        let patched = self.api::<Secret>().patch(&name, &params, &Patch::Merge(patch)).await;
        let patched =
            patched.map_err(|e| KubernetesError::new(format!("patching Secret {name}"), e));
        Ok(patched.map(drop)?)
    }

    /// Deletes objects, unless an earlier step was refused: then they are left, since what is
    /// left needs them.
    async fn delete_all<K: Object>(
        &self,
        progress: &mut Progress,
        objects: &[K],
        how: DeleteParams,
    ) {
        for object in objects {
            if progress.refused.is_some() {
                progress.left.push(format!("{} {}", K::kind(&()), object.name_any()));
            } else {
                progress.note(object, self.delete_one(object, how.clone()).await);
            }
        }
    }

    async fn delete_one<K: Object>(&self, object: &K, how: DeleteParams) -> Result<()> {
        let (name, as_seen) = (object.name_any(), of_uid(object.uid()));
        let gone = deletion::delete(&self.api::<K>(), &name, as_seen, how).await;
        let doing = || format!("deleting {} {name}", K::kind(&()));
        Ok(gone.map(drop).map_err(|error| KubernetesError::new(doing(), error))?)
    }
}

/// An object that needs a Secret for longer than the pipeline is there.
struct Heir {
    /// Of the config.
    revision: String,
    object: OwnerReference,
}

impl Heir {
    fn new<K: Resource<DynamicType = ()>>(object: &K) -> Option<Self> {
        let revision = revision_of(object.labels())?.to_owned();
        Some(Self { revision, object: owner::<K>(object)? })
    }
}

fn heirs_of(found: &Everything) -> Vec<Heir> {
    let is_live = |job: &&OMJob| job.workload().is_some_and(|workload| workload.end.is_none());
    let om_jobs = found.om_jobs.iter().filter(is_live).filter_map(Heir::new);
    let jobs = found.jobs.iter().filter(|job| is_held(job)).filter_map(Heir::new);
    om_jobs.chain(jobs).collect()
}

/// True for a Job whose end an operator is going to report.
fn is_held(job: &Job) -> bool {
    job.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

impl Progress {
    fn note<K: Object>(&mut self, object: &K, gone: Result<()>) {
        match gone {
            Ok(()) => self.deleted.push(Written::new(object, Change::Deleted)),
            Err(error) => {
                self.left.push(format!("{} {}", K::kind(&()), object.name_any()));
                self.refused.get_or_insert(error);
            }
        }
    }

    fn into_result(self, pipeline: &PipelineIdentity) -> Result<Deleted> {
        match self.refused {
            None => Ok(Deleted { pipeline: pipeline.clone(), objects: self.deleted }),
            Some(source) => Err(Error::NotDeleted { source: Box::new(source), left: self.left }),
        }
    }
}
