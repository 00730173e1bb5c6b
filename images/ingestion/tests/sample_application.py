# SPDX-License-Identifier: Apache-2.0
"""Applications for the framework to run: the shortest workflow that needs no source."""

from metadata.generated.schema.entity.services.ingestionPipelines.status import StackTraceError
from metadata.workflow.application import AppRunner


class Succeeding(AppRunner):
    def run(self):
        self.status.scanned("one")

    def close(self):
        print("closed")


class Failing(Succeeding):
    def run(self):
        self.status.failed(StackTraceError(name="one", error="it did not work", stackTrace="-"))
