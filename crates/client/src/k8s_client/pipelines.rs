//! `list`: the deployed pipelines, and finding one by what people call it.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt;
use ompipe_core::labels::{self, PIPELINE_ID, PIPELINE_TYPE};
use ompipe_core::{IngestionPipeline, PipelineIdentity, Run, Schedule, Service};

use super::K8sPipelineClient;
use crate::clock;
use crate::error::{Error, Result};
use crate::objects::{read_pipeline, revision_of};
use crate::transaction::Object;

/// A pipeline that is deployed.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployedPipeline {
    /// Which pipeline it is.
    #[serde(flatten)]
    pub identity: PipelineIdentity,
    /// What it ingests, in lower case as on its label.
    pub pipeline_type: String,
    /// Its schedule and zone; none when it runs on demand only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Whether the schedule is switched off.
    pub suspended: bool,
    /// When it fires next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Timestamp>,
    /// Its latest run that the cluster still knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<Run>,
}

impl K8sPipelineClient {
    /// Every deployed pipeline, by name.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn pipelines(&self) -> Result<Vec<DeployedPipeline>> {
        let all = labels::selector_of_all();
        let (config_maps, schedules, jobs, pods): (
            Vec<ConfigMap>,
            Vec<CronJob>,
            Vec<Job>,
            Vec<Pod>,
        ) = tokio::try_join!(self.list(&all), self.list(&all), self.list(&all), self.list(&all))?;
        let now = clock::now();
        let mut pipelines: Vec<DeployedPipeline> = config_maps
            .iter()
            .filter_map(|config_map| {
                let schedule = of_same_pipeline(config_map, &schedules).next();
                let jobs = of_same_pipeline(config_map, &jobs);
                let last_run =
                    jobs.filter_map(|job| Run::observe(job, &pods)).max_by_key(|run| run.created);
                describe(config_map, schedule, last_run, now)
            })
            .collect();
        pipelines
            .sort_by(|a, b| a.identity.fully_qualified_name.cmp(&b.identity.fully_qualified_name));
        Ok(pipelines)
    }

    /// The deployed pipeline with a name or fully qualified name.
    ///
    /// # Errors
    /// There is none, or several have the name.
    pub async fn find(&self, name: &str) -> Result<PipelineIdentity> {
        let config_maps: Vec<ConfigMap> = self.list(&labels::selector_of_all()).await?;
        let identities: Vec<PipelineIdentity> = config_maps.iter().filter_map(identity).collect();
        pick(identities, name, self.config.namespace.as_str())
    }

    /// A deployed pipeline and its service, as the last deploy stored them.
    ///
    /// # Errors
    /// It is not deployed, or what is stored cannot be read.
    pub async fn load(
        &self,
        pipeline: &PipelineIdentity,
    ) -> Result<(IngestionPipeline, Option<Service>)> {
        let secrets: Vec<Secret> = self.owned(pipeline).await?;
        let stored = secrets.iter().find(|secret| revision_of(secret.labels()).is_none());
        stored.and_then(read_pipeline).ok_or_else(|| Error::NotDeployed {
            name: pipeline.fully_qualified_name.clone(),
            namespace: self.config.namespace.to_string(),
        })
    }
}

fn identity<K: Object>(object: &K) -> Option<PipelineIdentity> {
    labels::identity_of(object.labels(), object.annotations())
}

fn of_same_pipeline<'o, K: Object>(
    config_map: &'o ConfigMap,
    objects: &'o [K],
) -> impl Iterator<Item = &'o K> {
    let id = config_map.labels().get(PIPELINE_ID);
    objects.iter().filter(move |object| object.labels().get(PIPELINE_ID) == id)
}

fn describe(
    config_map: &ConfigMap,
    schedule: Option<&CronJob>,
    last_run: Option<Run>,
    now: Timestamp,
) -> Option<DeployedPipeline> {
    let spec = schedule.and_then(|schedule| schedule.spec.as_ref());
    let suspended = spec.and_then(|spec| spec.suspend).unwrap_or(false);
    let parsed = spec.and_then(|spec| {
        let zone = spec.time_zone.as_deref().unwrap_or("UTC").parse().ok()?;
        Schedule::new(&spec.schedule, zone).ok()
    });
    Some(DeployedPipeline {
        identity: identity(config_map)?,
        pipeline_type: config_map.labels().get(PIPELINE_TYPE).cloned().unwrap_or_default(),
        schedule: parsed.as_ref().map(|s| format!("{} {}", s.as_cron(), s.zone())),
        suspended,
        next_run: parsed.filter(|_| !suspended).and_then(|schedule| schedule.next_after(now)),
        last_run,
    })
}

/// A fully qualified name is meant exactly; a plain name must be the only one.
fn pick(
    identities: Vec<PipelineIdentity>,
    name: &str,
    namespace: &str,
) -> Result<PipelineIdentity> {
    let exact = identities.iter().find(|identity| identity.fully_qualified_name == name);
    if let Some(exact) = exact {
        return Ok(exact.clone());
    }
    let mut named: Vec<_> =
        identities.into_iter().filter(|identity| identity.name == name).collect();
    match (named.pop(), named.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            named.push(last);
            let fqns = named.into_iter().map(|identity| identity.fully_qualified_name).collect();
            Err(Error::Ambiguous { name: name.to_owned(), fqns })
        }
        (None, _) => {
            Err(Error::NotDeployed { name: name.to_owned(), namespace: namespace.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use ompipe_core::PipelineIdentity;

    use super::*;

    fn identity(fqn: &str, name: &str) -> PipelineIdentity {
        let fully_qualified_name = fqn.to_owned();
        let id = "11111111-2222-3333-4444-555555555555".parse().unwrap();
        PipelineIdentity { id, name: name.to_owned(), fully_qualified_name }
    }

    #[test]
    fn a_name_must_be_the_only_one_and_an_fqn_decides() {
        let all = || vec![identity("a.p", "p"), identity("b.p", "p"), identity("b.q", "q")];
        assert_eq!(pick(all(), "q", "ns").unwrap().fully_qualified_name, "b.q");
        assert_eq!(pick(all(), "a.p", "ns").unwrap().fully_qualified_name, "a.p");
        assert!(
            matches!(pick(all(), "p", "ns"), Err(Error::Ambiguous { fqns, .. }) if fqns.len() == 2)
        );
        assert!(matches!(pick(all(), "z", "ns"), Err(Error::NotDeployed { .. })));
    }
}
