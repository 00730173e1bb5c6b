# SPDX-License-Identifier: Apache-2.0
"""The checker, with the real models: it must be able to refuse."""

import contextlib
import copy
import io
import json
import tempfile
import unittest

import check_config

SERVER = {"hostPort": "http://om:8585/api", "authProvider": "openmetadata", "securityConfig": {"jwtToken": "T0KEN"}}
CONNECTION = {
    "config": {
        "type": "Postgres",
        "username": "u",
        "authType": {"password": "p"},
        "hostPort": "db:5432",
        "database": "shop",
    }
}
SINK = {"type": "metadata-rest", "config": {}}
FILE = {"filename": "/tmp/query_log"}
DBT = {"type": "DBT", "dbtConfigSource": {"dbtConfigType": "local", "dbtManifestFilePath": "/manifest.json"}}


def workflow(source_type, source_config, connection=CONNECTION, **steps):
    source = {"type": source_type, "serviceName": "shop", "sourceConfig": {"config": source_config}}
    if connection:
        source["serviceConnection"] = connection
    return {"source": source, "workflowConfig": {"openMetadataServerConfig": SERVER}, **steps}


ACCEPTED = {
    "metadata": workflow("postgres", {"type": "DatabaseMetadata"}, sink=SINK),
    "lineage": workflow("postgres-lineage", {"type": "DatabaseLineage"}, connection=None, sink=SINK),
    "usage": workflow(
        "postgres-usage",
        {"type": "DatabaseUsage"},
        processor={"type": "query-parser", "config": {}},
        stage={"type": "table-usage", "config": FILE},
        bulkSink={"type": "metadata-usage", "config": FILE},
    ),
    "profiler": workflow("postgres", {"type": "Profiler"}, processor={"type": "orm-profiler", "config": {}}, sink=SINK),
    "autoClassification": workflow(
        "postgres", {"type": "AutoClassification"}, processor={"type": "tag-pii-processor", "config": {}}, sink=SINK
    ),
    "TestSuite": workflow(
        "testSuite",
        {"type": "TestSuite", "entityFullyQualifiedName": "shop.shop.public.orders"},
        connection=None,
        processor={"type": "orm-test-runner", "config": {}},
        sink=SINK,
    ),
    "dbt": workflow("dbt", DBT, sink=SINK),
    "elasticSearchReindex": workflow(
        "metadata_elasticsearch", {"type": "MetadataToElasticSearch"}, connection=None, sink=SINK
    ),
    "application": {"sourcePythonClass": "a.B", "workflowConfig": {"openMetadataServerConfig": SERVER}},
}


class Verdict(unittest.TestCase):
    def refusal(self, pipeline_type, change):
        config = copy.deepcopy(ACCEPTED[pipeline_type])
        change(config)
        result = check_config.verdict({"pipelineType": pipeline_type, "config": config})
        self.assertFalse(result["ok"])
        self.assertNotIn("T0KEN", result["error"])
        return result["error"]

    def test_every_pipeline_type(self):
        self.assertEqual(ACCEPTED.keys(), check_config.WORKFLOWS.keys())
        for pipeline_type, config in ACCEPTED.items():
            result = check_config.verdict({"pipelineType": pipeline_type, "config": config})
            self.assertEqual(result, {"pipelineType": pipeline_type, "ok": True, "error": None})

    def test_an_unknown_key_of_the_config(self):
        for pipeline_type in ACCEPTED:
            self.assertIn("surplus", self.refusal(pipeline_type, lambda config: config.update(surplus=1)))

    def test_an_unknown_key_further_in(self):
        for place in ("source", "sink", "workflowConfig"):
            error = self.refusal("metadata", lambda config, place=place: config[place].update(surplus=1))
            self.assertIn("surplus", error)
        error = self.refusal("metadata", lambda config: config["source"]["sourceConfig"]["config"].update(surplus=1))
        self.assertIn("surplus", error)

    def test_a_step_that_is_missing_or_has_no_config(self):
        self.assertIn("stage is missing", self.refusal("usage", lambda config: config.pop("stage")))
        self.assertIn("sink.config", self.refusal("metadata", lambda config: config["sink"].pop("config")))
        self.assertIn(
            "filename", self.refusal("usage", lambda config: config["stage"].update(config={"file": "/tmp/x"}))
        )
        self.assertIn("processor.config", self.refusal("TestSuite", lambda config: config["processor"].pop("config")))

    def test_a_step_that_the_framework_does_not_have(self):
        error = self.refusal("metadata", lambda config: config["sink"].update(type="nowhere"))
        self.assertIn("cannot be imported", error)

    def test_a_source_config_of_another_pipeline_type(self):
        def change(config):
            config["source"]["sourceConfig"]["config"] = {"type": "DatabaseMetadata"}

        self.assertIn("read as DatabaseServiceMetadataPipeline", self.refusal("lineage", change))

    def test_a_source_that_no_kind_of_service_knows(self):
        self.assertIn(
            "known to no kind", self.refusal("metadata", lambda config: config["source"].update(type="nosql"))
        )

    def test_a_connection_without_its_type(self):
        def change(config):
            config["source"]["serviceConnection"] = {"config": {"hostPort": "db:1", "username": "u", "database": "d"}}

        self.assertIn("type is missing", self.refusal("metadata", change))

    def test_an_item_that_is_none(self):
        for item in (1, {}, {"pipelineType": "metadata"}, {"pipelineType": "reverse", "config": {}}):
            self.assertFalse(check_config.verdict(item)["ok"])


class Main(unittest.TestCase):
    def answer(self, text):
        said = io.StringIO()
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(text)
            file.flush()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
                code = check_config.main([file.name])
        return code, [json.loads(line) for line in said.getvalue().splitlines()]

    def test_exit_codes(self):
        good = {"pipelineType": "application", "config": ACCEPTED["application"]}
        bad = {"pipelineType": "application", "config": {}}
        code, lines = self.answer(json.dumps([good, bad]))
        self.assertEqual((code, [line["ok"] for line in lines]), (1, [True, False]))
        self.assertEqual(self.answer(json.dumps([good]))[0], 0)
        for text in ("[]", "{}", "[", "text"):
            self.assertEqual(self.answer(text), (2, []))
