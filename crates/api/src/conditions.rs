//! The conditions of an `OMJob`, as `kubectl wait --for=condition=Reported` reads them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use ompipe_core::omjob::{self, ConditionKind, Status};

use crate::record::capped;

/// The conditions that say `record`. Each keeps the time of its last change, and those that
/// somebody else keeps here stay.
pub(crate) fn of(
    record: &Status,
    previous: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let is_ours = |condition: &Condition| {
        ConditionKind::ALL.iter().any(|kind| kind.as_str() == condition.type_)
    };
    let foreign = previous.iter().filter(|condition| !is_ours(condition)).cloned();
    let ours = record.conditions().into_iter().map(|condition| {
        let mut condition = written(&condition, generation, now);
        let same =
            |old: &&Condition| old.type_ == condition.type_ && old.status == condition.status;
        if let Some(old) = previous.iter().find(same) {
            condition.last_transition_time = old.last_transition_time.clone();
        }
        condition
    });
    ours.chain(foreign).collect()
}

/// Whether a condition of that kind is true.
pub(crate) fn holds(conditions: &[Condition], kind: ConditionKind) -> bool {
    conditions
        .iter()
        .any(|condition| condition.type_ == kind.as_str() && condition.status == "True")
}

fn written(condition: &omjob::Condition, generation: Option<i64>, now: Timestamp) -> Condition {
    let status = match condition.holds {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    Condition {
        type_: condition.kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: condition.reason.to_owned(),
        message: capped(&condition.message),
        observed_generation: generation,
        last_transition_time: Time(now),
    }
}
