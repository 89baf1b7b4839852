"""The other side of `job`: reads a `Job` from standard input, prints what it found, both JSON."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
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
from .subprocess_job import Job


def main() -> None:
    """Do the job."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    torch.set_num_threads(job.threads)
    # What torch itself does once in a process is not ours to count.
    torch.autograd.backward([torch.nn.Linear(8, 8)(torch.ones(2, 8))], [torch.ones(2, 8)])
    try:
        its = make_workload(job.program.to_program(), job.steps, job.rows, device=job.device)
        if job.task == "memory":
            measured = gpu_memory_growth if job.device == "cuda" else process_memory_growth
            found: dict[str, Any] = {"bytes": measured(CANDIDATES[job.contender](its).step)}
        else:
            found = time_first_calls(its, job.contender, Path(os.environ["XDG_CACHE_HOME"]))
    except Unavailable as error:
        found = {"unavailable": str(error)}
    except RnnError as error:
        found = {"unavailable": error.diagnostics[0].message}
    print(json.dumps(found))


def process_memory_growth(step: Callable[[], object], repeats: int = 3) -> int:
    """Bytes by which this process grows at its peak in a step like one that it has done before.

    What is free is given back to the system first, so that it counts when it is taken again.
    Gradients of the step before are still there, and count for nobody. The least of several
    steps counts: what else a process does can only add.

    Raises:
        Unavailable: where the system does not measure it; Linux with glibc does.
    """
    step()
    try:
        return min(peak_memory_growth(step) for _ in range(repeats))
    except (OSError, AttributeError, TypeError) as error:
        raise Unavailable(f"this system does not measure it: {error}") from None


def peak_memory_growth(step: Callable[[], object]) -> int:
    """Bytes between what this process holds before a step and the most it holds in it.

    Raises:
        OSError, AttributeError, TypeError: where the system does not measure it.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = read_process_status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    step()
    return read_process_status("VmHWM") - before


def read_process_status(field: str) -> int:
    """Bytes that the system counts for this process under a name.

    Raises:
        OSError: when it does not.
    """
    text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    found = re.search(rf"^{field}:\s+([0-9]+) kB", text, re.MULTILINE)
    if found is None:
        raise OSError(f"there is no {field}")
    return 1024 * int(found[1])


def time_first_calls(workload: Workload, name: str, cache: Path) -> dict[str, Any]:
    """What `job.FirstCalls` holds."""
    built = count_compiled_libraries(cache)
    begin = time.perf_counter()
    if name in BACKEND_NAMES:
        model = workload.compile(name)
        step = make_step(workload, model)
    else:
        step = CANDIDATES[name](workload).step
    step = synchronize_after(step, workload.device.type)
    made = time.perf_counter() - begin
    seconds = made + first_step_overhead(step)
    found: dict[str, Any] = {
        "seconds": seconds,
        "libraries": count_compiled_libraries(cache) - built,
    }
    found["other"] = None
    if name in BACKEND_NAMES:
        built = count_compiled_libraries(cache)
        sized = make_step(resize_workload(workload, workload.steps + 3, workload.rows + 1), model)
        other = synchronize_after(sized, workload.device.type)
        found["other"] = (first_step_overhead(other), count_compiled_libraries(cache) - built)
    return found


def first_step_overhead(step: Callable[[], object]) -> float:
    """Seconds by which a first step takes longer than those after it."""
    took = []
    for _ in range(4):
        begin = time.perf_counter()
        step()
        took.append(time.perf_counter() - begin)
    return max(0.0, took[0] - statistics.median(took[1:]))


def count_compiled_libraries(cache: Path) -> int:
    """How many compiled libraries and GPU kernels lie in a folder."""
    return sum(1 for pattern in ("*.so", "*.cubin") for _ in cache.rglob(pattern))


if __name__ == "__main__":
    main()
