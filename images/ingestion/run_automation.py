# SPDX-License-Identifier: Apache-2.0
"""Run one automation, such as a connection test: `python run_automation.py`.

`config` is the automation workflow entity as YAML. The framework reads the entity
again from the server by its name, carries out the request, and writes the result
there. Exit code 0 means that it was carried out, 1 everything else.
"""

import os
import sys
from collections.abc import Mapping

import inputs
from inputs import InputError


def main(env: Mapping[str, str]) -> int:
    """The exit code; an automation that fails leaves as its own exception."""
    try:
        automation = parse(inputs.config(env))
    except InputError as error:
        print(f"run_automation.py: {error}", file=sys.stderr)
        return 1
    from metadata.automations.execute_runner import execute

    execute(automation)
    return 0


def parse(config: dict):
    """The automation as the framework's model."""
    import workflow_models

    return workflow_models.parse_automation(config)


if __name__ == "__main__":
    sys.exit(main(os.environ))
