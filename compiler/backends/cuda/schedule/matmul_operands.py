"""Matmul operands of a stage: vector entries and weight addresses of each output slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Dataflow, Operand
from rnnc.compiler.schedule.plan import Plan

from .kernel_partition import KernelStage
from .slice_decomposition import ValueSlice


@dataclass(frozen=True, slots=True)
class MatmulSlice:
    """An output slice as a submatrix times `depth` vector entries from `vector_start` on.

    matrix: a per-call value; entry [k, u] is at matrix_offset + k depth_stride + u column_stride.
    block_stride: distance of blocks if the slice spans a whole block-diagonal matrix, else 0;
        `vector_start`, `depth` and `matrix_offset` are then those of the first block.
    """

    output: ValueSlice
    vector: Operand
    vector_start: int
    depth: int
    matrix: int
    matrix_offset: int
    depth_stride: int
    column_stride: int
    block_stride: int = 0

    def weight_address(self, base: str, column: str = "u") -> str:
        """Return the addresses of the entries [k, u] of the matrix as a Triton expression."""
        offset = f"{self.matrix_offset} + " if self.matrix_offset else ""
        by_depth, by_column = (
            f" * {stride}" if stride != 1 else ""
            for stride in (self.depth_stride, self.column_stride)
        )
        return f"{base} + {offset}(k{by_depth})[:, None] + ({column}{by_column})[None, :]"


def stage_matmuls(plan: Plan, stage: KernelStage) -> Sequence[MatmulSlice]:
    """Return the matmuls of a stage in the order of its slices."""
    values = plan.dataflow.values
    return [
        _matmul_slice(plan.dataflow, output)
        for output in stage.slices
        if values[output.value].operation == "matmul"
    ]


def _matmul_slice(dataflow: Dataflow, output: ValueSlice) -> MatmulSlice:
    value = dataflow.values[output.value]
    matrix = value.operands[0].value
    shape = dataflow.values[matrix].shape
    transposed = bool(value.attributes[0])
    rows, columns = shape[-2:]
    depth, width = (rows, columns) if transposed else (columns, rows)
    depth_stride, column_stride = (columns, 1) if transposed else (1, columns)
    vector = value.operands[1]
    if output.width > width:
        return MatmulSlice(
            output, vector, 0, depth, matrix, 0, depth_stride, column_stride, rows * columns
        )
    block = output.start // width if len(shape) == 3 else 0
    column = output.start - block * width
    matrix_offset = block * rows * columns + column * (1 if transposed else columns)
    return MatmulSlice(
        output, vector, block * depth, depth, matrix, matrix_offset, depth_stride, column_stride
    )
