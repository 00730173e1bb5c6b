# SPDX-License-Identifier: Apache-2.0
"""A whole run: the script, the real application workflow, and a server to report to."""

import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

import main
from fake_servers import RUN_ID, Conversation, serving

PIPELINE = "/api/v1/services/ingestionPipelines"
ENTITY = {
    "id": RUN_ID,
    "name": "app",
    "fullyQualifiedName": "OpenMetadata.app",
    "pipelineType": "application",
    "sourceConfig": {},
    "airflowConfig": {},
}


class Run(unittest.TestCase):
    def run_application(self, name):
        om = Conversation()
        om.answer("GET", "/api/v1/system/version", (200, {"version": "1.12.14"}))
        om.answer("GET", f"{PIPELINE}/name/OpenMetadata.app", (200, ENTITY))
        om.answer("GET", f"{PIPELINE}/OpenMetadata.app/pipelineStatus/{RUN_ID}", (204, ""))
        om.answer("PUT", f"{PIPELINE}/OpenMetadata.app/pipelineStatus", (201, {}))
        with serving(om) as base:
            done = self.script(self.config(name, base))
        return done, om.bodies("PUT")

    def config(self, name, base):
        server = {"hostPort": f"{base}/api", "authProvider": "openmetadata", "securityConfig": {"jwtToken": "T0KEN"}}
        return {
            "sourcePythonClass": f"sample_application.{name}",
            "ingestionPipelineFQN": "OpenMetadata.app",
            "workflowConfig": {"openMetadataServerConfig": server},
        }

    def script(self, config):
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parent),
            "config": json.dumps(config),
            "pipelineType": "application",
            "pipelineRunId": RUN_ID,
        }
        return subprocess.run([sys.executable, main.__file__], env=env, capture_output=True, text=True, timeout=120)

    def states(self, rows):
        self.assertEqual({row["runId"] for row in rows}, {RUN_ID})
        return [row["pipelineState"] for row in rows]

    def test_success_is_reported_and_exits_0(self):
        done, rows = self.run_application("Succeeding")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.states(rows), ["running", "success"])
        self.assertIn("closed", done.stdout)

    def test_failure_is_reported_and_exits_1_after_the_flush(self):
        done, rows = self.run_application("Failing")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.states(rows), ["running", "failed"])
        self.assertIn("closed", done.stdout)
        self.assertIn("WorkflowExecutionError", done.stderr)
