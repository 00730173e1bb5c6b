# SPDX-License-Identifier: Apache-2.0
"""The row that OpenMetadata keeps for a run, as the plain JSON object that it is.

The row is not read into the framework's model: that model refuses unknown fields, and
a row written by a newer server must still get its end.
"""

from typing import Any

Row = dict[str, Any]

TERMINAL_STATES = frozenset({"success", "failed", "partialSuccess", "stopped"})


def end_state(pipeline_status: str) -> str:
    """The state to report for what the orchestrator saw."""
    return "success" if pipeline_status in ("success", "Succeeded") else "failed"


def has_ended(row: Row | None) -> bool:
    """Whether the run was already reported as ended; such a row is never touched.

    `endDate` says nothing about that: the framework sets it on running rows too.
    """
    return row is not None and row.get("pipelineState") in TERMINAL_STATES


def ended(row: Row | None, run_id: str, state: str, now_ms: int) -> Row:
    """The row with its end; all that it held stays."""
    begun = row if row is not None else {"runId": run_id, "startDate": now_ms, "timestamp": now_ms}
    return {**begun, "pipelineState": state, "endDate": now_ms}


def with_diagnostics(row: Row, text: str) -> Row:
    """The row with one more step that carries what the cluster knows about the pod."""
    failure = {
        "name": "Main Container Diagnostics",
        "error": "Kubernetes job failed - check logs for details",
        "stackTrace": text,
    }
    step = {"name": "Pod Diagnostics", "records": 0, "errors": 1, "failures": [failure]}
    return {**row, "status": [*(row.get("status") or []), step]}
