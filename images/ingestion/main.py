# SPDX-License-Identifier: Apache-2.0
"""Run one ingestion: `python main.py`, told what to do by its environment.

`config` is the workflow config as YAML, `pipelineType` picks the workflow class, and
`pipelineRunId`, if given, becomes the config's run id. The workflow itself reports
`running` and its result to OpenMetadata. Exit code 0 means that it ended without an
error above its success threshold, 1 that it did not, 2 that what it was given is not
valid, so that it cannot help to start it again.

No signal handler is installed, as in the official image: as the first process of a
container this one therefore ignores SIGTERM, and ompipe's tests depend on that.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import inputs
from inputs import InputError

WORKFLOWS = {
    "metadata": ("metadata.workflow.metadata", "MetadataWorkflow"),
    "lineage": ("metadata.workflow.metadata", "MetadataWorkflow"),
    "dbt": ("metadata.workflow.metadata", "MetadataWorkflow"),
    "elasticSearchReindex": ("metadata.workflow.metadata", "MetadataWorkflow"),
    "usage": ("metadata.workflow.usage", "UsageWorkflow"),
    "profiler": ("metadata.workflow.profiler", "ProfilerWorkflow"),
    "autoClassification": ("metadata.workflow.classification", "AutoClassificationWorkflow"),
    "TestSuite": ("metadata.workflow.data_quality", "TestSuiteWorkflow"),
    "application": ("metadata.workflow.application", "ApplicationWorkflow"),
}

# Jobs and OMJobs are not retried after this code.
CONFIG_ERROR = 2


def main(env: Mapping[str, str]) -> int:
    """The exit code; a workflow that fails leaves as its own exception."""
    try:
        pipeline_type = inputs.choice(env, "pipelineType", WORKFLOWS)
        config = with_run_id(inputs.config(env), inputs.run_id(env))
        workflow_class = load(pipeline_type)
        check(pipeline_type, config)
    except InputError as error:
        print(f"main.py: {error}", file=sys.stderr)
        return CONFIG_ERROR
    run(workflow_class, config)
    return 0


def with_run_id(config: dict[str, Any], run_id: str | None) -> dict[str, Any]:
    """The config under the run id of this run; without one the workflow makes one up."""
    return config if run_id is None else {**config, "pipelineRunId": run_id}


def load(pipeline_type: str) -> type:
    """The workflow class of a pipeline type; imported late because it costs seconds."""
    module, name = WORKFLOWS[pipeline_type]
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"this image cannot run pipeline type {pipeline_type!r}: Python package {error.name!r} is not "
            "installed; use an image with that extra of openmetadata-ingestion, such as the official one"
        ) from None


def check(pipeline_type: str, config: dict[str, Any]) -> None:
    """Refuse what the models refuse before the workflow does it with a traceback.

    Pydantic puts the refused value into its message, so that traceback could show a token.
    """
    import workflow_models

    workflow_models.parse(pipeline_type, config)


def run(workflow_class: type, config: dict[str, Any]) -> None:
    """Carry the workflow out; raises if it failed.

    The dictionary goes in as it is: the framework's own file loader would replace
    `$NAME` in passwords. `stop` flushes what the sink still holds, and a flush may fail,
    so the result is only asked for after it. The workflow's `raiseOnError` is not
    looked at: the contract of this entry point is exit code 1 for a failed run.
    """
    workflow = workflow_class.create(config)
    try:
        workflow.execute()
    finally:
        workflow.stop()
    workflow.raise_from_status()


if __name__ == "__main__":
    sys.exit(main(os.environ))
