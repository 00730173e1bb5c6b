# SPDX-License-Identifier: Apache-2.0
"""Throw-away HTTP servers on the loopback interface."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FQN = 'shop."nightly.run"/ä'
FQN_IN_URL = "shop.%22nightly.run%22%2F%C3%A4"
RUN_ID = "5f1c0b9e-3d5f-4d0e-9a58-7d1f0e6f2c11"
STATUS = f"/api/v1/services/ingestionPipelines/{FQN_IN_URL}/pipelineStatus"


class Conversation:
    """Answers scripted by path and method; keeps every call."""

    def __init__(self):
        self.calls = []
        self.answers = {}

    def answer(self, method, path, *answers):
        """The answers to give in turn as (status, body); the last one repeats."""
        self.answers[method, path] = list(answers)

    def next(self, method, path):
        scripted = self.answers.get((method, path), [(404, {"message": "not scripted"})])
        return scripted.pop(0) if len(scripted) > 1 else scripted[0]

    def bodies(self, method):
        return [body for called, _, _, body in self.calls if called == method]


@contextmanager
def serving(conversation):
    """The base URL of a server that holds this conversation."""

    class Handler(BaseHTTPRequestHandler):
        def reply(self):
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(text) if text else None
            conversation.calls.append((self.command, self.path, dict(self.headers), body))
            status, answer = conversation.next(self.command, self.path)
            payload = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", "0" if status == 204 else str(len(payload)))
            self.end_headers()
            if status != 204:
                self.wfile.write(payload)

        do_GET = do_PUT = reply

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
