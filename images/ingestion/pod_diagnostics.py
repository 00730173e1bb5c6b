# SPDX-License-Identifier: Apache-2.0
"""Ask the cluster what became of the main container of a run.

Nothing here may keep the run's end from being reported: without a cluster, without the
right to read pods, or without an answer in time there are simply no diagnostics.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pod_description

LOG_LINES = 500
BUDGET_SECONDS = 10.0
CALL_SECONDS = 3.0

OMJOB_NAME = "omjob.pipelines.openmetadata.org/name"
POD_TYPE = "omjob.pipelines.openmetadata.org/pod-type"
RUN_ID = "app.kubernetes.io/run-id"


def collect(env: Mapping[str, str]) -> str | None:
    """What is known about the pod of `jobName`, or None."""
    job, namespace = env.get("jobName"), env.get("namespace")
    if not job or not namespace:
        return None
    try:
        cluster = Cluster(namespace, time.monotonic() + BUDGET_SECONDS)
        return diagnose(cluster, list(selectors(job, env.get("pipelineRunId"))))
    except Exception as error:  # the status matters more than its diagnostics
        print(f"exit_handler.py: no diagnostics: {type(error).__name__}: {_line(error)}", file=sys.stderr)
        return None


def selectors(job: str, run_id: str | None) -> Iterator[str]:
    """Where the main pod may be found, best first."""
    yield f"job-name={job}"
    yield f"{OMJOB_NAME}={job},{POD_TYPE}=main"
    yield f"{OMJOB_NAME}={job}"
    if run_id:
        yield f"{RUN_ID}={run_id},{POD_TYPE}=main"
        yield f"{RUN_ID}={run_id}"


def diagnose(cluster: "Cluster", candidates: list[str]) -> str | None:
    """The description of the first pod found; a part that cannot be read is left out."""
    pod = next((pod for each in candidates if (pod := newest(_or(cluster.pods, [], each)))), None)
    if pod is None:
        return None
    name = pod["metadata"]["name"]
    return pod_description.describe(pod, _or(cluster.events, [], name), _or(cluster.log, "", name))


def newest(pods: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The latest attempt; an exit handler's own pod is not one."""
    mains = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(POD_TYPE) != "exit-handler"]
    return max(mains, key=lambda pod: pod["metadata"].get("creationTimestamp") or "", default=None)


class Cluster:
    """Read access to the pods of one namespace, until `deadline` of the monotonic clock."""

    def __init__(self, namespace: str, deadline: float) -> None:
        from kubernetes import client, config

        settings = client.Configuration()
        try:
            config.load_incluster_config(settings)
        except config.ConfigException:
            config.load_kube_config(client_configuration=settings)
        # One refused connection is enough to know; retries would use up the grace period.
        settings.retries = False
        self._namespace = namespace
        self._deadline = deadline
        self._client = client.ApiClient(settings)
        self._core = client.CoreV1Api(self._client)

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods with these labels."""
        found = self._core.list_namespaced_pod(self._namespace, label_selector=selector, **self._limit())
        return self._client.sanitize_for_serialization(found.items)

    def events(self, pod: str) -> list[dict[str, Any]]:
        """The events about a pod."""
        selector = f"involvedObject.kind=Pod,involvedObject.name={pod}"
        found = self._core.list_namespaced_event(self._namespace, field_selector=selector, **self._limit())
        return self._client.sanitize_for_serialization(found.items)

    def log(self, pod: str) -> str:
        """The last lines of the main container's log."""
        return self._core.read_namespaced_pod_log(
            pod, self._namespace, container="main", tail_lines=LOG_LINES, **self._limit()
        )

    def _limit(self) -> dict[str, float]:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"the cluster did not answer within {BUDGET_SECONDS:g} s")
        return {"_request_timeout": min(CALL_SECONDS, left)}


def _or(call: Callable[[str], Any], default: Any, argument: str) -> Any:
    """What the call gives, or the default if it fails."""
    try:
        return call(argument)
    except Exception as error:  # one part missing is better than no diagnostics
        print(f"exit_handler.py: {call.__name__} of {argument}: {_line(error)}", file=sys.stderr)
        return default


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
