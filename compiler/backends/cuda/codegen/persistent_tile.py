"""Emit the stages of a persistent kernel, whose weights are loaded once for all steps.

A program owns a slice of every stage's columns: all of them, one block of block-diagonal matrices,
or an equal slice. Slices and matmul depths are unrolled into tiles of power-of-two extents, since
registers cannot be indexed in a loop. Technique: Diamos et al. (2016), "Persistent RNNs".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rnnc.compiler.backends.cuda.schedule.kernel_partition import KernelStage
from rnnc.compiler.backends.cuda.schedule.matmul_operands import MatmulSlice, stage_matmuls
from rnnc.compiler.backends.cuda.schedule.persistent_layout import PersistentLayout
from rnnc.compiler.backends.cuda.schedule.tile_extents import MIN_EXTENT, split_extents
from rnnc.compiler.ir.dataflow import Operand

from .kernel_arguments import KernelArgument
from .tile_body import TileEmitter

_LOAD_LINE = re.compile(r"r\d\w* = ")
_INDEX_NAME = re.compile(r"\b(u|j|k|column_mask|depth_mask)\b")


@dataclass
class PersistentTile(TileEmitter):
    """Emitter of the stages of a persistent kernel.

    initial_sum: the expression that initializes the accumulators of matmuls.
    """

    layout: PersistentLayout = field(
        default_factory=lambda: PersistentLayout(16, 1, 0, False, 4, 0)
    )
    initial_sum: str = "0.0"
    _suffix: str = ""

    def emit_weight_loads(self) -> Iterator[str]:
        """Emit the loads of all weights, before the first step.

        Index variables get a suffix: the time loop assigns them again with other extents, and
        Triton requires that a variable carried through a loop keeps its shape.
        """
        yield from (_INDEX_NAME.sub(r"\1_", line) for line in self._emit_weight_loads())

    def _emit_weight_loads(self) -> Iterator[str]:
        for index, stage in enumerate(self.partition.stages):
            matmuls = stage_matmuls(self.plan, stage)
            for first, extent in self._column_tiles(stage) if matmuls else ():
                self._suffix = f"_{index}_{first}" if first else f"_{index}"
                yield from self._emit_column_index(stage, first, extent)
                for depth, depth_start, depth_extent in self._depth_tiles(matmuls):
                    yield from self._emit_depth_index(depth, depth_start, depth_extent)
                    for matmul in matmuls:
                        if matmul.depth == depth:
                            weight = self.weight_expression(matmul, stage.width)
                            yield f"{self._weight_name(matmul, depth_start)} = {weight}"

    def weight_expression(self, matmul: MatmulSlice, width: int) -> str:
        """Return the load of a weight tile; of a block-diagonal matrix this program's block."""
        if not matmul.block_stride:
            return super().weight_expression(matmul, width)
        base = self.arguments.add(KernelArgument(f"w{matmul.matrix}", "whole", matmul.matrix))
        address = matmul.weight_address(f"{base} + part * {matmul.block_stride}", "j")
        return f"tl.load({address}, mask=depth_mask[:, None] & column_mask[None, :], other=0.0)"

    def emit_stage(self, index: int) -> Iterator[str]:
        """Emit one stage: all column tiles of the program's slice."""
        stage = self.partition.stages[index]
        for first, extent in self._column_tiles(stage):
            self._suffix = f"_{index}_{first}" if first else f"_{index}"
            yield from self._emit_column_index(stage, first, extent)
            if stage.width == 1:
                yield "tile_mask = row_mask[:, None]"
                if self.layout.slices > 1:
                    yield "tile_mask = tile_mask & (part == 0)"
            else:
                yield "tile_mask = row_mask[:, None] & column_mask[None, :]"
            yield from _hoist_loads(self.emit_body(stage))

    def emit_matmuls(self, stage: KernelStage) -> Iterator[str]:
        """Emit the matmuls of a stage, unrolled over the depth tiles of the resident weights."""
        matmuls_by_vector: dict[tuple[Operand, int, int], list[MatmulSlice]] = {}
        for matmul in stage_matmuls(self.plan, stage):
            key = (matmul.vector, matmul.vector_start, matmul.depth)
            matmuls_by_vector.setdefault(key, []).append(matmul)
        for (vector, start, depth), matmuls in matmuls_by_vector.items():
            for matmul in matmuls:
                accumulator = f"tl.full((BM, {self.extent}), {self.initial_sum}, REAL)"
                yield f"{self.local_name(matmul.output)} = {accumulator}"
            for first, extent in split_extents(depth):
                yield from self._emit_depth_index(depth, first, extent)
                columns = f"(k + part * {depth})" if self.layout.is_block_diagonal else "k"
                yield f"x = {self.vector_expression(vector, start, depth, columns)}"
                for matmul in matmuls:
                    name, weight = self.local_name(matmul.output), self._weight_name(matmul, first)
                    yield f"{name} = matmul(x, {weight}, {name}, PRECISION)"
            if stage.width == 1:
                for matmul in matmuls:
                    name = self.local_name(matmul.output)
                    yield f"{name} = tl.sum({name}, 1)[:, None]"

    def _column_tiles(self, stage: KernelStage) -> tuple[tuple[int, int], ...]:
        """Return (first column, extent) of each tile of the program's slice of a stage."""
        if stage.width == 1:
            return ((0, MIN_EXTENT),)
        return split_extents(self.layout.stage_slice_width(stage.width), self.layout.min_extent)

    def _emit_column_index(self, stage: KernelStage, first: int, extent: int) -> Iterator[str]:
        """Emit `u`, the column indices of a tile, and `column_mask`, their bounds check."""
        self.extent = str(extent)
        if stage.width == 1:
            return
        slice_width = self.layout.stage_slice_width(stage.width)
        indices = f"{first} + tl.arange(0, {extent})" if first else f"tl.arange(0, {extent})"
        if self.layout.slices == 1:
            yield f"u = {indices}"
            yield f"column_mask = u < {stage.width}"
            return
        if self.layout.is_block_diagonal:
            yield f"j = {indices}"
            indices = "j"
        yield f"u = part * {slice_width} + {indices}"
        is_partial = first + extent > slice_width
        yield f"column_mask = u < {stage.width}"
        if is_partial:
            yield f"column_mask = column_mask & ({indices} < {slice_width})"

    def _emit_depth_index(self, depth: int, first: int, extent: int) -> Iterator[str]:
        yield f"k = {f'{first} + ' if first else ''}tl.arange(0, {extent})"
        yield f"depth_mask = k < {depth}"

    def _depth_tiles(self, matmuls: Iterable[MatmulSlice]) -> Iterator[tuple[int, int, int]]:
        """Yield (depth, first entry, extent) of each depth tile, for each distinct depth."""
        for depth in dict.fromkeys(matmul.depth for matmul in matmuls):
            for first, extent in split_extents(depth):
                yield depth, first, extent

    def _weight_name(self, matmul: MatmulSlice, first: int) -> str:
        """Return the variable of the weight tile whose depth begins at `first`."""
        output = f"{matmul.output.value}_{matmul.output.start}"
        return f"weight{self._suffix}_{output}_{first}"


def _hoist_loads(lines: Iterable[str]) -> Iterator[str]:
    """Move the loads of elementwise operands before the matmuls, to overlap their latency."""
    other_lines = []
    for line in lines:
        if _LOAD_LINE.match(line):
            yield line
        else:
            other_lines.append(line)
    yield from other_lines
