//! `toggle`: the schedule on or off, as asked for and not as it is now turned round.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use k8s_openapi::api::batch::v1::CronJob;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use ompipe_api::CronOMJob;
use ompipe_core::PipelineIdentity;
use ompipe_core::labels::OMPIPE;
use serde_json::json;

use super::K8sPipelineClient;
use super::anchor::is_marked;
use crate::error::{Error, KubernetesError, Result};
use crate::object::Object;
use crate::service_client::Toggled;
use crate::transaction::{Change, Written};

/// Tries of a toggle that meets a delete or a deploy.
const TRIES: usize = 4;

impl K8sPipelineClient {
    pub(super) async fn toggle(
        &self,
        pipeline: &PipelineIdentity,
        enabled: bool,
    ) -> Result<Toggled> {
        let again = ExponentialBuilder::default().with_jitter().with_max_times(TRIES);
        let again = again.with_min_delay(Duration::from_millis(50));
        let went = |error: &Error| matches!(error, Error::Kubernetes(error) if error.is_absence());
        (|| self.toggle_once(pipeline, enabled)).retry(again).when(went).await
    }

    /// Fails with 404 when a schedule went between its reading and its change: the pipeline was
    /// deleted, or is being deployed anew.
    async fn toggle_once(&self, pipeline: &PipelineIdentity, enabled: bool) -> Result<Toggled> {
        let present = self.present(pipeline).await?;
        let (of_upstream, om_of_upstream) = self.schedules_of_upstream(pipeline).await?;
        let is_deployed = present.secret.is_some_and(|secret| !is_marked(&secret));
        let cron_job = present.cron_job.or(of_upstream);
        let cron_om_job = present.cron_om_job.or(om_of_upstream);
        let mut schedules = Vec::new();
        if let Some(found) = cron_job {
            let suspended = found.spec.as_ref().and_then(|spec| spec.suspend);
            schedules.push(self.suspend::<CronJob>(&found, suspended, !enabled).await?);
        }
        if let Some(found) = cron_om_job {
            let suspended = found.spec.suspend;
            schedules.push(self.suspend::<CronOMJob>(&found, suspended, !enabled).await?);
        }
        if schedules.is_empty() && !is_deployed {
            return Err(self.not_deployed(pipeline));
        }
        Ok(Toggled { pipeline: pipeline.clone(), enabled, schedules })
    }

    async fn suspend<K: Object>(
        &self,
        schedule: &K,
        is: Option<bool>,
        wanted: bool,
    ) -> Result<Written> {
        if is.unwrap_or(false) == wanted {
            return Ok(Written::new(schedule, Change::Unchanged));
        }
        let patch = json!({ "spec": { "suspend": wanted } });
        let params =
            PatchParams { field_manager: Some(OMPIPE.to_owned()), ..PatchParams::default() };
        let name = schedule.name_any();
        let patched = self.api::<K>().patch(&name, &params, &Patch::Merge(patch)).await;
        patched.map_err(|error| {
            KubernetesError::new(format!("patching {} {name}", K::kind(&())), error)
        })?;
        Ok(Written::new(schedule, Change::Configured))
    }
}
