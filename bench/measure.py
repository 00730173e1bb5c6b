# SPDX-License-Identifier: Apache-2.0
"""Measure ompipe on the cluster of $KUBECONFIG: start, deploy, memory on a long log.

Machines are noisy, so beside each time there is that of a known program doing the
nearest thing in the same minute, and their ratio.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import machine

OMPIPE = os.environ["OMPIPE"]
KUBECTL = os.environ["KUBECTL"]
NAMESPACE = "ompipe-bench"
LOG_BYTES = 1 << 30
PAGE_BYTES = 983_040
# A kubelet passes a log on line by line; shorter lines only make it slower.
LINE = "one line of a log, " * 50


@dataclass
class Used:
    """What one call of a program took."""

    seconds: float
    peak_mib: float
    output_bytes: int


def call(arguments: Sequence[str], stdin: str = "") -> Used:
    """Run a program to its end, counting what it prints; a failure ends the benchmark."""
    start = time.monotonic()
    program = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    program.stdin.write(stdin.encode())
    program.stdin.close()
    count = 0
    while piece := program.stdout.read(1 << 20):
        count += len(piece)
    _, status, usage = os.wait4(program.pid, 0)
    seconds = time.monotonic() - start
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != 0:
        sys.exit(f"{' '.join(arguments)} ended with {program.returncode}")
    return Used(seconds, usage.ru_maxrss / 1024, count)


def median(times: int, work: Callable[[int], Used]) -> Used:
    """The call in the middle, by time."""
    calls = sorted(
        (work(number) for number in range(times)), key=lambda used: used.seconds
    )
    return calls[times // 2]


class Bench:
    """The files that the measured calls read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = self.file(
            "config.json",
            {
                "pipelineServiceClientConfiguration": {
                    "metadataApiEndpoint": "http://127.0.0.1:8585/api",
                    "parameters": {
                        "namespace": NAMESPACE,
                        "ingestionImage": os.environ["WORKER_IMAGE"],
                        "extraEnvVars": [
                            f"WORKER_MAIN:yes '{LINE}' | head -c {LOG_BYTES}"
                        ],
                        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                    },
                }
            },
        )
        self.service = self.file(
            "service.json", {"name": "shop", "serviceType": "Postgres"}
        )

    def file(self, name: str, content: dict) -> str:
        path = self.directory / name
        path.write_text(json.dumps(content))
        return str(path)

    def pipeline(self, name: str) -> str:
        return self.file(
            f"{name}.json",
            {
                "name": name,
                "pipelineType": "metadata",
                "sourceConfig": {"config": {"type": "DatabaseMetadata"}},
                "airflowConfig": {"scheduleInterval": "0 3 * * *"},
                "service": {"type": "databaseService", "name": "shop"},
                "openMetadataServerConnection": {
                    "hostPort": "http://127.0.0.1:8585/api",
                    "authProvider": "openmetadata",
                    "securityConfig": {"jwtToken": "token-of-the-benchmark"},
                },
            },
        )

    def deploy(self, name: str) -> Used:
        return call(
            [
                OMPIPE,
                "-c",
                self.config,
                "deploy",
                "-f",
                self.pipeline(name),
                "--service",
                self.service,
            ]
        )

    def render(self, name: str) -> str:
        arguments = [OMPIPE, "-c", self.config, "render", "-f", self.pipeline(name)]
        rendered = [*arguments, "--service", self.service, "--show-secrets"]
        return subprocess.run(
            rendered, check=True, capture_output=True, text=True
        ).stdout

    def apply(self, number: int) -> Used:
        objects = self.render(f"applied-{number}")
        return call(
            [KUBECTL, "apply", "--server-side", "--validate=false", "-f", "-"], objects
        )


def report(what: str, figure: str, promise: str, other: str) -> None:
    print(f"{what:44}{figure:>12}  promised {promise:>9}   {other}", flush=True)


def start() -> None:
    ours = median(51, lambda _: call([OMPIPE, "--version"]))
    other = median(51, lambda _: call(["/bin/true"]))
    report(
        "start of the program (ompipe --version)",
        f"{ours.seconds * 1000:.1f} ms",
        "<= 20 ms",
        f"/bin/true {other.seconds * 1000:.1f} ms",
    )


def deploy(bench: Bench) -> None:
    first = median(21, lambda number: bench.deploy(f"deployed-{number}"))
    again = median(21, lambda number: bench.deploy(f"deployed-{number}"))
    other = median(21, bench.apply)
    for what, ours in (
        ("deploy of a new pipeline", first),
        ("deploy of the same once more", again),
    ):
        report(
            what,
            f"{ours.seconds * 1000:.0f} ms",
            "<= 300 ms",
            f"kubectl apply of the same objects {other.seconds * 1000:.0f} ms, "
            f"ratio {ours.seconds / other.seconds:.2f}",
        )


def deploy_many(bench: Bench) -> None:
    count = 100
    build = [
        "cargo",
        "bench",
        "--quiet",
        "-p",
        "ompipe-client",
        "--bench",
        "deploy_many",
    ]
    subprocess.run([*build, "--no-run"], check=True)
    measured = subprocess.run(
        [*build, "--", bench.config, str(count)],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = float(measured.stdout)
    report(
        f"deploy of {count} new pipelines at once",
        f"{seconds:.1f} s",
        "<= 5 s",
        f"{seconds / count * 1000:.0f} ms each",
    )


def logs(bench: Bench) -> None:
    ompipe = [OMPIPE, "-c", bench.config]
    bench.deploy("long")
    followed = call([*ompipe, "run", "shop.long", "--follow"])
    read = call([*ompipe, "logs", "shop.long"])
    job = subprocess.run(
        [KUBECTL, "-n", NAMESPACE, "get", "jobs", "-o", "name"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    other = call([KUBECTL, "-n", NAMESPACE, "logs", job])
    last = LOG_BYTES // PAGE_BYTES - 1
    page = call([*ompipe, "logs", "shop.long", "--page", str(last)])
    report(
        f"page {last} of a 1 GiB log, peak",
        f"{page.peak_mib:.1f} MiB",
        "<= 48 MiB",
        f"{page.seconds:.1f} s",
    )
    for what, ours in (
        ("1 GiB log followed as it grows, peak", followed),
        ("1 GiB log read afterwards, peak", read),
    ):
        if ours.output_bytes < LOG_BYTES:
            sys.exit(f"{what}: only {ours.output_bytes} bytes arrived")
        report(
            what,
            f"{ours.peak_mib:.1f} MiB",
            "<= 32 MiB",
            f"{ours.seconds:.1f} s; kubectl logs {other.peak_mib:.1f} MiB, {other.seconds:.1f} s",
        )


def main() -> None:
    bench = Bench(Path(sys.argv[1]))
    call([KUBECTL, "create", "namespace", NAMESPACE])
    call(
        [KUBECTL, "-n", NAMESPACE, "create", "serviceaccount", "openmetadata-ingestion"]
    )
    print(f"on {machine()}", flush=True)
    start()
    deploy(bench)
    deploy_many(bench)
    logs(bench)


if __name__ == "__main__":
    main()
