//! `kill`: stops runs, whatever they do at the moment.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use kube::runtime::wait::{await_condition, conditions::is_deleted};
use ompipe_api::OMJob;
use ompipe_core::labels;
use ompipe_core::{PipelineIdentity, Run, RunId, Workload, WorkloadKind};

use super::K8sPipelineClient;
use super::delete::{is_of_run, is_orphan};
use crate::deletion::{self, of_uid};
use crate::error::{Error, KubernetesError, Result};
use crate::object::Object;
use crate::service_client::Killed;

/// Time for a stopped run to go: its pod's grace period, and what the cluster needs.
const LONGEST_END: Duration = Duration::from_secs(90);

impl K8sPipelineClient {
    /// Stops the runs of a pipeline that have not ended, or one of them.
    pub(super) async fn kill(
        &self,
        pipeline: &PipelineIdentity,
        wanted: Option<RunId>,
    ) -> Result<Killed> {
        let workloads = self.workloads(pipeline).await?;
        let is_wanted = |run: RunId| wanted.is_none_or(|wanted| wanted == run);
        let live = |workload: &&Workload| workload.is_live() && is_wanted(workload.run_id);
        let mut runs = Vec::new();
        for workload in workloads.iter().filter(live) {
            self.stop(workload).await?;
            let stopped = Workload { deleting: true, ..workload.clone() };
            runs.push(Run::observe(&stopped, &[]));
        }
        self.stop_orphaned_pods(pipeline, wanted).await?;
        Ok(Killed { pipeline: pipeline.clone(), runs })
    }

    /// Stops what still runs of a Job that was deleted without its pods.
    async fn stop_orphaned_pods(
        &self,
        pipeline: &PipelineIdentity,
        wanted: Option<RunId>,
    ) -> Result<()> {
        let pods: Vec<Pod> = self.list(&labels::run_selector(pipeline)).await?;
        let is_left = |pod: &&Pod| is_orphan(pod) && is_of_run(pod, pipeline) && goes_on(pod);
        let is_wanted = |pod: &&Pod| wanted.is_none_or(|wanted| run_of(pod) == Some(wanted));
        for pod in pods.iter().filter(is_left).filter(is_wanted) {
            let (name, as_seen) = (pod.name_any(), of_uid(pod.uid()));
            let how = DeleteParams::default();
            let gone = deletion::delete(&self.api::<Pod>(), &name, as_seen, how).await;
            gone.map_err(|error| KubernetesError::new(format!("stopping Pod {name}"), error))?;
        }
        Ok(())
    }

    /// Deletes a run's object, and with it its pods. A Job stays until its pods are gone; an
    /// `OMJob` until its operator has run the exit handler, which needs what an `OMJob` owns.
    pub(super) async fn stop(&self, workload: &Workload) -> Result<()> {
        match workload.kind {
            WorkloadKind::Job => self.delete_run::<Job>(workload, DeleteParams::foreground()).await,
            WorkloadKind::OmJob => {
                self.delete_run::<OMJob>(workload, DeleteParams::background()).await
            }
        }
    }

    async fn delete_run<K: Object>(&self, workload: &Workload, how: DeleteParams) -> Result<()> {
        let as_seen = of_uid(Some(workload.uid.clone()));
        let gone = deletion::delete(&self.api::<K>(), &workload.name, as_seen, how).await;
        let doing = || format!("stopping {} {}", K::kind(&()), workload.name);
        Ok(gone.map(drop).map_err(|error| KubernetesError::new(doing(), error))?)
    }

    /// Waits until a stopped run's object is gone, and so its pods.
    pub(super) async fn until_gone(&self, workload: &Workload) -> Result<()> {
        let (name, uid) = (workload.name.as_str(), workload.uid.as_str());
        let gone = async {
            match workload.kind {
                WorkloadKind::Job => {
                    await_condition(self.streams::<Job>(), name, is_deleted(uid)).await.map(drop)
                }
                WorkloadKind::OmJob => {
                    await_condition(self.streams::<OMJob>(), name, is_deleted(uid)).await.map(drop)
                }
            }
        };
        match tokio::time::timeout(LONGEST_END, gone).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::NotReplaced(workload.run_id)),
        }
    }
}

fn goes_on(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

fn run_of(pod: &Pod) -> Option<RunId> {
    let labels = pod.labels();
    labels.get(labels::RUN_ID).or_else(|| labels.get(labels::JOB_UID))?.parse().ok()
}
