# SPDX-License-Identifier: Apache-2.0
"""Report the end of a run whose own report may be missing: `python exit_handler.py`.

`config` (only the server connection and the pipeline's name in it are used, so that a
config which broke the ingestion still reports), `pipelineRunId` and `pipelineStatus`
say what to report; `jobName` and `namespace` where to look for the reason.

Exit code 0: reported, already reported, or nothing to report because one of the three
is missing. 1: the environment cannot be used, or the server did not take the report.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import inputs
import pod_diagnostics
import status_row
from inputs import InputError
from openmetadata_server import Server, ServerError

# A preStop hook shares the pod's grace period of 60 s with the end of the container itself.
BUDGET_SECONDS = 40.0


@dataclass(frozen=True)
class Run:
    """The run that ended."""

    fqn: str
    run_id: str
    state: str


def main(env: Mapping[str, str]) -> int:
    """Report, and say on standard error what was done or what is wrong."""
    try:
        config = inputs.config(env)
        run = ended_run(env, config)
        if run is None:
            return 0
        server = Server(server_connection(config), deadline=time.monotonic() + BUDGET_SECONDS)
        say(report(server, run, lambda: pod_diagnostics.collect(env)))
    except (InputError, ServerError) as error:
        say(str(error))
        return 1
    return 0


def ended_run(env: Mapping[str, str], config: dict[str, Any]) -> Run | None:
    """The run to report, or None if the environment does not say enough."""
    fqn, run_id, status = config.get("ingestionPipelineFQN"), inputs.run_id(env), env.get("pipelineStatus")
    wanted = {"ingestionPipelineFQN in `config`": fqn, "pipelineRunId": run_id, "pipelineStatus": status}
    missing = [name for name, value in wanted.items() if not value]
    if missing:
        say(f"nothing reported, missing fields: {', '.join(missing)}")
        return None
    return Run(str(fqn), str(run_id), status_row.end_state(str(status)))


def server_connection(config: dict[str, Any]) -> dict[str, Any]:
    """How to reach the OpenMetadata server."""
    section = config.get("workflowConfig")
    connection = section.get("openMetadataServerConfig") if isinstance(section, dict) else None
    if not isinstance(connection, dict):
        raise InputError("workflowConfig.openMetadataServerConfig is missing in `config`")
    return connection


def report(server: Server, run: Run, diagnose: Callable[[], str | None]) -> str:
    """Write the run's end unless it is written already; tells what was done.

    The row is read twice, because the worker may report its own end while the
    diagnostics are collected, and that report is the better one.
    """
    if status_row.has_ended(server.status_row(run.fqn, run.run_id)):
        return f"run {run.run_id} has ended already, nothing to report"
    diagnostics = diagnose() if run.state == "failed" else None
    row = server.status_row(run.fqn, run.run_id)
    if status_row.has_ended(row):
        return f"run {run.run_id} has ended meanwhile, nothing to report"
    ended = status_row.ended(row, run.run_id, run.state, time.time_ns() // 1_000_000)
    server.put_status_row(run.fqn, status_row.with_diagnostics(ended, diagnostics) if diagnostics else ended)
    return f"run {run.run_id} of {run.fqn} reported as {run.state}"


def say(text: str) -> None:
    """One line for the log."""
    print(f"exit_handler.py: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(os.environ))
