"""Values that take the place of another one while it is read for the last time, entry by entry.

    z = W x of all steps; then in the loop   i = σ(z + U h + b)   is stored where z was

One stream of memory less is written. Side condition: nothing but this one stage of a loop reads z,
each entry at its own place and no later than the heir is stored. What is computed for all steps at
once has no heirs: while ways to take its products are timed it runs more than once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rnnc.compiler.ir.ops import ELEMENTWISE_OPS

from .frame_layout import FrameLayout, kernel_operands
from .kernel_partition import CpuKernel, CpuKernelGroup


def find_inplace_reuse(
    layout: FrameLayout,
    units: Iterable[CpuKernelGroup],
    residuals: frozenset[int],
    stored: frozenset[int],
) -> dict[int, int]:
    """For some values those of `residuals` that take their place; `stored` are those of this pass."""
    found: dict[int, int] = {}
    for unit in units:
        own = set(unit.values)
        for stage in unit.kernels:
            if unit.direction and not stage.rowwise:
                found.update(_match_buffers(layout, stage, residuals, stored - own - found.keys()))
    return found


def _match_buffers(
    layout: FrameLayout, stage: CpuKernel, saved: frozenset[int], earlier: frozenset[int]
) -> Iterator[tuple[int, int]]:
    flow = layout.flow
    order = {number: at for at, number in enumerate(stage.values)}
    kept = layout.delayed_values | layout.result_values
    heirs = [
        n
        for n in stage.values
        if n in saved - kept and n in layout.stored_values and flow.values[n].operation != "state"
    ]
    reads = [r for n in stage.values for r in kernel_operands(flow, stage, n) if not r.delay]
    for number in dict.fromkeys(r.value for r in reads if r.value in earlier):
        value, readers = flow.values[number], flow.users[number]
        if number in saved | kept or value.operation == "state":
            continue
        if not all(n in order and flow.values[n].operation in ELEMENTWISE_OPS for n in readers):
            continue
        last = max(order[n] for n in readers)
        fitting = (n for n in heirs if order[n] >= last)
        heir = next((n for n in fitting if layout.row_stride(n) == layout.row_stride(number)), None)
        if heir is not None:
            heirs.remove(heir)
            yield number, heir
