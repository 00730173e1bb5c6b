//! `get`: one deployed pipeline, with the config that its runs get.

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use ompipe_api::CronOMJob;
use ompipe_core::{PipelineIdentity, Slug, redaction, yaml};
use serde_json::Value;

use super::K8sPipelineClient;
use super::pipelines::DeployedPipeline;
use super::slug::is_upstreams;
use crate::error::Result;
use crate::objects::revision_of;

/// A deployed pipeline with everything that a person asks about it.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineDetail {
    /// What a list shows of it.
    #[serde(flatten)]
    pub pipeline: DeployedPipeline,
    /// Name of its service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The part of all its objects' names that identifies it.
    pub slug: String,
    /// Kind and name of its schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_object: Option<String>,
    /// Image of its scheduled runs; of a pipeline that runs on demand only, the image that a run
    /// would have that starts now.
    pub image: String,
    /// Which version of its config is deployed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The config of its runs, secrets masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

impl K8sPipelineClient {
    /// Everything about one deployed pipeline.
    ///
    /// # Errors
    /// It is not deployed, or Kubernetes refuses.
    pub async fn detail(&self, pipeline: &PipelineIdentity) -> Result<PipelineDetail> {
        let (listed, loaded, present) =
            tokio::try_join!(self.pipeline(pipeline), self.load(pipeline), self.present(pipeline))?;
        let cron_job = present.cron_job.filter(|found| !is_upstreams(found));
        let cron_om_job = present.cron_om_job.filter(|found| !is_upstreams(found));
        let (entity, service) = loaded;
        let schedule_object = cron_job
            .as_ref()
            .map(|found| format!("CronJob {}", found.name_any()))
            .or_else(|| Some(format!("CronOMJob {}", cron_om_job.as_ref()?.name_any())));
        let scheduled = cron_job.as_ref().and_then(image_of_job);
        let scheduled = scheduled.or_else(|| cron_om_job.as_ref().map(image_of_om_job));
        let config_map = present.config_map;
        Ok(PipelineDetail {
            pipeline: listed,
            service: service.map(|service| service.name).or_else(|| Some(entity.service?.name)),
            slug: Slug::to_string(&present.slug),
            schedule_object,
            image: scheduled.unwrap_or_else(|| self.config.ingestion_image.to_string()),
            revision: config_map.as_ref().and_then(|map| revision_of(map.labels()).map(Into::into)),
            config: config_map.as_ref().and_then(config),
        })
    }
}

fn image_of_job(job: &CronJob) -> Option<String> {
    let spec = job.spec.as_ref()?.job_template.spec.as_ref()?.template.spec.as_ref()?;
    spec.containers.first()?.image.clone()
}

fn image_of_om_job(job: &CronOMJob) -> String {
    job.spec.om_job_spec.main_pod_spec.image.clone()
}

/// The masked config; what a `ConfigMap` says is masked again, since anybody may have written it.
fn config(config_map: &ConfigMap) -> Option<Value> {
    let text = config_map.data.as_ref()?.get("config")?;
    Some(redaction::mask(&yaml::parse_leniently(text).ok()?))
}
