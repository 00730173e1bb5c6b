# SPDX-License-Identifier: Apache-2.0
"""Record the workflow configs that OpenMetadata's own builders make of pipelines.

The builders are those of openmetadata-managed-apis, the plugin by which Airflow runs pipelines. They ask the server
for the pipeline's service; a server of this process answers that. `record` prepares the packages and writes what this
prints to tests/vectors/builders.json.
"""

import json
import sys
import threading
from collections.abc import Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from metadata.ingestion.api.parser import parse_ingestion_pipeline_config_gracefully
from openmetadata_managed_apis.workflows.ingestion import (
    application,
    auto_classification,
    dbt,
    es_reindex,
    lineage,
    metadata,
    profiler,
    test_suite,
    usage,
)

Json = dict[str, Any]

BUILDERS = {
    "application": application.build_application_workflow_config,
    "autoClassification": auto_classification.build_auto_classification_workflow_config,
    "dbt": dbt.build_dbt_workflow_config,
    "elasticSearchReindex": es_reindex.build_es_reindex_workflow_config,
    "lineage": lineage.build_lineage_workflow_config,
    "metadata": metadata.build_metadata_workflow_config,
    "profiler": profiler.build_profiler_workflow_config,
    "TestSuite": test_suite.build_test_suite_workflow_config,
    "usage": usage.build_usage_workflow_config,
}
VERSION = "1.12.14"
SERVICE_ID = "5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb02"

POSTGRES = {
    "id": SERVICE_ID,
    "name": "shop",
    "fullyQualifiedName": "shop",
    "serviceType": "Postgres",
    "connection": {
        "config": {
            "type": "Postgres",
            "username": "reader",
            "authType": {"password": "made-up"},
            "hostPort": "pg:5432",
            "database": "shop",
        }
    },
}
DOTTED = {
    **POSTGRES,
    "name": "shop.eu",
    "fullyQualifiedName": '"shop.eu"',
    "serviceType": "BigQuery",
}
DOTTED["connection"] = {
    "config": {
        "type": "BigQuery",
        "credentials": {"gcpConfig": {"path": "/keys/gcp.json", "projectId": "shop"}},
    }
}
SUPERSET = {
    "id": SERVICE_ID,
    "name": "boards",
    "fullyQualifiedName": "boards",
    "serviceType": "Superset",
    "connection": {
        "config": {
            "type": "Superset",
            "hostPort": "http://superset:8088",
            "connection": {
                "provider": "db",
                "username": "reader",
                "password": "made-up",
            },
        }
    },
}
KAFKA = {
    "id": SERVICE_ID,
    "name": "bus",
    "fullyQualifiedName": "bus",
    "serviceType": "Kafka",
    "connection": {"config": {"type": "Kafka", "bootstrapServers": "kafka:9092"}},
}
SEARCH = {
    "id": SERVICE_ID,
    "name": "OpenMetadata",
    "fullyQualifiedName": "OpenMetadata",
    "serviceType": "MetadataES",
    "connection": {"config": {"type": "MetadataES"}},
}
# Kind in references, and collection in paths.
KINDS = {
    "Postgres": ("databaseService", "databaseServices"),
    "BigQuery": ("databaseService", "databaseServices"),
    "Superset": ("dashboardService", "dashboardServices"),
    "Kafka": ("messagingService", "messagingServices"),
    "MetadataES": ("metadataService", "metadataServices"),
}


def pipeline(kind: str, service: Json | None, source_config: Json, **more: Any) -> Json:
    """A pipeline as the server sends it with a deploy."""
    reference = {"type": "testSuite", "name": "shop.public.orders.testSuite"}
    if service is not None:
        reference = {"type": KINDS[service["serviceType"]][0], "name": service["name"]}
        reference["fullyQualifiedName"] = service["fullyQualifiedName"]
    prefix = reference.get("fullyQualifiedName", reference["name"])
    return {
        "id": "5f1c0b1e-6a5b-4a57-9d58-0a8a2a4fbb01",
        "name": "nightly",
        "displayName": "Nightly",
        "fullyQualifiedName": f"{prefix}.nightly",
        "pipelineType": kind,
        "sourceConfig": {"config": source_config},
        "airflowConfig": {"scheduleInterval": "0 0 * * *"},
        "service": {"id": SERVICE_ID, **reference},
        **more,
    }


def cases() -> Iterator[tuple[str, Json, Json | None]]:
    """Title, pipeline and service of each recording."""
    metadata_config = {
        "type": "DatabaseMetadata",
        "markDeletedTables": True,
        "includeViews": False,
        "schemaFilterPattern": {"includes": ["^a$", "ü*"], "excludes": ["tmp_.*"]},
    }
    yield "metadata", pipeline("metadata", POSTGRES, metadata_config), POSTGRES
    for level in ("DEBUG", "WARN", "ERROR"):
        yield (
            f"logger level {level}",
            pipeline("metadata", POSTGRES, metadata_config, loggerLevel=level),
            POSTGRES,
        )
    for raises in (True, False):
        more = {"raiseOnError": raises, "enableStreamableLogs": raises}
        yield (
            f"metadata, raiseOnError {raises}",
            pipeline("metadata", POSTGRES, metadata_config, **more),
            POSTGRES,
        )
    yield "a service with a dot", pipeline("metadata", DOTTED, metadata_config), DOTTED
    dashboards = {
        "type": "DashboardMetadata",
        "dashboardFilterPattern": {"includes": [".*"]},
    }
    yield "dashboards", pipeline("metadata", SUPERSET, dashboards), SUPERSET
    yield (
        "messages",
        pipeline(
            "metadata", KAFKA, {"type": "MessagingMetadata", "generateSampleData": True}
        ),
        KAFKA,
    )
    usage_config = {
        "type": "DatabaseUsage",
        "queryLogDuration": 3,
        "stageFileLocation": "/tmp/query_log",
    }
    yield (
        "usage",
        pipeline("usage", POSTGRES, usage_config, raiseOnError=False),
        POSTGRES,
    )
    lineage_config = {
        "type": "DatabaseLineage",
        "resultLimit": 50,
        "parsingTimeoutLimit": 300,
    }
    yield "lineage", pipeline("lineage", POSTGRES, lineage_config), POSTGRES
    profiler_config = {
        "type": "Profiler",
        "profileSample": 50.5,
        "profileSampleType": "PERCENTAGE",
        "threadCount": 3,
    }
    yield (
        "profiler",
        pipeline("profiler", POSTGRES, profiler_config, raiseOnError=False),
        POSTGRES,
    )
    classification = {
        "type": "AutoClassification",
        "enableAutoClassification": True,
        "confidence": 80,
    }
    yield (
        "classification",
        pipeline("autoClassification", POSTGRES, classification, raiseOnError=False),
        POSTGRES,
    )
    suite = {"type": "TestSuite", "entityFullyQualifiedName": "shop.shop.public.orders"}
    yield "test suite", pipeline("TestSuite", None, suite, raiseOnError=False), None
    some = {**suite, "testCases": ["columnsNotNull", "rowCount"]}
    yield "some tests of a suite", pipeline("TestSuite", None, some), None
    local = {
        "dbtConfigType": "local",
        "dbtManifestFilePath": "/m.json",
        "dbtCatalogFilePath": "/c.json",
    }
    yield (
        "dbt, local",
        pipeline("dbt", POSTGRES, {"type": "DBT", "dbtConfigSource": local}),
        POSTGRES,
    )
    cloud = {
        "dbtConfigType": "cloud",
        "dbtCloudAuthToken": "made-up",
        "dbtCloudAccountId": "1",
        "dbtCloudUrl": "https://cloud.getdbt.com",
    }
    yield (
        "dbt, cloud",
        pipeline("dbt", POSTGRES, {"type": "DBT", "dbtConfigSource": cloud}),
        POSTGRES,
    )
    reindex = {"type": "MetadataToElasticSearch", "useSSL": False}
    yield (
        "search index",
        pipeline("elasticSearchReindex", SEARCH, reindex, raiseOnError=False),
        SEARCH,
    )
    app = {
        "type": "Application",
        "sourcePythonClass": "metadata.applications.example.Example",
        "appConfig": {"type": "AutoPilotApplication", "active": True},
    }
    yield (
        "application",
        pipeline("application", SEARCH, app, raiseOnError=False),
        SEARCH,
    )
    bare = {
        "type": "Application",
        "sourcePythonClass": "metadata.applications.example.Example",
    }
    yield "application without settings", pipeline("application", SEARCH, bare), SEARCH


class Server(BaseHTTPRequestHandler):
    """What the builders ask of OpenMetadata: its version, and a service by its name."""

    service: Json | None = None

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        if path.endswith("/system/version"):
            return self.answer(
                200, {"version": VERSION, "revision": "", "timestamp": 0}
            )
        if self.service and path.endswith(
            f"{KINDS[self.service['serviceType']][1]}/name/{self.service['name']}"
        ):
            return self.answer(200, self.service)
        return self.answer(404, {"code": 404, "message": path})

    def answer(self, status: int, body: Json) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def record(title: str, document: Json, service: Json | None, address: str) -> Json:
    """One case with the config that the builder of its type makes."""
    Server.service = service
    connection = {
        "type": "OpenMetadata",
        "clusterName": "openmetadata",
        "hostPort": address,
        "authProvider": "openmetadata",
        "securityConfig": {"jwtToken": "made.up.token"},
    }
    sent = {**document, "openMetadataServerConnection": connection}
    parsed = parse_ingestion_pipeline_config_gracefully(deepcopy(sent))
    config = BUILDERS[document["pipelineType"]](parsed)
    # What neither the builder nor the pipeline said are defaults of the models, which the worker fills in itself.
    made = config.model_dump(mode="json", exclude_unset=True, mask_secrets=False)
    case = {"title": title, "pipeline": sent, "service": service, "config": made}
    return json.loads(json.dumps(case).replace(address, "http://om:8585/api"))


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/api"
    recorded = [record(*case, address) for case in cases()]
    json.dump(recorded, sys.stdout, indent=1, ensure_ascii=False, sort_keys=True)
    print()


if __name__ == "__main__":
    main()
