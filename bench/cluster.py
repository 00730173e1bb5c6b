# SPDX-License-Identifier: Apache-2.0
"""A cluster of fake nodes, and the operator and the load on it."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import metrics
from audit import AuditLog
from processes import Meter, cpu_seconds, waited_seconds

NAMESPACE = "ompipe-bench"
FAKE_NODES = 20
REPOSITORY = Path(__file__).resolve().parent.parent
# The control plane shares two cores with everything else. While the API server collects garbage it
# answers late, whoever asks: it collects none below a fifth of the machine's memory.
MEMORY_MIB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
os.environ.setdefault("GOGC", "off")
os.environ.setdefault("GOMEMLIMIT", f"{MEMORY_MIB // 5}MiB")
# Nobody but the API server shall be the one that is waited for.
LIMITS = ("kube-api-qps=5000", "kube-api-burst=10000")
# Finished pods stay, as many as there are.
KEEP_PODS = "terminated-pod-gc-threshold=0"


def note(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Cluster:
    """A control plane without a real node. It is new, and goes when it is left."""

    def __init__(self, scratch: Path) -> None:
        self.sandbox = os.environ["SANDBOX"]
        self.scratch = scratch
        self.audit = AuditLog(scratch / "audit.log")

    def __enter__(self) -> Self:
        self.audit.path.unlink(missing_ok=True)
        self.call("down")
        policy = REPOSITORY / "bench" / "audit-policy.yaml"
        flags = {
            "apiserver": [
                f"audit-policy-file={policy}",
                f"audit-log-path={self.audit.path}",
                "audit-log-maxsize=100000",
            ],
            "kcm": [*LIMITS, KEEP_PODS],
            "scheduler": list(LIMITS),
        }
        extra = [
            argument
            for component, values in flags.items()
            for value in values
            for argument in (f"--{component}-arg", value)
        ]
        self.call("up", "--control-plane-only", f"--fake-nodes={FAKE_NODES}", *extra)
        self.kubeconfig = self.call("kubeconfig").strip()
        self.prepare()
        return self

    def __exit__(self, *_: object) -> None:
        self.call("down")
        self.audit.path.unlink(missing_ok=True)

    def call(self, *arguments: str) -> str:
        return subprocess.run(
            [self.sandbox, *arguments], check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def kubectl(self, *arguments: str) -> str:
        return self.call("kubectl", *arguments)

    def prepare(self) -> None:
        self.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all")
        self.kubectl("create", "namespace", NAMESPACE)
        self.kubectl("-n", NAMESPACE, "create", "serviceaccount", "operator")
        # A measurement is no place to find out which rights some operator needs.
        self.kubectl(
            "create",
            "clusterrolebinding",
            "operator",
            "--clusterrole=cluster-admin",
            f"--serviceaccount={NAMESPACE}:operator",
        )

    def operator_kubeconfig(self) -> Path:
        """Access as a service account of its own, as in a pod: the API server then knows whose
        requests they are, and serves them with no more preference than others'."""
        token = self.kubectl(
            "-n", NAMESPACE, "create", "token", "operator", "--duration=24h"
        ).strip()
        config = json.loads(self.kubectl("config", "view", "--raw", "--output=json"))
        config["users"] = [
            {"name": user["name"], "user": {"token": token}} for user in config["users"]
        ]
        path = self.scratch / "operator.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path

    def pids(self) -> dict[str, int]:
        status = json.loads(self.call("status", "--output=json"))
        return {
            component["name"]: component["process"]["pid"]
            for component in status["components"]
        }

    def writes(self) -> float:
        """Writes of everybody until now."""
        return metrics.api_writes(
            metrics.parse(self.kubectl("get", "--raw", "/metrics"))
        )

    def create(self, manifest: Mapping) -> None:
        path = self.scratch / "manifest.json"
        path.write_text(json.dumps(manifest))
        self.kubectl("create", "-f", str(path))

    def count(self, resource: str) -> int:
        answer = self.kubectl(
            "get", "--raw", f"{PATHS[resource]}?limit=1&resourceVersion="
        )
        page = json.loads(answer)
        return len(page["items"]) + page["metadata"].get("remainingItemCount", 0)


PATHS = {
    "omjobs": f"/apis/pipelines.openmetadata.org/v1/namespaces/{NAMESPACE}/omjobs",
    "pods": f"/api/v1/namespaces/{NAMESPACE}/pods",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Operator:
    """The operator under test, a process of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.ports = {"health": free_port(), "metrics": free_port()}

    def __enter__(self) -> Self:
        environment = os.environ | {
            "KUBECONFIG": str(self.cluster.operator_kubeconfig()),
            "WATCH_NAMESPACES": NAMESPACE,
            "OPERATOR_NAMESPACE": NAMESPACE,
            "HEALTH_CHECK_PORT": str(self.ports["health"]),
            "METRICS_PORT": str(self.ports["metrics"]),
        }
        self.log = (self.cluster.scratch / "operator.log").open("ab")
        start = time.monotonic()
        self.process = subprocess.Popen(
            shlex.split(os.environ["OPERATOR"]),
            env=environment,
            stdout=self.log,
            stderr=self.log,
        )
        self.await_ready()
        self.seconds_to_ready = time.monotonic() - start
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            note("the operator does not end on SIGTERM")
            self.process.kill()
            self.process.wait()
        self.log.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def await_ready(self) -> None:
        deadline = time.monotonic() + 120
        while not self.ready():
            if self.process.poll() is not None:
                sys.exit(
                    f"the operator ended with {self.process.returncode}: {self.last_words()}"
                )
            if time.monotonic() > deadline:
                sys.exit(f"the operator is not ready after 120 s: {self.last_words()}")
            time.sleep(0.02)

    def ready(self) -> bool:
        # Ours, then upstream's.
        return any(self.answers("health", path) for path in ("readyz", "ready"))

    def answers(self, port: str, path: str) -> bool:
        url = f"http://127.0.0.1:{self.ports[port]}/{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def last_words(self) -> str:
        return (self.cluster.scratch / "operator.log").read_text()[-2000:]

    def samples(self) -> metrics.Samples:
        """What it says about itself: on the port for that, or upstream's only one."""
        for port in ("metrics", "health"):
            if self.answers(port, "metrics"):
                return metrics.scrape(f"http://127.0.0.1:{self.ports[port]}/metrics")
        return {}

    def cpu(self) -> float:
        return cpu_seconds(self.pid)

    def waited(self) -> float:
        return waited_seconds(self.pid)

    def meter(self) -> Meter:
        return Meter(self.cluster.pids() | {"operator": self.pid})


@dataclass
class Load:
    """What the load generator saw; times are in seconds since 1970."""

    complete: bool
    runs: dict[str, dict[str, float]]
    phases: dict[str, str]
    cpu: float

    def between(self, start: str, end: str) -> list[float]:
        return [
            times[end] - times[start]
            for times in self.runs.values()
            if start in times and end in times
        ]

    def first(self, milestone: str) -> float:
        return min(
            times[milestone] for times in self.runs.values() if milestone in times
        )

    def last(self, milestone: str) -> float:
        return max(
            times[milestone] for times in self.runs.values() if milestone in times
        )


def load(cluster: Cluster, wave: str, **options: object) -> Load:
    """Run the load generator to its end."""
    arguments = [os.environ["LOAD"], f"--namespace={NAMESPACE}", f"--wave={wave}"]
    arguments += [
        f"--{name.replace('_', '-')}={value}" for name, value in options.items()
    ]
    environment = os.environ | {"KUBECONFIG": cluster.kubeconfig}
    program = subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment)
    printed = program.stdout.read()
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if not printed:
        sys.exit(f"{' '.join(arguments)} ended with {program.returncode}")
    return read_load(json.loads(printed), usage.ru_utime + usage.ru_stime)


def read_load(printed: Mapping, cpu: float) -> Load:
    runs = {
        name: {key: at / 1e6 for key, at in times.items() if key != "phase"}
        for name, times in printed["runs"].items()
    }
    phases = {
        name: times["phase"]
        for name, times in printed["runs"].items()
        if "phase" in times
    }
    return Load(printed["complete"], runs, phases, cpu)
