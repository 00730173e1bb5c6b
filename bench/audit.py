# SPDX-License-Identifier: Apache-2.0
"""The API server's own record of what an operator asked of it, and when.

It is of the server's making, to the microsecond, and the same for every operator. See
audit-policy.yaml for what is in it.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

WRITES = ("create", "update", "patch", "delete", "deletecollection")


def seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


@dataclass
class Request:
    """One request, and when the API server got it and was done with it."""

    verb: str
    resource: str
    name: str
    code: int
    start: float
    end: float
    by_operator: bool
    pod_phase: str | None

    @classmethod
    def read(cls, event: dict) -> "Request":
        target = event.get("objectRef", {})
        resource = "/".join(
            part for part in (target.get("resource"), target.get("subresource")) if part
        )
        body = event.get("requestObject") or {}
        return cls(
            verb=event["verb"],
            resource=resource or event["requestURI"].split("?")[0],
            name=target.get("name", ""),
            code=event.get("responseStatus", {}).get("code", 0),
            start=seconds(event["requestReceivedTimestamp"]),
            end=seconds(event["stageTimestamp"]),
            by_operator=event["user"]["username"].startswith("system:serviceaccount:"),
            pod_phase=body.get("status", {}).get("phase"),
        )

    @property
    def run(self) -> str:
        """The run that it is about, by the names of a run's pods."""
        if self.resource.startswith("pods"):
            return self.name.partition("-main")[0].partition("-exit")[0]
        return self.name

    @property
    def is_event(self) -> bool:
        return self.resource == "events"

    @property
    def makes_pod(self) -> bool:
        return self.by_operator and self.resource == "pods" and self.code == 201


@dataclass
class Run:
    """What an operator reacts to in one run, and what it asked for."""

    created: float | None = None
    main_pod: Request | None = None
    main_end: float | None = None
    exit_pod: Request | None = None
    requests: list[Request] = field(default_factory=list)

    def note(self, request: Request) -> None:
        if request.by_operator:
            self.requests.append(request)
        elif request.resource == "omjobs":
            self.created = request.end
        elif "-main" in request.name and request.pod_phase in ("Succeeded", "Failed"):
            self.main_end = self.main_end or request.end
        if request.makes_pod and "-main" in request.name:
            self.main_pod = self.main_pod or request
        if request.makes_pod and "-exit" in request.name:
            self.exit_pod = self.exit_pod or request

    def delay(self, since: float | None, pod: Request | None) -> float | None:
        """From something to the pod that it leads to."""
        return None if since is None or pod is None else pod.end - since

    def own_part(self, since: float | None, pod: Request | None) -> float | None:
        """The same, without the time in which the API server worked for the operator on this run."""
        if since is None or pod is None:
            return None
        others = [
            request
            for request in self.requests
            if not request.is_event and since <= request.start < pod.start
        ]
        return pod.start - since - covered(others, since, pod.start)


def covered(requests: list[Request], start: float, end: float) -> float:
    """The time between start and end in which at least one of the requests was under way."""
    total, reached = 0.0, start
    for request in sorted(requests, key=lambda request: request.start):
        until = min(request.end, end)
        total += max(0.0, until - max(request.start, reached))
        reached = max(reached, until)
    return total


class Window:
    """The requests of one measurement."""

    def __init__(self, requests: list[Request]) -> None:
        self.requests = requests
        self.runs: dict[str, Run] = defaultdict(Run)
        for request in requests:
            if request.name:
                self.runs[request.run].note(request)

    def of_operator(self) -> Iterator[Request]:
        return (request for request in self.requests if request.by_operator)

    def count(self, *verbs: str) -> int:
        """Requests of these verbs. Events are told beside the work, and counted beside it."""
        return sum(
            request.verb in verbs and not request.is_event
            for request in self.of_operator()
        )

    def events(self) -> int:
        return sum(request.is_event for request in self.of_operator())

    def by_kind(self) -> Counter[str]:
        return Counter(
            f"{request.verb} {request.resource} {request.code}"
            for request in self.of_operator()
        )

    def refused(self) -> int:
        return sum(request.code >= 400 for request in self.of_operator())


class AuditLog:
    """The file that the API server writes, read from where the last measurement ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0

    def skip(self) -> None:
        """Begin a measurement: what was written before is not part of it."""
        self.position = self.path.stat().st_size if self.path.exists() else 0

    def quiet(self, seconds: float = 3) -> None:
        """Wait until nothing has been written for so long: an operator tells its events late."""
        size = -1
        while size != (size := self.path.stat().st_size):
            time.sleep(seconds)

    def window(self) -> Window:
        """What was written since, and begin the next."""
        with self.path.open("rb") as log:
            log.seek(self.position)
            # The last line may be half written.
            whole = log.read().rpartition(b"\n")[0] + b"\n"
        self.position += len(whole)
        events = (json.loads(line) for line in whole.splitlines() if line)
        return Window([Request.read(event) for event in events if counts(event)])


def counts(event: dict) -> bool:
    """Watches count when they begin, everything else when it is done."""
    begins = event["stage"] == "ResponseStarted"
    return begins == (event["verb"] == "watch")
