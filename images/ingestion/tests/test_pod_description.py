# SPDX-License-Identifier: Apache-2.0
import unittest

import pod_diagnostics
from pod_description import describe


def pod(**status):
    return {"metadata": {"name": "p", "namespace": "n"}, "status": status}


def container(state):
    return {"name": "main", "ready": False, "restartCount": 0, "state": state}


class Describe(unittest.TestCase):
    def test_a_killed_container(self):
        state = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
        text = describe(pod(phase="Failed", containerStatuses=[container(state)]), [], "last words")
        self.assertIn("Phase: Failed", text)
        self.assertIn("Container main: ready False, restarts 0, terminated: OOMKilled, exit code 137", text)
        self.assertTrue(text.endswith("Pod Logs:\nlast words"))

    def test_a_container_that_never_started(self):
        text = describe(pod(containerStatuses=[container({"waiting": {"reason": "ImagePullBackOff"}})]), [], "")
        self.assertIn("waiting: ImagePullBackOff", text)
        self.assertTrue(text.endswith("(none)"))

    def test_an_evicted_pod_without_containers(self):
        text = describe(pod(phase="Failed", reason="Evicted", message="low on memory"), [], "")
        self.assertIn("Reason: Evicted\nMessage: low on memory", text)

    def test_the_latest_events_in_order(self):
        events = [
            {"lastTimestamp": f"2026-01-01T00:00:{n:02}Z", "type": "Normal", "reason": f"R{n}", "message": "m"}
            for n in reversed(range(12))
        ]
        text = describe(pod(), events, "")
        self.assertNotIn("R1:", text)
        self.assertLess(text.index("R2:"), text.index("R11:"))


class Newest(unittest.TestCase):
    def test_the_last_attempt_and_never_an_exit_handler(self):
        def attempt(name, created, **labels):
            return {"metadata": {"name": name, "creationTimestamp": created, "labels": labels}}

        pods = [attempt("b", "2"), attempt("a", "1"), attempt("x", "3", **{pod_diagnostics.POD_TYPE: "exit-handler"})]
        self.assertEqual(pod_diagnostics.newest(pods)["metadata"]["name"], "b")
        self.assertIsNone(pod_diagnostics.newest(pods[2:]))


class Selectors(unittest.TestCase):
    def test_best_first(self):
        name, kind = pod_diagnostics.OMJOB_NAME, pod_diagnostics.POD_TYPE
        self.assertEqual(
            list(pod_diagnostics.selectors("j", None)), ["job-name=j", f"{name}=j,{kind}=main", f"{name}=j"]
        )
        self.assertEqual(
            list(pod_diagnostics.selectors("j", "r"))[3:],
            [f"app.kubernetes.io/run-id=r,{kind}=main", "app.kubernetes.io/run-id=r"],
        )
