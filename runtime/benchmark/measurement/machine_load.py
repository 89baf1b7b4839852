"""Describe the machine, and measure how much other programs use it."""

from __future__ import annotations

import datetime
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware and software that every measurement depends on."""

    date: str
    processor: str
    processors: int
    threads: int
    torch: str
    vectors: str
    gpu: str = ""
    """Torch's current GPU; empty if there is none."""

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return (
            f"{self.date}; {self.processor}, {self.processors} processors, {threads}, "
            f"{self.vectors}; torch {self.torch}"
        )


def describe_machine() -> Machine:
    """Describe the processor, torch, and its current number of threads."""
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
    """Return the processor's model name."""
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return " ".join(value.split())
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"


def available_processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LoadMonitor:
    """A context that measures how many processors other programs use.

    `other_load` is None if the system does not report it (no /proc/stat), or the time was too
    short for its clock.
    """

    def __init__(self, path: Path = Path("/proc/stat")) -> None:
        self._path = path
        self.other_load: float | None = None

    def __enter__(self) -> LoadMonitor:
        self._begin = (_total_busy_seconds(self._path), _own_cpu_seconds(), time.perf_counter())
        return self

    def __exit__(self, *error: object) -> None:
        busy, own_seconds, begin = self._begin
        busy_now, elapsed = _total_busy_seconds(self._path), time.perf_counter() - begin
        if busy is not None and busy_now is not None and elapsed > 0.1:
            self.other_load = max(
                0.0, (busy_now - busy - (_own_cpu_seconds() - own_seconds)) / elapsed
            )


def _total_busy_seconds(path: Path) -> float | None:
    """Return busy seconds of all processors, with those of virtual machines on this one."""
    try:
        line = path.read_text(encoding="ascii").partition("\n")[0].split()
        ticks = [int(text) for text in line[1:9]]
        # user, nice, system, idle, waiting for disks, interrupts (two kinds), stolen by the host
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def _own_cpu_seconds() -> float:
    """Return processor seconds of this process and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
