//! The `OMJob` of one slot.

use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};
use ompipe_api::{CronOMJob, OMJob, OMJobSpec, StagePodSpec, TRIGGER, fill_placeholders};
use ompipe_core::labels;
use uuid::Uuid;

/// What kubectl keeps of an object of another kind; copied, it would mislead the next apply.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The child of that name. Called twice it is the same, so that a lost answer does no harm.
pub(super) fn build(schedule: &CronOMJob, name: &str) -> OMJob {
    let run_id = run_id(schedule, name);
    let mut labels = schedule.labels().clone();
    labels.insert(labels::RUN_ID.to_owned(), run_id.clone());
    let mut annotations = schedule.annotations().clone();
    annotations.retain(|key, _| key != LAST_APPLIED && key != TRIGGER);
    OMJob {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: schedule.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: schedule.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: filled(&schedule.spec.om_job_spec, &run_id, name),
        status: None,
    }
}

/// A UUID that the slot determines.
fn run_id(schedule: &CronOMJob, name: &str) -> String {
    let space = schedule.uid().and_then(|uid| uid.parse().ok()).unwrap_or(Uuid::NAMESPACE_OID);
    Uuid::new_v5(&space, name.as_bytes()).to_string()
}

/// The specification with upstream's two placeholders filled.
fn filled(spec: &OMJobSpec, run_id: &str, name: &str) -> OMJobSpec {
    let mut spec = spec.clone();
    fill(&mut spec.main_pod_spec, run_id, name);
    if let Some(exit_handler) = &mut spec.exit_handler_spec {
        fill(exit_handler, run_id, name);
    }
    spec
}

fn fill(stage: &mut StagePodSpec, run_id: &str, name: &str) {
    fill_placeholders(stage.env.as_mut(), run_id, name);
    // A run id in the template's labels would be the same for every run.
    if let Some(label) = stage.labels.as_mut().and_then(|all| all.get_mut(labels::RUN_ID)) {
        run_id.clone_into(label);
    }
}

#[cfg(test)]
mod tests {
    use ompipe_api::{NAME_PLACEHOLDER, RUN_ID_PLACEHOLDER};
    use serde_json::{Value, json};

    use super::*;

    fn schedule() -> CronOMJob {
        serde_json::from_value(json!({
            "metadata": {
                "name": "c", "namespace": "n", "uid": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
                "labels": { "app.kubernetes.io/pipeline": "shop" },
                "annotations": { LAST_APPLIED: "{}", TRIGGER: "now", "team": "data" },
            },
            "spec": { "schedule": "0 0 * * *", "omJobSpec": {
                "mainPodSpec": {
                    "image": "i", "labels": { "app.kubernetes.io/run-id": "template" },
                    "env": [
                        { "name": "pipelineRunId", "value": RUN_ID_PLACEHOLDER },
                        { "name": "jobName", "value": NAME_PLACEHOLDER },
                        { "name": "note", "value": "of {{ omjob.name }}" },
                    ],
                },
                "exitHandlerSpec": { "image": "i", "env": [
                    { "name": "jobName", "value": NAME_PLACEHOLDER },
                ]},
            }},
        }))
        .unwrap()
    }

    fn values(stage: &StagePodSpec) -> Vec<&str> {
        stage.env.iter().flatten().filter_map(|variable| variable.value.as_deref()).collect()
    }

    #[test]
    fn a_child_has_its_own_run_id_everywhere() {
        let child = build(&schedule(), "c-1767225600");
        let run_id = child.labels()[labels::RUN_ID].clone();
        let main = &child.spec.main_pod_spec;
        assert_eq!(values(main), [run_id.as_str(), "c-1767225600", "of {{ omjob.name }}"]);
        assert_eq!(main.labels.as_ref().unwrap()[labels::RUN_ID], run_id);
        assert_eq!(values(child.spec.exit_handler_spec.as_ref().unwrap()), ["c-1767225600"]);
        assert_ne!(run_id, build(&schedule(), "c-1767229200").labels()[labels::RUN_ID]);
        assert_eq!(run_id, build(&schedule(), "c-1767225600").labels()[labels::RUN_ID]);
    }

    #[test]
    fn a_child_is_its_schedules_and_takes_only_what_is_meant_for_it() {
        let child = build(&schedule(), "c-1767225600");
        let owner = serde_json::to_value(&child.owner_references()[0]).unwrap();
        assert_eq!(owner["kind"], Value::from("CronOMJob"));
        assert_eq!(owner["controller"], Value::from(true));
        assert_eq!(child.labels()["app.kubernetes.io/pipeline"], "shop");
        assert_eq!(child.annotations().keys().collect::<Vec<_>>(), ["team"]);
    }
}
