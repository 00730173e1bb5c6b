# SPDX-License-Identifier: Apache-2.0
"""The two calls to the OpenMetadata server that the exit handler needs.

Not the framework's client: importing it takes 3.8 s of CPU and 390 MiB, which a
preStop hook has neither the time nor the memory for.
"""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import requests

import status_row
from inputs import InputError

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
# Statuses that say by themselves that a later call may succeed.
PASSING = frozenset({408, 425, 429})


class ServerError(Exception):
    """The server could not be reached in time, or refused the call.

    `refusal` is what OpenMetadata said about a document that it does not take.
    """

    def __init__(self, text: str, refusal: str | None = None) -> None:
        super().__init__(text)
        self.refusal = refusal


class Server:
    """An OpenMetadata server, spoken to until `deadline` (of `clock`) at the latest."""

    def __init__(
        self,
        connection: dict[str, Any],
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._base = f"{_host_port(connection)}/{connection.get('apiVersion') or 'v1'}"
        self._deadline = deadline
        self._clock = clock
        self._pause = pause
        self._verify = _verification(connection)
        self._session = requests.Session()
        self._session.headers.update(_headers(connection))

    def status_row(self, fqn: str, run_id: str) -> dict[str, Any] | None:
        """The run's row, or None if OpenMetadata says that it knows none.

        A row that could not be read is never written over, so everything else is an error.
        """
        answer = self._call("GET", f"{_status_path(fqn)}/{run_id}")
        if answer.status_code == 204:
            return None
        row = _document(answer) or {}
        if not isinstance(row.get("pipelineState"), str) or row.get("runId", run_id) != run_id:
            raise ServerError(f"GET {self._base}{_status_path(fqn)}/{run_id}: the answer is not the row of the run")
        return row

    def put_status_row(self, fqn: str, row: dict[str, Any]) -> None:
        """Store the row, or as much of it as the server knows; it replaces the one of the same run id."""
        while True:
            try:
                self._call("PUT", _status_path(fqn), body=row)
            except ServerError as error:
                # Each turn leaves something out, so the loop ends.
                fewer = None if error.refusal is None else status_row.reduced(row, error.refusal)
                if fewer is None:
                    raise
                row = fewer
            else:
                return

    def _call(self, method: str, path: str, body: Any = None) -> requests.Response:
        """OpenMetadata's answer; asked again while time is left and something else answers, or nothing."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            answer, fault = self._attempt(method, path, body)
            if answer is not None and _is_taken(answer):
                return answer
            passing = answer is None or answer.status_code in PASSING or not _is_refusal(answer)
            if not passing or self._left() <= pause:
                raise ServerError(f"{method} {self._base}{path}: {fault}", _refusal(answer))
            self._pause(pause)
            pause *= 2

    def _attempt(self, method: str, path: str, body: Any) -> tuple[requests.Response | None, str]:
        try:
            answer = self._session.request(
                method,
                f"{self._base}{path}",
                json=body,
                verify=self._verify,
                timeout=(CONNECT_SECONDS, max(1.0, min(READ_SECONDS, self._left()))),
                allow_redirects=False,  # following one would turn a PUT into a GET
            )
        except requests.RequestException as error:
            return None, f"no answer: {error}"
        return answer, f"status {answer.status_code} {answer.headers.get('Location', '')}{answer.text[:200]}"

    def _left(self) -> float:
        return self._deadline - self._clock()


def _document(answer: requests.Response) -> dict[str, Any] | None:
    """The object that OpenMetadata answers with; None for anything else, such as a login page."""
    try:
        document = answer.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _is_taken(answer: requests.Response) -> bool:
    """Whether OpenMetadata took the call: what a proxy or a login page shows with 200 is no such answer."""
    empty = answer.status_code in (201, 204) and not answer.content
    return answer.status_code // 100 == 2 and (empty or _document(answer) is not None)


def _is_refusal(answer: requests.Response) -> bool:
    """Whether this is OpenMetadata's own error document, or its refusal of the token."""
    if answer.status_code in (401, 403):
        return not answer.content.lstrip().startswith(b"<")
    document = _document(answer) or {}
    own = document.get("code") == answer.status_code and isinstance(document.get("message"), str)
    return own and answer.status_code < 500


def _refusal(answer: requests.Response | None) -> str | None:
    """OpenMetadata's own words about a document that it does not take; None for anything else."""
    if answer is None or answer.status_code != 400 or not _is_refusal(answer):
        return None
    return (_document(answer) or {})["message"]


def _status_path(fqn: str) -> str:
    return f"/services/ingestionPipelines/{quote(fqn, safe='')}/pipelineStatus"


def _host_port(connection: dict[str, Any]) -> str:
    host_port = connection.get("hostPort")
    if not isinstance(host_port, str) or not host_port:
        raise InputError("workflowConfig.openMetadataServerConfig.hostPort is missing in `config`")
    return host_port.rstrip("/")


def _headers(connection: dict[str, Any]) -> dict[str, str]:
    token = _mapping(connection, "securityConfig").get("jwtToken")
    if isinstance(token, str) and token.startswith("secret:"):
        raise InputError(
            "workflowConfig.openMetadataServerConfig.securityConfig.jwtToken names an entry of a secrets manager, "
            "which this exit handler does not read; use ompipe's native exit handler or the official image"
        )
    own = {"Authorization": f"Bearer {token}"} if token else {}
    # As in the framework's client, `%(Authorization)s` in an extra header stands for ours.
    extra = {name: value % own for name, value in _mapping(connection, "extraHeaders").items()}
    return {**own, **extra}


def _verification(connection: dict[str, Any]) -> bool | str:
    """What a TLS certificate is checked against, decided as the framework's client does."""
    mode = connection.get("verifySSL")
    if mode == "ignore":
        return False
    if mode == "validate":
        authority = _mapping(connection, "sslConfig")
        # The configs of workers before 1.4 have the older name.
        return authority.get("caCertificate") or authority.get("certificatePath") or True
    return True


def _mapping(connection: dict[str, Any], key: str) -> dict[str, Any]:
    value = connection.get(key)
    return value if isinstance(value, dict) else {}
