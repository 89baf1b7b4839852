"""Worker process of `subprocess_job`: read a `Job` from stdin, print its result as JSON."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.runtime.benchmark.baselines.backends import make_step
from rnnc.runtime.benchmark.baselines.registry import CANDIDATES
from rnnc.runtime.benchmark.workload.candidate import Unavailable
from rnnc.runtime.benchmark.workload.candidate_names import BACKEND_NAMES
from rnnc.runtime.benchmark.workload.workload import Workload, make_workload, resize_workload

from .device_timing import gpu_memory_growth, synchronize_after
from .job_protocol import Job
from .process_memory import process_memory_growth


def main() -> None:
    """Run the job."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    torch.set_num_threads(job.threads)
    # Exclude torch's own one-time initialization from the measurement.
    torch.autograd.backward([torch.nn.Linear(8, 8)(torch.ones(2, 8))], [torch.ones(2, 8)])
    try:
        workload = make_workload(job.program.to_program(), job.steps, job.rows, device=job.device)
        if job.task == "memory":
            measure = gpu_memory_growth if job.device == "cuda" else process_memory_growth
            result: dict[str, Any] = {"bytes": measure(CANDIDATES[job.candidate](workload).step)}
        else:
            result = time_first_calls(workload, job.candidate, Path(os.environ["XDG_CACHE_HOME"]))
    except Unavailable as error:
        result = {"unavailable": str(error)}
    except RnnError as error:
        result = {"unavailable": error.diagnostics[0].message}
    print(json.dumps(result))


def time_first_calls(workload: Workload, name: str, cache: Path) -> dict[str, Any]:
    """Measure the fields of `FirstCalls`."""
    libraries_before = count_compiled_libraries(cache)
    begin = time.perf_counter()
    if name in BACKEND_NAMES:
        model = workload.compile(name)
        step = make_step(workload, model)
    else:
        step = CANDIDATES[name](workload).step
    step = synchronize_after(step, workload.device.type)
    creation_seconds = time.perf_counter() - begin
    seconds = creation_seconds + first_step_overhead(step)
    result: dict[str, Any] = {
        "seconds": seconds,
        "libraries": count_compiled_libraries(cache) - libraries_before,
    }
    result["other"] = None
    if name in BACKEND_NAMES:
        libraries_before = count_compiled_libraries(cache)
        resized_step = make_step(
            resize_workload(workload, workload.steps + 3, workload.rows + 1), model
        )
        other = synchronize_after(resized_step, workload.device.type)
        result["other"] = (
            first_step_overhead(other),
            count_compiled_libraries(cache) - libraries_before,
        )
    return result


def first_step_overhead(step: Callable[[], object]) -> float:
    """Return the seconds by which a first step exceeds the median of later ones."""
    seconds = []
    for _ in range(4):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return max(0.0, seconds[0] - statistics.median(seconds[1:]))


def count_compiled_libraries(cache: Path) -> int:
    """Count compiled libraries and GPU kernels in a folder."""
    return sum(1 for pattern in ("*.so", "*.cubin") for _ in cache.rglob(pattern))


if __name__ == "__main__":
    main()
