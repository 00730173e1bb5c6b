# SPDX-License-Identifier: Apache-2.0
"""What an entry point is given: environment variables, and the YAML text that one of them holds or names.

Every problem is an `InputError` whose text fits on one line and never quotes the
config: it holds the bot's token and perhaps a database password, and what an entry
point prints becomes the log of the pod.
"""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class InputError(Exception):
    """The run cannot start with what it was given; the text says what to change."""


def config(env: Mapping[str, str]) -> dict[str, Any]:
    """The workflow config, read from the YAML (or JSON) text in `config` or in the file `configFile`.

    A file is for configs that no environment variable can hold: Linux stops at 128 KiB.
    """
    where, text = _config_text(env)
    if not text:
        raise InputError(f"{where} is missing or empty: set it to the workflow config as YAML")
    document = _parse(where, text)
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise InputError(f"{where} holds a YAML {kind}, but a workflow config is a mapping")
    return document


def _config_text(env: Mapping[str, str]) -> tuple[str, str]:
    """Where the config is, in words, and its text."""
    name = env.get("configFile", "").strip()
    if not name:
        return "environment variable `config`", env.get("config", "").strip()
    try:
        return f"file {name}", Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(f"file {name}, which `configFile` names, cannot be read: {reason}") from None


def run_id(env: Mapping[str, str]) -> str | None:
    """The run's id in canonical form, or None if none was given."""
    text = env.get("pipelineRunId", "").strip()
    if not text:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise InputError(
            f"environment variable `pipelineRunId` is {text!r}, but a run id is a UUID "
            "such as 5f1c0b9e-3d5f-4d0e-9a58-7d1f0e6f2c11"
        ) from None


def choice(env: Mapping[str, str], name: str, known: Mapping[str, Any]) -> str:
    """The value of `name`, which must be a key of `known`."""
    value = env.get(name, "").strip()
    listed = ", ".join(known)
    if not value:
        raise InputError(f"environment variable `{name}` is missing or empty: set it to one of {listed}")
    if value not in known:
        raise InputError(f"environment variable `{name}` is {value!r}, which is none of {listed}")
    return value


def _parse(where: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        # str(error) quotes the lines around the fault, and with them secrets.
        raise InputError(f"{where} is not YAML: {_fault(error)}") from None


def _fault(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} at line {mark.line + 1}, column {mark.column + 1}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason} at position {error.position}"
    return type(error).__name__
