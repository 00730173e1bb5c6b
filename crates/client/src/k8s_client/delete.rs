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
use serde_json::{Value, json};
use tracing::warn;

use super::K8sPipelineClient;
use super::anchor::{is_anchor, is_marked};
use super::slug::{Owned, Owner, is_upstreams};
use crate::deletion::{self, of_uid, unchanged};
use crate::error::{Error, KubernetesError, Result};
use crate::object::Object;
use crate::objects::{owner, revision_of};
use crate::service_client::Deleted;
use crate::transaction::{Change, Written};

/// What a pipeline has in the cluster, whichever program made it.
#[derive(Default)]
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

/// How often a delete looks again before it gives up: others go on adding objects.
const ROUNDS: usize = 8;

/// Which pipelines a delete may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Whatever is deployed when it looks.
    Whole,
    /// What belongs to no pipeline, or to one that is marked: another deploy may have come since.
    Marked,
}

impl K8sPipelineClient {
    /// Deletes until nothing is left. See [`super::anchor`] for what happens at the same time.
    pub(super) async fn delete(&self, pipeline: &PipelineIdentity) -> Result<Deleted> {
        self.delete_rounds(pipeline, Reach::Whole).await
    }

    /// Finishes a deletion that was begun; a pipeline that was deployed since stays.
    pub(super) async fn delete_marked(&self, pipeline: &PipelineIdentity) -> Result<Deleted> {
        self.delete_rounds(pipeline, Reach::Marked).await
    }

    async fn delete_rounds(&self, pipeline: &PipelineIdentity, first: Reach) -> Result<Deleted> {
        let mut progress = Progress::default();
        let (mut reach, mut taken) = (first, BTreeSet::new());
        for _ in 0..ROUNDS {
            let Some(found) = self.take(pipeline, reach, &mut taken).await? else {
                return progress.into_result(pipeline);
            };
            self.delete_found(&mut progress, pipeline, found).await?;
            if progress.refused.is_some() {
                return progress.into_result(pipeline);
            }
            reach = Reach::Marked;
        }
        progress.refused = Some(Error::Contended(pipeline.fully_qualified_name.clone()));
        progress.into_result(pipeline)
    }

    /// What a delete has to remove now; `None` when there is nothing, or another deploy has come.
    /// `taken` are the UIDs of the Secrets that it has marked.
    async fn take(
        &self,
        pipeline: &PipelineIdentity,
        reach: Reach,
        taken: &mut BTreeSet<Option<String>>,
    ) -> Result<Option<Everything>> {
        loop {
            if reach == Reach::Whole {
                self.mark(pipeline, taken).await?;
            }
            let found = self.everything(pipeline).await?;
            let is_new = |secret: &Secret| {
                is_anchor(secret) && !is_marked(secret) && !taken.contains(&secret.uid())
            };
            match (found.secrets.iter().any(is_new), reach) {
                (true, Reach::Whole) => {}
                (true, Reach::Marked) => return Ok(None),
                (false, _) => return Ok(Some(found).filter(Everything::is_there)),
            }
        }
    }

    /// Marks the Secret that identifies a pipeline. A caller that may not change Secrets deletes without
    /// the mark: then a deploy at
    /// the same time ends with what the garbage collector removes.
    async fn mark(
        &self,
        pipeline: &PipelineIdentity,
        taken: &mut BTreeSet<Option<String>>,
    ) -> Result<()> {
        for anchor in self.anchors(pipeline).await?.iter().filter(|anchor| !is_marked(anchor)) {
            taken.insert(anchor.uid());
            match self.mark_deleting(anchor).await {
                Err(error) if error.is_no_such_kind() => {
                    warn!(%error, "the pipeline is deleted without a mark");
                }
                marked => marked?,
            }
        }
        Ok(())
    }

    async fn delete_found(
        &self,
        progress: &mut Progress,
        pipeline: &PipelineIdentity,
        mut found: Everything,
    ) -> Result<()> {
        self.delete_all(progress, &found.cron_jobs, DeleteParams::background()).await;
        self.delete_all(progress, &found.cron_om_jobs, DeleteParams::background()).await;
        // A schedule may have started a run while it went.
        self.see_runs(pipeline, &mut found).await?;
        self.leave_to_reporters(progress, &mut found).await;
        self.delete_jobs(progress, &found.jobs, &found.pods).await;
        self.delete_all(progress, &found.om_jobs, DeleteParams::background()).await;
        self.delete_all(progress, &found.config_maps, DeleteParams::background()).await;
        // The Secret that identifies the pipeline goes last: while it is there, a delete can be repeated.
        let (anchors, revisions): (Vec<_>, Vec<_>) = found.secrets.into_iter().partition(is_anchor);
        self.delete_all(progress, &revisions, DeleteParams::background()).await;
        self.delete_all(progress, &anchors, DeleteParams::background()).await;
        Ok(())
    }

    /// The Secrets are listed last: whatever else was seen belongs to one of them, or to one that is
    /// gone.
    async fn everything(&self, pipeline: &PipelineIdentity) -> Result<Everything> {
        let (cron_jobs, cron_om_jobs, config_maps) = tokio::try_join!(
            self.owned::<CronJob>(pipeline),
            self.owned_custom::<CronOMJob>(pipeline),
            self.owned::<ConfigMap>(pipeline),
        )?;
        let mut found =
            Everything { cron_jobs, cron_om_jobs, config_maps, ..Everything::default() };
        self.see_runs(pipeline, &mut found).await?;
        self.see_what_upstream_made(pipeline, &mut found).await?;
        found.secrets.extend(self.owned::<Secret>(pipeline).await?);
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
        found.pods.retain(|pod| is_of_run(pod, pipeline));
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
        let (needed, rest): (Vec<Secret>, Vec<Secret>) =
            std::mem::take(&mut found.secrets).into_iter().partition(is_needed);
        for secret in needed.iter().filter(|secret| !is_given(secret, &heirs)) {
            let owners = heirs_to(secret, &heirs).map(|heir| heir.object.clone()).collect();
            progress.note(secret, self.give(secret, owners).await.map(|()| true));
        }
        found.secrets = rest;
    }

    /// Jobs in the foreground, so that they stay until their pods are gone. One that an operator
    /// holds stays anyway, and so has to keep what it owns: only its pods go at once. So do pods whose
    /// Job was deleted without them.
    async fn delete_jobs(&self, progress: &mut Progress, jobs: &[Job], pods: &[Pod]) {
        let (held, others): (Vec<Job>, Vec<Job>) = jobs.iter().cloned().partition(is_held);
        self.delete_all(progress, &others, DeleteParams::foreground()).await;
        self.delete_all(progress, &held, DeleteParams::background()).await;
        let of_held = |pod: &Pod| {
            let mut owners = pod.owner_references().iter();
            owners.any(|owner| held.iter().any(|job| job.uid().as_ref() == Some(&owner.uid)))
        };
        let stays = |pod: &&Pod| of_held(pod) || is_orphan(pod);
        let pods: Vec<Pod> = pods.iter().filter(stays).cloned().collect();
        self.delete_all(progress, &pods, DeleteParams::default()).await;
    }

    /// Makes runs the only owners of a Secret: what belonged to the pipeline would go with it.
    async fn give(&self, secret: &Secret, owners: Vec<OwnerReference>) -> Result<()> {
        let former = secret.owner_references().iter();
        let former = former.filter(|former| owners.iter().all(|owner| owner.uid != former.uid));
        let former = former.map(|former| json!({ "$patch": "delete", "uid": former.uid }));
        let owners: Vec<Value> = owners.iter().map(|owner| json!(owner)).chain(former).collect();
        let patch = json!({ "metadata": { "ownerReferences": owners } });
        let params =
            PatchParams { field_manager: Some(OMPIPE.to_owned()), ..PatchParams::default() };
        let name = secret.name_any();
        let patched = self.api::<Secret>().patch(&name, &params, &Patch::Strategic(patch)).await;
        let patched =
            patched.map_err(|e| KubernetesError::new(format!("patching Secret {name}"), e));
        Ok(patched.map(drop)?)
    }

    /// Deletes objects that are not going already, unless an earlier step was refused: then they are
    /// left, since what is left needs them.
    async fn delete_all<K: Object>(
        &self,
        progress: &mut Progress,
        objects: &[K],
        how: DeleteParams,
    ) {
        for object in objects.iter().filter(|object| is_staying(*object)) {
            if progress.refused.is_some() {
                progress.left.push(format!("{} {}", K::kind(&()), object.name_any()));
            } else {
                progress.note(object, self.delete_one(object, how.clone()).await);
            }
        }
    }

    /// Deletes an object as it was read; false when it has changed since. A deploy may have made
    /// another's object its own, so what a deploy writes must not have changed at all.
    async fn delete_one<K: Object>(&self, object: &K, how: DeleteParams) -> Result<bool> {
        let name = object.name_any();
        let is_run = matches!(K::kind(&()).as_ref(), "Job" | "OMJob" | "Pod");
        let is_marked = object.annotations().contains_key(labels::DELETING);
        let as_seen = if is_run || is_marked { of_uid(object.uid()) } else { unchanged(object) };
        let gone = deletion::delete(&self.api::<K>(), &name, as_seen, how).await;
        let doing = || format!("deleting {} {name}", K::kind(&()));
        Ok(gone.map_err(|error| KubernetesError::new(doing(), error))?)
    }
}

impl Everything {
    /// True when something is there that is not on its way out.
    fn is_there(&self) -> bool {
        let heirs = heirs_of(self);
        let stays = |secret: &&Secret| is_staying(*secret) && !is_given(secret, &heirs);
        self.cron_jobs.iter().any(is_staying)
            || self.cron_om_jobs.iter().any(is_staying)
            || self.jobs.iter().any(is_staying)
            || self.om_jobs.iter().any(is_staying)
            || self.config_maps.iter().any(is_staying)
            || self.pods.iter().any(|pod| is_orphan(pod) && is_staying(pod))
            || self.secrets.iter().any(|secret| stays(&secret))
    }
}

fn is_staying<K: Object>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_none()
}

/// True for a pod of a run of the pipeline.
pub(super) fn is_of_run(pod: &Pod, pipeline: &PipelineIdentity) -> bool {
    match labels::identity_of(pod.labels(), pod.annotations()) {
        Some(owner) => owner.is_same_pipeline(pipeline),
        // Upstream's pods say whose they are by their owner, which is one of the pipeline's runs.
        None => !pod.owner_references().is_empty(),
    }
}

/// True for a pod that nothing will remove: its Job was deleted without it.
pub(super) fn is_orphan(pod: &Pod) -> bool {
    pod.owner_references().is_empty()
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

/// The runs that need a Secret.
fn heirs_to<'h>(secret: &Secret, heirs: &'h [Heir]) -> impl Iterator<Item = &'h Heir> {
    let id = revision_of(secret.labels()).map(str::to_owned);
    heirs.iter().filter(move |heir| Some(&heir.revision) == id.as_ref())
}

/// True for a Secret that goes with the runs that need it, and with nothing else.
fn is_given(secret: &Secret, heirs: &[Heir]) -> bool {
    let own: BTreeSet<&str> = secret.owner_references().iter().map(|o| o.uid.as_str()).collect();
    let heirs: BTreeSet<&str> = heirs_to(secret, heirs).map(|h| h.object.uid.as_str()).collect();
    !heirs.is_empty() && own == heirs
}

/// True for a Job whose end an operator is going to report.
fn is_held(job: &Job) -> bool {
    job.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

impl Progress {
    fn note<K: Object>(&mut self, object: &K, gone: Result<bool>) {
        match gone {
            Ok(true) => self.deleted.push(Written::new(object, Change::Deleted)),
            // It is gone, or the next round sees what it is now.
            Ok(false) => {}
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
