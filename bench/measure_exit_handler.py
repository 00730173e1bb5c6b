# SPDX-License-Identifier: Apache-2.0
"""Measure the exit handler: what it takes to report a run that failed, diagnostics and all.

The run is a real Job whose worker wrote more lines than are reported and ended with 1, the API
server is real, OpenMetadata is the stand-in. The program gets the variables that a pod has.
"""

import base64
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from machine import machine
from processes import peak_mib
from results import Report

EXIT_HANDLER = os.environ["EXIT_HANDLER"]
OPENMETADATA = os.environ["OPENMETADATA"]
TOKEN = "stand-in-token-of-the-ingestion-bot"
NAMESPACE = "ompipe-bench-exit-handler"
JOB = "om-job-bench"
FQN = "shop.bench"
TIMES = 21
TERMINATED = 128 + 15
PYTHON = "a Python one: 3800 ms and 396 MiB for imports alone"


@dataclass
class Used:
    """What one call took."""

    cpu_ms: float
    peak_mib: float
    wall_ms: float


def main() -> None:
    report = Report(machine(), EXIT_HANDLER)
    print(f"On {report.machine}.")
    prepare_cluster()
    prepare_openmetadata()
    report.title("Exit handler")
    size = Path(EXIT_HANDLER).stat().st_size / 1e6
    report.add("size of the static program", size, "MB", 6)
    measure(report, "report of a failed run, with diagnostics", fresh=True)
    measure(report, "the row stands", fresh=False)
    measure_supervisor(report)
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    if report.missed():
        sys.exit(1)


def measure(report: Report, what: str, *, fresh: bool) -> None:
    run = str(uuid.uuid4())
    calls = [call(str(uuid.uuid4()) if fresh else run) for _ in range(TIMES + 1)]
    calls = calls[1:]  # in the second case, the first one writes the row
    cpu = statistics.median(used.cpu_ms for used in calls)
    peak = max(used.peak_mib for used in calls)
    wall = statistics.median(used.wall_ms for used in calls)
    report.add(f"{what}: processor time", cpu, "ms", 50, PYTHON)
    report.add(f"{what}: memory", peak, "MiB", 12)
    report.add(f"{what}: time", wall, "ms")


def measure_supervisor(report: Report) -> None:
    """Read what the supervisor takes while its worker runs."""
    command = [EXIT_HANDLER, "supervise", "--no-report", "--", "sleep", "600"]
    program = subprocess.Popen(command)
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
    while not children.read_text():
        time.sleep(0.01)
    time.sleep(1)
    peak = peak_mib(program.pid)
    program.terminate()
    if program.wait() != TERMINATED:
        sys.exit(f"the supervisor ended with {program.returncode}")
    report.add("supervisor beside a worker: memory", peak, "MiB", 4)


def call(run: str) -> Used:
    """Run the exit handler to its end.

    Its peak is polled, as what wait4 knows includes the memory of this program.
    """
    start = time.monotonic()
    program = subprocess.Popen([EXIT_HANDLER, "report"], env=variables(run))
    peak = 0.0
    while True:
        pid, status, usage = os.wait4(program.pid, os.WNOHANG)
        if pid:
            break
        with suppress(FileNotFoundError, ProcessLookupError, RuntimeError):
            peak = max(peak, peak_mib(program.pid))
    wall = time.monotonic() - start
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode != 0:
        sys.exit(f"the exit handler ended with {program.returncode}")
    return Used((usage.ru_utime + usage.ru_stime) * 1000, peak, wall * 1000)


def variables(run: str) -> dict[str, str]:
    connection = {"hostPort": OPENMETADATA, "securityConfig": {"jwtToken": TOKEN}}
    config = {
        "ingestionPipelineFQN": FQN,
        "workflowConfig": {"openMetadataServerConfig": connection},
    }
    host, _, port = server().removeprefix("https://").rpartition(":")
    return {
        "config": json.dumps(config),
        "pipelineRunId": run,
        "pipelineStatus": "Failed",
        "jobName": JOB,
        "namespace": NAMESPACE,
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
    }


def server() -> str:
    return cluster()["server"]


def cluster() -> dict[str, str]:
    view = kubectl("config", "view", "--raw", "--minify", "--output", "json")
    return json.loads(view)["clusters"][0]["cluster"]


def prepare_cluster() -> None:
    """A failed Job, and in this process's mounts what a pod has of its service account."""
    verbs = {"verbs": ["get", "list"]}
    core = {"apiGroups": [""], "resources": ["pods", "pods/log", "events"]} | verbs
    jobs = {"apiGroups": ["batch"], "resources": ["jobs"]} | verbs
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "run"}
    subject = {"kind": "ServiceAccount", "name": "run", "namespace": NAMESPACE}
    script = "seq -f 'line %g of a log that is longer than a row takes' 2000; exit 1"
    container = {
        "name": "main",
        "image": os.environ["WORKER_IMAGE"],
        "command": ["sh", "-c", script],
    }
    pod = {"restartPolicy": "Never", "containers": [container]}
    apply("v1", "Namespace", NAMESPACE, {})
    apply("v1", "ServiceAccount", "run", {})
    apply("rbac.authorization.k8s.io/v1", "Role", "run", {"rules": [core, jobs]})
    binding = {"roleRef": role, "subjects": [subject]}
    apply("rbac.authorization.k8s.io/v1", "RoleBinding", "run", binding)
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    apply("batch/v1", "Job", JOB, {"spec": spec})
    failed = ["--for=condition=Failed", "--timeout=120s"]
    kubectl("wait", "job", JOB, *failed, "-n", NAMESPACE)
    account = Path(os.environ["SERVICE_ACCOUNT"])
    token = kubectl("create", "token", "run", "-n", NAMESPACE)
    (account / "token").write_text(token)
    (account / "namespace").write_text(NAMESPACE)
    authority = base64.b64decode(cluster()["certificate-authority-data"])
    (account / "ca.crt").write_bytes(authority)


def prepare_openmetadata() -> None:
    shop = {"name": "shop", "serviceType": "Postgres"}
    service = put("services/databaseServices", shop)
    reference = {"id": service["id"], "type": "databaseService"}
    pipeline = {"name": "bench", "pipelineType": "metadata", "service": reference}
    put("services/ingestionPipelines", pipeline)


def put(path: str, body: dict) -> dict:
    request = urllib.request.Request(
        f"{OPENMETADATA}/v1/{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def apply(api: str, kind: str, name: str, content: dict) -> None:
    metadata = {"name": name, "namespace": NAMESPACE}
    document = {"apiVersion": api, "kind": kind, "metadata": metadata, **content}
    kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(document))


def kubectl(*arguments: str, stdin: str = "") -> str:
    command = [os.environ["KUBECTL"], *arguments]
    done = subprocess.run(
        command, input=stdin, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


if __name__ == "__main__":
    main()
