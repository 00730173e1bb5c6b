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
        row = status_row.with_diagnostics({"status": [{"name": "Source"}]}, "text")
        self.assertEqual([step["name"] for step in row["status"]], ["Source", "Pod Diagnostics"])
        self.assertEqual(row["status"][1]["errors"], 1)
        self.assertEqual(
            row["status"][1]["failures"],
            [
                {
                    "name": "Main Container Diagnostics",
                    "error": "Kubernetes job failed - check logs for details",
                    "stackTrace": "text",
                }
            ],
        )

    def test_without_a_status_before(self):
        self.assertEqual(len(status_row.with_diagnostics({"status": None}, "text")["status"]), 1)
