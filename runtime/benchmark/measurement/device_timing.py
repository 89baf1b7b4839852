"""What timing on a GPU needs: work that is over when its time is taken, and its memory."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from rnnc.runtime.benchmark.workload.candidate import Unavailable


def require_device(device_type: str) -> None:
    """See to it that a device can be used.

    Raises:
        Unavailable: when there is none of that kind, or it does not answer.
    """
    if device_type == "cpu":
        return
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else ", which is built without CUDA"
        raise Unavailable(
            f"there is no GPU here that torch can use (torch {torch.__version__}{built})"
        )
    try:
        torch.zeros(1, device=device_type)
    except RuntimeError as error:
        raise Unavailable(f"the GPU does not answer: {str(error).splitlines()[0]}") from None


def synchronize_after(function: Callable[[], object], device_type: str) -> Callable[[], object]:
    """A way that returns when its work is done: on a GPU it would return when that is queued."""
    if device_type != "cuda":
        return function

    def wait() -> object:
        found = function()
        torch.cuda.synchronize()
        return found

    return wait


def gpu_memory_growth(step: Callable[[], object]) -> int:
    """Bytes that torch's allocator holds at its peak in a step, over those that it holds before.

    Gradients of the step before are still there, and count for nobody.
    """
    step()
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
