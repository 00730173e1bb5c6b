# SPDX-License-Identifier: Apache-2.0
"""What a pod and its events say about its end, as text for people.

Pods and events come as the plain JSON objects of the Kubernetes API.
"""

from collections.abc import Iterator
from typing import Any

EVENTS_SHOWN = 10


def describe(pod: dict[str, Any], events: list[dict[str, Any]], log: str) -> str:
    """The whole text: the pod, its latest events, and the end of its log."""
    lines = ["Pod Description:", *_pod_lines(pod), *_event_lines(events), "", "Pod Logs:", log or "(none)"]
    return "\n".join(lines)


def _pod_lines(pod: dict[str, Any]) -> Iterator[str]:
    status = pod.get("status", {})
    yield f"Pod: {pod['metadata']['name']}"
    yield f"Namespace: {pod['metadata']['namespace']}"
    for label, key in (("Phase", "phase"), ("Reason", "reason"), ("Message", "message")):
        if status.get(key):
            yield f"{label}: {status[key]}"
    for container in status.get("containerStatuses") or []:
        yield (
            f"Container {container['name']}: ready {container.get('ready')}, "
            f"restarts {container.get('restartCount', 0)}, {_state(container.get('state') or {})}"
        )


def _state(state: dict[str, Any]) -> str:
    if terminated := state.get("terminated"):
        return f"terminated: {terminated.get('reason', 'unknown')}, exit code {terminated.get('exitCode')}"
    if waiting := state.get("waiting"):
        return f"waiting: {waiting.get('reason', 'unknown')}"
    if running := state.get("running"):
        return f"running since {running.get('startedAt')}"
    return "in an unknown state"


def _event_lines(events: list[dict[str, Any]]) -> Iterator[str]:
    if events:
        yield "Events:"
    for event in sorted(events, key=_time)[-EVENTS_SHOWN:]:
        yield f"  {_time(event)} {event.get('type')} {event.get('reason')}: {event.get('message')}"


def _time(event: dict[str, Any]) -> str:
    """When an event was last seen; RFC 3339 in UTC, so text order is time order."""
    seen = event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp")
    return seen or event.get("metadata", {}).get("creationTimestamp") or ""
