"""Generate the kernel of a linear recurrence v[t] = a[t] ⊙ v[t-1] + b[t], or in reverse.

Composition of x -> a x + b is associative, so a parallel scan over the pairs (a, b) solves a block
of steps (Blelloch 1990). The carry into the block enters afterwards: v = g v_in + v₀, where g is
the product of the slopes so far, and v₀ the solution from zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from rnnc.compiler.backends.cuda.schedule.kernel_partition import SliceStore, partition_stages
from rnnc.compiler.backends.cuda.schedule.slice_decomposition import ValueSlice
from rnnc.compiler.errors import Unsupported
from rnnc.compiler.ir.dataflow import BOUNDARY_VALUE_OPS, Operand
from rnnc.compiler.schedule.plan import Phase, Plan

from .kernel_arguments import KernelVariant
from .tile_body import TileEmitter
from .triton_kernel import TritonKernel, format_function


def generate_scan_kernel(plan: Plan, phase: Phase, variant: KernelVariant) -> TritonKernel:
    """Generate the kernel of a linear recurrence: a program runs all steps of one row.

    Each block of steps is solved by a parallel scan (Blelloch 1990), and its last value is carried
    into the next block.
    """
    partition = partition_stages(plan, phase.values)
    tile = TileEmitter(partition, variant, freeze_ended_rows=False)
    lines = list(emit_scan(tile, phase))
    arguments = tuple(tile.arguments.as_tuple())
    name, width = f"phase_{phase.id}_scan", max(stage.width for stage in partition.stages)
    return TritonKernel(
        name, format_function(name, "scan", arguments, lines), "scan", arguments, width, 0
    )


def emit_scan(tile: TileEmitter, phase: Phase) -> Iterator[str]:
    """Emit the kernel body of a scan phase, whose cycle is one `linear` value.

    Raises:
        Unsupported: when values that were sunk into the scan have several widths.
    """
    values = tile.plan.dataflow.values
    slices = list(chain.from_iterable(stage.slices for stage in tile.partition.stages))
    width = max(output.width for output in slices)
    if any(output.width not in {1, width} for output in slices):
        raise Unsupported("a scan of several widths")
    order = {value_id: index for index, value_id in enumerate(phase.values)}
    slices.sort(key=lambda output: (order[output.value], output.start))
    recurrences = [output for output in slices if values[output.value].operation == "linear"]
    deferred = {values[p.value].operands[2].value for p in recurrences} | {
        p.value for p in recurrences
    }
    local_slices = frozenset(slices)
    reverse = phase.direction < 0

    yield "b = tl.program_id(0).to(tl.int64) + tl.zeros((BM,), tl.int64)"
    yield f"u = tl.program_id(1) * BN + tl.arange(0, {'1' if width == 1 else 'BN'})"
    yield f"column_mask = u < {width}"
    yield "last = tl.arange(0, BM) == BM - 1"
    for output in recurrences:
        yield from _emit_initial_value(tile, output, width, reverse)
    yield "for first in range(0, steps, BM):"
    yield "    iteration = first + tl.arange(0, BM).to(tl.int64)"
    yield "    row_mask = iteration < steps"
    yield f"    row = {'(steps - 1 - iteration)' if reverse else 'iteration'} * B + b"
    yield "    tile_mask = row_mask[:, None] & column_mask[None, :]"
    inputs = [p for p in slices if p.value not in deferred]
    tile.forget_loads()
    for line in tile.emit_elementwise(inputs, local_slices):
        yield f"    {line}"
    for output in recurrences:
        for line in _emit_block_solution(tile, output, local_slices):
            yield f"    {line}"
    for output in slices:
        if output.value in deferred and output not in recurrences:
            operand = values[output.value].operands[0]
            expression = tile.operand_expression(output, operand, local_slices)
            yield f"    {tile.local_name(output)} = {expression}"
    stores: list[SliceStore] = [s for stage in tile.partition.stages for s in stage.stores]
    for store in stores:
        for line in tile.emit_store(store, local_slices):
            yield f"    {line}"


def _emit_initial_value(
    tile: TileEmitter, output: ValueSlice, width: int, reverse: bool
) -> Iterator[str]:
    """Emit the load of the carry into the first step, from the margin of the value's buffer."""
    carry = tile.plan.dataflow.values[output.value].operands[2]
    yield f"row = {'tl.cast(steps - 1, tl.int64) * B + b' if reverse else 'b'}"
    yield "row_mask = (tl.arange(0, BM) == 0) & (steps > 0)"
    yield "tile_mask = row_mask[:, None] & column_mask[None, :]"
    load = tile.load_expression(carry, output.start, output.stop, masked=False)
    yield f"carry_{tile.local_name(output)} = tl.sum({load}, 0)[None, :]"


def _emit_block_solution(
    tile: TileEmitter, output: ValueSlice, local_slices: frozenset[ValueSlice]
) -> Iterator[str]:
    """Emit the solution of one block of steps, and the carry into the next one."""
    value, name = tile.plan.dataflow.values[output.value], tile.local_name(output)
    slope, offset, carry = value.operands
    extent = "1" if output.width == 1 else "BN"
    zeros = f"tl.zeros((BM, {extent}), REAL)"
    yield from tile.emit_after_loads(
        f"a = {tile.operand_expression(output, slope, local_slices)} + {zeros}"
    )
    yield from tile.emit_after_loads(
        f"c = {tile.operand_expression(output, offset, local_slices)} + {zeros}"
    )
    yield from _emit_segment_masks(tile, output, carry)
    yield "a = tl.where(row_mask[:, None], a, 1.0)"
    yield "c = tl.where(row_mask[:, None], c, 0.0)"
    yield "decay, solution = tl.associative_scan((a, c), 0, compose)"
    yield f"{name} = solution + decay * carry_{name}"
    yield f"carry_{name} = tl.sum(tl.where(last[:, None], {name}, 0.0), 0)[None, :]"


def _emit_segment_masks(tile: TileEmitter, output: ValueSlice, carry: Operand) -> Iterator[str]:
    """Emit masks of `a` and `c`: restart at segment starts, and freeze rows that have ended."""
    source = tile.plan.dataflow.values[carry.value]
    is_state = source.operation == "state"
    if tile.variant.may_cross_segment(
        carry.delay, has_boundary_value=source.operation in BOUNDARY_VALUE_OPS
    ):
        yield f"same_segment = {tile.same_segment_mask(carry.delay)}"
        if is_state:
            initial_value = tile.initial_expression(source, output.start, output.width, "u")
            yield f"c = tl.where(same_segment, c, c + a * {initial_value})"
        yield "a = tl.where(same_segment, a, 0.0)"
    if tile.variant.lengths:
        yield f"is_valid = {tile.valid_mask()}"
        yield f"a = tl.where(is_valid, a, {1.0 if is_state and carry.delay > 0 else 0.0})"
        yield "c = tl.where(is_valid, c, 0.0)"
