# SPDX-License-Identifier: Apache-2.0
"""The row that OpenMetadata keeps for a run, as the plain JSON object that it is.

The row is not read into the framework's model: that model refuses unknown fields, and
a row written by a newer server must still get its end.
"""

import re
from typing import Any

Row = dict[str, Any]

# Exit codes after which no other attempt follows, with what they stand for.
MEANINGS = {
    2: ", which means that a config or an argument is not valid",
    126: ", which means that the command cannot be executed",
    127: ", which means that the command does not exist",
    128: ", which means that the container cannot be started",
}

# How a server names a field that its release line does not have.
UNKNOWN_FIELD = re.compile(r'Unrecognized field "([^"]*)"')
# Fields that every server knows, and without which a row says nothing.
ESSENTIAL = frozenset({"runId", "pipelineState", "timestamp"})
# The step that tells how the worker ended.
STEP = "Pod Diagnostics"

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
    step = {"name": STEP, "records": 0, "errors": 1, "failures": [failure]}
    return {**row, "status": [*(row.get("status") or []), step]}


def reduced(row: Row, said: str) -> Row | None:
    """The row with less in it, after OpenMetadata refused it with these words; None if nothing is left to leave out.

    Servers before 1.3 have no `status`, and each line refuses what it does not know.
    """
    fewer = without(row, frozenset(UNKNOWN_FIELD.findall(said)))
    if fewer != row:
        return fewer
    steps = row.get("status") or []
    others = [step for step in steps if step.get("name") != STEP]
    return {**row, "status": others} if len(others) < len(steps) else None


def without(row: Row, unknown: frozenset[str]) -> Row:
    """The row without the fields of these names, those of its steps included. What identifies the row stays."""
    kept = {name: value for name, value in row.items() if name in ESSENTIAL or name not in unknown}
    return {**kept, "status": _without_keys(kept["status"], unknown)} if "status" in kept else kept


def _without_keys(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without_keys(each, names) for name, each in value.items() if name not in names}
    if isinstance(value, list):
        return [_without_keys(each, names) for each in value]
    return value
