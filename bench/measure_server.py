# SPDX-License-Identifier: Apache-2.0
"""Measure `ompipe serve` on the cluster of $KUBECONFIG, as an OpenMetadata server calls it.

Every call goes over a kept connection of the loopback range, with HTTP Basic, as the
Java client's do. The OpenMetadata server is the stand-in of the tests.
"""

import argparse
import base64
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from machine import machine

NAMESPACE = "ompipe-bench"
PREFIX = "/pluginsv2/api/v2/openmetadata"
LOGIN = "bench:bench"
# What the stand-in takes where nothing else is told.
TOKEN = os.environ.get("STANDIN_TOKEN", "stand-in-token-of-the-ingestion-bot")
BULK = 100
MANY = 2000
READERS = 50
PROBES_A_SECOND = 1000
PROBE_SECONDS = 10
CALLERS = 20
PAGES = 9
# A kubelet writes more beside each line than a short one has itself.
LINE = "one line of a log, " * 50
# Within what a kubelet keeps of a log (10 MiB), so that every page can be read.
LOG_BYTES = PAGES * 983_040


def note(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Caller:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        login = base64.b64encode(LOGIN.encode()).decode()
        self.headers = {
            "Authorization": f"Basic {login}",
            "Content-Type": "application/json",
        }

    def call(self, method: str, path: str, body: object = None) -> bytes:
        text = None if body is None else json.dumps(body)
        self.connection.request(method, PREFIX + path, text, self.headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"{method} {path}: {answer.status} {content[:500]!r}")
        return content


class Bench:
    """The service under test and what it needs."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.openmetadata = os.environ["OPENMETADATA"]

    def kubectl(self, *arguments: str) -> str:
        command = [os.environ["KUBECTL"], *arguments]
        return subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def prepare(self) -> None:
        self.kubectl("create", "namespace", NAMESPACE)
        self.kubectl(
            "-n", NAMESPACE, "create", "serviceaccount", "openmetadata-ingestion"
        )
        service = {
            "name": "shop",
            "serviceType": "Postgres",
            "connection": {"config": {}},
        }
        request = urllib.request.Request(
            f"{self.openmetadata}/v1/services/databaseServices",
            json.dumps(service).encode(),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
            method="PUT",
        )
        urllib.request.urlopen(request).close()

    def pipeline(self, name: str) -> dict:
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            "name": name,
            "fullyQualifiedName": f"shop.{name}",
            "pipelineType": "metadata",
            "sourceConfig": {"config": {"type": "DatabaseMetadata"}},
            "airflowConfig": {"scheduleInterval": "0 0 1 1 *"},
            "service": {"type": "databaseService", "name": "shop"},
            "openMetadataServerConnection": {
                "hostPort": self.openmetadata,
                "securityConfig": {"jwtToken": TOKEN},
            },
            "enabled": True,
        }

    @contextmanager
    def serving(self) -> Iterator[tuple[int, int]]:
        """The service: its port and its process."""
        credentials = self.scratch / "credentials"
        credentials.write_text(f"{LOGIN}\n")
        config = self.scratch / "config.json"
        worker = f"WORKER_MAIN:yes '{LINE}' | head -c {LOG_BYTES}"
        parameters = {
            "namespace": NAMESPACE,
            "ingestionImage": os.environ["WORKER_IMAGE"],
            "extraEnvVars": [worker],
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        }
        document = {
            "pipelineServiceClientConfiguration": {
                "metadataApiEndpoint": self.openmetadata,
                "parameters": parameters,
            },
            "server": {
                "listen": "127.0.0.1:0",
                "healthListen": "127.0.0.1:0",
                "credentials": {"file": str(credentials)},
                "openMetadataVersion": "1.12.14",
                "shutdown": {"drainSeconds": 0},
            },
        }
        config.write_text(json.dumps(document))
        log = (self.scratch / "serve.log").open("w+b")
        program = subprocess.Popen(
            [os.environ["OMPIPE"], "--config", str(config), "serve"], stderr=log
        )
        try:
            yield self.port(program), program.pid
        finally:
            program.send_signal(signal.SIGTERM)
            program.wait(timeout=60)

    def port(self, program: subprocess.Popen) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and program.poll() is None:
            for line in (self.scratch / "serve.log").read_text().splitlines():
                if '"listening"' in line:
                    return int(json.loads(line)["address"].rsplit(":", 1)[1])
            time.sleep(0.02)
        sys.exit(f"it does not listen: {(self.scratch / 'serve.log').read_text()}")


def timed(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def resident_mib(pid: int, field: str = "VmRSS") -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    sys.exit(f"process {pid} is gone")


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def deploy(bench: Bench, port: int, names: Sequence[str], callers: int) -> None:
    """Deploy pipelines, each caller one after the other."""

    def some(mine: Sequence[str]) -> None:
        caller = Caller(port)
        for name in mine:
            caller.call("POST", "/deploy", bench.pipeline(name))

    shares = [names[number::callers] for number in range(callers)]
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(some, shares))


def probe(port: int) -> list[float]:
    """Ask for health so many times a second; the seconds that each answer took."""
    url = f"http://127.0.0.1:{port}{PREFIX}/health-auth"
    rate = ["--rate", str(PROBES_A_SECOND), "--seconds", str(PROBE_SECONDS)]
    command = [os.environ["PROBE"], url, "--login", LOGIN, *rate]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [int(line) / 1e6 for line in printed.stdout.splitlines()]


def until_logged(caller: Caller, name: str) -> None:
    deadline = time.monotonic() + 120
    query = f"/last_dag_logs?dag_id={name}&task_id=t"
    while json.loads(caller.call("GET", query))["total"] < PAGES:
        if time.monotonic() > deadline:
            sys.exit("the log does not get its length")
        time.sleep(0.5)


def page_seconds(caller: Caller, name: str, page: int) -> float:
    query = f"/last_dag_logs?after={page}&dag_id={name}&task_id=t"
    calls = [timed(lambda: caller.call("GET", query)) for _ in range(5)]
    return statistics.median(calls)


def read_at_once(port: int, name: str) -> float:
    """So many readers, each of the whole log page by page; the seconds that it takes."""

    def read(_: int) -> None:
        caller = Caller(port)
        for page in range(PAGES):
            caller.call("GET", f"/last_dag_logs?after={page}&dag_id={name}&task_id=t")

    with ThreadPoolExecutor(READERS) as pool:
        return timed(lambda: list(pool.map(read, range(READERS))))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--many", type=int, default=MANY)
    arguments = parser.parse_args()
    bench = Bench(arguments.scratch)
    bench.prepare()
    rows: list[tuple[str, str, str]] = []
    with bench.serving() as (port, pid):
        caller = Caller(port)
        rows.append(("memory at rest", f"{resident_mib(pid):.1f} MiB", ""))
        note("bulk deploys")
        one = [f"one-{number}" for number in range(BULK)]
        together = [f"all-{number}" for number in range(BULK)]
        took = timed(lambda: deploy(bench, port, one, 1))
        rows.append((f"{BULK} deploys, one after the other", f"{took:.1f} s", "≤ 15 s"))
        took = timed(lambda: deploy(bench, port, together, CALLERS))
        rows.append((f"{BULK} deploys, {CALLERS} at a time", f"{took:.1f} s", "≤ 4 s"))
        note("the health probe")
        took_each = probe(port)
        p50, p99 = (percentile(took_each, share) * 1000 for share in (0.5, 0.99))
        name = f"health-auth at {PROBES_A_SECOND}/s, p50 / p99"
        rows.append((name, f"{p50:.1f} / {p99:.1f} ms", "p99 ≤ 5 ms"))
        note("pages of a log")
        caller.call("POST", "/trigger", {"dag_id": "one-0"})
        until_logged(caller, "one-0")
        first, last = (page_seconds(caller, "one-0", page) for page in (0, PAGES - 1))
        rows.append(("first page of a log of 8.8 MB", f"{first * 1000:.0f} ms", ""))
        rows.append(("last page", f"{last * 1000:.0f} ms", "as the first"))
        note(f"{arguments.many} pipelines, {READERS} readers")
        more = [f"more-{number}" for number in range(arguments.many - 2 * BULK)]
        took = timed(lambda: deploy(bench, port, more, CALLERS))
        rows.append(
            (f"{len(more)} further deploys, {CALLERS} at a time", f"{took:.0f} s", "")
        )
        read_at_once(port, "one-0")
        peak = resident_mib(pid, "VmHWM")
        name = (
            f"memory, {arguments.many} pipelines and {READERS} readers of logs, at most"
        )
        rows.append((name, f"{peak:.1f} MiB", "≤ 64 MiB"))
    print(f"\n`make bench-server` on {machine()}\n")
    print("| | measured | goal |\n| --- | --: | --: |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
