"""What machine it is, and how much of it others use meanwhile."""

from __future__ import annotations

import datetime
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """What belongs beside every figure."""

    date: str
    processor: str
    processors: int
    threads: int
    torch: str
    vectors: str
    gpu: str = ""
    """Of torch's current device; empty where it has none."""

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return (
            f"{self.date}; {self.processor}, {self.processors} processors, {threads}, "
            f"{self.vectors}; torch {self.torch}"
        )


def describe_machine() -> Machine:
    """The machine, torch, and the threads that torch takes now."""
    import torch

    return Machine(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        processor=processor_name(),
        processors=available_processors(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        vectors=torch.backends.cpu.get_cpu_capability(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    )


def processor_name(path: Path = Path("/proc/cpuinfo")) -> str:
    """The kind of processor, as the system calls it."""
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"


def available_processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LoadMonitor:
    """Measures how many processors other programs keep busy while it is open.

    `other_load` is None where the system does not say (there is no /proc/stat), or too little time
    has passed for its clock.
    """

    def __init__(self, path: Path = Path("/proc/stat")) -> None:
        self._path = path
        self.other_load: float | None = None

    def __enter__(self) -> LoadMonitor:
        self._begin = (_total_busy_seconds(self._path), _own_cpu_seconds(), time.perf_counter())
        return self

    def __exit__(self, *error: object) -> None:
        busy, own, begin = self._begin
        now, took = _total_busy_seconds(self._path), time.perf_counter() - begin
        if busy is not None and now is not None and took > 0.1:
            self.other_load = max(0.0, (now - busy - (_own_cpu_seconds() - own)) / took)


def _total_busy_seconds(path: Path) -> float | None:
    """Seconds that all processors together have worked, for guests of this machine, too."""
    try:
        line = path.read_text(encoding="ascii").partition("\n")[0].split()
        ticks = [int(text) for text in line[1:9]]
        # user, nice, system, idle, waiting for disks, interrupts (two kinds), stolen by the host
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _own_cpu_seconds() -> float:
    """Seconds that this process and those that it has waited for have worked."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
