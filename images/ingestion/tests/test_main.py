# SPDX-License-Identifier: Apache-2.0
"""The entry point, with the real workflow classes."""

import contextlib
import io
import json
import os
import subprocess
import sys
import unittest

import main
import run_automation
from inputs import InputError

UUID = "5f1c0b9e-3d5f-4d0e-9a58-7d1f0e6f2c11"


class Refusal(unittest.TestCase):
    def refusal(self, said, entry=main, **env):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            self.assertEqual(entry.main(env), 2 if entry is main else 1)
        text = errors.getvalue()
        self.assertIn(said, text)
        self.assertTrue(text.startswith(f"{entry.__name__}.py: "), text)
        self.assertEqual(text.count("\n"), 1, text)
        return text

    def test_what_cannot_be_used(self):
        self.refusal("`pipelineType` is missing", config="{}")
        self.refusal("'dataInsight', which is none of metadata,", config="{}", pipelineType="dataInsight")
        self.refusal("`config` is missing or empty", pipelineType="metadata")
        self.refusal("is not YAML", pipelineType="metadata", config="a: [")
        self.refusal("a run id is a UUID", pipelineType="metadata", config="{}", pipelineRunId="job-1")

    def test_a_config_that_the_model_refuses_is_not_shown(self):
        server = {"hostPort": "http://om/api", "securityConfig": {"jwtToken": "T0KEN"}, "unknown": "S3CRET"}
        config = json.dumps({"workflowConfig": {"openMetadataServerConfig": server}})
        for pipeline_type in main.WORKFLOWS.keys() - {"autoClassification"}:
            text = self.refusal("does not fit its model", pipelineType=pipeline_type, config=config)
            self.assertNotIn("T0KEN", text)
            self.assertNotIn("S3CRET", text)

    def test_an_automation(self):
        self.refusal("`config` is missing or empty", entry=run_automation)
        self.refusal("does not fit its model", entry=run_automation, config="{name: x}")


class Script(unittest.TestCase):
    def test_a_workflow_that_cannot_start_ends_with_its_traceback(self):
        server = {"hostPort": "http://127.0.0.1:1/api", "securityConfig": {"jwtToken": "T0KEN"}}
        config = {
            "source": {
                "type": "postgres",
                "serviceName": "shop",
                "sourceConfig": {"config": {"type": "DatabaseMetadata"}},
            },
            "sink": {"type": "metadata-rest", "config": {}},
            "workflowConfig": {"openMetadataServerConfig": {**server, "enableVersionValidation": False}},
        }
        env = {"PATH": os.environ["PATH"], "config": json.dumps(config), "pipelineType": "metadata"}
        done = subprocess.run([sys.executable, main.__file__], env=env, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Traceback", done.stderr)
        self.assertIn("127.0.0.1", done.stderr)
        self.assertNotIn("T0KEN", done.stdout + done.stderr)


class Classes(unittest.TestCase):
    def test_every_pipeline_type_has_its_workflow_class(self):
        for pipeline_type in main.WORKFLOWS.keys() - {"autoClassification"}:
            workflow_class = main.load(pipeline_type)
            for method in ("create", "execute", "stop", "raise_from_status"):
                self.assertTrue(callable(getattr(workflow_class, method)), f"{pipeline_type}.{method}")

    def test_classification_says_what_this_image_lacks(self):
        with self.assertRaisesRegex(InputError, "'presidio_analyzer' is not installed"):
            main.load("autoClassification")


class Workflow:
    """Stands for a workflow class; tells what was called, and fails where told."""

    def __init__(self, failing=()):
        self.failing = failing
        self.calls = []

    def create(self, config):
        self.calls.append(("create", config))
        return self

    def __getattr__(self, name):
        def step():
            self.calls.append(name)
            if name in self.failing:
                raise RuntimeError(name)

        return step


class Run(unittest.TestCase):
    def test_the_result_is_asked_for_after_the_flush(self):
        workflow = Workflow()
        main.run(workflow, {"a": "$HOME"})
        self.assertEqual(workflow.calls, [("create", {"a": "$HOME"}), "execute", "stop", "raise_from_status"])

    def test_a_failed_workflow_is_stopped(self):
        workflow = Workflow(failing=("execute",))
        with self.assertRaisesRegex(RuntimeError, "execute"):
            main.run(workflow, {})
        self.assertEqual(workflow.calls[-1], "stop")

    def test_the_run_id_of_the_environment_wins(self):
        self.assertEqual(main.with_run_id({"pipelineRunId": "old"}, UUID), {"pipelineRunId": UUID})
        self.assertEqual(main.with_run_id({"pipelineRunId": "old"}, None), {"pipelineRunId": "old"})
