# SPDX-License-Identifier: Apache-2.0
"""Tell whether the ingestion worker of one release line would accept generated configs.

Runs in an environment that `build` made of that line, with `images/ingestion` in PYTHONPATH, reads a JSON list of
`{"title", "pipelineType", "config"}` from standard input, and prints a JSON object: for each title the list of what the
line's own code has against it.

A worker looks up the workflow class of the pipeline's type, parses the config, takes the member of a union that fits
for source config and connection, and hands each step its own config. All of that is looked at; nothing is run.
"""

import ast
import builtins
import importlib
import importlib.abc
import importlib.machinery
import json
import re
import sys
import sysconfig
import types
import typing
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import source_configs

# What modules around the models import, and models do not use: parsers and clients.
STAND_INS = {"antlr4", "dateutil", "jsonpatch", "requests", "yaml"}

# Where the class is that a worker's main.py makes of a type, before 1.2 and since.
WORKFLOWS = {
    "metadata": ("ingestion/api/workflow.py:Workflow", "workflow/metadata.py:MetadataWorkflow"),
    "lineage": ("ingestion/api/workflow.py:Workflow", "workflow/metadata.py:MetadataWorkflow"),
    "dbt": ("ingestion/api/workflow.py:Workflow", "workflow/metadata.py:MetadataWorkflow"),
    "elasticSearchReindex": ("ingestion/api/workflow.py:Workflow", "workflow/metadata.py:MetadataWorkflow"),
    "usage": ("ingestion/api/workflow.py:Workflow", "workflow/usage.py:UsageWorkflow"),
    "profiler": ("profiler/api/workflow.py:ProfilerWorkflow", "workflow/profiler.py:ProfilerWorkflow"),
    "autoClassification": ("workflow/classification.py:AutoClassificationWorkflow",),
    "TestSuite": ("data_quality/api/workflow.py:TestSuiteWorkflow", "workflow/data_quality.py:TestSuiteWorkflow"),
    "dataInsight": ("data_insight/api/workflow.py:DataInsightWorkflow", "workflow/data_insight.py:DataInsightWorkflow"),
    "application": ("workflow/application.py:ApplicationWorkflow",),
    "policyAgent": ("workflow/metadata.py:MetadataWorkflow",),
}

# What `sourceConfig.config` must have been read as. The image's worker has no type `policyAgent` yet.
SOURCE_CONFIGS = source_configs.SOURCE_CONFIGS | {"policyAgent": "PolicyAgentPipeline"}

# The file of a step, by its place in the config and its type, and the model in it of the step's config. The other
# steps take any config.
STEPS = {
    ("sink", "metadata-rest"): ("ingestion/sink/metadata_rest.py", "MetadataRestSinkConfig"),
    ("sink", "elasticsearch"): ("ingestion/sink/elasticsearch.py", "ElasticSearchConfig"),
    ("stage", "table-usage"): ("ingestion/stage/table_usage.py", "TableStageConfig"),
    ("bulkSink", "metadata-usage"): ("ingestion/bulksink/metadata_usage.py", "MetadataUsageSinkConfig"),
    ("processor", "query-parser"): ("ingestion/processor/query_parser.py", None),
    ("processor", "orm-profiler"): ("profiler/api/models.py", "ProfilerProcessorConfig"),
    ("processor", "tag-pii-processor"): ("profiler/api/models.py", "ProfilerProcessorConfig"),
    ("processor", "orm-test-runner"): ("data_quality/api/models.py", "TestSuiteProcessorConfig"),
    ("processor", "data-insight-processor"): (None, None),
}

FEW_PROBLEMS = 10


class AnyName(type):
    """A class whose every attribute is such a class."""

    def __getattr__(cls, name: str) -> type:
        return stand_in(name)


def stand_in(name: str) -> type:
    """An empty class, which may be called with anything."""
    if name.startswith("__"):
        raise AttributeError(name)
    return AnyName(name, (), {"__init__": lambda self, *args, **kwargs: None})


class StandIn(types.ModuleType):
    """A module that has every name."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> type:
        return stand_in(name)


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the stand-ins, before everything that is installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] not in STAND_INS and not name.startswith("metadata.generated.antlr"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Has nothing to execute."""


def prepare() -> None:
    """Makes models importable that were written for other Pythons and many more packages."""
    # Newer packages register the parts of a profiler when they are imported, which needs the whole worker.
    metadata = types.ModuleType("metadata")
    metadata.__path__ = [str(package())]
    sys.modules["metadata"] = metadata
    sys.meta_path.insert(0, StandIns())
    compiled = re.compile

    def compile_of_old(pattern: Any, flags: int = 0) -> Any:
        """The models up to 1.2 write `^(?u)`: Python 3.11 wants flags first, and this one is the default."""
        return compiled(pattern.replace("^(?u)", "^") if isinstance(pattern, str) else pattern, flags)

    re.compile = compile_of_old


def check(item: dict[str, Any]) -> Iterator[str]:
    """Everything that the line has against one config."""
    pipeline_type, config = item["pipelineType"], item["config"]
    if not knows_type(pipeline_type):
        yield f"no pipelineType {pipeline_type}"
        return
    if not any(has_class(place) for place in WORKFLOWS[pipeline_type]):
        yield f"no workflow class of {pipeline_type}"
        return
    try:
        model = parse(pipeline_type, config)
    except Exception as error:
        yield f"{type(error).__name__}: {readable(error)}"
        return
    if pipeline_type != "application":
        yield from check_source(pipeline_type, config["source"], model.source)
        for place in ("processor", "stage", "sink", "bulkSink"):
            if place in config:
                yield from check_step(place, config[place])


def knows_type(pipeline_type: str) -> bool:
    module = importlib.import_module("metadata.generated.schema.entity.services.ingestionPipelines.ingestionPipeline")
    return pipeline_type in {member.value for member in module.PipelineType}


def package() -> Path:
    """Where the worker's code is."""
    return Path(sysconfig.get_path("purelib"), "metadata")


def class_of(path: str, name: str) -> ast.ClassDef | None:
    """A class in a file, unless there is none. Importing the file would want the whole worker."""
    file = package() / path
    tree = ast.parse(file.read_text()) if file.exists() else ast.parse("")
    return next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)


def has_class(place: str) -> bool:
    return class_of(*place.split(":")) is not None


def parse(pipeline_type: str, config: dict[str, Any]) -> Any:
    """The config as the worker parses it; the plain model comes first, because it names surplus keys."""
    if pipeline_type == "application":
        module = importlib.import_module("metadata.generated.schema.metadataIngestion.application")
        return validated(module.OpenMetadataApplicationConfig, config)
    workflow = importlib.import_module("metadata.generated.schema.metadataIngestion.workflow")
    parser = importlib.import_module("metadata.ingestion.api.parser")
    try:
        validated(workflow.OpenMetadataWorkflowConfig, config)
    except ValueError as error:
        if len(error.errors()) <= FEW_PROBLEMS:
            raise
    return parser.parse_workflow_config_gracefully(deepcopy(config))


def validated(model: Any, document: Any) -> Any:
    """The document as the model, in both generations of pydantic."""
    accept = getattr(model, "model_validate", None) or model.parse_obj
    return accept(deepcopy(document))


def readable(error: Exception) -> str:
    """Places and words of an error in one line."""
    if not hasattr(error, "errors"):
        return " ".join(str(error).split())
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())


def root(value: Any) -> Any:
    """What is inside a model of one value, in both generations of pydantic."""
    return getattr(value, "root", None) or getattr(value, "__root__", value)


def check_source(pipeline_type: str, source: dict[str, Any], parsed: Any) -> Iterator[str]:
    """Whether source config and connection were read by the models that they name."""
    if "config" in source["sourceConfig"]:
        read_as = type(parsed.sourceConfig.config).__name__
        if not read_as.endswith(SOURCE_CONFIGS[pipeline_type]):
            yield f"source.sourceConfig.config was read as {read_as}, expected {SOURCE_CONFIGS[pipeline_type]}"
    if "serviceConnection" in source:
        expected = f"{source['serviceConnection']['config']['type']}Connection"
        read_as = type(root(parsed.serviceConnection).config).__name__
        if read_as != expected:
            yield f"source.serviceConnection.config was read as {read_as}, expected {expected}"


def check_step(place: str, step: dict[str, Any]) -> Iterator[str]:
    """Whether there is such a step, and its model accepts its config."""
    path, model = STEPS[place, step["type"]]
    if path is not None and not (package() / path).exists():
        yield f"{place}.type {step['type']} is unknown"
    elif model is not None:
        try:
            validated(step_model(path, model), step["config"])
        except ValueError as error:
            yield f"{place}.config: {readable(error)}"


def step_model(path: str, name: str) -> Any:
    """The model of a step's config, made of its source text alone."""
    found = class_of(path, name)
    if found is None:
        raise LookupError(f"{path} has no {name}")
    common = importlib.import_module("metadata.config.common")
    # Types of other modules stand in fields that our configs do not have.
    names = {**vars(typing), "ConfigModel": common.ConfigModel, "BaseModel": common.BaseModel}
    for node in ast.walk(found):
        if isinstance(node, ast.Name) and node.id not in names:
            names[node.id] = getattr(builtins, node.id, Any)
    exec(compile(ast.Module([found], []), path, "exec"), names)
    return names[name]


def main() -> int:
    prepare()
    json.dump({item["title"]: list(check(item)) for item in json.load(sys.stdin)}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
