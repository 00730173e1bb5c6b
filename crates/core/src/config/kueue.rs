//! `queueName` and `workloadPriorityClass`: in which queue of Kueue the runs of a pipeline wait, and
//! with which priority; for every pipeline, those of one service, and one pipeline.

use serde_json::Value;

use super::by_name::{ByName, scalar};
use crate::Problem;
use crate::fields::{Fields, scalar_text};
use crate::kubernetes::ObjectName;
use crate::labels::{KUEUE_PRIORITY, KUEUE_QUEUE, Pairs};

/// Queues and priorities of pipelines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kueue {
    queues: Names,
    priorities: Names,
}

/// One name for every pipeline, and others for services and pipelines; `None` takes it away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    every: Option<ObjectName>,
    by_name: ByName<Option<ObjectName>>,
}

impl Kueue {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            queues: Names::read(fields, "queueName", ["serviceQueueNames", "pipelineQueueNames"]),
            priorities: Names::read(
                fields,
                "workloadPriorityClass",
                ["serviceWorkloadPriorityClasses", "pipelineWorkloadPriorityClasses"],
            ),
        }
    }

    /// True when any pipeline has a queue.
    #[must_use]
    pub fn is_used(&self) -> bool {
        let Names { every, by_name } = &self.queues;
        every.is_some() || by_name.values().any(Option::is_some)
    }

    /// The labels by which Kueue knows the runs of a pipeline; none where it has no queue.
    #[must_use]
    pub fn labels(&self, service: Option<&str>, pipeline_fqn: &str) -> Pairs {
        let Some(queue) = self.queues.of(service, pipeline_fqn) else { return Pairs::new() };
        let priority = self.priorities.of(service, pipeline_fqn);
        let label = |key: &str, name: &ObjectName| (key.to_owned(), name.to_string());
        let priority = priority.map(|class| label(KUEUE_PRIORITY, class));
        priority.into_iter().chain([label(KUEUE_QUEUE, queue)]).collect()
    }
}

impl Names {
    fn read(fields: &mut Fields<'_>, every: &'static str, others: [&'static str; 2]) -> Self {
        Self { every: fields.parsed(every), by_name: ByName::read(fields, others, "names", name) }
    }

    /// That of the pipeline, else of its service, else everybody's.
    fn of(&self, service: Option<&str>, pipeline_fqn: &str) -> Option<&ObjectName> {
        self.by_name.nearest(service, pipeline_fqn).unwrap_or(&self.every).as_ref()
    }
}

/// A name; an empty text means none.
fn name(path: &str, value: &Value) -> Result<Option<ObjectName>, Vec<Problem>> {
    let is_none = scalar_text(value).unwrap_or_default().is_empty();
    if is_none { Ok(None) } else { scalar(path, value).map(Some) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> (Kueue, Vec<String>) {
        let mut fields = Fields::new("", value.as_object().unwrap());
        let read = Kueue::read(&mut fields);
        (read, fields.into_problems().iter().map(ToString::to_string).collect())
    }

    #[rstest]
    #[case::everybody("a", "a.x", json!({ (KUEUE_QUEUE): "batch", (KUEUE_PRIORITY): "low" }))]
    #[case::service("b", "b.x", json!({ (KUEUE_QUEUE): "fast", (KUEUE_PRIORITY): "low" }))]
    #[case::pipeline("b", "b.y", json!({ (KUEUE_QUEUE): "slow", (KUEUE_PRIORITY): "high" }))]
    #[case::none("b", "b.z", json!({}))]
    fn the_most_specific_name_counts(
        #[case] service: &str,
        #[case] pipeline: &str,
        #[case] expected: Value,
    ) {
        let (kueue, problems) = read(&json!({
            "queueName": "batch", "serviceQueueNames": { "b": "fast" },
            "pipelineQueueNames": { "b.y": "slow", "b.z": "" },
            "workloadPriorityClass": "low", "pipelineWorkloadPriorityClasses": { "b.y": "high" },
        }));
        assert_eq!(problems, Vec::<String>::new());
        assert!(kueue.is_used());
        assert_eq!(serde_json::to_value(kueue.labels(Some(service), pipeline)).unwrap(), expected);
    }

    /// Without a queue Kueue does not know the run, whatever its priority.
    #[test]
    fn a_priority_alone_is_no_label() {
        let (kueue, _) = read(&json!({ "workloadPriorityClass": "low" }));
        assert!(!kueue.is_used() && kueue.labels(None, "a.x").is_empty());
    }

    #[rstest]
    #[case(json!({ "queueName": "No Name" }), "queueName")]
    #[case(json!({ "serviceQueueNames": "batch" }), "a map from names")]
    #[case(json!({ "pipelineQueueNames": { "a.x": "No Name" } }), "pipelineQueueNames.a.x")]
    fn a_name_that_no_object_has_is_refused(#[case] value: Value, #[case] told: &str) {
        let (_, problems) = read(&value);
        assert!(problems.len() == 1 && problems[0].contains(told), "{problems:?}");
    }
}
