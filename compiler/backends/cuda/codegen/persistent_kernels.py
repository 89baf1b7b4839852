"""Generate persistent kernels: one launch runs all steps of a loop with weights on chip.

Block-persistent (`chip`): a program holds all weights of its columns and never waits for another.
Grid-persistent (`grid`): the programs of a row each hold a slice and meet at a grid barrier.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rnnc.compiler.backends.cuda.schedule.block_parallelism import partition_independent_stages
from rnnc.compiler.backends.cuda.schedule.kernel_partition import partition_stages
from rnnc.compiler.backends.cuda.schedule.persistent_layout import PersistentLayout
from rnnc.compiler.schedule.plan import Phase, Plan

from .grid_barrier import COUNTER_STRIDE
from .kernel_arguments import KernelVariant
from .persistent_tile import PersistentTile
from .triton_kernel import TritonKernel, format_function

_ROW_MASK: Final = "row_mask = b < B"


def generate_block_persistent_kernel(
    plan: Plan, phase: Phase, variant: KernelVariant, layout: PersistentLayout
) -> TritonKernel:
    """Generate a kernel in which a program runs all steps of a row tile and independent columns.

    Programs exchange nothing. Threads of a program exchange data through memory, with a block
    barrier after each dependency level and so between any two steps.
    """
    partition, _ = partition_independent_stages(plan, phase.values)
    tile = PersistentTile(partition, variant, freeze_ended_rows=True, layout=layout)
    lines = list(_emit_block_persistent(tile, phase))
    arguments = tuple(tile.arguments.as_tuple())
    name = f"phase_{phase.id}_chip"
    source = format_function(name, "chip", arguments, lines)
    return TritonKernel(name, source, "chip", arguments, 0, 0, layout)


def _emit_block_persistent(tile: PersistentTile, phase: Phase) -> Iterator[str]:
    if tile.layout.slices > 1:
        yield "part = tl.program_id(1)"
    yield "b = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)"
    yield _ROW_MASK
    yield "# the weights, which stay on chip"
    yield from tile.emit_weight_loads()
    yield "for iteration in range(0, steps):"
    yield f"    row = {_step_expression(phase)} * B + b"
    for level in stage_levels(tile):
        for index in level:
            yield f"    # stage {index}"
            for line in tile.emit_stage(index):
                yield f"    {line}"
        yield "    tl.debug_barrier()"


def generate_grid_persistent_kernel(
    plan: Plan, phase: Phase, variant: KernelVariant, layout: PersistentLayout
) -> TritonKernel:
    """Generate a kernel whose programs each run all steps of a row group and a slice of columns.

    Grid axis 0 is the slice, axis 1 the row group; the programs of a group meet at a grid barrier
    after each dependency level. `LEVEL` is -1 on a GPU. Any other value runs that level alone and
    without a barrier, for an interpreter that runs one program after the other.
    """
    partition = partition_stages(plan, phase.values)
    shared_buffers = frozenset(store.buffer for stage in partition.stages for store in stage.stores)
    tile = PersistentTile(
        partition,
        variant,
        freeze_ended_rows=True,
        layout=layout,
        shared_buffers=shared_buffers,
        initial_sum="initial_sum",
    )
    lines = list(_emit_grid_persistent(tile, phase))
    arguments = tuple(tile.arguments.as_tuple())
    name = f"phase_{phase.id}_grid"
    source = format_function(name, "grid", arguments, lines)
    levels = len(list(stage_levels(tile)))
    return TritonKernel(name, source, "grid", arguments, 0, 0, layout, levels)


def _emit_grid_persistent(tile: PersistentTile, phase: Phase) -> Iterator[str]:
    yield "part, group = tl.program_id(0), tl.program_id(1)"
    yield "# the weights, which stay on chip"
    yield from tile.emit_weight_loads()
    yield "barriers = 0"
    yield "initial_sum = 0.0"
    yield "for iteration in range(first, last):"
    yield f"    t = {_step_expression(phase)}"
    for level_index, level in enumerate(stage_levels(tile)):
        yield f"    if LEVEL < 0 or LEVEL == {level_index}:"
        yield "        for begin in range(group * BM, B, tl.num_programs(1) * BM):"
        yield "            b = tl.cast(begin, tl.int64) + tl.arange(0, BM)"
        yield f"            {_ROW_MASK}"
        yield "            row = t * B + b"
        for index in level:
            yield f"            # stage {index}"
            for line in tile.emit_stage(index):
                yield f"            {line}"
        yield "    if LEVEL < 0:"
        yield "        barriers += 1"
        counter = f"counters + group * {COUNTER_STRIDE}"
        yield f"        polls_left = grid_barrier({counter}, barriers, polls_left)"
        yield '        initial_sum = tl.where(polls_left > 0, 0.0, float("nan"))'
    yield "if polls_left == 0:"
    yield f"    tl.store(counters + tl.num_programs(1) * {COUNTER_STRIDE}, 1)"


def stage_levels(tile: PersistentTile) -> Iterator[list[int]]:
    """Yield the indices of the stages of each dependency level, in order."""
    stages = tile.partition.stages
    for level in dict.fromkeys(stage.level for stage in stages):
        yield [index for index, stage in enumerate(stages) if stage.level == level]


def _step_expression(phase: Phase) -> str:
    """Return the int64 step index of a loop iteration, reversed in a backward phase."""
    iteration = "iteration" if phase.direction > 0 else "steps - 1 - iteration"
    return f"tl.cast({iteration}, tl.int64)"
