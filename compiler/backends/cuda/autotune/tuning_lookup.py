"""Look up the tuning table of a device: tilings, strategies, and models that run in cuDNN."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from rnnc.compiler.backends.cuda.codegen.triton_kernel import TritonKernel
from rnnc.compiler.backends.cuda.schedule.device_limits import query_device_limits
from rnnc.compiler.backends.cuda.schedule.loop_strategy import STRATEGIES, LoopStrategy
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.schedule.plan import Phase, Plan

from .tile_sizes import Tiling
from .tuning_cache import load_table
from .tuning_table import kernel_key, loop_key

SLOWER_REASON: Final = "slower here, as `rnnc bench --tune` has measured"


def tuned_tiling(kernel: TritonKernel, element_size: int, index: int | None) -> Tiling | None:
    """Look up the tiling of a kernel; None if it is not tuned, or has a persistent layout."""
    if index is None or kernel.layout is not None:
        return None
    tilings = load_table(device_name(index)).tilings
    return tilings.get(kernel_key(kernel, element_size)) if tilings else None


def slower_strategies(plan: Plan, phase: Phase, context: DeviceContext) -> dict[LoopStrategy, str]:
    """Return the strategies that precede the tuned one by default, each with the reason."""
    tiers = load_table(context.device.name).tiers
    best = tiers.get(loop_key(plan, phase, context)) if tiers else None
    return (
        {} if best is None else dict.fromkeys(STRATEGIES[: STRATEGIES.index(best)], SLOWER_REASON)
    )


def is_cudnn_faster(key: Callable[[], str], index: int | None) -> bool:
    """Return True if cuDNN was measured faster on the GPU of this index."""
    libraries = {} if index is None else load_table(device_name(index)).libraries
    return bool(libraries) and key() in libraries


def cudnn_batches(device: str, prefix: str) -> list[str]:
    """List the batch sizes, as in the keys, at which a model runs in cuDNN on a device."""
    keys = sorted(load_table(device).libraries)
    return [key.removeprefix(prefix).strip() for key in keys if key.startswith(f"{prefix} ")]


@cache
def device_name(index: int) -> str:
    """Return the name of the GPU of this index, cached."""
    return query_device_limits(index).name
