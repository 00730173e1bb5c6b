//! What keeps a pod from starting that only its events tell: its status says no more than
//! `ContainerCreating` or `PodInitializing` then.

use k8s_openapi::api::core::v1::Event;

use super::{Reason, Trouble};

/// What the newest telling warning about a pod says.
#[must_use]
pub fn trouble_in_events(events: &[Event]) -> Option<Trouble> {
    let telling = events.iter().filter_map(|event| Some((event, reason_of(event)?)));
    let (event, reason) = telling.max_by_key(|(event, _)| last_seen(event))?;
    Some(Trouble::new(reason, event.message.clone().unwrap_or_default()))
}

fn reason_of(event: &Event) -> Option<Reason> {
    if event.type_.as_deref() != Some("Warning") {
        return None;
    }
    Some(match event.reason.as_deref()? {
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" | "VolumeResizeFailed" => {
            Reason::Mount
        }
        "FailedCreatePodSandBox"
        | "FailedPodSandBoxStatus"
        | "NetworkNotReady"
        | "FailedCreatePodContainer" => Reason::Sandbox,
        _ => return None,
    })
}

/// An event that repeats says in one of several places when it was last seen.
fn last_seen(event: &Event) -> Option<jiff::Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let micro = event.event_time.as_ref().map(|time| time.0);
    series.map(|time| time.0).or(last).or(micro)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn event(kind: &str, reason: &str, message: &str, time: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {}, "type": kind, "reason": reason,
            "message": message, "lastTimestamp": time,
        }))
        .unwrap()
    }

    #[rstest]
    #[case::mount("Warning", "FailedMount", Some(Reason::Mount))]
    #[case::attach("Warning", "FailedAttachVolume", Some(Reason::Mount))]
    #[case::network("Warning", "FailedCreatePodSandBox", Some(Reason::Sandbox))]
    #[case::good("Normal", "FailedMount", None)]
    #[case::something_else("Warning", "Unhealthy", None)]
    fn only_what_keeps_a_pod_from_starting(
        #[case] kind: &str,
        #[case] reason: &str,
        #[case] expected: Option<Reason>,
    ) {
        let event = event(kind, reason, "m", "2026-01-01T12:00:00Z");
        let trouble = trouble_in_events(&[event]);
        assert_eq!(trouble, expected.map(|reason| Trouble::new(reason, "m")));
    }

    #[test]
    fn the_newest_counts() {
        let events = [
            event("Warning", "FailedMount", "secret \"a\" not found", "2026-01-01T12:00:05Z"),
            event("Warning", "FailedCreatePodSandBox", "no network", "2026-01-01T12:00:01Z"),
        ];
        let trouble = trouble_in_events(&events).unwrap();
        assert_eq!(trouble, Trouble::new(Reason::Mount, "secret \"a\" not found"));
    }
}
