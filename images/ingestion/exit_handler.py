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
# A worker that has ended holds back nobody but its own pod, and an outage of minutes should not cost the status.
BUDGET_AFTER_END_SECONDS = 300.0


@dataclass(frozen=True)
class Run:
    """The run that ended."""

    fqn: str
    run_id: str
    state: str
    exit_code: int | None


def main(env: Mapping[str, str]) -> int:
    """Report, and say on standard error what was done or what is wrong."""
    try:
        config = inputs.config(env)
        run = ended_run(env, config)
        if run is None:
            return 0
        server = Server(server_connection(config), deadline=time.monotonic() + budget_seconds(env, run))
        say(report(server, run, lambda: pod_diagnostics.collect(env)))
    except (InputError, ServerError) as error:
        say(str(error))
        return 1
    return 0


def budget_seconds(env: Mapping[str, str], run: Run) -> float:
    """How long to try: as long as OMPIPE_REPORT_SECONDS says, else as long as the situation allows."""
    given = env.get("OMPIPE_REPORT_SECONDS", "")
    if given.isdigit():
        return float(given)
    return BUDGET_SECONDS if run.exit_code is None else BUDGET_AFTER_END_SECONDS


def ended_run(env: Mapping[str, str], config: dict[str, Any]) -> Run | None:
    """The run to report, or None if the environment does not say enough."""
    fqn, run_id, status = config.get("ingestionPipelineFQN"), inputs.run_id(env), env.get("pipelineStatus")
    wanted = {"ingestionPipelineFQN in `config`": fqn, "pipelineRunId": run_id, "pipelineStatus": status}
    missing = [name for name, value in wanted.items() if not value]
    if missing:
        say(f"nothing reported, missing fields: {', '.join(missing)}")
        return None
    code = env.get("OMPIPE_MAIN_EXIT_CODE", "")
    return Run(str(fqn), str(run_id), status_row.end_state(str(status)), int(code) if code.isdigit() else None)


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
    if status_row.state_to_write(server.status_row(run.fqn, run.run_id), run.state, run.exit_code) is None:
        return f"run {run.run_id} has ended already, nothing to report"
    diagnostics = diagnose() if run.state == "failed" else None
    row = server.status_row(run.fqn, run.run_id)
    state = status_row.state_to_write(row, run.state, run.exit_code)
    if state is None:
        return f"run {run.run_id} has ended meanwhile, nothing to report"
    ended = status_row.ended(row, run.run_id, state, time.time_ns() // 1_000_000)
    if diagnostics or run.exit_code:
        said = row.get("pipelineState") if row else None
        sentence = status_row.end_sentence(run.exit_code, said)
        ended = status_row.with_diagnostics(ended, sentence, diagnostics or "Nothing more is known about the pod.")
    server.put_status_row(run.fqn, ended)
    return f"run {run.run_id} of {run.fqn} reported as {state}"


def say(text: str) -> None:
    """One line for the log."""
    print(f"exit_handler.py: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(os.environ))
