# SPDX-License-Identifier: Apache-2.0
"""Name the machine, so that nobody compares figures of two."""

import os
import platform
from pathlib import Path


def machine() -> str:
    model = next(
        line
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return f"{os.cpu_count()} x {model.split(':')[1].strip()}, {memory} GiB, Linux {platform.release()}"
