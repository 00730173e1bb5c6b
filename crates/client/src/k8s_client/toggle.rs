//! `toggle`: the schedule on or off, as asked for and not as it is now turned round.

use k8s_openapi::api::batch::v1::CronJob;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use ompipe_api::CronOMJob;
use ompipe_core::PipelineIdentity;
use ompipe_core::labels::OMPIPE;
use serde_json::json;

use super::K8sPipelineClient;
use crate::error::{Error, KubernetesError, Result};
use crate::service_client::Toggled;
use crate::transaction::{Change, Object, Written};

impl K8sPipelineClient {
    pub(super) async fn toggle(
        &self,
        pipeline: &PipelineIdentity,
        enabled: bool,
    ) -> Result<Toggled> {
        let present = self.present(pipeline).await?;
        let (of_upstream, om_of_upstream) = self.schedules_of_upstream(pipeline).await?;
        let is_deployed = present.secret.is_some();
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
            return Err(Error::NotDeployed {
                name: pipeline.fully_qualified_name.clone(),
                namespace: self.config.namespace.to_string(),
            });
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
