"""Measure in separate processes: memory of a training step, and first calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from rnnc.runtime.benchmark.workload.candidate import Unavailable
from rnnc.runtime.benchmark.workload.workload import Workload
from rnnc.runtime.training.run_state.checkpoint import StoredProgram

from . import subprocess_worker
from .job_protocol import FirstCalls, Job


def measure_step_memory(workload: Workload, candidate: str) -> int:
    """Return the bytes by which a process grows at its peak in a training step.

    On a GPU the bytes of torch's allocator (`device_timing.gpu_memory_growth`).

    Raises:
        Unavailable: if that cannot be measured.
    """
    return int(_run_worker(_make_job(workload, candidate, "memory"))["bytes"])


def measure_first_calls(workload: Workload, candidate: str) -> tuple[FirstCalls, FirstCalls]:
    """Measure a process with an empty cache, then one with the cache that it filled.

    Raises:
        Unavailable: where that cannot be measured.
    """
    job = _make_job(workload, candidate, "first")
    with tempfile.TemporaryDirectory(prefix="rnnc-") as cache:
        cold, warm = (_run_worker(job, Path(cache)) for _ in range(2))
    return _parse_first_calls(cold), _parse_first_calls(warm)


def _parse_first_calls(reply: Mapping[str, Any]) -> FirstCalls:
    other = reply["other"]
    return FirstCalls(reply["seconds"], reply["libraries"], None if other is None else tuple(other))


def _make_job(workload: Workload, candidate: str, task: Literal["memory", "first"]) -> Job:
    import torch

    program = StoredProgram.from_program(workload.model.program)
    threads = torch.get_num_threads()
    return Job(
        task, program, candidate, workload.steps, workload.rows, threads, workload.device.type
    )


def _run_worker(job: Job, cache: Path | None = None, *, timeout: float = 300) -> Mapping[str, Any]:
    environment = dict(os.environ)
    if cache is not None:
        environment["XDG_CACHE_HOME"] = str(cache)
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "torchinductor")
        environment["TRITON_CACHE_DIR"] = str(cache / "triton")
    try:
        process = subprocess.run(  # noqa: S603 - this interpreter, and a module of ours
            [sys.executable, "-W", "ignore", "-m", subprocess_worker.__name__],
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
