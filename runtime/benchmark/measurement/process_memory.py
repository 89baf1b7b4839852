"""Measure the memory of this process on Linux, through /proc."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path

from rnnc.runtime.benchmark.workload.candidate import Unavailable


def process_memory_growth(step: Callable[[], object], repeats: int = 3) -> int:
    """Return the bytes by which this process grows at its peak in a repeated step.

    Free memory is returned to the system first, so that reusing it counts. Gradients of the
    previous step are still allocated and do not count. The minimum of several steps is taken, since
    other work of the process only adds.

    Raises:
        Unavailable: if the system does not measure it; Linux with glibc does.
    """
    step()
    try:
        return min(peak_memory_growth(step) for _ in range(repeats))
    except (OSError, AttributeError, TypeError) as error:
        raise Unavailable(f"this system does not measure it: {error}") from None


def peak_memory_growth(step: Callable[[], object]) -> int:
    """Return the bytes between resident memory before a step and its peak in the step.

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
    """Read a byte count of this process from /proc/self/status.

    Raises:
        OSError: when it does not.
    """
    text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    match = re.search(rf"^{field}:\s+([0-9]+) kB", text, re.MULTILINE)
    if match is None:
        raise OSError(f"there is no {field}")
    return 1024 * int(match[1])
