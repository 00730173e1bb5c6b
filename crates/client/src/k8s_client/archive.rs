//! What the operator has archived of runs: their logs and records.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use ompipe_archive::{Archive, ArchivedLog};
use ompipe_core::archive::{RunFolder, RunRecord, Stage, pipeline_key};
use ompipe_core::{PipelineIdentity, RunId, Workload, labels};
use tracing::warn;

use super::{K8sPipelineClient, LogSelection, LogStage};
use crate::clock;
use crate::error::{Error, Result};

impl K8sPipelineClient {
    /// The archived log that is selected; `None` where the pods have to be asked. An archive that does
    /// not answer keeps nobody from reading the log of a pod.
    pub(super) async fn archived_log(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
    ) -> Result<Option<ArchivedLog>> {
        let Some(archive) = &self.archive else { return Ok(None) };
        let found = match self.find_log(archive, pipeline, selection).await {
            Err(Error::Archive(error)) => {
                warn!(%error, "the log is read from its pod");
                None
            }
            found => found?,
        };
        let Some(log) = found else { return Ok(None) };
        if let Some(wanted) = selection.attempt {
            // The pods may have more attempts than were archived.
            let has_it = log.attempts().iter().any(|attempt| attempt.number == wanted);
            return Ok(has_it.then_some(log));
        }
        Ok(Some(log))
    }

    async fn find_log(
        &self,
        archive: &Archive,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
    ) -> Result<Option<ArchivedLog>> {
        let Some((key, found)) = self.find_run(archive, pipeline, selection.run).await? else {
            return Ok(None);
        };
        if selection.run.is_none() && self.has_newer(pipeline, found).await? {
            return Ok(None);
        }
        let stage = match selection.stage {
            LogStage::Main => Stage::Main,
            LogStage::ExitHandler => Stage::ExitHandler,
        };
        let namespace = self.config.namespace.as_str();
        Ok(archive.log(namespace, &key, found, stage).await?.filter(|log| log.index().bytes > 0))
    }

    /// A run in the archive, or the latest; with the name under which its pipeline is archived.
    async fn find_run(
        &self,
        archive: &Archive,
        pipeline: &PipelineIdentity,
        run: Option<RunId>,
    ) -> Result<Option<(String, RunFolder)>> {
        let namespace = self.config.namespace.as_str();
        for key in keys(pipeline) {
            if let Some(found) = archive.run(namespace, &key, run).await? {
                return Ok(Some((key, found)));
            }
        }
        Ok(None)
    }

    /// Whether the cluster has a run that began after one that is archived.
    async fn has_newer(&self, pipeline: &PipelineIdentity, archived: RunFolder) -> Result<bool> {
        let newest = self.workloads(pipeline).await?.into_iter().next();
        let is_newer = |workload: Workload| {
            let created = workload.created.map(Timestamp::as_second);
            let archived_at = archived.started.as_second();
            created > Some(archived_at)
                || (created == Some(archived_at) && workload.run_id != archived.run)
        };
        Ok(newest.is_some_and(is_newer))
    }

    /// The runs of a pipeline, newest first: those of the cluster and those that are archived. At most
    /// `most` of those that began at or after `since`.
    ///
    /// # Errors
    /// The cluster or the archive does not answer.
    pub async fn history(
        &self,
        pipeline: &PipelineIdentity,
        since: Option<Timestamp>,
        most: usize,
    ) -> Result<Vec<RunRecord>> {
        let mut runs: BTreeMap<RunId, RunRecord> = BTreeMap::new();
        if let Some(archive) = &self.archive {
            for key in keys(pipeline) {
                let namespace = self.config.namespace.as_str();
                let records = archive.records(namespace, &key, since, most).await?;
                runs.extend(records.into_iter().map(|record| (record.run_id, record)));
            }
        }
        for live in self.live_records(pipeline).await? {
            match runs.remove(&live.run_id) {
                Some(archived) => runs.insert(live.run_id, live.after(archived)),
                None => runs.insert(live.run_id, live),
            };
        }
        let mut all: Vec<RunRecord> = runs.into_values().collect();
        all.retain(|run| since.is_none_or(|since| run.created.is_none_or(|at| at >= since)));
        all.sort_by_key(|run| Reverse((run.created, run.run_id)));
        all.truncate(most);
        Ok(all)
    }

    async fn live_records(&self, pipeline: &PipelineIdentity) -> Result<Vec<RunRecord>> {
        let (workloads, selector) =
            (self.workloads(pipeline).await?, labels::run_selector(pipeline));
        let pods: Vec<Pod> = self.list(&selector).await?;
        let (namespace, now) = (self.config.namespace.as_str(), clock::now());
        let observe = |workload| RunRecord::observe(workload, namespace, &pods, now);
        Ok(workloads.iter().map(observe).collect())
    }

    /// The newest archived runs of every pipeline of the namespace, newest first; none without an
    /// archive.
    ///
    /// # Errors
    /// The archive does not answer.
    pub async fn archived_runs(
        &self,
        since: Option<Timestamp>,
        most: usize,
    ) -> Result<Vec<RunRecord>> {
        let Some(archive) = &self.archive else { return Ok(Vec::new()) };
        let namespace = self.config.namespace.as_str();
        let mut all = Vec::new();
        for pipeline in archive.pipelines(namespace).await? {
            all.extend(archive.records(namespace, &pipeline, since, most).await?);
        }
        all.sort_by_key(|run| Reverse((run.created, run.run_id)));
        all.truncate(most);
        Ok(all)
    }

    /// Where runs are archived, if they are.
    #[must_use]
    pub fn archive_url(&self) -> Option<&str> {
        self.archive.as_ref().map(Archive::url)
    }
}

/// Under which names the runs of a pipeline may be archived: by its id, or by its name where another
/// client made them.
fn keys(pipeline: &PipelineIdentity) -> [String; 2] {
    let by_name = [(labels::PIPELINE.to_owned(), labels::pipeline_value(&pipeline.name))];
    let name = pipeline_key(&by_name.into()).unwrap_or_default();
    [pipeline.id.to_string(), name]
}
