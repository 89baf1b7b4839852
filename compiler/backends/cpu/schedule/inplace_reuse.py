"""In-place reuse: store a result in an operand's buffer at or after its last elementwise read.

    z = W x of all steps; then in the loop   i = σ(z + U h + b)   is stored in the buffer of z

The loop then writes to one memory stream less. Side condition: one kernel of a loop alone reads z,
elementwise, and no later than it stores i. Batched kernels reuse nothing: while the autotuner times
their GEMMs they run more than once. (TVM has `dataflow_inplace`, Exo `reuse_buffer`.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rnnc.compiler.ir.ops import ELEMENTWISE_OPS

from .frame_layout import FrameLayout, kernel_operands
from .kernel_partition import CpuKernel, CpuKernelGroup


def find_inplace_reuse(
    layout: FrameLayout,
    groups: Iterable[CpuKernelGroup],
    residuals: frozenset[int],
    stored: frozenset[int],
) -> dict[int, int]:
    """Map values to the residuals that are stored in their buffers.

    residuals: forward values that the backward pass reads; they alone lengthen a buffer's life.
    stored: values that the pass stores.
    """
    reuse: dict[int, int] = {}
    for group in groups:
        members = set(group.values)
        for kernel in group.kernels:
            if group.direction and not kernel.rowwise:
                earlier = stored - members - reuse.keys()
                reuse.update(_match_buffers(layout, kernel, residuals, earlier))
    return reuse


def _match_buffers(
    layout: FrameLayout, kernel: CpuKernel, residuals: frozenset[int], earlier: frozenset[int]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of a value that this kernel alone reads and a result of equal stride."""
    flow = layout.flow
    order = {value_id: position for position, value_id in enumerate(kernel.values)}
    pinned = layout.delayed_values | layout.result_values
    candidates = [
        value_id
        for value_id in kernel.values
        if value_id in residuals - pinned
        and value_id in layout.stored_values
        and flow.values[value_id].operation != "state"
    ]
    operands = [
        operand
        for value_id in kernel.values
        for operand in kernel_operands(flow, kernel, value_id)
        if not operand.delay and operand.value in earlier
    ]
    for source in dict.fromkeys(operand.value for operand in operands):
        users = flow.users[source]
        if source in residuals | pinned or flow.values[source].operation == "state":
            continue
        if not all(n in order and flow.values[n].operation in ELEMENTWISE_OPS for n in users):
            continue
        last_read = max(order[user] for user in users)
        stride = layout.row_stride(source)
        result = next(
            (n for n in candidates if order[n] >= last_read and layout.row_stride(n) == stride),
            None,
        )
        if result is not None:
            candidates.remove(result)
            yield source, result
