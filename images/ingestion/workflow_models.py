# SPDX-License-Identifier: Apache-2.0
"""Ask the framework's own models whether they accept a config."""

from collections.abc import Callable
from typing import Any

from metadata.generated.schema.metadataIngestion.application import OpenMetadataApplicationConfig
from metadata.generated.schema.metadataIngestion.workflow import OpenMetadataWorkflowConfig
from metadata.ingestion.api.parser import (
    InvalidWorkflowException,
    ParsingConfigurationError,
    parse_automation_workflow_gracefully,
    parse_workflow_config_gracefully,
)
from pydantic import BaseModel, ValidationError

from inputs import InputError

FEW_PROBLEMS = 10


def parse(pipeline_type: str, config: dict[str, Any]) -> BaseModel:
    """The config as the model that the workflow class of `pipeline_type` makes of it."""
    if pipeline_type == "application":
        return _accepted(OpenMetadataApplicationConfig.model_validate, config)
    return _accepted(_workflow, config)


def parse_automation(config: dict[str, Any]) -> BaseModel:
    """The config as an automation workflow."""
    return _accepted(parse_automation_workflow_gracefully, config)


def problems(error: ValidationError) -> str:
    """What a model refused, each with its place, and without the refused values."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or error.title}: {each['msg']}" for each in found)


def _workflow(config: dict[str, Any]) -> BaseModel:
    """The config as a workflow; of two error texts the one that people can read.

    Pydantic names a surplus key, but lists hundreds of faults when no member of a union
    fits; the framework's parser finds the right member, but is mute about other places.
    """
    try:
        return OpenMetadataWorkflowConfig.model_validate(config)
    except ValidationError as error:
        if error.error_count() <= FEW_PROBLEMS:
            raise
    return parse_workflow_config_gracefully(config)


def _accepted(parser: Callable[[dict[str, Any]], BaseModel], config: dict[str, Any]) -> BaseModel:
    # `from None` throughout: the chained pydantic error would print the refused values.
    try:
        return parser(config)
    except ValidationError as error:
        raise InputError(f"the config does not fit its model: {problems(error)}") from None
    except (ParsingConfigurationError, InvalidWorkflowException) as error:
        raise InputError(f"the config does not fit its model: {' '.join(str(error).split())}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"the config does not fit its model: {type(error).__name__} {error}") from None
