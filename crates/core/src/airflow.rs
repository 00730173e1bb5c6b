//! `airflowConfig` of a pipeline, apart from its schedule: what takes effect, and what does not.

use jiff::{Timestamp, civil, tz};
use serde_json::Value;

use crate::fields::Fields;

/// Keys of `airflowConfig` in OpenMetadata's schema.
pub(crate) const KEYS: &[&str] = &[
    "concurrency",
    "email",
    "endDate",
    "maxActiveRuns",
    "pausePipeline",
    "pipelineCatchup",
    "pipelineTimezone",
    "retries",
    "retryDelay",
    "scheduleInterval",
    "startDate",
    "workflowDefaultView",
    "workflowDefaultViewOrientation",
    "workflowTimeout",
];
/// The default retry delay of OpenMetadata's schema, in seconds.
const DEFAULT_RETRY_DELAY: i64 = 300;

/// What a pipeline says about its own runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AirflowConfig {
    /// How often a failed run is tried again; `None` leaves it to the configuration, as does the 0
    /// that OpenMetadata's forms send by default.
    pub retries: Option<i32>,
    /// After how many seconds a run is stopped; `None` leaves it to the configuration.
    pub workflow_timeout: Option<i64>,
    /// Whether the schedule is off until somebody switches it on, if that is said.
    pub pause_pipeline: Option<bool>,
    start: Option<Moment>,
    end: Option<Moment>,
    has_retry_delay: bool,
    wants_catchup: bool,
}

/// A date that somebody wrote; `None` inside when it cannot be read.
type Moment = Option<Timestamp>;

impl AirflowConfig {
    /// Reads the keys that are about runs. `by_hand` says that a person wrote them: then a value
    /// counts though it is the default.
    pub(crate) fn read(fields: &mut Fields<'_>, by_hand: bool) -> Self {
        let retry_delay = fields.integer("retryDelay", 0..=i64::MAX);
        let retries = fields.integer("retries", 0..=i32::MAX.into());
        Self {
            retries: retries.and_then(|retries| i32::try_from(retries).ok()).filter(|n| *n > 0),
            workflow_timeout: fields.integer("workflowTimeout", 0..=i64::MAX).filter(|n| *n > 0),
            pause_pipeline: fields.boolean("pausePipeline"),
            start: fields.value("startDate").and_then(moment),
            end: fields.value("endDate").and_then(moment),
            has_retry_delay: retry_delay
                .is_some_and(|delay| by_hand || delay != DEFAULT_RETRY_DELAY),
            wants_catchup: fields.boolean("pipelineCatchup").unwrap_or(false),
        }
    }

    /// One sentence for each key that has no effect. A start that has passed needs none, and without
    /// a schedule there is nothing for dates to bound.
    pub(crate) fn without_effect(&self, now: Timestamp, is_scheduled: bool) -> Vec<String> {
        let lies_ahead = |start: Moment| start.is_none_or(|start| start > now);
        let starts_later = self.start.is_some_and(lies_ahead);
        let all = [
            (
                is_scheduled && starts_later,
                "startDate has no effect: the schedule starts now; set enabled: false to hold it \
                 back",
            ),
            (
                is_scheduled && self.end.is_some(),
                "endDate has no effect: the schedule continues until it is switched off",
            ),
            (
                is_scheduled && self.wants_catchup,
                "pipelineCatchup has no effect: slots that were missed are not run later",
            ),
            (
                self.has_retry_delay,
                "retryDelay has no effect: Kubernetes waits 10 seconds before the first retry and \
                 twice as long before each further one",
            ),
        ];
        let told = all.iter().filter(|(holds, _)| *holds);
        told.map(|(_, sentence)| format!("airflowConfig.{sentence}")).collect()
    }
}

/// A date as OpenMetadata's servers send it (milliseconds or ISO 8601) or as people write it; an
/// emptied form field is none.
fn moment(value: &Value) -> Option<Moment> {
    if let Some(milliseconds) = value.as_i64() {
        return Some(Timestamp::from_millisecond(milliseconds).ok());
    }
    let text = value.as_str().unwrap_or_default().trim();
    let local = || text.parse::<civil::DateTime>().ok()?.to_zoned(tz::TimeZone::UTC).ok();
    let read = || text.parse().ok().or_else(|| local().map(|zoned| zoned.timestamp()));
    (!text.is_empty()).then(read)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn read(document: &Value, by_hand: bool) -> AirflowConfig {
        AirflowConfig::read(&mut Fields::new("", document.as_object().unwrap()), by_hand)
    }

    #[rstest]
    #[case(json!({ "retries": 0, "workflowTimeout": null }), None, None)]
    #[case(json!({}), None, None)]
    #[case(json!({ "retries": 2, "workflowTimeout": 600 }), Some(2), Some(600))]
    #[case(json!({ "retries": "2", "workflowTimeout": 0 }), Some(2), None)]
    fn zero_leaves_it_to_the_configuration(
        #[case] document: Value,
        #[case] retries: Option<i32>,
        #[case] timeout: Option<i64>,
    ) {
        let config = read(&document, false);
        assert_eq!((config.retries, config.workflow_timeout), (retries, timeout));
    }

    #[rstest]
    #[case(json!({ "startDate": "2030-01-01T00:00:00" }), &["startDate"])]
    #[case(json!({ "startDate": "2030-01-01" }), &["startDate"])]
    #[case(json!({ "startDate": "2030-01-01T00:00:00Z" }), &["startDate"])]
    #[case(json!({ "startDate": 1_900_000_000_000_i64 }), &["startDate"])]
    #[case(json!({ "startDate": "soon" }), &["startDate"])]
    #[case(json!({ "startDate": 1_700_000_000_000_i64 }), &[])]
    #[case(json!({ "startDate": "", "endDate": null }), &[])]
    #[case(json!({ "startDate": "2020-01-01", "endDate": "2021-01-01" }), &["endDate"])]
    #[case(json!({ "pipelineCatchup": true, "retryDelay": 60 }), &["pipelineCatchup", "retryDelay"])]
    #[case(json!({ "pipelineCatchup": false, "retryDelay": 300 }), &[])]
    fn what_has_no_effect_is_told(#[case] document: Value, #[case] keys: &[&str]) {
        let told = read(&document, false).without_effect(NOW, true);
        assert_eq!(told.len(), keys.len(), "{told:?}");
        for (sentence, key) in told.iter().zip(keys) {
            assert!(sentence.starts_with(&format!("airflowConfig.{key} has no effect")));
        }
    }

    #[test]
    fn what_a_person_wrote_counts_though_it_is_the_default() {
        let told = read(&json!({ "retryDelay": 300 }), true).without_effect(NOW, false);
        assert_eq!(told.len(), 1, "{told:?}");
    }
}
