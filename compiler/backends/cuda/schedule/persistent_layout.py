"""What the weights of a loop take of a chip that is to keep them, and how they are cut for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .device_limits import Chip
from .kernel_partition import Stages
from .matmul_operands import products_of
from .matmul_precision import Precision
from .tile_extents import LEAST, MOST, padded

ROWS: Final = 16
"""Rows of a tile: the least that matrix instructions take."""

WIDEST: Final = 64
"""The most columns that one program of a grid has of each unit's sums."""

TURNS: Final = 8
"""The most tiles of rows that a program of a grid takes in each step, one after the other."""

SUMS: Final = 16
"""The most sums of products of one tile, which all are in registers at once."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of a call before anything is compiled.

    bytes: of a number of the model's type.
    rows: of the batch; 0 where it is not known.
    recorded: whether the caller records the call in a CUDA graph.
    """

    chip: Chip
    bytes: int = 4
    precision: Precision = "tf32"
    rows: int = 0
    recorded: bool = False

    @property
    def copies(self) -> int:
        """How often a weight is kept: what is split for exactness, twice."""
        return 2 if self.precision == "tf32x3" and self.bytes == 4 else 1


@dataclass(frozen=True, slots=True)
class Shape:
    """How a loop is laid out on a chip that keeps its weights.

    rows: of a tile.
    slices: programs that share the columns of one row.
    columns: of a program's slice of every stage; 0 where each has an equal share.
    blocks: whether those are the blocks of block-diagonal matrices.
    warps: of a program.
    shared: bytes of shared memory that a program takes, as estimated before it is compiled.
    """

    rows: int
    slices: int
    columns: int
    blocks: bool
    warps: int
    shared: int

    @property
    def least(self) -> int:
        """The least extent of a tile's columns."""
        return min(LEAST, self.columns) if self.columns else LEAST

    def share(self, width: int) -> int:
        """How many columns of a stage one program has."""
        return self.columns or -(-width // self.slices)

    def groups(self, rows: int, chip: Chip) -> int:
        """Into how many groups a grid cuts the rows of a batch, with all programs running."""
        return max(1, min(-(-rows // self.rows), chip.multiprocessors // self.slices))


def chip_shape(stages: Stages, parts: int, setting: Setting) -> Shape | str:
    """All weights of a part on one multiprocessor; the reason where that cannot be.

    parts: as `blocks.independent_stages` counts them.
    """
    if sums_of(stages) > SUMS:
        return f"{sums_of(stages)} sums of products of one stage would not stay in registers"
    widths = [-(-stage.width // parts) for stage in stages.stages]
    limit = setting.chip.shared
    entries = 0
    for stage, width in zip(stages.stages, widths, strict=True):
        entries += padded(width) * sum(padded(p.depth) for p in products_of(stages.plan, stage))
    needs = entries * setting.bytes * setting.copies + _scratch(setting, ROWS)
    if needs > limit:
        return (
            f"its weights need {_kib(needs)} of shared memory, and a multiprocessor of "
            f"{setting.chip.name} has {_kib(limit)}"
        )
    warps = 8 if max(widths) > 32 else 4
    return Shape(ROWS, parts, 0, parts > 1 and entries > 0, warps, needs)


def grid_shape(stages: Stages, setting: Setting) -> Shape | str:
    """A slice of the weights on each multiprocessor; the reason where that cannot be."""
    chip = setting.chip
    if sums_of(stages) > SUMS:
        return f"{sums_of(stages)} sums of products of one stage would not stay in registers"
    width = max(stage.width for stage in stages.stages)
    columns = 8
    while -(-width // columns) > chip.multiprocessors and columns < WIDEST:
        columns *= 2
    slices = -(-width // columns)
    if slices > chip.multiprocessors:
        return (
            f"{width} columns need {slices} programs at the same time, and {chip.name} has "
            f"{chip.multiprocessors} multiprocessors"
        )
    entries = 0
    for stage in stages.stages:
        across = columns if stage.width > 1 else LEAST
        entries += across * sum(padded(p.depth) for p in products_of(stages.plan, stage))
    if setting.recorded:
        return (
            "a launch whose programs wait for each other is not recorded in a caller's CUDA graph"
        )
    rows, warps = (ROWS, 8) if setting.copies > 1 else (2 * ROWS, 4)
    needs = entries * setting.bytes * setting.copies + _scratch(setting, rows)
    if needs > chip.shared:
        return (
            f"a slice of its weights needs {_kib(needs)} of shared memory, and a multiprocessor "
            f"of {chip.name} has {_kib(chip.shared)}"
        )
    shape = Shape(rows, slices, columns, False, warps, needs)
    turns = -(-setting.rows // (rows * shape.groups(setting.rows, chip)))
    if turns > TURNS:
        return f"each program would take {turns} tiles of {rows} rows in every step, one by one"
    return shape


def sums_of(stages: Stages) -> int:
    """The most sums of products of one stage."""
    return max(len(products_of(stages.plan, stage)) for stage in stages.stages)


def _scratch(setting: Setting, rows: int) -> int:
    """What passes through shared memory on its way from one layout of registers to another."""
    return rows * MOST * 4 * (1 if setting.bytes <= 2 else 2)


def _kib(count: int) -> str:
    return f"{-(-count // 1024)} KB"
