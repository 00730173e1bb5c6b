//! What the cluster has and no pipeline needs any more: pipelines that OpenMetadata no longer has,
//! deletions that were begun and not finished, and objects without the Secret that identifies a
//! pipeline.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{ListParams, PartialObjectMeta};
use ompipe_api::{CronOMJob, OMJob};
use ompipe_core::diagnosis::Finding;
use ompipe_core::labels::{self, CONFIG_REVISION};
use ompipe_core::{PipelineIdentity, last_fqn_part};

use super::K8sPipelineClient;
use super::anchor::is_anchor;
use super::known::Known;
use crate::clock;
use crate::error::{KubernetesError, Result};
use crate::object::Object;
use crate::objects::read_pipeline;
use crate::service_client::Deleted;

/// What the doctor calls it.
const CHECK: &str = "pipelines";
/// How many pipelines OpenMetadata is asked for at the same time.
const ASKED_AT_ONCE: usize = 8;
/// How long a deletion may take before it counts as abandoned.
const LONGEST_DELETION: SignedDuration = SignedDuration::from_secs(60);

/// Why a pipeline's objects are not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OrphanReason {
    /// OpenMetadata has no such pipeline.
    UnknownToOpenMetadata,
    /// The same, and OpenMetadata asked to delete a pipeline of this name.
    DeletionAsked,
    /// Somebody began to delete it and did not finish.
    HalfDeleted,
    /// The Secret that identifies the pipeline is missing.
    Incomplete,
}

/// A pipeline whose objects are not needed any more.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// Which pipeline it is, or was.
    #[serde(flatten)]
    pub pipeline: PipelineIdentity,
    /// Why it is not wanted.
    pub reason: OrphanReason,
}

/// The result of a check of every pipeline.
#[derive(Clone, Debug, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Census {
    /// Those that are not needed any more, by name.
    pub orphans: Vec<Orphan>,
    /// FQNs of those that OpenMetadata could not be asked for, and why.
    pub unclear: Vec<(String, String)>,
    /// How many OpenMetadata has.
    pub known: usize,
}

impl OrphanReason {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownToOpenMetadata => "OpenMetadata has no such pipeline",
            Self::DeletionAsked => {
                "OpenMetadata asked to delete a pipeline of this name, and has this one no longer"
            }
            Self::HalfDeleted => "its deletion was begun and not finished",
            Self::Incomplete => "its objects have no Secret that identifies the pipeline",
        }
    }

    /// True if the objects can be removed without asking a user.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::DeletionAsked | Self::HalfDeleted)
    }
}

impl K8sPipelineClient {
    /// Checks every pipeline of the namespace, and asks OpenMetadata for each.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn census(&self) -> Result<Census> {
        self.survey(&labels::selector_of_all()).await
    }

    /// The census of the selected pipelines.
    async fn survey(&self, selector: &str) -> Result<Census> {
        let remains = self.remains(selector).await?;
        let unrevised = format!("{selector},!{CONFIG_REVISION}");
        // Listed after the objects: whatever was deployed meanwhile is not taken for incomplete.
        let anchors: Vec<Secret> = self.list(&unrevised).await?;
        let judged = stream::iter(anchors.clone());
        let judged = judged.map(|anchor| async move { self.judge(&anchor).await });
        let judged: Vec<Option<Judged>> = judged.buffer_unordered(ASKED_AT_ONCE).collect().await;
        let mut census = Census::default();
        for judged in judged.into_iter().flatten() {
            census.add(judged);
        }
        census.orphans.extend(self.still_incomplete(selector, &remains, &anchors).await?);
        census
            .orphans
            .sort_by(|a, b| a.pipeline.fully_qualified_name.cmp(&b.pipeline.fully_qualified_name));
        Ok(census)
    }

    /// The incomplete pipelines of two looks: one that was deleted between the lists of the first look
    /// has nothing left in the second.
    async fn still_incomplete(
        &self,
        selector: &str,
        remains: &[(PipelineIdentity, Remains)],
        anchors: &[Secret],
    ) -> Result<Vec<Orphan>> {
        let first = incomplete(remains, anchors);
        if first.is_empty() {
            return Ok(first);
        }
        let second = incomplete(&self.remains(selector).await?, anchors);
        Ok(first.into_iter().filter(|orphan| second.contains(orphan)).collect())
    }

    /// The state of a Secret's pipeline; `None` if the Secret names none.
    async fn judge(&self, anchor: &Secret) -> Option<Judged> {
        let pipeline = labels::identity_of(anchor.labels(), anchor.annotations())?;
        let orphan = |reason| Judged::Orphan(Orphan { pipeline: pipeline.clone(), reason });
        if let Some(since) = anchor.annotations().get(labels::DELETING) {
            let is_over = is_older(since, clock::now());
            return Some(if is_over { orphan(OrphanReason::HalfDeleted) } else { Judged::Going });
        }
        let stored = read_pipeline(anchor).and_then(|(pipeline, _)| pipeline.server_connection);
        let asked = anchor.annotations().contains_key(labels::DELETION_ASKED);
        Some(match self.is_known_at(&pipeline, stored).await {
            Known::Yes => Judged::Known,
            Known::No if asked => orphan(OrphanReason::DeletionAsked),
            Known::No => orphan(OrphanReason::UnknownToOpenMetadata),
            Known::Unclear(why) => Judged::Unclear(pipeline.fully_qualified_name, why),
        })
    }

    /// Removes what is left of a pipeline that is not needed any more.
    ///
    /// # Errors
    /// As [`crate::PipelineServiceClient::delete_pipeline`].
    pub async fn remove_orphan(&self, orphan: &Orphan) -> Result<Deleted> {
        match orphan.reason {
            OrphanReason::UnknownToOpenMetadata | OrphanReason::DeletionAsked => {
                self.delete(&orphan.pipeline).await
            }
            // One that was deployed since stays.
            OrphanReason::HalfDeleted | OrphanReason::Incomplete => {
                self.delete_marked(&orphan.pipeline).await
            }
        }
    }

    /// Notes that OpenMetadata asked to delete one of the pipelines with a name, which could not be
    /// told apart: it is removed once OpenMetadata no longer has it.
    ///
    /// # Errors
    /// Kubernetes refuses.
    pub async fn note_deletion_asked(&self, name: &str) -> Result<()> {
        for pipeline in self.named(name).await? {
            for anchor in self.anchors(&pipeline).await? {
                self.mark_deletion_asked(&anchor).await?;
            }
        }
        Ok(())
    }

    /// The pipelines with a name, or FQN, of which objects of any kind are left.
    pub(super) async fn identities_left(&self, name: &str) -> Result<Vec<PipelineIdentity>> {
        let last = last_fqn_part(name);
        let mut left = self.remains(&labels::selector_of_name(name)).await?;
        if last != name {
            left.extend(self.remains(&labels::selector_of_name(&last)).await?);
        }
        let is_meant = |p: &PipelineIdentity| p.name == name || p.fully_qualified_name == name;
        Ok(distinct(left.into_iter().map(|(pipeline, _)| pipeline).filter(is_meant)))
    }

    /// Whose the objects of every kind are that stay, read without what is in them.
    async fn remains(&self, selector: &str) -> Result<Vec<(PipelineIdentity, Remains)>> {
        let (config_maps, cron_jobs, cron_om_jobs, jobs, om_jobs, secrets) = tokio::try_join!(
            self.metadata::<ConfigMap>(selector),
            self.metadata::<CronJob>(selector),
            self.metadata_custom::<CronOMJob>(selector),
            self.metadata::<Job>(selector),
            self.metadata_custom::<OMJob>(selector),
            self.metadata::<Secret>(selector),
        )?;
        let deployed = whose(config_maps).chain(whose(cron_jobs)).chain(whose(cron_om_jobs));
        let deployed = deployed.map(|pipeline| (pipeline, Remains::Deployed));
        let runs = whose(jobs).chain(whose(om_jobs)).map(|pipeline| (pipeline, Remains::Run));
        let secrets = whose(secrets).map(|pipeline| (pipeline, Remains::Secret));
        Ok(deployed.chain(runs).chain(secrets).collect())
    }

    async fn metadata<K: Object>(&self, selector: &str) -> Result<Vec<PartialObjectMeta<K>>> {
        let params = ListParams::default().labels(selector);
        let listed = self.api::<K>().list_metadata(&params).await;
        let doing = || format!("listing {} in namespace {}", K::plural(&()), self.config.namespace);
        Ok(listed.map_err(|error| KubernetesError::new(doing(), error))?.items)
    }

    async fn metadata_custom<K: Object>(
        &self,
        selector: &str,
    ) -> Result<Vec<PartialObjectMeta<K>>> {
        super::none_of_no_kind(self.metadata(selector).await)
    }

    /// What the doctor says of one pipeline, or of all.
    pub(super) async fn orphan_findings(
        &self,
        pipeline: Option<&PipelineIdentity>,
    ) -> Vec<Finding> {
        let selector = match pipeline {
            Some(pipeline) => labels::selector_of_name(&pipeline.name),
            None => labels::selector_of_all(),
        };
        let census = match self.survey(&selector).await {
            Ok(census) => census,
            Err(error) => {
                let remedy = "grant the rights that `ompipe rbac` prints";
                return vec![Finding::warning(CHECK, error.to_string(), remedy)];
            }
        };
        let is_meant = |found: &PipelineIdentity| {
            pipeline.is_none_or(|pipeline| pipeline.is_same_pipeline(found))
        };
        let orphans = census.orphans.iter().filter(|orphan| is_meant(&orphan.pipeline));
        let findings: Vec<Finding> = orphans.map(bad).collect();
        if findings.is_empty() { vec![good(&census)] } else { findings }
    }
}

fn good(census: &Census) -> Finding {
    let (known, unclear) = (census.known, census.unclear.len());
    let detail = match unclear {
        0 => format!("OpenMetadata has what is deployed: {known}"),
        _ => {
            format!("OpenMetadata has what is deployed: {known}; it cannot be asked for {unclear}")
        }
    };
    Finding::good(CHECK, detail)
}

fn bad(orphan: &Orphan) -> Finding {
    let Orphan { pipeline, reason } = orphan;
    let detail = format!("{}: {}", pipeline.fully_qualified_name, reason.as_str());
    Finding::bad(CHECK, detail, "ompipe orphans --delete removes what it has in the cluster")
}

/// The state of a pipeline.
enum Judged {
    Known,
    Going,
    Unclear(String, String),
    Orphan(Orphan),
}

impl Census {
    fn add(&mut self, judged: Judged) {
        match judged {
            Judged::Known => self.known += 1,
            Judged::Going => {}
            Judged::Unclear(fqn, why) => self.unclear.push((fqn, why)),
            Judged::Orphan(orphan) => self.orphans.push(orphan),
        }
    }
}

/// What is left of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remains {
    /// What only a deploy makes.
    Deployed,
    /// A run, which a pipeline need not be deployed for.
    Run,
    /// The config of runs, or the Secret that identifies the pipeline.
    Secret,
}

/// The pipelines that have objects of a deploy, or a config without a run, and no Secret that identifies
/// for them.
fn incomplete(remains: &[(PipelineIdentity, Remains)], anchors: &[Secret]) -> Vec<Orphan> {
    let anchored: Vec<PipelineIdentity> = anchors
        .iter()
        .filter(|anchor| is_anchor(anchor))
        .filter_map(|anchor| labels::identity_of(anchor.labels(), anchor.annotations()))
        .collect();
    let has = |pipeline: &PipelineIdentity, what: Remains| {
        remains.iter().any(|(owner, is)| *is == what && owner.is_same_pipeline(pipeline))
    };
    let pipelines = distinct(remains.iter().map(|(pipeline, _)| pipeline.clone()));
    let unanchored = pipelines
        .into_iter()
        .filter(|pipeline| !anchored.iter().any(|anchored| anchored.is_same_pipeline(pipeline)));
    let left = unanchored.filter(|pipeline| {
        has(pipeline, Remains::Deployed)
            || has(pipeline, Remains::Secret) && !has(pipeline, Remains::Run)
    });
    left.map(|pipeline| Orphan { pipeline, reason: OrphanReason::Incomplete }).collect()
}

fn distinct(pipelines: impl Iterator<Item = PipelineIdentity>) -> Vec<PipelineIdentity> {
    let mut seen = BTreeSet::new();
    pipelines.filter(|pipeline| seen.insert(pipeline.fully_qualified_name.clone())).collect()
}

/// Whose objects are that are not on their way out.
fn whose<K: Object>(objects: Vec<PartialObjectMeta<K>>) -> impl Iterator<Item = PipelineIdentity> {
    let staying = objects.into_iter().filter(|o| o.metadata.deletion_timestamp.is_none());
    staying.filter_map(|object| labels::identity_of(object.labels(), object.annotations()))
}

/// True for a deletion that began so long ago, or at a time that cannot be read.
fn is_older(since: &str, now: Timestamp) -> bool {
    let since: Option<Timestamp> = since.parse().ok();
    since.is_none_or(|since| now.duration_since(since) > LONGEST_DELETION)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn identity(id: &str) -> PipelineIdentity {
        let id = format!("{id}1111111-2222-4333-8444-555555555555").parse().unwrap();
        PipelineIdentity { id, name: "p".to_owned(), fully_qualified_name: "a.p".to_owned() }
    }

    fn anchor(id: &str) -> Secret {
        let identity = identity(id);
        let mut secret = Secret::default();
        secret.labels_mut().insert(labels::PIPELINE_ID.to_owned(), identity.id.to_string());
        *secret.annotations_mut() = labels::annotations_of(&identity);
        secret
    }

    #[rstest]
    #[case::schedule_without_secret(&[Remains::Deployed, Remains::Secret], &[], true)]
    #[case::config_alone(&[Remains::Secret], &[], true)]
    #[case::run_that_was_never_deployed(&[Remains::Run, Remains::Secret], &[], false)]
    #[case::deployed(&[Remains::Deployed, Remains::Secret], &["1"], false)]
    #[case::deployed_under_another_id(&[Remains::Deployed, Remains::Secret], &["2"], false)]
    #[case::nothing(&[], &[], false)]
    fn what_is_incomplete(
        #[case] remains: &[Remains],
        #[case] anchors: &[&str],
        #[case] expected: bool,
    ) {
        let remains: Vec<_> = remains.iter().map(|remains| (identity("1"), *remains)).collect();
        let anchors: Vec<_> = anchors.iter().map(|id| anchor(id)).collect();
        assert_eq!(!incomplete(&remains, &anchors).is_empty(), expected);
    }

    #[rstest]
    #[case("2026-01-01T11:59:50Z", false)]
    #[case("2026-01-01T11:58:50Z", true)]
    #[case("2026-01-01T12:00:10Z", false)]
    #[case("yesterday", true)]
    fn a_deletion_that_takes_too_long(#[case] since: &str, #[case] expected: bool) {
        assert_eq!(is_older(since, "2026-01-01T12:00:00Z".parse().unwrap()), expected);
    }
}
