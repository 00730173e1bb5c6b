//! Labels and annotations of every object that ompipe makes. Machines select by the pipeline's id
//! (docs/adr/0003-identity-by-pipeline-id.md); names and FQNs, which may have any length and
//! script, stand in annotations.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::EnvVar;
use sha2::{Digest, Sha256};

use crate::{IngestionPipeline, PipelineIdentity, RunId, upstream};

/// `app.kubernetes.io/name`: the product, [`NAME_VALUE`] on every object.
pub const NAME: &str = "app.kubernetes.io/name";
/// Value of [`NAME`].
pub const NAME_VALUE: &str = "openmetadata";
/// `app.kubernetes.io/component`: what kind of workload, [`COMPONENT_VALUE`] for pipelines.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Value of [`COMPONENT`].
pub const COMPONENT_VALUE: &str = "ingestion";
/// Value of [`COMPONENT`] on automations.
pub const AUTOMATION: &str = "automation";
/// Value of [`COMPONENT`] on runs of applications.
pub const APPLICATION: &str = "application";
/// `app.kubernetes.io/managed-by`: who made the object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`], also the field manager of every write.
pub const OMPIPE: &str = "ompipe";
/// The pipeline's name as [`pipeline_value`] writes it. It narrows a query; the identity decides.
pub const PIPELINE: &str = "app.kubernetes.io/pipeline";
/// The pipeline's type in lower case.
pub const PIPELINE_TYPE: &str = "app.kubernetes.io/pipeline-type";
/// The run's id; scheduled runs have none, their id is the Job's UID.
pub const RUN_ID: &str = "app.kubernetes.io/run-id";
/// The pipeline's UUID: its identity.
pub const PIPELINE_ID: &str = "pipelines.openmetadata.org/pipeline-id";
/// On a run that waits for its turn: how many runs of its pipeline there may be at a time.
pub const QUEUED: &str = "pipelines.openmetadata.org/queued";
/// Label of Kueue: the `LocalQueue` in which a run waits.
pub const KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// Label of Kueue: the `WorkloadPriorityClass` of a run.
pub const KUEUE_PRIORITY: &str = "kueue.x-k8s.io/priority-class";
/// First digits of the digest of the workflow config: on its Secret and on the runs that use it.
pub const CONFIG_REVISION: &str = "pipelines.openmetadata.org/config-revision";

/// Label of an application's run: the application's name, sanitised.
pub const APP_NAME: &str = "app.kubernetes.io/app-name";

/// Label that the Job controller puts on a Job's pods: the Job's UID, a UUID, the same for every
/// attempt.
pub const JOB_UID: &str = "batch.kubernetes.io/controller-uid";
/// Label that the Job controller puts on a Job's pods: the Job's name.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// Label of an `OMJob`'s pods: the name of the `OMJob`.
pub const OMJOB_NAME: &str = "omjob.pipelines.openmetadata.org/name";
/// Label of an `OMJob`'s pods: which stage they are (crate `ompipe-api` has the values).
pub const POD_TYPE: &str = "omjob.pipelines.openmetadata.org/pod-type";

/// Annotation: the pipeline's name, as it is.
pub const PIPELINE_NAME: &str = "pipelines.openmetadata.org/pipeline-name";
/// Annotation: the pipeline's fully qualified name.
pub const PIPELINE_FQN: &str = "pipelines.openmetadata.org/pipeline-fqn";
/// Annotation: the fully qualified name of an automation or application.
pub const ENTITY_FQN: &str = "pipelines.openmetadata.org/entity-fqn";
/// Annotation of a schedule: its cron text before `scheduleSpread` moved it.
pub const UNSPREAD: &str = "pipelines.openmetadata.org/schedule-before-spread";
/// Annotation: the [`crate::Slug`] of the pipeline's objects.
pub const SLUG: &str = "pipelines.openmetadata.org/slug";
/// Annotation: SHA-256 of the workflow config in a revision's Secret.
pub const CONFIG_DIGEST: &str = "pipelines.openmetadata.org/config-sha256";
/// Annotation of a run whose id the OpenMetadata server made up: it has a row of it already.
pub const RECORDED: &str = "pipelines.openmetadata.org/recorded";
/// Annotation of a run that somebody triggered: when, RFC 3339 in microseconds. Kubernetes keeps
/// creation times in seconds, which does not tell which of two runs of one second came first.
pub const TRIGGERED_AT: &str = "pipelines.openmetadata.org/triggered-at";
/// Annotation of a Job that waits for its turn: the value of [`KUEUE_QUEUE`] that it gets then. Kueue, which
/// resumes Jobs too, must not know it before.
pub const QUEUE_NEXT: &str = "pipelines.openmetadata.org/next-queue";
/// Annotation: when a run last relied on a revision's Secret, RFC 3339.
pub const LAST_USED: &str = "pipelines.openmetadata.org/last-used";

/// Annotation of a pipeline's Secret: when somebody began to delete the pipeline, RFC 3339. Nothing is
/// added to the pipeline any more; whoever meets it finishes the deletion.
pub const DELETING: &str = "pipelines.openmetadata.org/deleting";
/// Annotation of a pipeline's Secret: when OpenMetadata asked to delete a pipeline of its name, RFC
/// 3339, and it was not clear which one. It is deleted once OpenMetadata no longer has it.
pub const DELETION_ASKED: &str = "pipelines.openmetadata.org/deletion-asked";

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
        (PIPELINE, pipeline_value(&identity.name)),
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

/// Labels of an automation or a run of an application, and of its pod.
#[must_use]
pub fn of_task(component: &str, run: RunId) -> Pairs {
    pairs([
        (NAME, NAME_VALUE.to_owned()),
        (COMPONENT, component.to_owned()),
        (MANAGED_BY, OMPIPE.to_owned()),
        (RUN_ID, run.to_string()),
    ])
}

/// A name as the value of [`PIPELINE`]: what upstream's Java client writes where that is clear
/// enough, else with a hash of the name. It does not depend on the service, which may be renamed.
#[must_use]
pub fn pipeline_value(name: &str) -> String {
    const DIGITS: usize = 6;
    let plain = upstream::label(name).unwrap_or_default();
    if plain == name.to_lowercase() {
        return plain;
    }
    let hash = &hex::encode(Sha256::digest(name))[..DIGITS];
    let base = if plain.is_empty() { "p" } else { &plain };
    format!("{base}-{hash}")
}

/// Selects the runs of a pipeline, those that upstream's Java client made too, with one query.
/// Runs of pipelines with the same name are among them: [`crate::Workload::belongs_to`] decides.
#[must_use]
pub fn run_selector(identity: &PipelineIdentity) -> String {
    let ours = pipeline_value(&identity.name);
    match upstream::label(&identity.name) {
        Some(upstream) if upstream != ours => format!("{PIPELINE} in ({ours},{upstream})"),
        Some(_) | None => format!("{PIPELINE}={ours}"),
    }
}

/// The FQN of the pipeline in the environment of its worker.
#[must_use]
pub fn fqn_in(variables: &[EnvVar]) -> Option<String> {
    let variable = variables.iter().find(|variable| variable.name == "ingestionPipelineFQN")?;
    // Kubernetes reads `$$` as `$`.
    Some(variable.value.as_ref()?.replace("$$", "$"))
}

/// Selects every object of one pipeline.
#[must_use]
pub fn selector(identity: &PipelineIdentity) -> String {
    format!("{PIPELINE_ID}={}", identity.id)
}

/// Selects every object of the pipelines with a name, and of some whose name is like it.
#[must_use]
pub fn selector_of_name(name: &str) -> String {
    format!("{MANAGED_BY}={OMPIPE},{PIPELINE_ID},{PIPELINE}={}", pipeline_value(name))
}

/// Selects the runs of every pipeline that wait for their turn.
#[must_use]
pub fn selector_of_queued() -> String {
    format!("{MANAGED_BY}={OMPIPE},{QUEUED}")
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

/// True for keys that ompipe, upstream's operator or the Job controller sets on pods: they carry
/// the identity of a run, so no configuration may change them.
#[must_use]
pub fn is_reserved(key: &str) -> bool {
    const DOMAINS: [&str; 3] = [
        "pipelines.openmetadata.org/",
        "omjob.pipelines.openmetadata.org/",
        "batch.kubernetes.io/",
    ];
    let ours = [NAME, COMPONENT, MANAGED_BY, PIPELINE, PIPELINE_TYPE, RUN_ID];
    ours.contains(&key) || DOMAINS.iter().any(|domain| key.starts_with(domain))
}

fn pairs<const N: usize>(pairs: [(&str, String); N]) -> Pairs {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::kubernetes::LabelValue;

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
        assert!(labels[PIPELINE].starts_with("my-pipeline-"));
        assert_eq!(labels[PIPELINE_TYPE], "testsuite");
        assert_eq!(labels[RUN_ID], run.to_string());
        assert_eq!(labels.len(), 7);
    }

    #[rstest]
    #[case::plain("nightly", "app.kubernetes.io/pipeline=nightly")]
    #[case::case_only("Nightly", "app.kubernetes.io/pipeline=nightly")]
    #[case::punctuation("my_job", "app.kubernetes.io/pipeline in (my-job-a34d9e,my-job)")]
    #[case::upstream_cannot("数据", "app.kubernetes.io/pipeline=p-0bf05b")]
    fn one_query_finds_our_runs_and_upstreams(#[case] name: &str, #[case] expected: &str) {
        let hash = &hex::encode(Sha256::digest(name))[..6];
        let expected = expected.replace("a34d9e", hash).replace("0bf05b", hash);
        assert_eq!(run_selector(&pipeline(name).identity), expected);
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
