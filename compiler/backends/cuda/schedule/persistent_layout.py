"""Lay out persistent loops: slices, tiles and shared memory of weights that stay on chip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .device_limits import DeviceLimits
from .kernel_partition import StagePartition
from .matmul_operands import stage_matmuls
from .matmul_precision import MatmulPrecision
from .tile_extents import MAX_EXTENT, MIN_EXTENT, padded_size

ROW_TILE: Final = 16
"""Batch rows of a tile: the smallest M of the matrix instructions."""

MAX_SLICE_WIDTH: Final = 64
"""Most columns of a slice, whose accumulators for all gates are in registers at once."""

MAX_ROW_TILES: Final = 8
"""Most row tiles that a grid-persistent program runs in turn at each step."""

MAX_ACCUMULATORS: Final = 16
"""Most matmuls of one stage, whose accumulators are all in registers at once."""


@dataclass(frozen=True, slots=True)
class DeviceContext:
    """Properties of a call and its device that select loop strategies.

    element_size: bytes of a number of the model's dtype.
    batch_size: 0 if unknown.
    is_capturing: whether the caller captures the call in a CUDA graph.
    """

    device: DeviceLimits
    element_size: int = 4
    precision: MatmulPrecision = "tf32"
    batch_size: int = 0
    is_capturing: bool = False

    @property
    def weight_copies(self) -> int:
        """Return the number of copies of each weight: two for the split operands of tf32x3."""
        return 2 if self.precision == "tf32x3" and self.element_size == 4 else 1


@dataclass(frozen=True, slots=True)
class PersistentLayout:
    """Work distribution of a persistent loop.

    row_tile: batch rows of a tile.
    slices: programs that share the columns of one row.
    slice_width: columns of a slice in every stage; 0 if slices divide each stage equally.
    is_block_diagonal: whether slices are the blocks of block-diagonal matrices.
    num_warps: of a program.
    shared_memory: estimated bytes per program.
    """

    row_tile: int
    slices: int
    slice_width: int
    is_block_diagonal: bool
    num_warps: int
    shared_memory: int

    @property
    def min_extent(self) -> int:
        """Return the smallest column extent of a tile."""
        return min(MIN_EXTENT, self.slice_width) if self.slice_width else MIN_EXTENT

    def stage_slice_width(self, width: int) -> int:
        """Return the columns of one program's slice of a stage."""
        return self.slice_width or -(-width // self.slices)

    def row_groups(self, batch_size: int, device: DeviceLimits) -> int:
        """Return the number of row groups such that all programs run at the same time."""
        return max(1, min(-(-batch_size // self.row_tile), device.multiprocessors // self.slices))


def block_persistent_layout(
    partition: StagePartition, parts: int, context: DeviceContext
) -> PersistentLayout | str:
    """Lay out a loop with all weights of an independent part in one program.

    parts: as counted by `partition_independent_stages`.
    Returns: the layout, or the reason why it does not fit.
    """
    if max_matmuls(partition) > MAX_ACCUMULATORS:
        return f"{max_matmuls(partition)} sums of products of one stage would not stay in registers"
    widths = [-(-stage.width // parts) for stage in partition.stages]
    limit = context.device.shared_memory
    weight_entries = 0
    for stage, width in zip(partition.stages, widths, strict=True):
        weight_entries += padded_size(width) * sum(
            padded_size(matmul.depth) for matmul in stage_matmuls(partition.plan, stage)
        )
    required = _weight_bytes(context, weight_entries) + _scratch_bytes(context, ROW_TILE)
    if required > limit:
        return (
            f"its weights need {_format_kib(required)} of shared memory, and a multiprocessor of "
            f"{context.device.name} has {_format_kib(limit)}"
        )
    # Eight warps spread the accumulators of wide parts over twice as many registers.
    num_warps = 8 if max(widths) > 32 else 4
    return PersistentLayout(
        ROW_TILE, parts, 0, parts > 1 and weight_entries > 0, num_warps, required
    )


def grid_persistent_layout(
    partition: StagePartition, context: DeviceContext
) -> PersistentLayout | str:
    """Lay out a loop with one slice of the weights per multiprocessor.

    Returns: the layout, or the reason why it does not fit.
    """
    device = context.device
    if max_matmuls(partition) > MAX_ACCUMULATORS:
        return f"{max_matmuls(partition)} sums of products of one stage would not stay in registers"
    width = max(stage.width for stage in partition.stages)
    slice_width = 8
    while -(-width // slice_width) > device.multiprocessors and slice_width < MAX_SLICE_WIDTH:
        slice_width *= 2
    slices = -(-width // slice_width)
    if slices > device.multiprocessors:
        return (
            f"{width} columns need {slices} programs at the same time, and {device.name} has "
            f"{device.multiprocessors} multiprocessors"
        )
    weight_entries = 0
    for stage in partition.stages:
        stage_width = slice_width if stage.width > 1 else MIN_EXTENT
        weight_entries += stage_width * sum(
            padded_size(matmul.depth) for matmul in stage_matmuls(partition.plan, stage)
        )
    if context.is_capturing:
        return (
            "a launch whose programs wait for each other is not recorded in a caller's CUDA graph"
        )
    row_tile, num_warps = (ROW_TILE, 8) if context.weight_copies > 1 else (2 * ROW_TILE, 4)
    required = _weight_bytes(context, weight_entries) + _scratch_bytes(context, row_tile)
    if required > device.shared_memory:
        return (
            f"a slice of its weights needs {_format_kib(required)} of shared memory, and a "
            f"multiprocessor of {device.name} has {_format_kib(device.shared_memory)}"
        )
    layout = PersistentLayout(row_tile, slices, slice_width, False, num_warps, required)
    row_tiles = -(-context.batch_size // (row_tile * layout.row_groups(context.batch_size, device)))
    if row_tiles > MAX_ROW_TILES:
        work = f"{row_tiles} tiles of {row_tile} rows"
        return f"each program would take {work} in every step, one by one"
    return layout


def max_matmuls(partition: StagePartition) -> int:
    """Return the number of matmuls of the stage that has most of them."""
    return max(len(stage_matmuls(partition.plan, stage)) for stage in partition.stages)


def _weight_bytes(context: DeviceContext, entries: int) -> int:
    return entries * context.element_size * context.weight_copies


def _scratch_bytes(context: DeviceContext, row_tile: int) -> int:
    """Estimate the shared memory of register layout conversions."""
    return row_tile * MAX_EXTENT * 4 * (1 if context.element_size <= 2 else 2)


def _format_kib(count: int) -> str:
    return f"{-(-count // 1024)} KB"
