# SPDX-License-Identifier: Apache-2.0
"""Tell whether the framework would accept generated configs: `python check_config.py [FILE]`.

Reads a YAML or JSON list of `{"pipelineType": ..., "config": {...}}` from FILE or
standard input, and prints one JSON line per item: `pipelineType`, `ok`, `error`.
Exit code 0 if all are accepted, 1 if one is refused, 2 if the list cannot be read.

The workflow class reads a config in three stages, and a config may fail in each: the
model of the whole config, the connection and source config that a union of models made
of it (the wrong member may have taken it), and the configs of the steps.
"""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from metadata.ingestion.api.parser import get_connection_class, get_service_type
from metadata.utils.class_helper import get_service_type_from_source_type
from metadata.utils.importer import (
    import_bulk_sink_type,
    import_processor_class,
    import_sink_class,
    import_stage_class,
)
from pydantic import BaseModel, ValidationError

import workflow_models
from inputs import InputError
from main import WORKFLOWS
from source_configs import SOURCE_CONFIGS

# The model of a step's `config`, and how its `type` is looked up; the profiler, the
# classification and the test suite take their own processor whatever `type` says.
SINK = ("metadata.ingestion.sink.metadata_rest.MetadataRestSinkConfig", import_sink_class)
STEPS: dict[str, dict[str, tuple[str, Callable[[str], Any] | None]]] = {
    "metadata": {"sink": SINK},
    "lineage": {"sink": SINK},
    "dbt": {"sink": SINK},
    "elasticSearchReindex": {"sink": SINK},
    "usage": {
        "processor": ("metadata.config.common.ConfigModel", import_processor_class),
        "stage": ("metadata.ingestion.stage.table_usage.TableStageConfig", import_stage_class),
        "bulkSink": ("metadata.ingestion.bulksink.metadata_usage.MetadataUsageSinkConfig", import_bulk_sink_type),
    },
    "profiler": {"processor": ("metadata.profiler.api.models.ProfilerProcessorConfig", None), "sink": SINK},
    "autoClassification": {"processor": ("metadata.profiler.api.models.ProfilerProcessorConfig", None), "sink": SINK},
    "TestSuite": {"processor": ("metadata.data_quality.api.models.TestSuiteProcessorConfig", None), "sink": SINK},
}


def main(arguments: list[str]) -> int:
    """Check every item; the exit code says whether all were accepted."""
    try:
        items = read(arguments)
    except (OSError, yaml.YAMLError, InputError) as error:
        print(f"check_config.py: {error}", file=sys.stderr)
        return 2
    results = [verdict(item) for item in items]
    for result in results:
        print(json.dumps(result))
    return 0 if all(result["ok"] for result in results) else 1


def read(arguments: list[str]) -> list[dict[str, Any]]:
    """The items of the named file, or of standard input."""
    if len(arguments) > 1:
        raise InputError("usage: check_config.py [FILE]")
    if arguments:
        with open(arguments[0], encoding="utf-8") as file:
            items = yaml.safe_load(file)
    else:
        items = yaml.safe_load(sys.stdin)
    if not isinstance(items, list) or not items:
        raise InputError("expected a list with at least one {pipelineType, config}")
    return items


def verdict(item: dict[str, Any]) -> dict[str, Any]:
    """One line of the answer."""
    pipeline_type = item.get("pipelineType") if isinstance(item, dict) else None
    try:
        found = list(check(item))
    except InputError as error:
        found = [str(error)]
    return {"pipelineType": pipeline_type, "ok": not found, "error": "; ".join(found) or None}


def check(item: dict[str, Any]) -> Iterator[str]:
    """Everything that is wrong with one item."""
    if not isinstance(item, dict) or set(item) != {"pipelineType", "config"}:
        raise InputError("an item has exactly the keys pipelineType and config")
    pipeline_type, config = item["pipelineType"], item["config"]
    if pipeline_type not in WORKFLOWS:
        raise InputError(f"pipelineType {pipeline_type!r} is none of {', '.join(WORKFLOWS)}")
    model = workflow_models.parse(pipeline_type, config)
    if pipeline_type != "application":
        yield from check_source(pipeline_type, config["source"], model.source)
        yield from check_steps(STEPS[pipeline_type], model)


def check_source(pipeline_type: str, source: dict[str, Any], parsed: BaseModel) -> Iterator[str]:
    """Whether the source is of a known type, and was read by the models that it names."""
    if get_service_type_from_source_type(parsed.type) is None:
        yield f"source.type {parsed.type!r} is known to no kind of service"
    if not parsed.serviceName:
        yield "source.serviceName is missing"
    read_as = type(parsed.sourceConfig.config).__name__
    if not read_as.endswith(SOURCE_CONFIGS[pipeline_type]):
        yield f"source.sourceConfig.config was read as {read_as}, expected {SOURCE_CONFIGS[pipeline_type]}"
    if source.get("serviceConnection"):
        yield from check_connection(source["serviceConnection"], parsed.serviceConnection)


def check_connection(connection: dict[str, Any], parsed: BaseModel) -> Iterator[str]:
    """Whether the connection was read by the model of its `type`."""
    name = (connection.get("config") or {}).get("type")
    read_as = type(parsed.root.config).__name__
    if name is None:
        yield f"source.serviceConnection.config.type is missing: it was read as {read_as} by chance"
        return
    # The model has accepted the name, so the framework has a class for it.
    expected = get_connection_class(name, get_service_type(name)).__name__
    if read_as != expected:
        yield f"source.serviceConnection.config was read as {read_as}, expected {expected}"


def check_steps(steps: dict[str, tuple[str, Callable[[str], Any] | None]], model: BaseModel) -> Iterator[str]:
    """Whether each step that the workflow class builds is there with a config that it accepts."""
    for name, (config_model, importer) in steps.items():
        step = getattr(model, name)
        if step is None:
            yield f"{name} is missing"
            continue
        yield from check_step_type(name, step.type, importer)
        yield from check_step_config(name, step.model_dump().get("config"), locate(config_model))


def check_step_type(name: str, step_type: str, importer: Callable[[str], Any] | None) -> Iterator[str]:
    """Whether the framework finds a step of that type."""
    try:
        if importer is not None:
            importer(step_type)
    except Exception as error:  # the importers raise what the imported module raises
        yield f"{name}.type {step_type!r} cannot be imported: {error}"


def check_step_config(name: str, config: Any, config_model: type[BaseModel]) -> Iterator[str]:
    """Whether the step accepts its config."""
    try:
        config_model.model_validate(config)
    except ValidationError as error:
        yield f"{name}.config: {workflow_models.problems(error)}"


def locate(path: str) -> type[BaseModel]:
    """The class at a dotted path."""
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
