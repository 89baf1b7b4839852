"""Kernels that run all steps of a loop, whose weights stay where the program is."""

from __future__ import annotations

from collections.abc import Iterator

from ...plan import Phase, Plan
from .arguments import Case
from .blocks import independent_stages
from .kept import KeptTile
from .kernels import Kernel, function_text
from .shapes import Shape

_ROWS = (
    "b = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)",
    "rows = b < B",
)


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
    yield from _ROWS
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


def levels_of(tile: KeptTile) -> Iterator[list[int]]:
    """The numbers of stages that need nothing of each other, level by level."""
    stages = tile.stages.stages
    for level in dict.fromkeys(stage.level for stage in stages):
        yield [index for index, stage in enumerate(stages) if stage.level == level]


def _moment(phase: Phase) -> str:
    """The step of a turn of the loop, in 64 bits."""
    done = "done" if phase.direction > 0 else "steps - 1 - done"
    return f"tl.cast({done}, tl.int64)"
