//! What is known of a run: from the caches, or read live.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::ListParams;
use ompipe_core::job::{AttemptSeen, Observed};
use ompipe_core::labels;
use ompipe_core::omjob::{Refusal, Source, Trouble};

use super::Reporter;
use super::view::RunView;
use crate::error::Error;
use crate::warning::{self, Waiting};

/// The HTTP code of what quotas, policies and webhooks refuse: the Job controller's event has only
/// the words.
const FORBIDDEN: u16 = 403;

/// A run as the API server has it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) job: Job,
    /// Oldest first.
    pub(super) pods: Vec<Pod>,
    pub(super) observed: Observed,
}

impl Reporter {
    /// The pods of a run that the caches know.
    pub(super) fn attempts_of(&self, run: &RunView) -> Vec<AttemptSeen> {
        self.pods.of(run.uid()).into_iter().map(|attempt| attempt.seen).collect()
    }

    /// Adds what only the events of the newest pod tell about why it does not start; when to look
    /// again.
    pub(super) async fn explain(
        &self,
        run: &RunView,
        observed: &mut Observed,
    ) -> Option<jiff::Timestamp> {
        let is_known = observed.record.trouble.is_some() || observed.record.reported.is_some();
        let newest = observed.attempts.last_mut().filter(|pod| pod.deletion.is_none());
        let pod = newest.filter(|_| !is_known && observed.end.is_none())?;
        let namespace = run.namespace().unwrap_or_default();
        let (uid, created, state) = (&pod.uid, pod.created, &mut pod.state);
        let waiting = Waiting { namespace: &namespace, uid, created, state };
        warning::explain(&self.context.writes, waiting).await
    }

    /// The Job first, then its pods; `None` when it is gone, or another one has its name.
    pub(super) async fn live(&self, run: &RunView) -> Result<Option<Live>, Error> {
        let writes = &self.context.writes;
        let namespace = run.namespace().unwrap_or_default();
        let read = writes.read::<Job>(&namespace).get_opt(&run.name_any()).await;
        let read = read.map_err(Error::api("read the Job"))?;
        let Some(job) = read.filter(|job| job.uid().as_deref() == Some(run.uid())) else {
            return Ok(None);
        };
        let of_it = ListParams::default().labels(&format!("{}={}", labels::JOB_UID, run.uid()));
        let listed = writes.read::<Pod>(&namespace).list(&of_it).await;
        let mut pods = listed.map_err(Error::api("list pods"))?.items;
        pods.sort_by_key(|pod| (pod.creation_timestamp(), pod.name_any()));
        let attempts = pods.iter().filter_map(AttemptSeen::read).map(|(_, seen)| seen).collect();
        let mut observed = Observed::read(&job, attempts, Source::Api);
        if pods.is_empty() && observed.record.last.is_none() {
            observed.refusal = self.refusal(&namespace, run.uid()).await;
        }
        Ok(Some(Live { job, pods, observed }))
    }

    /// Why the Job controller could make no pod: only its events say so. They may be gone.
    async fn refusal(&self, namespace: &str, uid: &str) -> Option<Trouble> {
        let about = format!("involvedObject.uid={uid},reason=FailedCreate");
        let events = self.context.writes.read::<Event>(namespace);
        let listed = events.list(&ListParams::default().fields(&about)).await;
        let listed = listed.inspect_err(|error| tracing::debug!(%error, "cannot read events"));
        let newest = listed.ok()?.items.into_iter().max_by_key(|e| e.last_timestamp.clone())?;
        Some(Refusal::of_answer(FORBIDDEN, &newest.message?).trouble)
    }
}
