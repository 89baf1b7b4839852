"""Kernels that run all steps of a loop, whose weights stay where the program is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rnnc.compiler.backends.cuda.schedule.block_parallelism import independent_stages
from rnnc.compiler.backends.cuda.schedule.kernel_partition import stages_of
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Shape
from rnnc.compiler.schedule.plan import Phase, Plan

from .grid_barrier import APART
from .kernel_arguments import Case
from .persistent_tile import KeptTile
from .stage_kernels import Kernel, function_text

_THERE: Final = "rows = b < B"


def chip_kernel(plan: Plan, phase: Phase, case: Case, shape: Shape) -> Kernel:
    """All steps of some rows, and of all columns or of some that are independent.

    Nothing is handed from program to program. What one thread has written another one may read
    after a barrier, which is between stages that need one another and between any two steps.
    """
    stages, _ = independent_stages(plan, phase.values)
    tile = KeptTile(stages, case, holds=True, shape=shape)
    lines = list(_chip_lines(tile, phase))
    arguments = tuple(tile.arguments.all())
    name = f"phase_{phase.number}_chip"
    source = function_text(name, "chip", arguments, lines)
    return Kernel(name, source, "chip", arguments, 0, 0, shape)


def _chip_lines(tile: KeptTile, phase: Phase) -> Iterator[str]:
    if tile.shape.slices > 1:
        yield "part = tl.program_id(1)"
    yield "b = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)"
    yield _THERE
    yield "# the weights, which stay on chip"
    yield from tile.weights()
    yield "for done in range(0, steps):"
    yield f"    row = {_moment(phase)} * B + b"
    for level in levels_of(tile):
        for index in level:
            yield f"    # stage {index}"
            for line in tile.stage(index):
                yield f"    {line}"
        yield "    tl.debug_barrier()"


def grid_kernel(plan: Plan, phase: Phase, case: Case, shape: Shape) -> Kernel:
    """All steps of some rows, whose columns all programs share; axis 1 is that of the rows.

    After each level all programs that share rows meet. `LEVEL` is -1; any other number leaves one
    level alone, without meeting: so an interpreter that runs one program after the other drives it.
    """
    stages = stages_of(plan, phase.values)
    written = frozenset(store.buffer for stage in stages.stages for store in stage.stores)
    tile = KeptTile(stages, case, holds=True, shape=shape, shared=written, start="none")
    lines = list(_grid_lines(tile, phase))
    arguments = tuple(tile.arguments.all())
    name = f"phase_{phase.number}_grid"
    source = function_text(name, "grid", arguments, lines)
    return Kernel(name, source, "grid", arguments, 0, len(list(levels_of(tile))), shape)


def _grid_lines(tile: KeptTile, phase: Phase) -> Iterator[str]:
    yield "part, group = tl.program_id(0), tl.program_id(1)"
    yield "# the weights, which stay on chip"
    yield from tile.weights()
    yield "met = 0"
    yield "none = 0.0"
    yield "for done in range(first, last):"
    yield f"    t = {_moment(phase)}"
    for number, level in enumerate(levels_of(tile)):
        yield f"    if LEVEL < 0 or LEVEL == {number}:"
        yield "        for begin in range(group * BM, B, tl.num_programs(1) * BM):"
        yield "            b = tl.cast(begin, tl.int64) + tl.arange(0, BM)"
        yield f"            {_THERE}"
        yield "            row = t * B + b"
        for index in level:
            yield f"            # stage {index}"
            for line in tile.stage(index):
                yield f"            {line}"
        yield "    if LEVEL < 0:"
        yield "        met += 1"
        yield f"        patience = meet(counters + group * {APART}, met, patience)"
        yield '        none = tl.where(patience > 0, 0.0, float("nan"))'
    yield "if patience == 0:"
    yield f"    tl.store(counters + tl.num_programs(1) * {APART}, 1)"


def levels_of(tile: KeptTile) -> Iterator[list[int]]:
    """The numbers of stages that need nothing of each other, level by level."""
    stages = tile.stages.stages
    for level in dict.fromkeys(stage.level for stage in stages):
        yield [index for index, stage in enumerate(stages) if stage.level == level]


def _moment(phase: Phase) -> str:
    """The step of a turn of the loop, in 64 bits."""
    done = "done" if phase.direction > 0 else "steps - 1 - done"
    return f"tl.cast({done}, tl.int64)"
