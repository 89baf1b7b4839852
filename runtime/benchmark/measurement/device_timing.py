"""GPU timing: synchronization after asynchronous work, and allocator memory."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from rnnc.runtime.benchmark.workload.candidate import Unavailable


def require_device(device_type: str) -> None:
    """Check that a device is usable.

    Raises:
        Unavailable: when there is none of that kind, or it does not answer.
    """
    if device_type == "cpu":
        return
    if not torch.cuda.is_available():
        detail = "" if torch.version.cuda else ", which is built without CUDA"
        raise Unavailable(
            f"there is no GPU here that torch can use (torch {torch.__version__}{detail})"
        )
    try:
        torch.zeros(1, device=device_type)
    except RuntimeError as error:
        raise Unavailable(f"the GPU does not answer: {str(error).splitlines()[0]}") from None


def synchronize_after(function: Callable[[], object], device_type: str) -> Callable[[], object]:
    """Wrap a function to wait for its GPU work; it would return once the work is queued."""
    if device_type != "cuda":
        return function

    def wait() -> object:
        result = function()
        torch.cuda.synchronize()
        return result

    return wait


def gpu_memory_growth(step: Callable[[], object]) -> int:
    """Return the bytes of torch's allocator at its peak in a step, minus those before it.

    Gradients of the previous step are still allocated and do not count.
    """
    step()
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
