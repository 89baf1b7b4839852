"""Measure in separate processes: memory of a training step, and first calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from rnnc.runtime.benchmark.workload.candidate import Unavailable
from rnnc.runtime.benchmark.workload.workload import Workload
from rnnc.runtime.training.run_state.checkpoint import StoredProgram


class Job(msgspec.Struct, frozen=True):
    """A measurement request: a candidate of a model, at one size."""

    task: Literal["memory", "first"]
    program: StoredProgram
    contender: str
    steps: int
    rows: int
    threads: int
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class FirstCalls:
    """Costs before the second training step of a process.

    seconds: to make the model and run its first step, minus the time of a later step.
    libraries: compiled ones (0 if all were cached).
    other: seconds by which the first step at another T and B exceeds later ones, and the libraries
        compiled for it; None for baselines, which are made for one size.
    """

    seconds: float
    libraries: int
    other: tuple[float, int] | None


def measure_step_memory(case: Workload, contender: str) -> int:
    """Return the bytes by which a process grows at its peak in a training step.

    On a GPU the bytes of torch's allocator (`device_timing.gpu_memory_growth`).

    Raises:
        Unavailable: if that cannot be measured.
    """
    return int(_run_worker(_make_job(case, contender, "memory"))["bytes"])


def measure_first_calls(case: Workload, contender: str) -> tuple[FirstCalls, FirstCalls]:
    """Measure a process with an empty cache, then one with the cache that it filled.

    Raises:
        Unavailable: where that cannot be measured.
    """
    job = _make_job(case, contender, "first")
    with tempfile.TemporaryDirectory(prefix="rnnc-") as cache:
        cold, warm = (_run_worker(job, Path(cache)) for _ in range(2))
    return _parse_first_calls(cold), _parse_first_calls(warm)


def _parse_first_calls(reply: Mapping[str, Any]) -> FirstCalls:
    other = reply["other"]
    return FirstCalls(reply["seconds"], reply["libraries"], None if other is None else tuple(other))


def _make_job(case: Workload, contender: str, task: Literal["memory", "first"]) -> Job:
    import torch

    program = StoredProgram.from_program(case.model.program)
    threads = torch.get_num_threads()
    return Job(task, program, contender, case.steps, case.rows, threads, case.device.type)


def _run_worker(job: Job, cache: Path | None = None, *, timeout: float = 300) -> Mapping[str, Any]:
    environment = dict(os.environ)
    if cache is not None:
        environment["XDG_CACHE_HOME"] = str(cache)
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "torchinductor")
        environment["TRITON_CACHE_DIR"] = str(cache / "triton")
    try:
        process = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "rnnc.runtime.benchmark.measurement.subprocess_worker",
            ],
            input=msgspec.json.encode(job),
            capture_output=True,
            timeout=timeout,
            env=environment,
        )
        reply: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise Unavailable(f"a process of its own did not answer: {error}") from None
    if "unavailable" in reply:
        raise Unavailable(str(reply["unavailable"]))
    return reply
