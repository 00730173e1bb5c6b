//! What the operator has archived of runs: their logs and records.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use ompipe_archive::{Archive, ArchivedLog, Window};
use ompipe_core::archive::{PipelineName, RunFolder, RunRecord, Stage, pipeline_key};
use ompipe_core::{PipelineIdentity, Run, RunId, Workload, labels};
use tokio::time::{Duration, timeout};
use tracing::warn;

use super::{K8sPipelineClient, LogSelection, LogStage};
use crate::clock;
use crate::error::{Error, Result};

/// How long the reader of a log waits for the archive, before it reads the pod.
const PATIENCE: Duration = Duration::from_secs(10);

impl K8sPipelineClient {
    /// The archived log that is selected; `None` where the pods have to be asked. An archive that does
    /// not answer keeps nobody from reading the log of a pod.
    pub(super) async fn archived_log(
        &self,
        pipeline: &PipelineIdentity,
        selection: LogSelection,
    ) -> Result<Option<ArchivedLog>> {
        let Some(archive) = &self.archive else { return Ok(None) };
        let found = match timeout(PATIENCE, self.find_log(archive, pipeline, selection)).await {
            Ok(Err(Error::Archive(error))) => {
                warn!(%error, "the log is read from its pod");
                None
            }
            Ok(found) => found?,
            Err(_) => {
                warn!("the archive of logs does not answer, and the log is read from its pod");
                None
            }
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
        self.history_of(pipeline, Window { since, until: None }, most).await
    }

    /// As [`Self::history`], of the runs that began within a window.
    ///
    /// # Errors
    /// As [`Self::history`].
    pub async fn history_of(
        &self,
        pipeline: &PipelineIdentity,
        window: Window,
        most: usize,
    ) -> Result<Vec<RunRecord>> {
        let archived = self.archived_records(pipeline, window, most).await?;
        let archived = archived.into_iter().map(|record| (record.run_id, record));
        let mut runs: BTreeMap<RunId, RunRecord> = archived.collect();
        for live in self.live_records(pipeline).await? {
            match runs.remove(&live.run_id) {
                Some(archived) => runs.insert(live.run_id, live.after(archived)),
                None => runs.insert(live.run_id, live),
            };
        }
        let mut all: Vec<RunRecord> = runs.into_values().collect();
        all.retain(|run| run.created.is_none_or(|at| window.has(at)));
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
        self.archived_runs_of(Window { since, until: None }, most).await
    }

    /// As [`Self::archived_runs`], of the runs that began within a window.
    ///
    /// # Errors
    /// The archive does not answer.
    pub async fn archived_runs_of(&self, window: Window, most: usize) -> Result<Vec<RunRecord>> {
        let Some(archive) = &self.archive else { return Ok(Vec::new()) };
        Ok(archive.newest(self.config.namespace.as_str(), None, window, most).await?)
    }

    /// The runs of a pipeline, newest first: those that the cluster has, and the newest of those that only
    /// the archive has.
    ///
    /// # Errors
    /// Kubernetes refuses. An archive that does not answer is passed by.
    pub async fn runs_with_archived(
        &self,
        pipeline: &PipelineIdentity,
        most: usize,
    ) -> Result<Vec<Run>> {
        let mut runs = self.runs(pipeline).await?;
        let archived = match self.archived_records(pipeline, Window::default(), most).await {
            Ok(archived) => archived,
            Err(error) => {
                warn!(%error, "only the runs that the cluster has are listed");
                return Ok(runs);
            }
        };
        let live: BTreeSet<RunId> = runs.iter().map(|run| run.run_id).collect();
        let gone = archived.iter().filter(|record| !live.contains(&record.run_id));
        runs.extend(gone.map(RunRecord::to_run));
        runs.sort_by_key(|run| Reverse(run.created));
        Ok(runs)
    }

    /// The pipeline with a name or fully qualified name: deployed, or one that the archive has runs of.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub async fn find_or_archived(&self, name: &str) -> Result<PipelineIdentity> {
        let found = self.find(name).await;
        let Some(archive) = &self.archive else { return found };
        if !matches!(found, Err(Error::NotDeployed { .. })) {
            return found;
        }
        let names = archive.pipeline_names(self.config.namespace.as_str()).await?;
        let mut called: Vec<PipelineIdentity> =
            names.iter().filter_map(|known| known.called(name)).collect();
        match (called.pop(), called.is_empty()) {
            (None, _) => found,
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                let all = called.into_iter().chain([last]);
                let mut fqns: Vec<String> = all.map(|one| one.fully_qualified_name).collect();
                fqns.sort_unstable();
                fqns.dedup();
                if fqns.len() > 1 {
                    return Err(Error::Ambiguous { name: name.to_owned(), fqns });
                }
                self.latest_namesake(archive, names, name).await.map_or(found, Ok)
            }
        }
    }

    /// Of pipelines that had the same fully qualified name one after the other, the one that ran last.
    async fn latest_namesake(
        &self,
        archive: &Archive,
        names: Vec<PipelineName>,
        name: &str,
    ) -> Option<PipelineIdentity> {
        let mut latest: Option<(RunFolder, PipelineIdentity)> = None;
        for pipeline in names.iter().filter_map(|known| known.called(name)) {
            let (namespace, key) = (self.config.namespace.as_str(), pipeline.id.to_string());
            let run = archive.run(namespace, &key, None).await.ok().flatten();
            let is_later = |run: RunFolder| latest.as_ref().is_none_or(|(known, _)| *known < run);
            if let Some(run) = run.filter(|run| is_later(*run)) {
                latest = Some((run, pipeline));
            }
        }
        latest.map(|(_, pipeline)| pipeline)
    }

    async fn archived_records(
        &self,
        pipeline: &PipelineIdentity,
        window: Window,
        most: usize,
    ) -> Result<Vec<RunRecord>> {
        let Some(archive) = &self.archive else { return Ok(Vec::new()) };
        let (mut found, namespace) = (Vec::new(), self.config.namespace.as_str());
        for key in keys(pipeline) {
            found.extend(archive.newest(namespace, Some(&key), window, most).await?);
        }
        Ok(found)
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
