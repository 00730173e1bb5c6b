# SPDX-License-Identifier: Apache-2.0
import unittest

import status_row


class EndState(unittest.TestCase):
    def test_only_two_words_mean_success(self):
        for word in ("success", "Succeeded"):
            self.assertEqual(status_row.end_state(word), "success")
        for word in ("Failed", "failed", "Success", "SUCCEEDED", "OOMKilled"):
            self.assertEqual(status_row.end_state(word), "failed")


class HasEnded(unittest.TestCase):
    def test_by_state_and_by_nothing_else(self):
        for state in ("success", "failed", "partialSuccess", "stopped"):
            self.assertTrue(status_row.has_ended({"pipelineState": state}))
        for row in (None, {}, {"pipelineState": "queued"}, {"pipelineState": "running", "endDate": 5}):
            self.assertFalse(status_row.has_ended(row))


class Ended(unittest.TestCase):
    def test_a_row_of_its_own(self):
        self.assertEqual(
            status_row.ended(None, "id", "failed", 7),
            {"runId": "id", "startDate": 7, "timestamp": 7, "pipelineState": "failed", "endDate": 7},
        )

    def test_everything_else_stays(self):
        row = {"runId": "id", "startDate": 1, "timestamp": 2, "pipelineState": "running", "ofTheFuture": {"x": 1}}
        self.assertEqual(status_row.ended(row, "id", "success", 7), {**row, "pipelineState": "success", "endDate": 7})
        self.assertEqual(row["pipelineState"], "running")


class Diagnostics(unittest.TestCase):
    def test_is_one_more_step(self):
        row = status_row.with_diagnostics({"status": [{"name": "Source"}]}, "Error: why", "text")
        self.assertEqual([step["name"] for step in row["status"]], ["Source", "Pod Diagnostics"])
        self.assertEqual(row["status"][1]["errors"], 1)
        self.assertEqual(
            row["status"][1]["failures"],
            [
                {
                    "name": "Main Container Diagnostics",
                    "error": "Error: why",
                    "stackTrace": "text",
                }
            ],
        )

    def test_without_a_status_before(self):
        self.assertEqual(len(status_row.with_diagnostics({"status": None}, "Error: why", "text")["status"]), 1)


class EndSentence(unittest.TestCase):
    def test_the_exit_code_gives_the_reason(self):
        after = " (after the worker had reported success)"
        cases = [
            (None, None, "Kubernetes job failed - check logs for details"),
            (1, "running", "Error: ended with exit code 1"),
            (1, "success", f"Error: ended with exit code 1{after}"),
            (255, None, "Error: ended with exit code 255"),
            (137, "running", "Signal: ended by signal 9 (exit code 137)"),
        ]
        for code, said, expected in cases:
            self.assertEqual(status_row.end_sentence(code, said), expected)
        for code in (2, 126, 127, 128):
            self.assertTrue(
                status_row.end_sentence(code, None).startswith(f"BadConfig: ended with exit code {code}, which")
            )


class StateToWrite(unittest.TestCase):
    def test_the_exit_code_decides_where_the_row_says_success(self):
        cases = [
            (None, "failed", 1, "failed"),
            ("running", "failed", 1, "failed"),
            ("running", "success", 0, "success"),
            ("success", "success", 0, None),
            ("success", "failed", None, None),
            ("success", "failed", 1, "failed"),
            ("success", "failed", 255, "failed"),
            ("success", "failed", 137, "partialSuccess"),
            ("partialSuccess", "failed", 1, None),
            ("stopped", "failed", 1, None),
        ]
        for said, state, code, expected in cases:
            row = None if said is None else {"pipelineState": said}
            with self.subTest(said=said, code=code):
                self.assertEqual(status_row.state_to_write(row, state, code), expected)
