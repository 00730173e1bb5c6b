# SPDX-License-Identifier: Apache-2.0
"""What processes and the whole machine have used, from /proc."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count() or 1


def resident_mib(pid: int) -> float:
    """Memory that a process holds."""
    return status_kib(pid, "VmRSS") / 1024


def peak_mib(pid: int) -> float:
    """The most memory that a process ever held."""
    return status_kib(pid, "VmHWM") / 1024


def status_kib(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no {field}: it has ended")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, its threads and its children that have ended."""
    # The name, in parentheses, may have spaces in it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_SECOND


def waited_seconds(pid: int) -> float:
    """Time in which the threads of a process could have run, and others had the processor."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            nanoseconds += int((task / "schedstat").read_text().split()[1])
    return nanoseconds / 1e9


def machine_seconds() -> float:
    """Processor time that anybody had, on all cores."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


@dataclass
class Usage:
    """Shares of the machine's processor time, by who had it, most first; 1 is all of it."""

    seconds: float
    cpu: dict[str, float]

    def share(self, name: str) -> float:
        return self.cpu[name] / (self.seconds * CORES)

    def shares(self) -> dict[str, float]:
        return {name: round(self.share(name), 4) for name in self.cpu}


class Meter:
    """Measures who uses the processor from now on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self.pids = dict(pids)
        self.start = time.monotonic()
        self.machine = machine_seconds()
        self.cpu = {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def read(self, ended: Mapping[str, float] | None = None) -> Usage:
        """Usage until now; `ended` has the processor time of programs that are over."""
        cpu = {
            name: cpu_seconds(pid) - self.cpu[name] for name, pid in self.pids.items()
        }
        cpu |= ended or {}
        others = machine_seconds() - self.machine - sum(cpu.values())
        cpu["everything else"] = max(others, 0.0)
        most_first = sorted(cpu.items(), key=lambda item: -item[1])
        return Usage(time.monotonic() - self.start, dict(most_first))
