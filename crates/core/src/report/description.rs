//! What the cluster knows about a pod and its end, as text for people: the diagnostics of a row.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Event, Pod,
    PodSpec, PodStatus,
};

use crate::pod::{MAIN_CONTAINER, signal_of};

/// Lines of the log that belong into a row
/// (docs/contracts/upstream-java-client.md#exit-handler-process).
pub const LOG_LINES: u16 = 500;
/// The same in bytes: a row is a row of a database, and a line may be long.
pub const LOG_BYTES: usize = 64 << 10;

/// The heading above the end of the log.
pub(super) const LOG_TITLE: &str = "Pod Logs:";

/// The latest events are enough to see what happened.
const MAX_EVENTS: usize = 10;
/// Longest message of Kubernetes that is kept, in characters: some repeat every node by name.
const MAX_MESSAGE: usize = 1000;

/// The whole text: the pod, its latest events by time, and the end of its log.
#[must_use]
pub fn describe(pod: &Pod, events: &[Event], log: &str) -> String {
    let mut lines = vec!["Pod Description:".to_owned()];
    lines.extend(of_pod(pod));
    lines.extend(of_events(events));
    lines.push(String::new());
    lines.push(LOG_TITLE.to_owned());
    lines.push(if log.is_empty() { "(none)".to_owned() } else { log.to_owned() });
    lines.join("\n")
}

fn of_pod(pod: &Pod) -> Vec<String> {
    let (spec, status) = (pod.spec.clone().unwrap_or_default(), pod.status.clone());
    let status = status.unwrap_or_default();
    let named = [
        ("Pod", pod.metadata.name.as_ref()),
        ("Namespace", pod.metadata.namespace.as_ref()),
        ("Node", spec.node_name.as_ref()),
        ("Phase", status.phase.as_ref()),
        ("Reason", status.reason.as_ref()),
        ("Message", status.message.as_ref()),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let mut lines: Vec<_> =
        named.map(|(name, value)| format!("{name}: {}", shortened(value))).collect();
    lines.extend(of_conditions(&status));
    lines.extend(of_containers(&spec, &status));
    lines
}

/// The conditions that say why a pod did not run, or was taken away.
fn of_conditions(status: &PodStatus) -> impl Iterator<Item = String> {
    const TELLING: [(&str, &str); 2] = [("PodScheduled", "False"), ("DisruptionTarget", "True")];
    let conditions = status.conditions.iter().flatten();
    let telling = conditions.filter(|c| TELLING.contains(&(c.type_.as_str(), c.status.as_str())));
    telling.map(|condition| {
        let reason = condition.reason.as_deref().unwrap_or("no reason");
        let message = shortened(condition.message.as_deref().unwrap_or_default());
        format!("{} {}: {reason}: {message}", condition.type_, condition.status)
    })
}

fn of_containers(spec: &PodSpec, status: &PodStatus) -> impl Iterator<Item = String> {
    let init = status.init_container_statuses.iter().flatten();
    let containers = init.chain(status.container_statuses.iter().flatten());
    containers.map(|container| {
        let state = container.state.as_ref().map(|state| of_state(state, spec, container));
        let state = state.unwrap_or_else(|| "in an unknown state".to_owned());
        format!("Container {}: {state}", container.name)
    })
}

fn of_state(state: &ContainerState, spec: &PodSpec, container: &ContainerStatus) -> String {
    if let Some(terminated) = &state.terminated {
        return of_terminated(terminated, spec, container);
    }
    if let Some(ContainerStateWaiting { reason, message }) = &state.waiting {
        let message = message.as_deref().map(|text| format!(": {}", shortened(text)));
        let reason = reason.as_deref().unwrap_or("for no known reason");
        return format!("waiting: {reason}{}", message.unwrap_or_default());
    }
    let started = state.running.as_ref().and_then(|running| running.started_at.as_ref());
    started.map_or_else(|| "running".to_owned(), |time| format!("running since {}", time.0))
}

fn of_terminated(
    terminated: &ContainerStateTerminated,
    spec: &PodSpec,
    container: &ContainerStatus,
) -> String {
    let reason = terminated.reason.as_deref().unwrap_or("for no known reason");
    let code = terminated.exit_code;
    let mut text = format!("terminated: {reason}, exit code {code}");
    let signal = terminated.signal.or_else(|| signal_of(code));
    // Writing to a string cannot fail.
    if let Some(signal) = signal {
        let _ = write!(text, ", signal {signal}");
    }
    if reason == "OOMKilled" {
        let limit = limit_of(spec, &container.name).unwrap_or("none of its own");
        let _ = write!(text, ", memory limit {limit}");
    }
    if let (Some(started), Some(finished)) = (&terminated.started_at, &terminated.finished_at) {
        let _ = write!(text, ", ran from {} to {}", started.0, finished.0);
    }
    text
}

/// The memory limit of the worker's container.
#[must_use]
pub fn memory_limit(pod: &Pod) -> Option<&str> {
    limit_of(pod.spec.as_ref()?, MAIN_CONTAINER)
}

fn limit_of<'s>(spec: &'s PodSpec, name: &str) -> Option<&'s str> {
    let init = spec.init_containers.iter().flatten();
    let container = init.chain(&spec.containers).find(|container| container.name == name)?;
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    limits.get("memory").map(|limit| limit.0.as_str())
}

fn of_events(events: &[Event]) -> Vec<String> {
    let mut events: Vec<_> = events.iter().map(|event| (last_seen(event), event)).collect();
    events.sort_by_key(|(time, _)| *time);
    let latest = events.split_off(events.len().saturating_sub(MAX_EVENTS));
    let title = (!latest.is_empty()).then(|| "Events:".to_owned());
    title.into_iter().chain(latest.into_iter().map(of_event)).collect()
}

fn of_event((time, event): (Option<Timestamp>, &Event)) -> String {
    let time = time.map(|time| time.to_string());
    let text = |field: &Option<String>| shortened(field.as_deref().unwrap_or_default());
    format!(
        "  {} {} {}: {}",
        time.unwrap_or_default(),
        text(&event.type_),
        text(&event.reason),
        text(&event.message)
    )
}

/// An event that repeats keeps its first time, and says in one of several places when it was last.
fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let series = series.map(|time| time.0);
    let times = [&event.last_timestamp, &event.first_timestamp];
    let micro = event.event_time.as_ref().map(|time| time.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let [last, first] = times.map(|time| time.as_ref().map(|time| time.0));
    series.or(last).or(micro).or(first).or(created)
}

/// On one line, of a length that people read.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "om-job-p-a1b2c3d4-main", "namespace": "n" },
            "spec": { "nodeName": "node-1", "containers": [
                { "name": "main", "resources": { "limits": { "memory": "512Mi" } } },
            ]},
            "status": status,
        }))
        .unwrap()
    }

    fn main_in(state: &Value) -> Pod {
        pod(&json!({ "phase": "Failed", "containerStatuses": [{
            "name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": state,
        }]}))
    }

    #[test]
    fn the_whole_text() {
        let state = json!({ "terminated": {
            "reason": "OOMKilled", "exitCode": 137,
            "startedAt": "2026-01-01T12:00:00Z", "finishedAt": "2026-01-01T12:01:00Z",
        }});
        let event: Event = serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {}, "type": "Normal", "reason": "Started",
            "message": "Started container", "lastTimestamp": "2026-01-01T12:00:00Z",
        }))
        .unwrap();
        assert_eq!(
            describe(&main_in(&state), &[event], "last line"),
            "Pod Description:\n\
             Pod: om-job-p-a1b2c3d4-main\n\
             Namespace: n\n\
             Node: node-1\n\
             Phase: Failed\n\
             Container main: terminated: OOMKilled, exit code 137, signal 9, memory limit 512Mi, \
             ran from 2026-01-01T12:00:00Z to 2026-01-01T12:01:00Z\n\
             Events:\n\
             \x20 2026-01-01T12:00:00Z Normal Started: Started container\n\
             \n\
             Pod Logs:\n\
             last line"
        );
    }

    #[rstest]
    #[case(json!({ "waiting": { "reason": "ErrImagePull", "message": "no\nsuch image" } }), "waiting: ErrImagePull: no such image")]
    #[case(json!({ "waiting": {} }), "waiting: for no known reason")]
    #[case(json!({ "running": { "startedAt": "2026-01-01T12:00:00Z" } }), "running since 2026-01-01T12:00:00Z")]
    #[case(json!({ "terminated": { "exitCode": 1, "reason": "Error" } }), "terminated: Error, exit code 1")]
    #[case(json!({ "terminated": { "exitCode": 143 } }), "exit code 143, signal 15")]
    #[case(json!({}), "running")]
    fn states(#[case] state: Value, #[case] expected: &str) {
        let text = describe(&main_in(&state), &[], "");
        assert!(text.contains(&format!("{expected}\n")), "{text}");
        assert!(text.ends_with("Pod Logs:\n(none)"), "{text}");
    }

    #[test]
    fn why_a_pod_was_taken_away_or_found_no_node() {
        let text = describe(
            &pod(&json!({ "reason": "Evicted", "message": "low on memory", "conditions": [
                { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" },
                { "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI" },
                { "type": "Ready", "status": "False" },
            ]})),
            &[],
            "",
        );
        for line in [
            "Reason: Evicted",
            "Message: low on memory",
            "PodScheduled False: Unschedulable: 0/1 nodes",
            "DisruptionTarget True: EvictionByEvictionAPI: ",
        ] {
            assert!(text.lines().any(|said| said == line), "{line:?} in\n{text}");
        }
        assert!(!text.contains("Ready"), "{text}");
    }

    #[test]
    fn the_latest_events_by_time_whatever_says_it() {
        let event = |name: &str, time: Value| -> Event {
            let mut event = json!({ "metadata": {}, "involvedObject": {}, "reason": name });
            event.as_object_mut().unwrap().extend(time.as_object().unwrap().clone());
            serde_json::from_value(event).unwrap()
        };
        let minute = |minute: usize| format!("2026-01-01T12:{minute:02}:00Z");
        let mut events: Vec<_> = (0..12)
            .map(|number| event(&format!("E{number}"), json!({ "lastTimestamp": minute(number) })))
            .collect();
        events.push(event("New", json!({ "eventTime": "2026-01-01T13:00:00.000000Z" })));
        let series = json!({ "lastObservedTime": "2026-01-01T13:01:00.000000Z" });
        events.push(event("Again", json!({ "firstTimestamp": minute(0), "series": series })));
        events.push(event("Timeless", json!({})));
        events.reverse();
        let text = describe(&pod(&json!({})), &events, "");
        let told: Vec<_> = text.lines().filter(|line| line.starts_with("  ")).collect();
        assert_eq!(told.len(), MAX_EVENTS);
        assert!(told[0].contains("E4") && told[8].contains("New") && told[9].contains("Again"));
    }
}
