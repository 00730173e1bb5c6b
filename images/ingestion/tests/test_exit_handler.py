# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import exit_handler
from fake_servers import FQN, RUN_ID, STATUS, Conversation, serving
from inputs import InputError
from openmetadata_server import Server, ServerError

SCRIPT = Path(exit_handler.__file__)
ROW = f"{STATUS}/{RUN_ID}"


def environment(base, status="Failed", **more):
    # Not a workflow config that any model would accept, on purpose.
    connection = {"hostPort": f"{base}/api", "securityConfig": {"jwtToken": "T0KEN"}}
    config = {
        "ingestionPipelineFQN": FQN,
        "nonsense": 1,
        "workflowConfig": {"openMetadataServerConfig": connection},
    }
    return {"config": json.dumps(config), "pipelineRunId": RUN_ID, "pipelineStatus": status, **more}


def unrecognized(field):
    """The answer of a server that does not know the field."""
    return 400, {"code": 400, "message": f'Unrecognized field "{field}" (class org.openmetadata.X), not marked'}


def call(env):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        return exit_handler.main(env), said.getvalue()


class Report(unittest.TestCase):
    def setUp(self):
        self.om = Conversation()
        self.om.answer("PUT", STATUS, (201, {}))

    def test_a_run_that_nothing_is_known_of(self):
        self.om.answer("GET", ROW, (204, ""))
        with serving(self.om) as base:
            code, said = call(environment(base))
        self.assertEqual(code, 0)
        self.assertIn("reported as failed", said)
        (row,) = self.om.bodies("PUT")
        self.assertEqual((row["runId"], row["pipelineState"]), (RUN_ID, "failed"))
        self.assertTrue(row["startDate"] == row["timestamp"] == row["endDate"])
        self.assertLess(abs(row["endDate"] - time.time() * 1000), 60_000)
        self.assertTrue(all(headers["Authorization"] == "Bearer T0KEN" for _, _, headers, _ in self.om.calls))

    def test_a_running_row_keeps_what_it_holds(self):
        running = {"runId": RUN_ID, "pipelineState": "running", "startDate": 1, "timestamp": 2, "new": [1]}
        self.om.answer("GET", ROW, (200, running))
        with serving(self.om) as base:
            self.assertEqual(call(environment(base, status="Succeeded"))[0], 0)
        (row,) = self.om.bodies("PUT")
        self.assertEqual({**row, "endDate": 0}, {**running, "pipelineState": "success", "endDate": 0})

    def test_an_ended_row_is_left_alone(self):
        for state in ("success", "failed", "partialSuccess", "stopped"):
            self.om.answer("GET", ROW, (200, {"pipelineState": state}))
            with serving(self.om) as base:
                code, said = call(environment(base))
            self.assertEqual(code, 0)
            self.assertIn("has ended already", said)
        self.assertEqual(self.om.bodies("PUT"), [])

    def test_a_worker_that_failed_is_reported_with_its_exit_code(self):
        self.om.answer("GET", ROW, (200, {"pipelineState": "running"}))
        with serving(self.om) as base:
            self.assertEqual(call(environment(base, OMPIPE_MAIN_EXIT_CODE="3"))[0], 0)
        (row,) = self.om.bodies("PUT")
        (failure,) = row["status"][0]["failures"]
        self.assertEqual(failure["error"], "Error: ended with exit code 3")

    def test_the_time_for_a_report_can_be_set(self):
        run = exit_handler.Run(FQN, RUN_ID, "failed", None)
        ended = exit_handler.Run(FQN, RUN_ID, "failed", 1)
        self.assertEqual(exit_handler.budget_seconds({}, run), 40)
        self.assertEqual(exit_handler.budget_seconds({}, ended), 300)
        self.assertEqual(exit_handler.budget_seconds({"OMPIPE_REPORT_SECONDS": "3"}, ended), 3)

    def test_a_row_that_ends_meanwhile_is_left_alone(self):
        self.om.answer("GET", ROW, (200, {"pipelineState": "running"}), (200, {"pipelineState": "partialSuccess"}))
        with serving(self.om) as base:
            code, said = call(environment(base))
        self.assertEqual((code, self.om.bodies("PUT")), (0, []))
        self.assertIn("has ended meanwhile", said)

    def test_a_busy_server_is_asked_again(self):
        self.om.answer("GET", ROW, (503, "busy"), (204, ""))
        self.om.answer("PUT", STATUS, (429, "slow down"), (201, {}))
        with serving(self.om) as base:
            self.assertEqual(call(environment(base))[0], 0)
        self.assertEqual(len(self.om.bodies("PUT")), 2)

    def test_a_refusal_is_final(self):
        self.om.answer("GET", ROW, (401, {"message": "token expired"}))
        with serving(self.om) as base:
            code, said = call(environment(base))
        self.assertEqual(code, 1)
        self.assertIn("status 401", said)
        self.assertIn("token expired", said)
        self.assertNotIn("T0KEN", said)
        self.assertEqual(len(self.om.calls), 1)

    def test_a_redirect_is_not_followed(self):
        self.om.answer("GET", ROW, (302, "elsewhere"), (204, ""))
        with serving(self.om) as base:
            self.assertEqual(call(environment(base))[0], 0)
        self.assertEqual({path for method, path, _, _ in self.om.calls if method == "GET"}, {ROW})

    def test_what_is_not_openmetadata_is_asked_again(self):
        for foreign in ((404, "404 page not found"), (404, {"message": "no Route"}), (200, "<html>"), (413, "")):
            self.om.answer("GET", ROW, foreign, (204, ""))
            self.om.answer("PUT", STATUS, foreign, (201, {}))
            with serving(self.om) as base:
                self.assertEqual(call(environment(base))[0], 0, foreign)
            self.assertEqual(self.om.bodies("PUT")[-1]["pipelineState"], "failed")

    def test_a_row_that_could_not_be_read_is_not_written(self):
        own = (404, {"code": 404, "message": "ingestionPipeline instance for x not found"})
        for answer in (own, (200, {"status": "ok"}), (200, {"runId": "other", "pipelineState": "running"})):
            self.om.answer("GET", ROW, answer)
            with serving(self.om) as base:
                self.assertEqual(call(environment(base))[0], 1, answer)
        self.assertEqual(self.om.bodies("PUT"), [])

    def test_a_server_of_an_older_line_gets_what_it_knows(self):
        step = {"name": "Source", "records": 3, "progress": {}}
        running = {"runId": RUN_ID, "pipelineState": "running", "timestamp": 2, "metadata": {}, "status": [step]}
        lines = {
            "1.1": (["metadata", "status"], None),
            "1.3": (["metadata", "progress"], ["Source", "Pod Diagnostics"]),
            "1.10": (["progress"], ["Source", "Pod Diagnostics"]),
            "2.0": ([], ["Source", "Pod Diagnostics"]),
        }
        for line, (unknown, steps) in lines.items():
            self.om = Conversation()
            self.om.answer("GET", ROW, (200, running))
            self.om.answer("PUT", STATUS, *map(unrecognized, unknown), (201, {}))
            with serving(self.om) as base, self.subTest(line=line):
                code, said = call(environment(base, OMPIPE_MAIN_EXIT_CODE="1"))
                self.assertEqual(code, 0, said)
                rows = self.om.bodies("PUT")
                self.assertEqual(len(rows), len(unknown) + 1)
                self.assertEqual(rows[-1]["pipelineState"], "failed")
                self.assertEqual([name for name in unknown if name in json.dumps(rows[-1])], [])
                self.assertEqual([step["name"] for step in rows[-1]["status"]] if steps else None, steps)

    def test_a_row_is_written_without_its_diagnostics_where_they_are_refused_in_other_words(self):
        self.om.answer("GET", ROW, (200, {"pipelineState": "running"}))
        self.om.answer("PUT", STATUS, (400, {"code": 400, "message": "no"}), (201, {}))
        with serving(self.om) as base:
            self.assertEqual(call(environment(base, OMPIPE_MAIN_EXIT_CODE="1"))[0], 0)
        self.assertEqual([len(row["status"]) for row in self.om.bodies("PUT")], [1, 0])

    def test_a_row_that_is_refused_whatever_it_says_is_given_up(self):
        self.om.answer("GET", ROW, (200, {"pipelineState": "running"}))
        self.om.answer("PUT", STATUS, unrecognized("runId"))
        with serving(self.om) as base:
            self.assertEqual(call(environment(base, OMPIPE_MAIN_EXIT_CODE="1"))[0], 1)
        self.assertEqual(len(self.om.bodies("PUT")), 2)


class Deadline(unittest.TestCase):
    def test_an_unreachable_server_is_given_up(self):
        now = [0.0]
        with serving(Conversation()) as base:
            pass  # the port is free again, so nobody answers there

        def pause(seconds):
            now[0] += seconds

        server = Server({"hostPort": f"{base}/api"}, deadline=10.0, clock=lambda: now[0], pause=pause)
        with self.assertRaisesRegex(ServerError, "no answer"):
            server.status_row(FQN, RUN_ID)
        self.assertEqual(now[0], 0.5 + 1 + 2 + 4)


class BadEnvironment(unittest.TestCase):
    def test_missing_fields_are_named_and_nothing_is_reported(self):
        whole = environment("http://127.0.0.1:1")
        without_fqn = {**json.loads(whole["config"]), "ingestionPipelineFQN": None}
        for env, name in (
            ({**whole, "pipelineRunId": ""}, "pipelineRunId"),
            ({**whole, "pipelineStatus": ""}, "pipelineStatus"),
            ({**whole, "config": json.dumps(without_fqn)}, "ingestionPipelineFQN"),
        ):
            code, said = call(env)
            self.assertEqual(code, 0)
            self.assertRegex(said, f"nothing reported, missing fields: {name}")

    def test_what_cannot_be_used_is_one_line(self):
        whole = environment("http://127.0.0.1:1")
        for change, said in (
            ({"config": ""}, "`config` is missing or empty"),
            ({"config": "{"}, "is not YAML"),
            ({"config": "ingestionPipelineFQN: a.b"}, "openMetadataServerConfig is missing"),
            ({"pipelineRunId": "12"}, "a run id is a UUID"),
        ):
            code, text = call({**whole, **change})
            self.assertEqual(code, 1)
            self.assertIn(said, text)
            self.assertEqual(text.count("\n"), 1)


class Connection(unittest.TestCase):
    def verification(self, **connection):
        return Server({"hostPort": "http://om/api", **connection}, deadline=0.0)._verify

    def test_certificates(self):
        self.assertIs(self.verification(), True)
        self.assertIs(self.verification(verifySSL="no-ssl"), True)
        self.assertIs(self.verification(verifySSL="ignore"), False)
        for name in ("caCertificate", "certificatePath"):
            self.assertEqual(self.verification(verifySSL="validate", sslConfig={name: "/ca.pem"}), "/ca.pem")

    def test_extra_headers_may_name_ours(self):
        connection = {"securityConfig": {"jwtToken": "t"}, "extraHeaders": {"Proxy-Authorization": "%(Authorization)s"}}
        server = Server({"hostPort": "http://om/api", **connection}, deadline=0.0)
        self.assertEqual(server._session.headers["Proxy-Authorization"], "Bearer t")

    def test_a_token_in_a_secrets_manager_is_refused_by_name(self):
        with self.assertRaisesRegex(InputError, "secrets manager"):
            Server({"hostPort": "http://om/api", "securityConfig": {"jwtToken": "secret:/om/token"}}, deadline=0.0)


class Diagnostics(unittest.TestCase):
    """The whole script, with a cluster to ask."""

    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "om-job-x", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "main", "image": "i"}]},
        "status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"},
    }

    def kubeconfig(self, server):
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "k"}}],
        }

    def run_script(self, base):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(self.kubeconfig(base), file)
            file.flush()
            env = environment(base, jobName="om-job-x", namespace="ns", KUBECONFIG=file.name, PATH=os.environ["PATH"])
            return subprocess.run([sys.executable, SCRIPT], env=env, capture_output=True, text=True, timeout=60)

    def script(self, answers):
        both = Conversation()
        both.answer("GET", ROW, (204, ""))
        both.answer("PUT", STATUS, (201, {}))
        for path, answer in answers.items():
            both.answer("GET", f"/api/v1/namespaces/ns/{path}", answer)
        with serving(both) as base:
            done = self.run_script(base)
        self.assertEqual(done.returncode, 0, done.stderr)
        (row,) = both.bodies("PUT")
        self.assertEqual(row["pipelineState"], "failed")
        return row

    def test_the_pod_its_events_and_its_log_are_reported(self):
        event = {
            "metadata": {"name": "e", "namespace": "ns"},
            "involvedObject": {"kind": "Pod", "name": "om-job-x"},
            "lastTimestamp": "2026-01-01T00:00:01Z",
            "type": "Warning",
            "reason": "Evicted",
            "message": "The node was low on memory",
        }
        selected = "events?fieldSelector=involvedObject.kind%3DPod%2CinvolvedObject.name%3Dom-job-x"
        row = self.script(
            {
                "pods?labelSelector=job-name%3Dom-job-x": (200, {"kind": "PodList", "items": [self.pod]}),
                selected: (200, {"kind": "EventList", "items": [event]}),
                "pods/om-job-x/log?container=main&tailLines=500": (200, "the last words"),
            }
        )
        text = row["status"][0]["failures"][0]["stackTrace"]
        self.assertIn("Reason: Evicted", text)
        self.assertIn("Warning Evicted: The node was low on memory", text)
        self.assertIn("Pod Logs:\nthe last words", text)

    def test_a_pod_whose_log_is_gone(self):
        found = {"pods?labelSelector=job-name%3Dom-job-x": (200, {"kind": "PodList", "items": [self.pod]})}
        text = self.script(found)["status"][0]["failures"][0]["stackTrace"]
        self.assertIn("Pod: om-job-x", text)
        self.assertIn("Pod Logs:\n(none)", text)

    def test_a_cluster_that_refuses_everything(self):
        self.assertNotIn("status", self.script({}))
