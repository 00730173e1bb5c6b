//! Labels and annotations of every object that ompipe makes (design §4). Machines select by the
//! pipeline's id; names and FQNs, which may have any length and script, stand in annotations.

use std::collections::BTreeMap;

use crate::kubernetes::LabelValue;
use crate::{IngestionPipeline, PipelineIdentity, RunId};

/// `app.kubernetes.io/name`: the product, [`NAME_VALUE`] on every object.
pub const NAME: &str = "app.kubernetes.io/name";
/// Value of [`NAME`].
pub const NAME_VALUE: &str = "openmetadata";
/// `app.kubernetes.io/component`: what kind of workload, [`COMPONENT_VALUE`] for pipelines.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Value of [`COMPONENT`].
pub const COMPONENT_VALUE: &str = "ingestion";
/// `app.kubernetes.io/managed-by`: who made the object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`], also the field manager of every write.
pub const OMPIPE: &str = "ompipe";
/// The pipeline's name, sanitised: for people, never for selection.
pub const PIPELINE: &str = "app.kubernetes.io/pipeline";
/// The pipeline's type in lower case.
pub const PIPELINE_TYPE: &str = "app.kubernetes.io/pipeline-type";
/// The run's id; scheduled runs have none, their id is the Job's UID.
pub const RUN_ID: &str = "app.kubernetes.io/run-id";
/// The pipeline's UUID: its identity.
pub const PIPELINE_ID: &str = "pipelines.openmetadata.org/pipeline-id";
/// First digits of the digest of the workflow config: on its Secret and on the runs that use it.
pub const CONFIG_REVISION: &str = "pipelines.openmetadata.org/config-revision";

/// Label that the Job controller puts on a Job's pods: the Job's UID, a UUID, the same for every
/// attempt.
pub const JOB_UID: &str = "batch.kubernetes.io/controller-uid";
/// Label that the Job controller puts on a Job's pods: the Job's name.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// Annotation: the pipeline's name, as it is.
pub const PIPELINE_NAME: &str = "pipelines.openmetadata.org/pipeline-name";
/// Annotation: the pipeline's fully qualified name.
pub const PIPELINE_FQN: &str = "pipelines.openmetadata.org/pipeline-fqn";
/// Annotation: the [`crate::Slug`] of the pipeline's objects.
pub const SLUG: &str = "pipelines.openmetadata.org/slug";
/// Annotation: SHA-256 of the workflow config in a revision's Secret.
pub const CONFIG_DIGEST: &str = "pipelines.openmetadata.org/config-sha256";
/// Annotation: when a run last relied on a revision's Secret, RFC 3339.
pub const LAST_USED: &str = "pipelines.openmetadata.org/last-used";

/// Labels or annotations.
pub type Pairs = BTreeMap<String, String>;

/// Labels of every object of a pipeline.
#[must_use]
pub fn of_pipeline(pipeline: &IngestionPipeline) -> Pairs {
    let identity = &pipeline.identity;
    pairs([
        (NAME, NAME_VALUE.to_owned()),
        (COMPONENT, COMPONENT_VALUE.to_owned()),
        (MANAGED_BY, OMPIPE.to_owned()),
        (PIPELINE, LabelValue::sanitised(&identity.name).to_string()),
        (PIPELINE_TYPE, pipeline.pipeline_type.as_str().to_lowercase()),
        (PIPELINE_ID, identity.id.to_string()),
    ])
}

/// Labels of an on-demand run and its pods.
#[must_use]
pub fn of_run(pipeline: &IngestionPipeline, run: RunId) -> Pairs {
    let mut labels = of_pipeline(pipeline);
    labels.insert(RUN_ID.to_owned(), run.to_string());
    labels
}

/// Annotations of every object of a pipeline.
#[must_use]
pub fn annotations_of(identity: &PipelineIdentity) -> Pairs {
    pairs([
        (PIPELINE_NAME, identity.name.clone()),
        (PIPELINE_FQN, identity.fully_qualified_name.clone()),
    ])
}

/// Selects every object of one pipeline.
#[must_use]
pub fn selector(identity: &PipelineIdentity) -> String {
    format!("{PIPELINE_ID}={}", identity.id)
}

/// Selects every object of every pipeline.
#[must_use]
pub fn selector_of_all() -> String {
    format!("{MANAGED_BY}={OMPIPE},{PIPELINE_ID}")
}

/// Whose an object is, by its labels and annotations; `None` when it is not a pipeline's.
#[must_use]
pub fn identity_of(labels: &Pairs, annotations: &Pairs) -> Option<PipelineIdentity> {
    Some(PipelineIdentity {
        id: labels.get(PIPELINE_ID)?.parse().ok()?,
        name: annotations.get(PIPELINE_NAME)?.clone(),
        fully_qualified_name: annotations.get(PIPELINE_FQN)?.clone(),
    })
}

fn pairs<const N: usize>(pairs: [(&str, String); N]) -> Pairs {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pipeline(name: &str) -> IngestionPipeline {
        IngestionPipeline::read(&json!({
            "name": name, "pipelineType": "TestSuite", "sourceConfig": { "config": { "a": 1 } },
            "service": { "type": "testSuite", "name": "s" },
        }))
        .unwrap()
    }

    #[test]
    fn labels_are_the_seeds_and_the_identity() {
        let run: RunId = "a1b2c3d4-e5f6-7890-abcd-ef1234567890".parse().unwrap();
        let labels = of_run(&pipeline("My Pipeline"), run);
        assert_eq!(labels[PIPELINE], "My-Pipeline");
        assert_eq!(labels[PIPELINE_TYPE], "testsuite");
        assert_eq!(labels[RUN_ID], run.to_string());
        assert_eq!(labels.len(), 7);
    }

    proptest! {
        #[test]
        fn an_identity_reads_back_from_its_object(name in "\\PC{1,512}") {
            prop_assume!(!name.trim().is_empty());
            let pipeline = pipeline(&name);
            let labels = of_pipeline(&pipeline);
            prop_assert!(labels.values().all(|v| v.parse::<LabelValue>().is_ok()), "{labels:?}");
            let read = identity_of(&labels, &annotations_of(&pipeline.identity));
            prop_assert_eq!(read, Some(pipeline.identity));
        }
    }
}
