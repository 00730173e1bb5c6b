# SPDX-License-Identifier: Apache-2.0
"""The row that OpenMetadata keeps for a run, as the plain JSON object that it is.

The row is not read into the framework's model: that model refuses unknown fields, and
a row written by a newer server must still get its end.
"""

from typing import Any

Row = dict[str, Any]

# Exit codes after which no other attempt follows, with what they stand for.
MEANINGS = {
    2: ", which stands for a config or an argument that is not valid",
    126: ", which stands for a command that cannot be executed",
    127: ", which stands for a command that is not there",
    128: ", which stands for a container that cannot be started",
}

TERMINAL_STATES = frozenset({"success", "failed", "partialSuccess", "stopped"})


def end_state(pipeline_status: str) -> str:
    """The state to report for what the orchestrator saw."""
    return "success" if pipeline_status in ("success", "Succeeded") else "failed"


def has_ended(row: Row | None) -> bool:
    """Whether the run was already reported as ended; such a row is never touched.

    `endDate` says nothing about that: the framework sets it on running rows too.
    """
    return row is not None and row.get("pipelineState") in TERMINAL_STATES


def state_to_write(row: Row | None, state: str, exit_code: int | None) -> str | None:
    """What the row has to say, or None if it stands as it is.

    The worker reports success before its last entities are stored, so a worker that
    failed after that has failed, and one that a signal ended may have lost some.
    """
    if not has_ended(row):
        return state
    if row is None or row.get("pipelineState") != "success" or not exit_code:
        return None
    return "partialSuccess" if exit_code > 128 and exit_code != 255 else "failed"


def ended(row: Row | None, run_id: str, state: str, now_ms: int) -> Row:
    """The row with its end; all that it held stays."""
    begun = row if row is not None else {"runId": run_id, "startDate": now_ms, "timestamp": now_ms}
    return {**begun, "pipelineState": state, "endDate": now_ms}


def end_sentence(exit_code: int | None, said: str | None) -> str:
    """How the worker ended, in the words of ompipe's own reports; `said` is the row's state so far."""
    if exit_code is None:
        return "Kubernetes job failed - check logs for details"
    after = " (after the worker had reported success)" if said == "success" else ""
    if 128 < exit_code <= 192:
        return f"Signal: ended by signal {exit_code - 128} (exit code {exit_code}){after}"
    reason = "BadConfig" if exit_code in MEANINGS else "Error"
    return f"{reason}: ended with exit code {exit_code}{MEANINGS.get(exit_code, '')}{after}"


def with_diagnostics(row: Row, sentence: str, text: str) -> Row:
    """The row with one more step: how the worker ended, and what the cluster knows about the pod."""
    failure = {"name": "Main Container Diagnostics", "error": sentence, "stackTrace": text}
    step = {"name": "Pod Diagnostics", "records": 0, "errors": 1, "failures": [failure]}
    return {**row, "status": [*(row.get("status") or []), step]}
