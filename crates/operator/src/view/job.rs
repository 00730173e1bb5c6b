//! An `OMJob` as the caches keep it.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use kube::core::object::HasStatus;
use ompipe_api::{MemoryRetry, OMJob, OMJobSpec, OMJobStatus, StagePodSpec};
use ompipe_core::omjob::{FINALIZER, Limits, Observed, PodSeen, Reporting, Source, Stage, Status};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::meta::{self, Meta};
use crate::queue::Lane;

/// An `OMJob`: what decides its course, and its specification as text until it is needed.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Wire")]
pub(crate) struct JobView {
    pub(super) metadata: ObjectMeta,
    pub(crate) limits: Limits,
    /// What was recorded.
    pub(crate) record: Arc<Status>,
    /// Dropped once nothing is left to do.
    active: Option<Arc<Active>>,
}

#[derive(Clone, Debug)]
struct Active {
    /// `None` where it is too large to be kept: it is read again when a pod is made.
    spec: Option<Box<RawValue>>,
    status: Option<OMJobStatus>,
}

super::view_of!(JobView, OMJob);

/// An `OMJob` whose specification is needed and not kept.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WholeJob {
    #[serde(deserialize_with = "meta::read")]
    metadata: ObjectMeta,
    spec: Box<RawValue>,
}

super::view_of!(WholeJob, OMJob);

impl WholeJob {
    /// What a stage's pod is to be. An error says which field cannot be read.
    pub(crate) fn stage_spec(&self, stage: Stage) -> Result<StagePodSpec, String> {
        stage_spec(self.spec.get(), stage)
    }
}

#[derive(Deserialize)]
struct Wire {
    metadata: Meta,
    spec: Box<RawValue>,
    status: Option<OMJobStatus>,
}

/// The fields that decide a run's course, without the pods' specifications.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Course {
    ttl_seconds_after_finished: Option<i64>,
    active_deadline_seconds: Option<i64>,
    backoff_limit: Option<i32>,
    retry_with_more_memory: Option<MemoryRetry>,
    suspend: Option<bool>,
    exit_handler_deadline_seconds: Option<i64>,
    exit_handler_spec: Option<IgnoredAny>,
}

impl From<Course> for Limits {
    fn from(course: Course) -> Self {
        let spec = OMJobSpec {
            exit_handler_spec: course.exit_handler_spec.map(|_| StagePodSpec::default()),
            ttl_seconds_after_finished: course.ttl_seconds_after_finished,
            active_deadline_seconds: course.active_deadline_seconds,
            backoff_limit: course.backoff_limit,
            retry_with_more_memory: course.retry_with_more_memory,
            suspend: course.suspend,
            exit_handler_deadline_seconds: course.exit_handler_deadline_seconds,
            ..OMJobSpec::default()
        };
        spec.limits()
    }
}

impl From<Wire> for JobView {
    fn from(wire: Wire) -> Self {
        let has_status = wire.status.as_ref().is_some_and(|status| status.phase.is_some());
        let restored = if has_status { None } else { wire.metadata.restored() };
        let recorded = || wire.status.as_ref().map(OMJobStatus::recorded).unwrap_or_default();
        let record = restored.unwrap_or_else(recorded);
        // The schema has checked these fields.
        let course: Course = serde_json::from_str(wire.spec.get()).unwrap_or_default();
        let mut metadata = ObjectMeta::from(wire.metadata);
        let active = is_active(&record, &metadata).then(|| {
            let spec = Some(wire.spec).filter(|spec| spec.get().len() <= super::MOST_KEPT);
            Arc::new(Active { spec, status: wire.status })
        });
        if active.is_none() {
            metadata.labels = None;
        }
        Self { metadata, limits: course.into(), record: Arc::new(record), active }
    }
}

fn is_active(record: &Status, metadata: &ObjectMeta) -> bool {
    let reports = matches!(record.reporting, Reporting::Outstanding { .. });
    let open = !record.phase.is_terminal() || record.completed.is_none() || reports;
    open || has_finalizer(metadata)
}

fn has_finalizer(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// The status as it is on the wire; none for a run that is over.
impl HasStatus for JobView {
    type Status = OMJobStatus;

    fn status(&self) -> Option<&OMJobStatus> {
        self.active.as_ref()?.status.as_ref()
    }

    fn status_mut(&mut self) -> &mut Option<OMJobStatus> {
        let empty = || Arc::new(Active { spec: None, status: None });
        &mut Arc::make_mut(self.active.get_or_insert_with(empty)).status
    }
}

impl JobView {
    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(crate) fn resource_version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    /// True while it carries our finalizer.
    pub(crate) fn is_held(&self) -> bool {
        has_finalizer(&self.metadata)
    }

    /// Whose places it waits for.
    pub(crate) fn lane(&self) -> Lane {
        if self.is_held() { Lane::GoesOn } else { Lane::Begins }
    }

    /// Since when it is being deleted.
    pub(crate) fn deleted(&self) -> Option<Timestamp> {
        self.metadata.deletion_timestamp.as_ref().map(|time| time.0)
    }

    /// The `CronOMJob` that made it.
    pub(crate) fn schedule(&self) -> Option<&OwnerReference> {
        meta::owner_of(&self.metadata, "CronOMJob")
    }

    /// What a stage's pod is to be; `None` where that is not kept. An error says which field cannot be
    /// read.
    pub(crate) fn stage_spec(&self, stage: Stage) -> Option<Result<StagePodSpec, String>> {
        Some(stage_spec(self.active.as_ref()?.spec.as_ref()?.get(), stage))
    }

    /// True for the same object with the same specification.
    pub(crate) fn is_described_by(&self, whole: &WholeJob) -> bool {
        let same =
            |of: fn(&ObjectMeta) -> Option<String>| of(&self.metadata) == of(&whole.metadata);
        self.metadata.generation == whole.metadata.generation && same(|meta| meta.uid.clone())
    }

    /// Since when OpenMetadata does not know the end of the run.
    pub(crate) fn unreported_since(&self) -> Option<Timestamp> {
        let outstanding = matches!(self.record.reporting, Reporting::Outstanding { .. });
        self.record.completed.filter(|_| outstanding)
    }

    /// The object as far as its status rests on it.
    pub(crate) fn without_spec(&self) -> OMJob {
        OMJob {
            metadata: self.metadata.clone(),
            spec: OMJobSpec::default(),
            status: self.status().cloned(),
        }
    }

    /// What [`ompipe_core::omjob::decide`] asks for.
    pub(crate) fn observed(&self, pods: Vec<PodSeen>, source: Source) -> Observed {
        Observed {
            name: self.name_any(),
            uid: self.uid().to_owned(),
            deleted: self.deleted(),
            finalizer: self.is_held(),
            limits: self.limits.clone(),
            status: Status::clone(&self.record),
            pods,
            source,
            refusal: None,
            outage: false,
            report: None,
        }
    }
}

fn stage_spec(spec: &str, stage: Stage) -> Result<StagePodSpec, String> {
    let field = match stage {
        Stage::Main => "mainPodSpec",
        Stage::Exit => "exitHandlerSpec",
    };
    read_field(spec, field).map_err(|error| format!("spec.{field}: {error}"))
}

fn read_field(spec: &str, field: &str) -> Result<StagePodSpec, String> {
    type Fields<'t> = std::collections::BTreeMap<&'t str, &'t RawValue>;
    let fields: Fields<'_> = serde_json::from_str(spec).map_err(|error| error.to_string())?;
    let stage = fields.get(field).ok_or("is missing")?;
    let mut text = serde_json::Deserializer::from_str(stage.get());
    serde_path_to_error::deserialize(&mut text).map_err(|error| without_value(&error))
}

/// Where the error is and what is expected there; not the value, which may be a secret.
fn without_value(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let text = error.inner().to_string();
    let kind = text.split(':').next().unwrap_or_default();
    let expected = text.rsplit_once(", expected ").map_or("something else", |(_, rest)| rest);
    let expected = expected.split(" at line ").next().unwrap_or_default();
    format!("{}: {kind}, expected {expected}", error.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(metadata: &serde_json::Value, more: &serde_json::Value) -> JobView {
        let mut object = serde_json::json!({
            "metadata": metadata, "spec": { "mainPodSpec": { "image": "i" } },
        });
        if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
            object.extend(more.clone());
        }
        serde_json::from_str(&object.to_string()).unwrap()
    }

    #[test]
    fn a_run_that_a_backup_brings_back_is_over() {
        let ended = serde_json::json!({
            "name": "run", "uid": "u2",
            "annotations": { "pipelines.openmetadata.org/ended": "Failed run u1", "other": "x" },
        });
        let restored = view(&ended, &serde_json::json!({}));
        assert!(restored.record.phase.is_terminal());
        let known = serde_json::json!({ "status": { "phase": "Running" } });
        assert!(!view(&ended, &known).record.phase.is_terminal(), "its status counts");
        let new = serde_json::json!({ "name": "run", "uid": "u1" });
        assert!(!view(&new, &serde_json::json!({})).record.phase.is_terminal());
    }

    #[test]
    fn a_large_specification_is_not_kept() {
        let metadata = serde_json::json!({ "name": "run", "uid": "u", "generation": 1 });
        let small = view(&metadata, &serde_json::json!({}));
        assert_eq!(small.stage_spec(Stage::Main).unwrap().unwrap().image, "i");
        let padding = "x".repeat(super::super::MOST_KEPT);
        let spec = serde_json::json!({ "spec": { "mainPodSpec": { "image": padding } } });
        let large = view(&metadata, &spec);
        assert!(large.stage_spec(Stage::Main).is_none());
        let whole: WholeJob = serde_json::from_str(
            &serde_json::json!({ "metadata": metadata, "spec": spec["spec"] }).to_string(),
        )
        .unwrap();
        assert!(large.is_described_by(&whole));
        assert_eq!(whole.stage_spec(Stage::Main).unwrap().image.len(), super::super::MOST_KEPT);
    }

    #[test]
    fn an_unreadable_specification_is_named_without_its_value() {
        let spec = r#"{"mainPodSpec": {"image": "i", "securityContext": {"runAsUser": "s3cret"}}}"#;
        let error = read_field(spec, "mainPodSpec").unwrap_err();
        assert_eq!(error, "securityContext.runAsUser: invalid type, expected i64");
        assert_eq!(read_field("{}", "mainPodSpec").unwrap_err(), "is missing");
    }
}
