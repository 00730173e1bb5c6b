//! `retryWithMoreMemory`: what a worker gets after an OOM kill.

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::Mode;
use crate::fields::Fields;
use crate::{Problem, Quantity};

const KEY: &str = "retryWithMoreMemory";
/// What the memory limit is multiplied by where only the largest limit is given.
const FACTOR: u32 = 2;
/// The largest factor.
const MOST: i64 = 10;

/// How the worker's memory limit grows.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryRetry {
    /// What each OOM kill multiplies it by.
    pub factor: u32,
    /// The largest limit.
    pub limit: Quantity,
}

impl MemoryRetry {
    pub(super) fn read(fields: &mut Fields<'_>, worker: &ResourceRequirements) -> Option<Self> {
        fields.object(KEY, |fields| {
            let factor = fields.integer("factor", FACTOR.into()..=MOST);
            let factor = factor.and_then(|factor| factor.try_into().ok()).unwrap_or(FACTOR);
            let limit = limit(fields, worker);
            fields.refuse_unknown();
            Some(Self { factor, limit: limit? })
        })?
    }
}

/// The largest limit, which has to be above the first.
fn limit(fields: &mut Fields<'_>, worker: &ResourceRequirements) -> Option<Quantity> {
    const LIMIT: &str = "limit";
    if fields.value(LIMIT).is_none() {
        fields.missing(LIMIT, "the largest memory limit, such as 16Gi");
        return None;
    }
    let largest: Quantity = fields.parsed(LIMIT)?;
    if largest.bytes().is_none() {
        return fields.note(LIMIT, "must be an amount of memory such as 16Gi");
    }
    let written = worker.limits.as_ref().and_then(|limits| limits.get("memory"));
    match written.and_then(|written| written.0.parse::<Quantity>().ok()) {
        Some(first) if !largest.exceeds(&first) => {
            let first = first.to_kubernetes().0;
            fields
                .note(LIMIT, format!("must be more than resources.limits.memory, which is {first}"))
        }
        Some(_) | None => Some(largest),
    }
}

/// The pods of a Job cannot differ from each other.
pub(super) fn note_without_operator(fields: &mut Fields<'_>, mode: Mode) -> Option<Problem> {
    let is_given = fields.value(KEY).is_some();
    (is_given && mode == Mode::Job).then(|| {
        let remedy =
            "has no effect without useOMJobOperator: the attempts of a Job have the same memory";
        Problem::without_value(fields.path_of(KEY), remedy)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Map, Value, json};

    use super::*;

    fn read(value: Value) -> (Option<MemoryRetry>, Vec<String>) {
        let map = Map::from_iter([(KEY.to_owned(), value)]);
        let worker = json!({ "limits": { "memory": "4Gi" } });
        let mut fields = Fields::new("", &map);
        let read = MemoryRetry::read(&mut fields, &serde_json::from_value(worker).unwrap());
        (read, fields.into_problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_factor_has_a_default() {
        let (read, problems) = read(json!({ "limit": "16Gi" }));
        let limit = "16Gi".parse().unwrap();
        assert_eq!((read, problems), (Some(MemoryRetry { factor: 2, limit }), vec![]));
    }

    #[rstest]
    #[case::no_limit(json!({ "factor": 3 }), "the largest memory limit")]
    #[case::below_the_first(json!({ "limit": "4096Mi" }), "resources.limits.memory, which is 4Gi")]
    #[case::no_quantity(json!({ "limit": "much" }), "must be a quantity")]
    #[case::too_much(json!({ "limit": "16Ei" }), "an amount of memory")]
    #[case::factor(json!({ "factor": 1, "limit": "8Gi" }), "2")]
    #[case::misspelt(json!({ "limt": "8Gi", "limit": "8Gi" }), "limit")]
    #[case::no_map(json!("8Gi"), "must be")]
    fn what_cannot_be_is_refused(#[case] value: Value, #[case] remedy: &str) {
        let (_, problems) = read(value);
        assert!(problems.len() == 1 && problems[0].contains(remedy), "{problems:?}");
    }

    #[rstest]
    #[case::job(json!({ "limit": "8Gi" }), Mode::Job, true)]
    #[case::operator(json!({ "limit": "8Gi" }), Mode::Operator, false)]
    #[case::not_given(Value::Null, Mode::Job, false)]
    fn mode_job_says_that_it_has_no_effect(
        #[case] value: Value,
        #[case] mode: Mode,
        #[case] expected: bool,
    ) {
        let map = Map::from_iter([(KEY.to_owned(), value)]);
        let note = note_without_operator(&mut Fields::new("", &map), mode);
        assert_eq!(note.is_some(), expected);
    }
}
