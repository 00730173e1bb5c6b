//! Records of runs: read off their objects before those go, and stored beside the work.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use ompipe_api::{OMJOB_NAME, OMJob};
use ompipe_core::archive::{RunFolder, RunRecord, pipeline_key};
use ompipe_core::job::Reported;
use ompipe_core::kubernetes::LabelValue;
use ompipe_core::report::Recipient;
use ompipe_core::{Workload, WorkloadKind, labels};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::{Archiver, PATIENCE, Work};
use crate::clock;
use crate::context::Context;
use crate::last_resort;

/// Time that the end of a run waits for its objects to be read.
const READ: Duration = Duration::from_secs(5);
/// Time for one call of the store that hangs.
const STORE: Duration = Duration::from_mins(1);
/// Wait between two tries.
const PAUSE: Duration = Duration::from_secs(5);

/// The object of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunObject<'o> {
    pub(crate) kind: WorkloadKind,
    pub(crate) namespace: &'o str,
    pub(crate) name: &'o str,
    pub(crate) uid: &'o str,
}

/// A run as its objects show it.
#[derive(Debug)]
pub(super) struct Subject {
    /// Where its pipeline's runs are archived.
    pub(super) pipeline: String,
    pub(super) run: RunFolder,
    /// The secrets of its config, where they can be read.
    pub(super) secrets: Result<Option<Arc<Recipient>>, kube::Error>,
    record: RunRecord,
}

/// A record that is to be stored.
#[derive(Debug)]
pub(crate) struct Captured {
    pipeline: String,
    run: RunFolder,
    record: RunRecord,
}

/// What the API server has of a run; `None` when it is gone, or no run of a pipeline.
pub(super) async fn observe(
    context: &Context,
    object: RunObject<'_>,
) -> Result<Option<Subject>, kube::Error> {
    let RunObject { kind, namespace, name, uid } = object;
    let (workload, selector, run) = match kind {
        WorkloadKind::Job => {
            let found: Option<Job> = context.writes.read(namespace).get_opt(name).await?;
            let Some(job) = found else { return Ok(None) };
            let run = last_resort::Run::of_job(&job, None, None, clock::now());
            (Workload::of_job(&job), format!("{}={uid}", labels::JOB_UID), run)
        }
        WorkloadKind::OmJob => {
            let found: Option<OMJob> = context.writes.read(namespace).get_opt(name).await?;
            let Some(omjob) = found else { return Ok(None) };
            let run = last_resort::Run::of_omjob(&omjob, clock::now());
            let label = LabelValue::sanitised(name);
            (OMJob::workload(&omjob), format!("{OMJOB_NAME}={}", label.as_str()), run)
        }
    };
    let Some(workload) = workload.filter(|workload| workload.uid == uid) else { return Ok(None) };
    let pods = context.writes.read::<Pod>(namespace);
    let mut pods = pods.list(&ListParams::default().labels(&selector)).await?.items;
    pods.sort_by_key(|pod| (pod.creation_timestamp(), pod.name_any()));
    let record = RunRecord::observe(&workload, namespace, &pods, clock::now());
    let Some(pipeline) = pipeline_key(&workload.labels) else { return Ok(None) };
    let secrets = last_resort::secrets(context, &run).await.map(|known| known.map(Arc::new));
    let started = record.created.unwrap_or_else(clock::now);
    let run = RunFolder::new(started, record.run_id);
    Ok(Some(Subject { pipeline, run, secrets, record }))
}

impl Archiver {
    /// Has a record stored.
    pub(super) fn keep(&self, context: &Context, subject: &Subject) {
        let Subject { pipeline, run, record, .. } = subject;
        let captured = Captured { pipeline: pipeline.clone(), run: *run, record: record.clone() };
        if self.records.try_send(captured).is_err() {
            tracing::warn!(run = %run.run, "the record of a run is lost: too many wait");
            context.metrics.archive_failed();
        }
    }

    /// Notes a run that is about to be let go: nothing will be known of it afterwards.
    pub(crate) async fn note_end(
        &self,
        context: &Context,
        object: RunObject<'_>,
        reported: Option<&Reported>,
    ) {
        let mut subject = match timeout(READ, observe(context, object)).await {
            Ok(Ok(Some(subject))) => subject,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                context.metrics.archive_failed();
                return tracing::warn!(object.name, %error, "a run is not put on record");
            }
            Err(_) => {
                context.metrics.archive_failed();
                return tracing::warn!(object.name, "a run is not put on record in time");
            }
        };
        if let Some(reported) = reported {
            let record = &mut subject.record;
            // What OpenMetadata has is the state of the run.
            record.state = reported.state.unwrap_or(record.state);
            record.finished = record.finished.or_else(|| Some(clock::now()));
            record.reported_by = Some(reported.by.as_str().to_owned());
        }
        self.keep(context, &subject);
    }
}

/// Stores a record, however often that takes.
pub(super) async fn store(work: Work, captured: Captured) {
    let since = Instant::now();
    let Captured { pipeline, run, record } = captured;
    let places = &work.archiver.recording;
    let mut hash = DefaultHasher::new();
    run.run.hash(&mut hash);
    let place = usize::try_from(hash.finish() % places.len().max(1) as u64).unwrap_or_default();
    loop {
        let held = places[place].lock().await;
        let keep = work.archive().keep_record(&record.namespace, &pipeline, run, record.clone());
        let why = match timeout(STORE, keep).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the store does not answer".to_owned(),
        };
        drop(held);
        if since.elapsed() >= PATIENCE {
            work.context.metrics.archive_failed();
            return tracing::warn!(run = %run.run, why, "the record of a run is lost");
        }
        work.context.metrics.archive_retried();
        sleep(PAUSE).await;
    }
}
